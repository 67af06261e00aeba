//! Each value is described, and used.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::tools::{helm, repository, yaml};

/// The paths of all values with their defaults: what is empty, a list or no map is one value.
fn leaves(value: &Value, path: &str, found: &mut Vec<String>) {
    match value.as_object() {
        Some(map) if !map.is_empty() => {
            for (key, value) in map {
                leaves(value, format!("{path}.{key}").trim_start_matches('.'), found);
            }
        }
        _ => found.push(path.to_owned()),
    }
}

/// The paths of all values that the schema knows; each has words.
fn described(schema: &Value, path: &str, found: &mut Vec<String>) {
    let Some(properties) = schema["properties"].as_object().filter(|_| schema["additionalProperties"] == false) else {
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

fn chart(file: &str) -> String {
    fs::read_to_string(repository("k8s/chart").join(file)).unwrap()
}

/// `resources` is handed on as a whole, and its keys are Kubernetes' own.
fn of_the_chart(path: &String) -> bool {
    !path.contains("resources.") && path != "global"
}

#[test]
fn each_is_in_the_schema_and_the_schema_has_no_other() {
    let mut values = Vec::new();
    leaves(&yaml(&helm(&["show", "values", "k8s/chart"]).must()), "", &mut values);
    let mut schema = Vec::new();
    described(&serde_json::from_str(&chart("values.schema.json")).unwrap(), "", &mut schema);
    let set = |paths: Vec<String>| paths.into_iter().filter(of_the_chart).collect::<BTreeSet<_>>();
    let (values, schema) = (set(values), set(schema));
    assert!(values.len() > 70, "{values:?}");
    assert_eq!(values, schema);
}

#[test]
fn each_is_used() {
    let mut templates = String::new();
    for entry in fs::read_dir(repository("k8s/chart/templates")).unwrap() {
        templates += &fs::read_to_string(entry.unwrap().path()).unwrap();
    }
    let mut values = Vec::new();
    leaves(&yaml(&chart("values.yaml")), "", &mut values);
    for path in values.iter().filter(|path| of_the_chart(path)) {
        let (_, key) = path.rsplit_once('.').unwrap_or(("", path));
        let used = format!(".{key}");
        let whole = |rest: &str| !rest.starts_with(|next: char| next.is_alphanumeric());
        assert!(templates.split(&used).skip(1).any(whole), "{path} does nothing");
    }
}

#[test]
fn files_for_environments_name_only_what_differs() {
    let defaults = yaml(&chart("values.yaml"));
    for file in ["values.dev.yaml", "values.prod.yaml"] {
        let values = yaml(&chart(file));
        let mut paths = Vec::new();
        leaves(&values, "", &mut paths);
        for path in paths.iter().filter(|path| of_the_chart(path)) {
            let pointer = format!("/{}", path.replace('.', "/"));
            let default = defaults.pointer(&pointer).unwrap_or_else(|| panic!("{file}: no value {path}"));
            let needless = default == values.pointer(&pointer).unwrap() && path != "migrations.mode";
            assert!(!needless, "{file}: {path} is the default");
        }
    }
}
