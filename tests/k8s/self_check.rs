//! The checks can fail.

use crate::documents::Documents;
use crate::tools::{actionlint, helm, kubectl, kubernetes_validate, restricted};

const POD: &str =
    "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {containers: [{name: a, image: b";

#[track_caller]
fn refused(yaml: &str, words: &str) {
    kubernetes_validate(&["-"], yaml).refuses(words);
}

#[test]
fn unknown_fields_are_refused_in_three_versions() {
    let said = kubernetes_validate(&["-"], &format!("{POD}, nonsense: 1}}]}}}}"));
    let words = "'nonsense' was unexpected";
    said.refuses(words);
    assert_eq!(said.stderr.matches(words).count(), 3, "{said}");
}

#[test]
fn what_is_no_document_is_refused() {
    refused(
        &format!("{POD}, image: c}}]}}}}"),
        "key 'image' is given twice",
    );
    refused(&format!("{POD}, stdin: 3}}]}}}}"), "3 is not of type");
    refused(
        "{apiVersion: v1, kind: Podd, metadata: {name: p}}",
        "Couldn't find schema for kind Podd",
    );
    refused("{a: b}", "is no Kubernetes document");
    refused("a: [", "expected the node content");
}

#[test]
fn custom_resources_are_validated() {
    let monitor = |key: &str| {
        format!(
            "{{apiVersion: monitoring.coreos.com/v1, kind: PodMonitor, metadata: {{name: m}}, \
             spec: {{selector: {{}}, podMetricsEndpoints: [{{port: schema, {key}: 30s}}]}}}}"
        )
    };
    Documents::parse(&monitor("interval"));
    refused(&monitor("intervall"), "'intervall' was unexpected");
}

#[test]
fn what_restricted_forbids_is_found() {
    let documents = Documents::parse(&format!("{POD}}}]}}}}"));
    let template = format!("[{}]", documents.pods()[0].1["spec"]);
    restricted(&format!(
        "[{{\"spec\": {}}}]",
        documents.pods()[0].1["spec"]
    ))
    .refuses("allowPrivilegeEscalation != false");
    restricted(&template).refuses("unknown field");
}

#[test]
fn the_tools_are_those_that_are_pinned() {
    assert!(helm(&["version", "--short"]).must().starts_with("v3.22"));
    let version = kubectl(&["version", "--client"]).must();
    assert!(version.contains("v1.37.0"), "{version}");
    kubectl(&["kustomize", "/nowhere"]).refuses("/nowhere");
    actionlint(std::path::Path::new("Cargo.toml")).refuses("Cargo.toml");
}
