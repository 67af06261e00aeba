//! What a hook uses is there before it: a hook of lower weight (or an earlier wave) itself.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{EVERYTHING, template};
use crate::documents::{Documents, label};

fn annotation<'a>(document: &'a Value, name: &str) -> &'a str {
    document["metadata"]["annotations"][name]
        .as_str()
        .unwrap_or_default()
}

/// `Kind/name` of all that a pod names.
fn references(pod: &Value) -> Vec<String> {
    let mut found = vec![format!(
        "ServiceAccount/{}",
        pod["serviceAccountName"].as_str().unwrap_or("default")
    )];
    let mut visit = |value: &Value, kind: &str, name: &str| {
        if let Some(name) = value[name].as_str() {
            found.push(format!("{kind}/{name}"));
        }
    };
    for volume in pod["volumes"].as_array().into_iter().flatten() {
        visit(&volume["configMap"], "ConfigMap", "name");
        visit(&volume["secret"], "Secret", "secretName");
        visit(
            &volume["persistentVolumeClaim"],
            "PersistentVolumeClaim",
            "claimName",
        );
    }
    for container in crate::documents::containers(&serde_json::json!({"spec": pod})) {
        for variable in container["env"].as_array().into_iter().flatten() {
            visit(&variable["valueFrom"]["secretKeyRef"], "Secret", "name");
            visit(
                &variable["valueFrom"]["configMapKeyRef"],
                "ConfigMap",
                "name",
            );
        }
        for from in container["envFrom"].as_array().into_iter().flatten() {
            visit(&from["secretRef"], "Secret", "name");
            visit(&from["configMapRef"], "ConfigMap", "name");
        }
    }
    found
}

/// What the Jobs use and the chart makes comes before them: `comes_before(used, job)`.
#[track_caller]
fn check(documents: &Documents, comes_before: impl Fn(&Value, &Value) -> bool) -> usize {
    let mut pairs = 0;
    for job in documents
        .0
        .iter()
        .filter(|document| document["kind"] == "Job")
    {
        let used = references(&job["spec"]["template"]["spec"]);
        for other in &documents.0 {
            let policy = other["kind"] == "NetworkPolicy";
            if policy || used.contains(&label(other)) {
                assert!(
                    comes_before(other, job),
                    "{} must come before {}",
                    label(other),
                    label(job)
                );
                pairs += 1;
            }
        }
    }
    pairs
}

fn events(document: &Value) -> BTreeSet<&str> {
    annotation(document, "helm.sh/hook").split(',').collect()
}

#[test]
fn hooks_of_helm() {
    let documents = Documents::parse(&template(&["--set-json", EVERYTHING]).must());
    let weight = |document: &Value| {
        annotation(document, "helm.sh/hook-weight")
            .parse::<i64>()
            .unwrap()
    };
    let pairs = check(&documents, |used, job| {
        events(used).is_superset(&events(job)) && weight(used) < weight(job)
    });
    // ServiceAccount and NetworkPolicy of three Jobs; the ConfigMap of two: a backup needs no migrations.
    assert_eq!(pairs, 8, "{:?}", documents.names());
    let weight = |component: &str| weight(super::job(&documents, component));
    assert!(weight("backup") < weight("migrate"));
    for component in ["backup", "migrate"] {
        let job = super::job(&documents, component);
        assert_eq!(annotation(job, "helm.sh/hook"), "pre-install,pre-upgrade");
        assert_eq!(
            annotation(job, "helm.sh/hook-delete-policy"),
            "before-hook-creation,hook-succeeded"
        );
    }
    let verify = super::job(&documents, "verify");
    assert_eq!(
        annotation(verify, "helm.sh/hook"),
        "post-install,post-upgrade"
    );
}

#[test]
fn waves_of_argo_cd() {
    for phase in ["PreSync", "Sync"] {
        let hook = format!("migrations.mode=argocd,migrations.argocd.hook={phase}");
        let documents =
            Documents::parse(&template(&["--set-json", EVERYTHING, "--set", &hook]).must());
        let wave = |document: &Value| {
            let phase = ["PreSync", "Sync", "PostSync"]
                .iter()
                .position(|phase| *phase == annotation(document, "argocd.argoproj.io/hook"))
                .unwrap_or_else(|| panic!("{} is no hook", label(document)));
            let wave: i64 = annotation(document, "argocd.argoproj.io/sync-wave")
                .parse()
                .unwrap();
            (phase, wave)
        };
        assert_eq!(check(&documents, |used, job| wave(used) < wave(job)), 8);
        let of = |component: &str| wave(super::job(&documents, component));
        assert!(of("backup") < of("migrate") && of("migrate") < of("verify"));
        assert_eq!(
            [of("backup").1, of("migrate").1, of("verify").1],
            [-1, 0, 2]
        );
        for document in documents
            .0
            .iter()
            .filter(|document| document["kind"] == "Job")
        {
            assert_eq!(
                annotation(document, "helm.sh/hook"),
                "",
                "Argo CD would read both"
            );
            assert!(document["spec"]["ttlSecondsAfterFinished"].is_null());
            let options = annotation(document, "argocd.argoproj.io/sync-options");
            assert_eq!(options, "SkipDryRunOnMissingResource=true");
        }
    }
}

#[test]
fn without_hooks_all_but_verify_belongs_to_the_release() {
    let plain = "migrations.job.hooks=null,migrations.backup.enabled=false";
    let documents = Documents::parse(&template(&["--set-json", EVERYTHING, "--set", plain]).must());
    for document in &documents.0 {
        let hook = match document["metadata"]["labels"]["app.kubernetes.io/component"].as_str() {
            Some("verify") => "post-install,post-upgrade",
            _ => "",
        };
        assert_eq!(
            annotation(document, "helm.sh/hook"),
            hook,
            "{}",
            label(document)
        );
    }
    template(&["--set-json", EVERYTHING, "--set", "migrations.job.hooks=null"])
        .refuses("nothing would put the backup before the migration; write hooks: [pre-install, pre-upgrade]");
}
