//! The plain manifests: valid, restricted, true to what they say, and with settings that the binary takes.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

use crate::documents::{Documents, containers};
use crate::harness::postgres::free_port;
use crate::harness::{Folder, Schemagate, Server, Sidecar};
use crate::tools::{repository, run};

const FOLDER: &str = "k8s/manifests";

/// The manifests by name, sorted.
fn files() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(repository(FOLDER))
        .expect("the manifests")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    assert!(
        files.len() > 12
            && files
                .iter()
                .all(|file| file.extension().is_some_and(|end| end == "yaml"))
    );
    files
}

#[track_caller]
fn read(name: &str) -> &'static Documents {
    let found = all().iter().find(|(file, _)| file == name);
    &found.unwrap_or_else(|| panic!("no {name}")).1
}

/// All of them, validated once for all tests.
fn all() -> &'static [(String, Documents)] {
    static ALL: OnceLock<Vec<(String, Documents)>> = OnceLock::new();
    ALL.get_or_init(|| {
        let mut documents = Documents::read(&files()).0;
        let mut found = Vec::new();
        for file in files() {
            let text = fs::read_to_string(&file).unwrap();
            let rest = documents.split_off(text.split("\n---\n").count());
            let name = file.file_name().unwrap().to_string_lossy().into_owned();
            found.push((name, Documents(std::mem::replace(&mut documents, rest))));
        }
        assert!(documents.is_empty(), "a document without a file");
        found
    })
}

/// The containers that run schemagate itself: the others are the application, `pg_dump` and `cp`.
pub(crate) fn ours(pod: &Value) -> Vec<&Value> {
    let mut found = containers(pod);
    found.retain(|container| {
        let image = container["image"].as_str().unwrap();
        let command = container["command"][0].as_str().unwrap_or_default();
        image.starts_with("app-migrations")
            || image.starts_with("schemagate")
            || command.ends_with("/schemagate")
    });
    found
}

pub(crate) fn env<'pod>(container: &'pod Value, name: &str) -> Option<&'pod str> {
    let list = container["env"].as_array()?;
    list.iter().find(|entry| entry["name"] == name)?["value"].as_str()
}

fn seconds(text: &str) -> u64 {
    let (number, unit) = text.split_at(text.len() - 1);
    let number: u64 = number.parse().unwrap();
    match unit {
        "s" => number,
        "m" => number * 60,
        "h" => number * 3600,
        _ => panic!("{text}"),
    }
}

/// What holds for every pod that we show, wherever it stands.
#[track_caller]
pub(crate) fn assert_good_pods(documents: &Documents) {
    documents.assert_restricted();
    for (name, pod) in documents.pods() {
        let spec = &pod["spec"];
        assert_eq!(spec["automountServiceAccountToken"], false, "{name}");
        assert_eq!(spec["enableServiceLinks"], false, "{name}");
        for container in containers(&pod) {
            let image = container["image"].as_str().unwrap();
            assert!(
                image.contains(':') && !image.ends_with(":latest"),
                "{name}: {image}"
            );
            for probe in ["livenessProbe", "startupProbe", "readinessProbe"] {
                let path = &container[probe]["httpGet"]["path"];
                let port = &container[probe]["httpGet"]["port"];
                if *port == "schema" {
                    let wanted = match probe {
                        "livenessProbe" => "/livez",
                        "startupProbe" => "/startupz",
                        _ => "/readyz",
                    };
                    assert_eq!(path, wanted, "{name}: {probe}");
                }
                if port.is_string() {
                    let ports = container["ports"].as_array().unwrap();
                    assert!(
                        ports.iter().any(|own| own["name"] == *port),
                        "{name}: no port {port}"
                    );
                }
            }
        }
        for container in ours(&pod) {
            let image = container["image"].as_str().unwrap();
            if image.starts_with("app:") {
                continue;
            }
            let resources = &container["resources"];
            assert_eq!(
                resources["requests"],
                serde_json::json!({"cpu": "10m", "memory": "16Mi"}),
                "{name}"
            );
            // A limit of CPU only makes a migration hold its locks longer.
            assert_eq!(
                resources["limits"],
                serde_json::json!({"memory": "128Mi"}),
                "{name}"
            );
            assert_eq!(
                container["securityContext"]["readOnlyRootFilesystem"], true,
                "{name}"
            );
        }
    }
}

#[test]
fn every_manifest_is_valid_and_restricted() {
    let mut pods = 0;
    for (file, documents) in all() {
        if documents.pods().is_empty() {
            let kinds = [
                "service-account.yaml",
                "network-policy.yaml",
                "external-secret.yaml",
            ];
            assert!(kinds.contains(&file.as_str()), "{file} has no pod");
            continue;
        }
        assert_good_pods(documents);
        pods += documents.pods().len();
    }
    assert!(pods > 15, "{pods} pods");
}

#[test]
fn each_begins_with_what_it_is_for() {
    for file in files() {
        let text = fs::read_to_string(&file).unwrap();
        let head = text
            .lines()
            .take_while(|line| line.starts_with('#'))
            .count();
        assert!(head >= 3, "{}: {head} lines of comment", file.display());
        assert!(
            text.lines()
                .all(|line| line.chars().count() <= 150 || line.contains("migrations.tar.gz: ")),
            "{}",
            file.display()
        );
    }
}

#[test]
fn jobs_stop_where_another_attempt_cannot_heal() {
    let mut jobs = 0;
    for (file, documents) in all() {
        for job in documents
            .0
            .iter()
            .filter(|document| document["kind"] == "Job")
        {
            let spec = &job["spec"];
            let name = format!("{file}: {}", job["metadata"]["name"]);
            assert_eq!(spec["template"]["spec"]["restartPolicy"], "Never", "{name}");
            let argocd = job["metadata"]["annotations"]["argocd.argoproj.io/hook"].is_string();
            // A hook that vanishes is never seen to have ended.
            assert_eq!(spec["ttlSecondsAfterFinished"].is_null(), argocd, "{name}");
            let container = &spec["template"]["spec"]["containers"][0];
            if container["args"][0] != "migrate" {
                continue;
            }
            jobs += 1;
            let deadline = seconds(env(container, "SCHEMAGATE_DEADLINE").unwrap());
            assert_eq!(spec["activeDeadlineSeconds"], deadline + 30, "{name}");
            let rules = &spec["podFailurePolicy"]["rules"];
            assert_eq!(rules[0]["action"], "Ignore", "{name}");
            assert_eq!(
                rules[0]["onPodConditions"][0]["type"], "DisruptionTarget",
                "{name}"
            );
            assert_eq!(rules[1]["action"], "FailJob", "{name}");
            assert_eq!(
                rules[1]["onExitCodes"]["containerName"], container["name"],
                "{name}"
            );
            let contract = env(container, "SCHEMAGATE_PHASE") == Some("contract");
            let codes = if contract {
                serde_json::json!([2, 5, 6])
            } else {
                serde_json::json!([2, 5, 6, 7])
            };
            assert_eq!(rules[1]["onExitCodes"]["values"], codes, "{name}");
        }
    }
    assert!(jobs >= 8, "{jobs} jobs");
}

#[test]
fn a_sidecar_that_migrates_has_a_budget_above_its_deadline() {
    let documents = read("migrating-sidecar.yaml");
    let (_, pod) = &documents.pods()[0];
    let sidecar = ours(pod)[0];
    assert_eq!(env(sidecar, "SCHEMAGATE_AUTO_MIGRATE"), Some("true"));
    let probe = &sidecar["startupProbe"];
    let budget =
        probe["periodSeconds"].as_u64().unwrap() * probe["failureThreshold"].as_u64().unwrap();
    let deadline = seconds(env(sidecar, "SCHEMAGATE_DEADLINE").unwrap());
    assert!(
        budget >= deadline + 120,
        "{budget} s for a deadline of {deadline} s"
    );
    let progress = documents.get("Deployment/app")["spec"]["progressDeadlineSeconds"]
        .as_u64()
        .unwrap();
    assert!(progress > budget);
}

#[test]
fn the_waves_of_argo_cd_are_in_their_order() {
    let waves = |name: &str, key: &str| -> Vec<(String, String)> {
        read(name)
            .0
            .iter()
            .map(|document| {
                let annotations = &document["metadata"]["annotations"];
                let value = annotations[format!("argocd.argoproj.io/{key}")]
                    .as_str()
                    .unwrap();
                (crate::documents::label(document), value.to_owned())
            })
            .collect()
    };
    let of = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    };
    assert_eq!(
        waves("argocd-waves.yaml", "sync-wave"),
        of(&[
            ("PersistentVolumeClaim/app-backups", "-2"),
            ("ConfigMap/app-backup", "-2"),
            ("Job/app-backup", "-1"),
            ("Job/app-migrate", "0"),
            ("Deployment/app", "1"),
            ("Job/app-verify", "2"),
        ])
    );
    assert_eq!(
        waves("argocd-expand-contract.yaml", "hook"),
        of(&[
            ("Job/app-expand", "PreSync"),
            ("Job/app-contract", "PostSync")
        ])
    );
    let documents = read("argocd-waves.yaml");
    let migrate = documents.get("Job/app-migrate");
    assert_eq!(
        migrate["metadata"]["annotations"]["argocd.argoproj.io/sync-options"],
        "SkipDryRunOnMissingResource=true"
    );
}

#[test]
fn what_one_names_the_other_has() {
    let policies = read("network-policy.yaml");
    let selected: Vec<&Value> = policies
        .0
        .iter()
        .map(|policy| &policy["spec"]["podSelector"]["matchLabels"])
        .collect();
    for (file, documents) in all() {
        let own: Vec<String> = documents.names();
        for document in &documents.0 {
            let template = &document["spec"]["template"];
            if template.is_null() {
                continue;
            }
            let labels = template["metadata"]["labels"].as_object().unwrap();
            if let Some(selector) = document["spec"]["selector"]["matchLabels"].as_object() {
                assert!(
                    selector
                        .iter()
                        .all(|(key, value)| labels.get(key) == Some(value)),
                    "{file}"
                );
            }
            let reached = selected.iter().any(|selector| {
                selector
                    .as_object()
                    .unwrap()
                    .iter()
                    .all(|(key, value)| labels.get(key) == Some(value))
            });
            assert!(
                reached,
                "{file}: no policy of network-policy.yaml selects {labels:?}"
            );
            for volume in template["spec"]["volumes"].as_array().into_iter().flatten() {
                for (kind, reference) in [
                    ("ConfigMap", &volume["configMap"]["name"]),
                    (
                        "PersistentVolumeClaim",
                        &volume["persistentVolumeClaim"]["claimName"],
                    ),
                ] {
                    if let Some(name) = reference.as_str() {
                        assert!(
                            own.contains(&format!("{kind}/{name}")),
                            "{file}: {kind}/{name}"
                        );
                    }
                }
            }
            if let Some(account) = template["spec"]["serviceAccountName"].as_str() {
                let known =
                    own.contains(&format!("ServiceAccount/{account}")) || account == "schemagate";
                assert!(known, "{file}: {account}");
            }
        }
    }
}

/// The migrations in the ConfigMaps are migrated from where the manifests mount them.
#[test]
fn migrations_in_a_configmap_are_applied() {
    let plain = read("migrations-configmap.yaml");
    let folder = Folder::empty();
    let data = plain.0[0]["data"].as_object().unwrap();
    for (name, text) in data {
        // As the kubelet lays them: the files in a folder of the date, links to them beside it.
        folder.write(
            &format!("..2026_01_01/{name}"),
            text.as_str().unwrap().as_bytes(),
        );
    }
    std::os::unix::fs::symlink("..2026_01_01", folder.path().join("..data")).unwrap();
    for name in data.keys() {
        std::os::unix::fs::symlink(format!("..data/{name}"), folder.path().join(name)).unwrap();
    }
    let database = Server::debian().database();
    Schemagate::migrate(&database, &folder).run().assert_code(0);
    let columns = "SELECT string_agg(attname, ',' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'users'::regclass AND attnum > 0";
    assert_eq!(database.value(columns), "id,email,created_at");

    // The archive holds the same: nothing is left to do, and nothing has changed.
    let packed = read("migrations-tar-gz.yaml");
    let archive = packed.0[0]["binaryData"]["migrations.tar.gz"]
        .as_str()
        .unwrap();
    let file = Folder::empty().path().join("migrations.tar.gz");
    let mut decode = Command::new("sh");
    decode.args(["-c", "base64 -d >\"$0\""]).arg(&file);
    run(&mut decode, archive).must();
    Schemagate::status(&database, &file)
        .arg("--exit-code")
        .run()
        .assert_code(0);
    let (_, pod) = &packed.pods()[0];
    assert_eq!(
        env(ours(pod)[0], "SCHEMAGATE_DIR"),
        Some("/migrations/migrations.tar.gz")
    );
}

/// Every container of ours, as it is written: the binary takes the arguments and each variable, and what is missing is the
/// database. A setting that does not exist would end with 2.
#[track_caller]
pub(crate) fn assert_settings_are_taken(documents: &Documents) -> usize {
    let mut commands = 0;
    for (name, pod) in documents.pods() {
        for container in ours(&pod) {
            let words = ["command", "args"]
                .map(|key| container[key].as_array().cloned().unwrap_or_default())
                .concat();
            let mut words: Vec<&str> = words.iter().map(|word| word.as_str().unwrap()).collect();
            words.retain(|word| !word.ends_with("/schemagate"));
            let target = Folder::empty();
            let folder = Folder::sql(&[("0001_a.sql", "SELECT 1;")]);
            let into = target.path().to_string_lossy().into_owned();
            if words[0] == "install" {
                words[1] = &into;
            }
            let mut call = Schemagate::new(&words);
            for entry in container["env"].as_array().into_iter().flatten() {
                let variable = entry["name"].as_str().unwrap();
                let closed = format!("postgres://nobody@127.0.0.1:{}/nothing", free_port());
                let value = entry["value"].as_str().map_or(closed, str::to_owned);
                call = call.env(variable, value);
            }
            call = call.folder(&folder).env("SCHEMAGATE_WAIT", "false");
            if words[0] == "wait" {
                // It waits, whatever SCHEMAGATE_WAIT says.
                call = call.env("SCHEMAGATE_WAIT_TIMEOUT", "1s");
            }
            commands += 1;
            match words[0] {
                "sidecar" => {
                    let sidecar = Sidecar::start(&call);
                    assert_eq!(sidecar.get("/livez").status, 200, "{name}");
                    assert_eq!(sidecar.get("/startupz").status, 503, "{name}");
                    sidecar.stop().assert_code(0);
                }
                "install" => {
                    call.run().assert_code(0);
                    assert_eq!(target.names(), ["schemagate"], "{name}");
                }
                _ => {
                    call.run().assert_code(3);
                }
            }
        }
    }
    commands
}

#[test]
fn every_setting_is_taken_by_the_binary() {
    let mut commands = 0;
    for (_, documents) in all() {
        commands += assert_settings_are_taken(documents);
    }
    assert!(commands >= 16, "{commands} commands");
}
