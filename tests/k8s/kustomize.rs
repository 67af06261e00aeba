//! Kustomize: the overlays as they are rendered, and components that say the same as the plain manifests.

use std::fs;

use serde_json::{Value, json};

use crate::documents::{Documents, containers};
use crate::manifests::{assert_good_pods, assert_settings_are_taken};
use crate::snapshot::assert_snapshot;
use crate::tools::{kubectl, repository};

/// The names of the folders below one.
fn folders(path: &str) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(repository(path))
        .expect("a folder")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    names
}

#[track_caller]
fn build(folder: &str) -> String {
    kubectl(&["kustomize", folder]).must()
}

/// The base with one component, as an overlay that a person would write.
#[track_caller]
fn with_component(name: &str) -> Documents {
    let folder = format!("target/k8s/kustomize/{name}");
    let up = "../../../../k8s/kustomize";
    fs::create_dir_all(repository(&folder)).unwrap();
    fs::write(
        repository(&folder).join("kustomization.yaml"),
        format!(
            "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n\
             resources: [{up}/base]\ncomponents: [{up}/components/{name}]\n\
             images: [{{name: app, newTag: 1.2.3}}, {{name: app-migrations, newTag: 1.2.3}}]\n"
        ),
    )
    .unwrap();
    Documents::parse(&build(&folder))
}

#[test]
fn the_overlays_are_as_they_were_read() {
    for overlay in folders("k8s/kustomize/overlays") {
        let text = build(&format!("k8s/kustomize/overlays/{overlay}"));
        // Megabytes of Grafana are not for reading; its own tests do.
        let shown = text
            .split("---\n")
            .filter(|document| !document.contains("dashboard.json"));
        let shown: Vec<&str> = shown
            .filter(|document| !document.contains("kind: PrometheusRule"))
            .collect();
        assert_snapshot(&format!("kustomize/{overlay}.yaml"), &shown.join("---\n"));
        let documents = Documents::parse(&text);
        assert_good_pods(&documents);
        assert!(assert_settings_are_taken(&documents) > 0, "{overlay}");
    }
}

#[test]
fn every_component_is_used_by_an_overlay_or_shown_by_a_manifest() {
    let names = folders("k8s/kustomize/components");
    assert!(names.len() >= 10, "{names:?}");
    for name in &names {
        let documents = with_component(name);
        assert_good_pods(&documents);
    }
}

/// A component that gates or serves makes of the base what the plain manifest shows.
#[test]
fn components_say_what_the_manifests_say() {
    for name in [
        "init-container",
        "native-sidecar",
        "migrating-sidecar",
        "classic-sidecar",
        "wait-gate",
    ] {
        let built = with_component(name);
        let shown = Documents::read(&[repository(&format!("k8s/manifests/{name}.yaml"))]);
        let (built, shown) = (built.get("Deployment/app"), shown.get("Deployment/app"));
        for key in [
            "progressDeadlineSeconds",
            "replicas",
            "strategy",
            "selector",
        ] {
            assert_eq!(built["spec"][key], shown["spec"][key], "{name}: {key}");
        }
        let (built, shown) = (&built["spec"]["template"], &shown["spec"]["template"]);
        assert_eq!(built["metadata"], shown["metadata"], "{name}");
        assert_same_pod(name, built, shown);
    }
}

#[test]
fn the_job_of_the_component_is_that_of_the_manifest() {
    let built = with_component("job");
    let shown = Documents::read(&[repository("k8s/manifests/job.yaml")]);
    let mut built = built.get("Job/app-migrate-release")["spec"].clone();
    let mut shown = shown.get("Job/app-migrate-1-2-3")["spec"].clone();
    // The account is a component of its own, the version of the application an overlay's.
    shown["template"]["spec"]
        .as_object_mut()
        .unwrap()
        .remove("serviceAccountName");
    let env = shown["template"]["spec"]["containers"][0]["env"]
        .as_array_mut()
        .unwrap();
    env.retain(|entry| entry["name"] != "SCHEMAGATE_APP_VERSION");
    assert_same_pod("job", &built["template"], &shown["template"]);
    for spec in [&mut built, &mut shown] {
        spec.as_object_mut().unwrap().remove("template");
    }
    assert_eq!(built, shown);
}

#[test]
fn what_is_copied_is_the_same() {
    for (copy, original) in [
        (
            "service-account/service-account.yaml",
            "service-account.yaml",
        ),
        ("network-policy/network-policy.yaml", "network-policy.yaml"),
        (
            "argocd-expand-contract/hooks.yaml",
            "argocd-expand-contract.yaml",
        ),
    ] {
        let copy = fs::read_to_string(repository("k8s/kustomize/components").join(copy)).unwrap();
        let original = fs::read_to_string(repository("k8s/manifests").join(original)).unwrap();
        assert_eq!(copy, original);
    }
    // The hooks of the waves are all but the application, which is the base.
    let copy = Documents::read(&[repository(
        "k8s/kustomize/components/argocd-waves/hooks.yaml",
    )]);
    let mut original = Documents::read(&[repository("k8s/manifests/argocd-waves.yaml")]).0;
    original.retain(|document| document["kind"] != "Deployment");
    assert_eq!(copy.0, original);
}

/// A release is a Job of its own: its name follows the tag of the image.
#[test]
fn the_name_of_the_job_follows_the_tag() {
    let documents = Documents::parse(&build("k8s/kustomize/overlays/prod"));
    let job = documents.get("Job/app-migrate-1.2.3");
    let container = &job["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], "app-migrations:1.2.3");
    assert!(
        container["env"]
            .as_array()
            .unwrap()
            .contains(&json!({"name": "SCHEMAGATE_APP_VERSION", "value": "1.2.3"}))
    );
    assert_eq!(job["spec"]["activeDeadlineSeconds"], 630);
}

/// The order of variables is nobody's concern.
#[track_caller]
fn assert_same_pod(name: &str, built: &Value, shown: &Value) {
    for key in ["initContainers", "containers"] {
        assert_eq!(
            built["spec"][key].as_array().map(Vec::len),
            shown["spec"][key].as_array().map(Vec::len),
            "{name}: {key}"
        );
    }
    let sorted = |pod: &Value| -> Vec<Value> {
        let mut list: Vec<Value> = containers(pod).into_iter().cloned().collect();
        for container in &mut list {
            if let Some(env) = container["env"].as_array_mut() {
                env.sort_by_key(|entry| entry["name"].to_string());
            }
        }
        list.sort_by_key(|container| container["name"].to_string());
        list
    };
    assert_eq!(sorted(built), sorted(shown), "{name}");
    for key in [
        "securityContext",
        "automountServiceAccountToken",
        "enableServiceLinks",
        "restartPolicy",
    ] {
        assert_eq!(built["spec"][key], shown["spec"][key], "{name}: {key}");
    }
}
