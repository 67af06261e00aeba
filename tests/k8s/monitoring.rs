//! Alerts and the dashboard: read by Prometheus' own tool, on metrics that exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::documents::Documents;
use crate::harness::{Folder, Schemagate, Server, Sidecar};
use crate::tools::{Said, repository, run, yaml};

/// What the rules and the dashboard read besides our own, with who exports it.
const OTHERS: [&str; 3] = [
    // https://github.com/kubernetes/kube-state-metrics/blob/main/docs/metrics/workload/job-metrics.md
    "kube_job_failed",
    "kube_job_status_failed",
    // https://github.com/kubernetes/kube-state-metrics/blob/main/docs/metrics/workload/pod-metrics.md
    "kube_pod_init_container_status_waiting_reason",
];

fn rule() -> Value {
    let documents = Documents::read(&[repository("k8s/monitoring/prometheus-rule.yaml")]);
    documents.get("PrometheusRule/schemagate")["spec"].clone()
}

fn alerts(spec: &Value) -> Vec<Value> {
    let groups = spec["groups"].as_array().unwrap();
    groups
        .iter()
        .flat_map(|group| group["rules"].as_array().unwrap().clone())
        .collect()
}

fn dashboard() -> Value {
    let text = fs::read(repository("k8s/monitoring/dashboard.json")).unwrap();
    serde_json::from_slice(&text).expect("a dashboard in JSON")
}

/// Every expression of the dashboard, with what Grafana puts into it.
fn expressions(dashboard: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let targets = dashboard["panels"].as_array().unwrap().iter();
    let targets = targets
        .filter_map(|panel| panel["targets"].as_array())
        .flatten();
    let annotations = dashboard["annotations"]["list"].as_array().unwrap().iter();
    for holder in targets.chain(annotations) {
        let text = holder["expr"].as_str().expect("an expression");
        let text = text.replace("$namespace", ".*");
        let text = text
            .replace("$__rate_interval", "5m")
            .replace("$__range", "6h");
        assert!(!text.contains('$'), "{text}");
        found.push(text);
    }
    found
}

/// The names of metrics in an expression.
fn metrics(expression: &str) -> BTreeSet<String> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words
        .filter(|word| word.starts_with("schemagate_") || word.starts_with("kube_"))
        .map(str::to_owned)
        .collect()
}

/// `promtool` in a folder with these files.
fn promtool(arguments: &[&str], files: &[(&str, &str)]) -> Said {
    let folder = Folder::empty();
    for (name, text) in files {
        folder.write(name, text.as_bytes());
    }
    run(
        Command::new("promtool")
            .current_dir(folder.path())
            .args(arguments),
        "",
    )
}

fn test_file() -> String {
    fs::read_to_string(repository("tests/k8s/monitoring/rules.test.yaml")).unwrap()
}

#[test]
fn each_alert_fires_on_what_it_is_for_and_not_on_what_looks_like_it() {
    let rules = rule().to_string();
    promtool(&["check", "rules", "rules.yaml"], &[("rules.yaml", &rules)]).must();
    let arguments = ["test", "rules", "rules.test.yaml"];
    promtool(
        &arguments,
        &[("rules.yaml", &rules), ("rules.test.yaml", &test_file())],
    )
    .must();

    // Each has both.
    let tests = yaml(&test_file());
    for alert in alerts(&rule()) {
        let name = &alert["alert"];
        let cases = tests["tests"].as_array().unwrap().iter();
        let cases = cases.flat_map(|test| test["alert_rule_test"].as_array().unwrap());
        let cases: Vec<&Value> = cases.filter(|case| &case["alertname"] == name).collect();
        let fires = |case: &&&Value| !case["exp_alerts"].as_array().unwrap().is_empty();
        let (firing, silent) = (cases.iter().filter(fires).count(), cases.len());
        assert!(
            firing > 0 && firing < silent,
            "{name}: {firing} of {silent} cases fire"
        );
    }
}

/// A rule that never fires would pass a test that expects nothing.
#[test]
fn the_tests_of_the_rules_can_fail() {
    for (position, alert) in alerts(&rule()).iter().enumerate() {
        let mut rules = rule();
        rules["groups"][0]["rules"][position]["expr"] = json!("vector(0) > 1");
        promtool(
            &["test", "rules", "rules.test.yaml"],
            &[
                ("rules.yaml", &rules.to_string()),
                ("rules.test.yaml", &test_file()),
            ],
        )
        .refuses(alert["alert"].as_str().unwrap());
    }
}

#[test]
fn each_alert_says_where_to_read_on() {
    let names: Vec<String> = alerts(&rule())
        .iter()
        .map(|alert| {
            let name = alert["alert"].as_str().unwrap();
            let anchor = format!("k8s/runbook.md#{}", name.to_lowercase());
            assert_eq!(alert["annotations"]["runbook_url"], anchor.as_str());
            for key in ["summary", "description"] {
                assert!(alert["annotations"][key].is_string(), "{name}: {key}");
            }
            assert!(alert["labels"]["severity"].is_string(), "{name}");
            name.to_owned()
        })
        .collect();
    assert_eq!(
        names,
        [
            "SchemagateMigrationFailed",
            "SchemagateMigrationSlow",
            "SchemagateMigrationsPending",
            "SchemagateNotReady",
            "SchemagateLockHeldLong",
            "SchemagateJobFailed",
            "SchemagateInitContainerWaiting",
        ]
    );
}

#[test]
fn every_expression_of_the_dashboard_is_read_by_prometheus() {
    let dashboard = dashboard();
    let rules: Vec<Value> = expressions(&dashboard)
        .iter()
        .enumerate()
        .map(
            |(number, expression)| json!({"record": format!("panel:{number}"), "expr": expression}),
        )
        .collect();
    assert!(rules.len() > 15, "{} expressions", rules.len());
    let rules = json!({"groups": [{"name": "dashboard", "rules": rules}]}).to_string();
    promtool(&["check", "rules", "rules.yaml"], &[("rules.yaml", &rules)]).must();

    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<u64> = panels
        .iter()
        .map(|panel| panel["id"].as_u64().unwrap())
        .collect();
    assert_eq!(ids.len(), panels.len(), "each panel has an id of its own");
    for panel in panels {
        assert!(!panel["title"].as_str().unwrap().is_empty());
        let place = &panel["gridPos"];
        assert!(
            place["x"].as_u64().unwrap() + place["w"].as_u64().unwrap() <= 24,
            "{panel}"
        );
    }
}

#[test]
fn they_read_metrics_that_exist_and_the_dashboard_shows_all_of_ours() {
    let database = Server::debian().database();
    let folder = Folder::sql(&[("0001_a.sql", "CREATE TABLE a (n int)")]);
    let sidecar = Sidecar::start(
        &Schemagate::sidecar(&database, &folder).env("SCHEMAGATE_AUTO_MIGRATE", "true"),
    );
    sidecar.becomes("ready", true);
    let text = sidecar.get("/metrics").body;
    let families: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    let family = |name: &str| {
        let suffixes = ["_bucket", "_sum", "_count"];
        let base = suffixes.iter().find_map(|suffix| name.strip_suffix(suffix));
        [Some(name), base]
            .into_iter()
            .flatten()
            .find(|name| families.contains(name))
            .map(str::to_owned)
    };

    let dashboard = expressions(&dashboard());
    let rules = alerts(&rule());
    let rules = rules.iter().map(|rule| rule["expr"].as_str().unwrap());
    let mut shown = BTreeSet::new();
    for expression in dashboard.iter().map(String::as_str).chain(rules) {
        let names = metrics(expression);
        assert!(!names.is_empty(), "{expression}");
        for name in names {
            let own = family(&name);
            assert!(
                own.is_some() || OTHERS.contains(&name.as_str()),
                "{name} in {expression}"
            );
            shown.extend(own);
        }
    }
    let missing: Vec<_> = families
        .iter()
        .filter(|name| !shown.contains(**name))
        .collect();
    assert!(missing.is_empty(), "not on the dashboard: {missing:?}");

    // Values of labels that the expressions name exist too.
    for value in ["failed", "waiting_for_lock", "migrating", "pending"] {
        assert!(
            text.contains(&format!("schemagate_state{{state=\"{value}\"}}")),
            "{value}\n{text}"
        );
    }
    assert!(
        text.contains("schemagate_migrations{status=\"pending\"}"),
        "{text}"
    );
}

#[test]
fn the_chart_has_the_same_alerts() {
    let chart = fs::read_to_string(repository("k8s/chart/files/prometheus-rule.yaml")).unwrap();
    let own = fs::read_to_string(repository("k8s/monitoring/prometheus-rule.yaml")).unwrap();
    assert_eq!(chart, own);
}

#[test]
fn the_pod_monitor_finds_the_sidecars_of_the_manifests() {
    let monitor = Documents::read(&[repository("k8s/monitoring/pod-monitor.yaml")]);
    let monitor = &monitor.get("PodMonitor/schemagate")["spec"];
    let endpoint = &monitor["podMetricsEndpoints"][0];
    assert_eq!(
        (&endpoint["port"], &endpoint["path"]),
        (&json!("schema"), &json!("/metrics"))
    );
    for file in ["native-sidecar", "migrating-sidecar", "classic-sidecar"] {
        let path = format!("k8s/manifests/{file}.yaml");
        let documents = Documents::read(&[repository(Path::new(&path).to_str().unwrap())]);
        let template = &documents.get("Deployment/app")["spec"]["template"];
        for (key, value) in monitor["selector"]["matchLabels"].as_object().unwrap() {
            assert_eq!(&template["metadata"]["labels"][key], value, "{file}");
        }
        assert!(
            template
                .to_string()
                .contains("\"containerPort\":9911,\"name\":\"schema\""),
            "{file}"
        );
    }
}
