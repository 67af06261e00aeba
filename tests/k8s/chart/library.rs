//! The chart as a library: an application's chart that includes it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

use super::{SOURCES, job, variable};
use crate::documents::{Documents, containers};
use crate::harness::scratch::new_dir;
use crate::snapshot::assert_snapshot;
use crate::tools::{Said, helm, repository, run};

/// The example with its dependency built, in a copy: a build writes into the chart's folder.
pub(super) fn example() -> &'static Path {
    static EXAMPLE: OnceLock<PathBuf> = OnceLock::new();
    EXAMPLE.get_or_init(|| copy(|text| text))
}

/// A copy of both charts; `change` edits the files of the example.
fn copy(change: impl Fn(String) -> String) -> PathBuf {
    let root = new_dir("chart");
    let example = root.join("k8s/examples/chart-with-library");
    std::fs::create_dir_all(example.parent().unwrap()).unwrap();
    for (from, to) in [
        ("k8s/chart", "k8s/chart"),
        ("k8s/examples/chart-with-library", "k8s/examples/"),
    ] {
        run(
            Command::new("cp")
                .arg("-R")
                .arg(repository(from))
                .arg(root.join(to)),
            "",
        )
        .must();
    }
    for file in ["Chart.yaml", "values.yaml", "templates/deployment.yaml"] {
        let path = example.join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, change(text)).unwrap();
    }
    helm(&["dependency", "build", example.to_str().unwrap()]).must();
    example
}

pub(super) fn template(chart: &Path, arguments: &[&str]) -> Said {
    let mut all = vec![
        "template",
        "shop",
        chart.to_str().unwrap(),
        "--namespace",
        "shops",
    ];
    all.extend(arguments);
    helm(&all)
}

#[track_caller]
fn render(arguments: &[&str]) -> Documents {
    Documents::parse(&template(example(), arguments).must())
}

fn init_containers(documents: &Documents) -> Vec<&Value> {
    let list =
        documents.get("Deployment/shop")["spec"]["template"]["spec"]["initContainers"].as_array();
    list.into_iter().flatten().collect()
}

#[test]
fn lints() {
    helm(&["lint", "--strict", example().to_str().unwrap()]).must();
}

#[test]
fn every_mode_and_source_is_valid_and_restricted() {
    let command = r#"schemagate.migrations.command=["alembic","upgrade","head"]"#;
    let image =
        "schemagate.migrations.commandImage=shop:1.2.3,schemagate.migrations.execOnce=1.2.3";
    let mut all = String::new();
    for mode in ["job", "argocd", "initContainer", "sidecar"] {
        let mode_set = format!("schemagate.migrations.mode={mode}");
        for source in SOURCES {
            all += &template(
                example(),
                &[
                    "--set",
                    &mode_set,
                    "--set-json",
                    &format!("schemagate.{source}"),
                ],
            )
            .must();
        }
        if mode != "sidecar" {
            all += &template(
                example(),
                &["--set", &mode_set, "--set-json", command, "--set", image],
            )
            .must();
        }
    }
    let documents = Documents::parse(&all);
    documents.assert_restricted();
    for (name, pod) in documents.pods() {
        let volumes: Vec<&Value> = pod["spec"]["volumes"]
            .as_array()
            .into_iter()
            .flatten()
            .collect();
        for map in volumes
            .iter()
            .filter_map(|volume| volume["configMap"]["name"].as_str())
        {
            // That of a hook is gone with it.
            let made = documents.get(&format!("ConfigMap/{map}"));
            let of_a_hook = made.to_string().contains("/hook\"");
            assert_eq!(of_a_hook, name.starts_with("Job/"), "{name}: {made}");
        }
        for container in containers(&pod) {
            for mount in container["volumeMounts"].as_array().into_iter().flatten() {
                assert!(
                    volumes.iter().any(|volume| volume["name"] == mount["name"]),
                    "{name}: {mount}"
                );
            }
        }
    }
}

#[test]
fn snapshots() {
    for (name, set) in [
        ("library-job.yaml", "schemagate.migrations.mode=job"),
        ("library-sidecar.yaml", "schemagate.migrations.mode=sidecar"),
        (
            "library-init-container-empty-dir.yaml",
            "schemagate.migrations.mode=initContainer,schemagate.migrations.source.type=emptyDir,\
             schemagate.migrations.source.emptyDir.image=shop:1.2.3,schemagate.migrations.source.emptyDir.path=/app/drizzle",
        ),
    ] {
        assert_snapshot(
            &format!("chart/{name}"),
            &template(example(), &["--set", set]).must(),
        );
    }
}

#[test]
fn pods_that_only_look_have_no_credentials_of_the_migrator() {
    let documents = render(&[]);
    let gate = init_containers(&documents)[0];
    assert_eq!(gate["args"], serde_json::json!(["wait", "--for", "schema"]));
    assert_eq!(
        gate["env"][0]["valueFrom"]["secretKeyRef"]["name"],
        "shop-database"
    );
    assert_eq!(variable(gate, "SCHEMAGATE_ROLE"), None);
    let migrate = &job(&documents, "migrate")["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(
        migrate["env"][0]["valueFrom"]["secretKeyRef"]["name"],
        "shop-migrator"
    );
    assert_eq!(variable(migrate, "SCHEMAGATE_ROLE"), Some("shop_owner"));
}

/// A kubelet that kills a sidecar in the middle of a migration does so again and again.
#[test]
fn a_sidecar_that_migrates_has_more_time_than_its_deadline() {
    for timeout in [10, 240, 3600] {
        let set =
            format!("schemagate.migrations.mode=sidecar,schemagate.migrations.timeout={timeout}");
        let documents = render(&["--set", &set]);
        let sidecar = init_containers(&documents)[0];
        assert_eq!(sidecar["restartPolicy"], "Always");
        assert_eq!(variable(sidecar, "SCHEMAGATE_AUTO_MIGRATE"), Some("true"));
        let startup = &sidecar["startupProbe"];
        assert_eq!(startup["httpGet"]["path"], "/startupz");
        let budget = startup["periodSeconds"].as_i64().unwrap()
            * startup["failureThreshold"].as_i64().unwrap();
        assert!(budget > timeout + 60, "{budget} s for {timeout} s");
        assert_eq!(sidecar["livenessProbe"]["httpGet"]["path"], "/livez");
        assert_eq!(sidecar["readinessProbe"]["httpGet"]["path"], "/readyz");
    }
}

#[test]
fn a_sidecar_beside_a_job_only_watches() {
    let chart = copy(|text| text.replace("schemagate.initContainers", "schemagate.sidecar"));
    let documents = Documents::parse(
        &template(
            &chart,
            &["--set", "schemagate.migrations.sidecar.port=9000"],
        )
        .must(),
    );
    let sidecar = init_containers(&documents)[0];
    assert_eq!(variable(sidecar, "SCHEMAGATE_AUTO_MIGRATE"), None);
    assert_eq!(variable(sidecar, "SCHEMAGATE_LISTEN"), Some("[::]:9000"));
    assert_eq!(
        sidecar["env"][0]["valueFrom"]["secretKeyRef"]["name"],
        "shop-database"
    );
    assert_eq!(
        sidecar["startupProbe"]["failureThreshold"], 300,
        "ten minutes in steps of two seconds"
    );
}

/// Kubernetes before 1.29, or pods that shall start at once: a container like the others. As an init container it would never end.
#[test]
fn a_classic_sidecar_is_one_of_the_containers() {
    let chart = copy(|text| {
        let containers = "      containers:\n";
        let sidecar = "        {{- include \"schemagate.sidecar\" . | nindent 8 }}\n";
        text.replace(containers, &format!("{containers}{sidecar}"))
    });
    let classic = "schemagate.migrations.mode=sidecar,schemagate.migrations.sidecar.native=false";
    let source = format!("schemagate.{}", SOURCES[3]);
    let yaml = template(&chart, &["--set", classic, "--set-json", &source]).must();
    let documents = Documents::parse(&yaml);
    documents.assert_restricted();
    let names = |containers: &[&Value]| {
        let all = containers
            .iter()
            .map(|container| container["name"].as_str().unwrap().to_owned());
        all.collect::<Vec<_>>()
    };
    assert_eq!(
        names(&init_containers(&documents)),
        ["schemagate-migrations"]
    );
    let pod = &documents.get("Deployment/shop")["spec"]["template"];
    assert_eq!(
        names(&containers(pod)),
        ["schemagate-migrations", "schema", "shop"]
    );
    assert!(containers(pod)[1]["restartPolicy"].is_null());
}

/// The sample's pods wait for the schema, so a hook that comes after them is refused.
#[test]
fn a_hook_behind_pods_that_wait_for_it() {
    let hooks = |hooks: &str| {
        let set = format!("schemagate.migrations.job.hooks={hooks}");
        template(example(), &["--set-json", &set])
    };
    for after in [r#"["post-install"]"#, r#"["pre-upgrade","post-install"]"#] {
        hooks(after).refuses(
            "these pods wait for the schema: the hook waits for the pods, and they for the hook",
        );
    }
    hooks("[]").must();
}

#[test]
fn disabled_leaves_the_application() {
    let documents = render(&["--set", "schemagate.migrations.enabled=false"]);
    assert_eq!(documents.names(), ["Deployment/shop"]);
    assert!(init_containers(&documents).is_empty());
}

#[test]
fn the_job_among_templates_of_the_application() {
    let chart = copy(|text| {
        if text.starts_with("apiVersion: apps/v1") {
            text + "---\n{{ include \"schemagate.job\" . }}\n"
        } else {
            text
        }
    });
    let rendered = |more: &str| template(&chart, &["--set", more]);
    let documents = Documents::parse(&rendered("schemagate.migrations.library=true").must());
    let jobs = documents
        .names()
        .into_iter()
        .filter(|name| name.starts_with("Job/"))
        .count();
    assert_eq!(jobs, 1, "{:?}", documents.names());
    rendered("schemagate.migrations.mode=sidecar")
        .refuses("needs migrations.mode job or argocd, and it is sidecar");
}

/// Two databases in one chart: the dependency twice, under aliases.
#[test]
fn under_an_alias() {
    let alias = |text: String| {
        text.replace(
            "file://../../chart",
            "file://../../chart\n    alias: orders",
        )
        .replace("\nschemagate:", "\norders:")
    };
    copy_refuses(&alias);
    let chart = copy(|text| {
        alias(text)
            .replace(
                "\"schemagate.initContainers\" .",
                "\"schemagate.initContainers\" .Subcharts.orders",
            )
            .replace(
                "\"schemagate.volumes\" .",
                "\"schemagate.volumes\" .Subcharts.orders",
            )
    });
    let documents = Documents::parse(&template(&chart, &[]).must());
    assert_eq!(init_containers(&documents).len(), 1);
}

#[track_caller]
fn copy_refuses(change: &impl Fn(String) -> String) {
    template(&copy(change), &[]).refuses("hand over the context of its alias");
}
