//! Each value is described, and used.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use super::{EVERYTHING, SECRET, SOURCES, library, template};
use crate::tools::{Said, helm, repository, values};

/// The paths of all values with their defaults: what is empty, a list or no map is one value.
fn leaves(value: &Value, path: &str, found: &mut Vec<String>) {
    match value.as_object() {
        Some(map) if !map.is_empty() => {
            for (key, value) in map {
                leaves(
                    value,
                    format!("{path}.{key}").trim_start_matches('.'),
                    found,
                );
            }
        }
        _ => found.push(path.to_owned()),
    }
}

/// The paths of all values that the schema knows; each has words.
fn described(schema: &Value, path: &str, found: &mut Vec<String>) {
    let Some(properties) = schema["properties"]
        .as_object()
        .filter(|_| schema["additionalProperties"] == false)
    else {
        found.push(path.to_owned());
        return;
    };
    for (key, value) in properties {
        let path = format!("{path}.{key}");
        let words = value["description"].as_str().unwrap_or_default();
        assert!(words.len() > 5, "{path}: no words");
        described(value, path.trim_start_matches('.'), found);
    }
}

fn chart_file(file: &str) -> String {
    fs::read_to_string(repository("k8s/chart").join(file)).unwrap()
}

/// `resources` is handed on as a whole, and its keys are Kubernetes' own.
fn of_the_chart(path: &String) -> bool {
    !path.contains("resources.") && path != "global"
}

#[test]
fn each_is_in_the_schema_and_the_schema_has_no_other() {
    let mut defaults = Vec::new();
    leaves(
        &values(&helm(&["show", "values", "k8s/chart"]).must()),
        "",
        &mut defaults,
    );
    let mut schema = Vec::new();
    described(
        &serde_json::from_str(&chart_file("values.schema.json")).unwrap(),
        "",
        &mut schema,
    );
    let set = |paths: Vec<String>| {
        paths
            .into_iter()
            .filter(of_the_chart)
            .collect::<BTreeSet<_>>()
    };
    let (defaults, schema) = (set(defaults), set(schema));
    assert!(defaults.len() > 70, "{defaults:?}");
    assert_eq!(defaults, schema);
}

/// Another value of the same kind.
fn another(path: &str, default: &Value) -> Value {
    let key = path.rsplit_once('.').map_or(path, |(_, key)| key);
    match (key, default) {
        ("command", _) => json!(["other"]),
        ("hooks", _) => json!(["pre-upgrade"]),
        ("deletePolicy", _) => json!(["hook-failed"]),
        ("mode", _) => json!("argocd"),
        ("type", _) => json!("emptyDir"),
        ("hook", _) => json!("Sync"),
        ("pullPolicy", _) => json!("Never"),
        ("digest", _) => json!(format!("sha256:{}", "1".repeat(64))),
        ("pushgatewayUrl", _) => json!("https://other"),
        ("interval", _) => json!("7s"),
        ("helmTimeout", _) => json!(1),
        ("startupBudget", _) => json!("1h"),
        (_, Value::Bool(yes)) => json!(!yes),
        (_, Value::Number(number)) => json!(number.as_i64().unwrap() + 1),
        (_, Value::String(text)) => json!(format!("{text}other")),
        (_, Value::Array(_)) => json!([{"name": "other"}]),
        (_, Value::Object(_)) => json!({"other": "text"}),
        (_, Value::Null) => json!(1),
    }
}

/// What renders a release with these arguments.
type Render<'chart> = &'chart dyn Fn(&[&str]) -> Said;

/// In one of these releases each value makes a difference, if only by a sentence that refuses it.
#[test]
fn each_is_used() {
    let command =
        r#"migrations={"existingSecret":"s","command":["a"],"commandImage":"b","execOnce":"c"}"#;
    let chart = |arguments: &[&str]| template(arguments);
    let in_library = |arguments: &[&str]| library::template(library::example(), arguments);
    let bases: [(&str, Render<'_>, &[&str]); 8] = [
        ("", &chart, &["--set-json", EVERYTHING]),
        (
            "",
            &chart,
            &[
                "--set-json",
                EVERYTHING,
                "--set",
                "migrations.prometheusRule.enabled=true",
            ],
        ),
        (
            "",
            &chart,
            &["--set-json", EVERYTHING, "--set", "migrations.mode=argocd"],
        ),
        ("", &chart, &["--set-json", command]),
        ("", &chart, &["--set", SECRET, "--set-json", SOURCES[2]]),
        ("", &chart, &["--set", SECRET, "--set-json", SOURCES[3]]),
        (
            "schemagate.",
            &in_library,
            &["--set", "schemagate.migrations.mode=sidecar"],
        ),
        (
            "schemagate.",
            &in_library,
            &["--set", "schemagate.migrations.mode=job"],
        ),
    ];
    let said = |said: Said| format!("{}{}", said.stdout, said.stderr);
    let rendered: Vec<String> = bases
        .iter()
        .map(|(_, render, base)| said(render(base)))
        .collect();

    let defaults = values(&chart_file("values.yaml"));
    let mut paths = Vec::new();
    leaves(&defaults, "", &mut paths);
    for path in paths.iter().filter(|path| of_the_chart(path)) {
        let default = defaults
            .pointer(&format!("/{}", path.replace('.', "/")))
            .unwrap();
        let value = another(path, default);
        let differs = bases
            .iter()
            .zip(&rendered)
            .any(|((prefix, render, base), before)| {
                let set = format!("{prefix}{path}={value}");
                let after = said(render(&[base, &["--set-json", set.as_str()][..]].concat()));
                assert!(
                    !after.contains("meet the specifications"),
                    "{path}: {value}: {after}"
                );
                after != *before
            });
        assert!(differs, "{path} does nothing");
    }
}

#[test]
fn files_for_environments_name_only_what_differs() {
    let defaults = values(&chart_file("values.yaml"));
    for file in ["values.dev.yaml", "values.prod.yaml"] {
        let file_values = values(&chart_file(file));
        let mut paths = Vec::new();
        leaves(&file_values, "", &mut paths);
        for path in paths.iter().filter(|path| of_the_chart(path)) {
            let pointer = format!("/{}", path.replace('.', "/"));
            let default = defaults
                .pointer(&pointer)
                .unwrap_or_else(|| panic!("{file}: no value {path}"));
            let needless =
                default == file_values.pointer(&pointer).unwrap() && path != "migrations.mode";
            assert!(!needless, "{file}: {path} is the default");
        }
    }
}
