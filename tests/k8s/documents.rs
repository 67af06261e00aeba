//! Kubernetes documents: valid for three versions, and allowed by Pod Security `restricted`.

use std::path::Path;

use serde_json::{Value, json};

use crate::tools::{kubernetes_validate, restricted};

/// Documents that a strict validation has passed.
#[derive(Debug)]
pub(crate) struct Documents(pub(crate) Vec<Value>);

// === impl Documents ===

impl Documents {
    /// Reads and validates YAML.
    #[track_caller]
    pub(crate) fn parse(yaml: &str) -> Self {
        Self::read_json(&kubernetes_validate(&["-"], yaml).must())
    }

    /// Reads and validates files.
    #[track_caller]
    pub(crate) fn read<P: AsRef<Path>>(files: &[P]) -> Self {
        let files: Vec<&Path> = files.iter().map(AsRef::as_ref).collect();
        Self::read_json(&kubernetes_validate(&files, "").must())
    }

    #[track_caller]
    fn read_json(text: &str) -> Self {
        let documents: Vec<Value> = serde_json::from_str(text).expect("a list in JSON");
        assert!(!documents.is_empty(), "no documents");
        Self(documents)
    }

    /// `Kind/name` of each, in order.
    pub(crate) fn names(&self) -> Vec<String> {
        self.0.iter().map(label).collect()
    }

    /// The document of this `Kind/name`.
    #[track_caller]
    pub(crate) fn get(&self, name: &str) -> &Value {
        let found = self.0.iter().find(|document| label(document) == name);
        found.unwrap_or_else(|| panic!("no {name} in {:?}", self.names()))
    }

    /// Every pod in them, as `Kind/name` and template.
    pub(crate) fn pods(&self) -> Vec<(String, Value)> {
        let all = self.0.iter();
        all.filter_map(|document| Some((label(document), pod(document)?)))
            .collect()
    }

    /// A namespace that enforces Pod Security `restricted` lets every pod in.
    #[track_caller]
    pub(crate) fn assert_restricted(&self) {
        let pods = self.pods();
        assert!(!pods.is_empty(), "no pod in {:?}", self.names());
        let templates: Vec<Value> = pods
            .into_iter()
            .map(|(name, pod)| json!({"metadata": {"name": name}, "spec": pod["spec"]}))
            .collect();
        restricted(&json!(templates).to_string()).must();
    }
}

/// `Kind/name`.
pub(crate) fn label(document: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    format!(
        "{}/{}",
        text(&document["kind"]),
        text(&document["metadata"]["name"])
    )
}

/// The pod, or the template of one, in a document.
fn pod(document: &Value) -> Option<Value> {
    let spec = &document["spec"];
    let places = [
        document,
        &spec["template"],
        &spec["jobTemplate"]["spec"]["template"],
    ];
    let found = places
        .into_iter()
        .find(|place| place["spec"]["containers"].is_array());
    found.cloned()
}

/// All containers of a pod, init containers first.
pub(crate) fn containers(pod: &Value) -> Vec<&Value> {
    ["initContainers", "containers"]
        .into_iter()
        .filter_map(|list| pod["spec"][list].as_array())
        .flatten()
        .collect()
}
