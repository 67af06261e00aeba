//! The chart: what it renders in every mode, what it refuses, and that each of its values does something.

mod backup;
mod library;
mod order;
mod refusals;
mod values;

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::documents::{Documents, containers};
use crate::snapshot::assert_snapshot;
use crate::tools::{Said, helm, repository, run};

const CHART: &str = "k8s/chart";
const SECRET: &str = "migrations.existingSecret=shop-migrator";

/// Each way to bring migrations, as values.
const SOURCES: [&str; 4] = [
    r#"migrations.source={"type":"image"}"#,
    r#"migrations.source={"type":"configMap","configMap":{"files":{"0001_users.sql":"CREATE TABLE users (id bigint PRIMARY KEY);\n"}}}"#,
    r#"migrations.source={"type":"imageVolume","imageVolume":{"reference":"shop-migrations:1.2.3","subPath":"drizzle"}}"#,
    r#"migrations.source={"type":"emptyDir","emptyDir":{"image":"shop:1.2.3","path":"/app/drizzle"}}"#,
];

/// All that belongs to a Job, switched on.
const EVERYTHING: &str = r#"migrations={
    "existingSecret": "shop-migrator", "role": "shop_owner", "pushgatewayUrl": "http://pushgateway:9091",
    "source": {"type": "configMap", "configMap": {"files": {"0001_users.sql": "CREATE TABLE users (id bigint PRIMARY KEY);\n"}}},
    "env": [{"name": "SCHEMAGATE_REQUIRE_BACKUP", "value": "2h"}],
    "nodeSelector": {"kubernetes.io/arch": "amd64"}, "tolerations": [{"operator": "Exists"}],
    "affinity": {"nodeAffinity": {}}, "priorityClassName": "high", "imagePullSecrets": [{"name": "registry"}],
    "podAnnotations": {"sidecar.istio.io/inject": "false"}, "labels": {"team": "shop"},
    "extraVolumes": [{"name": "ca", "configMap": {"name": "ca"}}], "extraVolumeMounts": [{"name": "ca", "mountPath": "/ca"}],
    "backup": {"enabled": true, "existingClaim": "backups"}, "verify": {"enabled": true, "assertions": "assertions"},
    "serviceAccount": {"annotations": {"example.com/role": "shop"}}, "networkPolicy": {"enabled": true},
    "podMonitor": {"enabled": true}}"#;

/// Renders the chart as an application of its own.
pub(crate) fn template(arguments: &[&str]) -> Said {
    let mut all = vec!["template", "shop", CHART, "--namespace", "shops"];
    all.extend(arguments);
    helm(&all)
}

/// The same, with an address for the database, and valid.
#[track_caller]
fn render(arguments: &[&str]) -> Documents {
    Documents::parse(&template(&[&["--set", SECRET], arguments].concat()).must())
}

#[track_caller]
fn job<'a>(documents: &'a Documents, component: &str) -> &'a Value {
    let found = documents.0.iter().find(|document| {
        document["kind"] == "Job"
            && document["metadata"]["labels"]["app.kubernetes.io/component"] == component
    });
    found.unwrap_or_else(|| panic!("no Job {component} in {:?}", documents.names()))
}

/// A variable of a container, as its literal value.
fn variable<'a>(container: &'a Value, name: &str) -> Option<&'a str> {
    let all = container["env"].as_array()?;
    all.iter().find(|variable| variable["name"] == name)?["value"].as_str()
}

#[test]
fn lints() {
    for arguments in [
        &["--set", SECRET][..],
        &["--set", SECRET, "--values", "k8s/chart/values.dev.yaml"],
        &["--set", SECRET, "--values", "k8s/chart/values.prod.yaml"],
        &["--set-json", EVERYTHING],
        &["--set-json", EVERYTHING, "--set", "migrations.mode=argocd"],
    ] {
        helm(&[&["lint", "--strict", CHART], arguments].concat()).must();
    }
}

#[test]
fn every_mode_and_source_is_valid_and_restricted() {
    let mut all = String::new();
    for mode in ["job", "argocd", "initContainer", "sidecar"] {
        let mode = format!("migrations.mode={mode}");
        for source in SOURCES {
            all += &template(&["--set", SECRET, "--set", &mode, "--set-json", source]).must();
        }
    }
    for more in [
        "migrations.mode=job",
        "migrations.mode=argocd",
        "migrations.job.hooks=null,migrations.backup.enabled=false",
    ] {
        all += &template(&["--set-json", EVERYTHING, "--set", more]).must();
    }
    let documents = Documents::parse(&all);
    documents.assert_restricted();
    // Two modes of Jobs with four sources; three Jobs twice, and two.
    assert_eq!(
        documents.pods().len(),
        2 * 4 + 2 * 3 + 2,
        "{:?}",
        documents.names()
    );
    for (name, pod) in documents.pods() {
        assert_eq!(pod["spec"]["enableServiceLinks"], false, "{name}");
        assert_eq!(pod["spec"]["automountServiceAccountToken"], false, "{name}");
        for container in containers(&pod) {
            assert!(
                container["resources"]["limits"]["cpu"].is_null(),
                "{name}: {container}"
            );
            assert!(
                container["resources"]["limits"]["memory"].is_string(),
                "{name}: {container}"
            );
        }
    }
}

#[test]
fn snapshots() {
    for (name, arguments) in [
        ("job.yaml", &["--set", SECRET][..]),
        ("job-everything.yaml", &["--set-json", EVERYTHING]),
        (
            "argocd-everything.yaml",
            &["--set-json", EVERYTHING, "--set", "migrations.mode=argocd"],
        ),
        (
            "job-without-hook.yaml",
            &[
                "--set",
                SECRET,
                "--set",
                "migrations.job.hooks=null",
                "--set-json",
                SOURCES[3],
            ],
        ),
        (
            "job-command.yaml",
            &[
                "--set",
                SECRET,
                "--set-json",
                r#"migrations.command=["alembic","upgrade","head"]"#,
                "--set",
                "migrations.commandImage=shop:1.2.3,migrations.execOnce=1.2.3",
            ],
        ),
    ] {
        assert_snapshot(&format!("chart/{name}"), &template(arguments).must());
    }
}

#[test]
fn times_and_attempts() {
    for (arguments, deadline, retries) in [
        (&[][..], 240, 3),
        (&["--values", "k8s/chart/values.prod.yaml"], 600, 5),
        (&["--set", "migrations.timeout=1m30s"], 90, 3),
    ] {
        let documents = render(arguments);
        let job = job(&documents, "migrate");
        assert_eq!(job["spec"]["activeDeadlineSeconds"], deadline + 30);
        assert_eq!(job["spec"]["backoffLimit"], retries);
        assert_eq!(job["spec"]["ttlSecondsAfterFinished"], 86400);
        let container = &job["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(
            variable(container, "SCHEMAGATE_DEADLINE"),
            Some(format!("{deadline}s").as_str())
        );
        assert_eq!(variable(container, "SCHEMAGATE_AUTH_GRACE"), Some("60s"));
        assert_eq!(variable(container, "SCHEMAGATE_WAIT"), None);
    }
    let documents = render(&[
        "--set",
        "migrations.waitForDatabase=false,migrations.ttlSecondsAfterFinished=0",
        "--set-json",
        r#"migrations.env=[{"name":"SCHEMAGATE_AUTH_GRACE","value":"5s"}]"#,
    ]);
    let job = job(&documents, "migrate");
    assert_eq!(job["spec"]["ttlSecondsAfterFinished"], 0);
    let container = &job["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(variable(container, "SCHEMAGATE_WAIT"), Some("false"));
    assert_eq!(
        variable(container, "SCHEMAGATE_AUTH_GRACE"),
        Some("5s"),
        "and only once: {container}"
    );
}

#[test]
fn another_tool_has_no_failure_policy() {
    let rules = |documents: &Documents| {
        job(documents, "migrate")["spec"]["podFailurePolicy"]["rules"].clone()
    };
    let own = rules(&render(&[]));
    assert_eq!(own[0]["action"], "Ignore");
    assert_eq!(own[0]["onPodConditions"][0]["type"], "DisruptionTarget");
    assert_eq!(own[1]["action"], "FailJob");
    assert_eq!(
        own[1]["onExitCodes"]["values"],
        serde_json::json!([2, 5, 6, 7])
    );
    assert_eq!(own.as_array().map(Vec::len), Some(2), "the rest counts");
    assert!(
        rules(&render(&[
            "--set",
            "migrations.podFailurePolicy.enabled=false"
        ]))
        .is_null()
    );

    let command = r#"migrations.command=["alembic","upgrade","head"]"#;
    let wrapped = render(&["--set-json", command]);
    assert!(rules(&wrapped).is_null());
    let container = &job(&wrapped, "migrate")["spec"]["template"]["spec"]["containers"][0];
    let expected = serde_json::json!(["/schemagate", "exec", "--", "alembic", "upgrade", "head"]);
    assert_eq!(container["command"], expected);
}

#[test]
fn a_changed_job_is_a_new_one() {
    let name = |arguments: &[&str]| job(&render(arguments), "migrate")["metadata"]["name"].clone();
    let first = name(&[]);
    assert_eq!(first, name(&[]));
    for change in [
        "image.tag=v2",
        "migrations.retries=1",
        "migrations.timeout=60",
        "migrations.role=owner",
    ] {
        assert_ne!(first, name(&["--set", change]), "{change}");
    }
    assert_eq!(name(&["--set", "migrations.job.name=migrate"]), "migrate");
    // Names of pods and labels end at 63 characters.
    let long = name(&["--set", &format!("fullnameOverride={}", "a".repeat(60))]);
    assert!(long.as_str().unwrap().len() <= 57, "{long}");
}

#[test]
fn an_upgrade_renders_what_an_install_does() {
    for arguments in [
        &["--set-json", EVERYTHING][..],
        &["--set-json", EVERYTHING, "--set", "migrations.mode=argocd"],
    ] {
        let install = template(arguments).must();
        assert_eq!(
            install,
            template(&[arguments, &["--is-upgrade"]].concat()).must()
        );
    }
}

#[test]
fn disabled_is_nothing() {
    let all = [
        "--set-json",
        EVERYTHING,
        "--set",
        "migrations.enabled=false",
    ];
    assert_eq!(template(&all).must().trim(), "");
}

#[test]
fn the_image_by_tag_and_by_digest() {
    let image = |arguments: &[&str]| {
        let documents = render(arguments);
        job(&documents, "migrate")["spec"]["template"]["spec"]["containers"][0]["image"].clone()
    };
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        image(&[]),
        format!("schemagate:{version}"),
        "Chart.yaml's appVersion is the release's"
    );
    let digest = format!("sha256:{}", "0".repeat(64));
    assert_eq!(
        image(&[
            "--set",
            &format!("image.repository=shop,image.tag=v1,image.digest={digest}")
        ]),
        format!("shop@{digest}")
    );
}

/// `helm template` leaves the notes out, and an installation needs a cluster: they are rendered as what a document holds.
#[test]
fn notes_say_how_to_look() {
    let chart = tempfile::tempdir().unwrap();
    let copy = chart.path().join("schemagate");
    run(
        Command::new("cp")
            .arg("-R")
            .arg(repository(CHART))
            .arg(&copy),
        "",
    )
    .must();
    let templates = copy.join("templates");
    let notes = fs::read_to_string(templates.join("NOTES.txt")).unwrap();
    let document = format!(
        "{{{{- define \"notes\" }}}}{notes}{{{{ end }}}}\n{}",
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: notes}, data: {notes: {{ include \"notes\" . | quote }}}}"
    );
    fs::write(templates.join("notes.yaml"), document).unwrap();
    let notes = |set: &str| {
        let chart = copy.to_str().unwrap();
        let only = [
            "--show-only",
            "templates/notes.yaml",
            "--set",
            SECRET,
            "--set",
            set,
        ];
        let yaml = helm(
            &[
                &["template", "shop", chart, "--namespace", "shops"],
                &only[..],
            ]
            .concat(),
        )
        .must();
        Documents::parse(&yaml).0[0]["data"]["notes"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let job = notes("migrations.timeout=200");
    assert!(
        job.contains("kubectl --namespace shops logs --selector"),
        "{job}"
    );
    assert!(
        job.contains("It has 200 s. Run helm with --timeout 300s or more"),
        "{job}"
    );
    let library = notes("migrations.mode=sidecar");
    assert!(
        library.contains(r#"{{- include "schemagate.initContainers" . | nindent 8 }}"#),
        "{library}"
    );
    assert!(notes("migrations.enabled=false").contains("nothing migrates"));
}

/// A chart cannot read what lies beside it, so it has a copy.
#[test]
fn the_rules_are_those_of_k8s_monitoring() {
    let rules = fs::read_to_string(repository("k8s/monitoring/prometheus-rule.yaml")).unwrap();
    let copy = fs::read_to_string(repository("k8s/chart/files/prometheus-rule.yaml")).unwrap();
    assert_eq!(
        copy, rules,
        "copy k8s/monitoring/prometheus-rule.yaml to k8s/chart/files"
    );
    let rendered = render(&["--set", "migrations.prometheusRule.enabled=true"]);
    assert_eq!(
        rendered.get("PrometheusRule/shop-schemagate")["spec"],
        Documents::parse(&rules).0[0]["spec"]
    );
}

#[test]
fn nothing_is_looked_up() {
    for entry in fs::read_dir(repository("k8s/chart/templates")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            !text.contains("lookup"),
            "{}: empty under template and Argo CD",
            path.display()
        );
    }
}
