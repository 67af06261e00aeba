//! A bad value is refused with a sentence: what is wrong, and what to write.

use super::{SECRET, template};

#[track_caller]
fn refused(arguments: &[&str], sentence: &str) {
    template(&[&["--set", SECRET], arguments].concat()).refuses(sentence);
}

#[test]
fn times() {
    refused(
        &["--set", "migrations.timeout=600"],
        "migrations.timeout is 600 s and its Job ends 30 s later, but Helm gives up after migrations.helmTimeout, 300 s, and leaves \
         it running: set helmTimeout to 630s or more and run helm with --timeout 630s, or set migrations.timeout to 270 or less",
    );
    refused(
        &[
            "--set",
            "migrations.backup.enabled=true,migrations.backup.existingClaim=b,migrations.backup.timeout=1h",
        ],
        "migrations.backup.timeout is 3600 s",
    );
    refused(&["--set", "migrations.timeout=0"], "write at least 10");
    refused(
        &["--set", "migrations.timeout=soon"],
        "migrations.timeout is \"soon\": write seconds (240) or a duration",
    );
    refused(
        &["--set", "migrations.sidecar.startupBudget=-1"],
        "startupBudget",
    );
    // The limit itself fits, and without hooks Helm does not wait.
    let fits = ["--set", SECRET, "--set", "migrations.timeout=270"];
    template(&fits).must();
    template(&[
        "--set",
        SECRET,
        "--set",
        "migrations.timeout=600,migrations.job.hooks=null",
    ])
    .must();
    template(&[
        "--set",
        SECRET,
        "--set",
        "migrations.timeout=600,migrations.mode=argocd",
    ])
    .must();
}

#[test]
fn argo_cd_must_see_the_end_of_a_hook() {
    refused(
        &[
            "--set",
            "migrations.mode=argocd,migrations.ttlSecondsAfterFinished=60",
        ],
        "the Job would vanish before Argo CD has seen its end, and the sync would wait for ever; leave it empty",
    );
}

#[test]
fn a_fixed_name_on_a_job_that_stays() {
    let sentence = "migrations.job.name is m, and a Job cannot be changed once it is there, so the next upgrade would fail: leave \
                    job.name empty (its name gets a hash then), or keep before-hook-creation in job.deletePolicy";
    refused(
        &["--set", "migrations.job.name=m,migrations.job.hooks=null"],
        sentence,
    );
    refused(
        &[
            "--is-upgrade",
            "--set",
            "migrations.job.name=m",
            "--set-json",
            r#"migrations.job.deletePolicy=["hook-succeeded"]"#,
        ],
        sentence,
    );
}

#[test]
fn a_command_that_is_no_list() {
    for (command, list) in [
        ("alembic upgrade head", "[alembic, upgrade, head]"),
        ("./migrate && ./seed", r#"[sh, -c, "./migrate && ./seed"]"#),
    ] {
        let json = format!("migrations.command={command:?}");
        refused(&["--set-json", &json], &format!("write command: {list}"));
    }
    let list = r#"migrations.command=["rails","db:migrate"]"#;
    refused(
        &["--set-json", list, "--set", "migrations.mode=sidecar"],
        "take job or initContainer",
    );
    refused(
        &[
            "--set-json",
            list,
            "--set",
            "migrations.verify.enabled=true",
        ],
        "set verify.enabled to false",
    );
    refused(
        &["--set", "migrations.commandImage=shop:1"],
        "name the command",
    );
}

#[test]
fn what_only_jobs_have() {
    for name in ["backup", "verify", "networkPolicy"] {
        let set = format!("migrations.mode=initContainer,migrations.{name}.enabled=true");
        refused(
            &["--set", &set],
            &format!("set {name}.enabled to false, or take mode job or argocd"),
        );
    }
}

#[test]
fn settings_that_have_a_value_of_their_own() {
    for (variable, value) in [
        ("SCHEMAGATE_DEADLINE", "timeout"),
        ("SCHEMAGATE_WAIT", "waitForDatabase"),
        ("SCHEMAGATE_DIR", "source.dir"),
        ("SCHEMAGATE_AUTO_MIGRATE", "sidecar.autoMigrate"),
        ("SCHEMAGATE_EXEC_ONCE", "execOnce"),
        ("SCHEMAGATE_PUSHGATEWAY_URL", "pushgatewayUrl"),
        ("SCHEMAGATE_LISTEN", "sidecar.port"),
        ("SCHEMAGATE_ROLE", "role"),
    ] {
        let env = format!(r#"migrations.env=[{{"name":"{variable}","value":"1"}}]"#);
        refused(
            &["--set-json", &env],
            &format!("migrations.env has {variable}: set migrations.{value} instead"),
        );
    }
    let url = r#"migrations.env=[{"name":"SCHEMAGATE_DATABASE_URL","value":"postgres://db"}]"#;
    refused(&["--set-json", url], "take one of them");
    let twice = r#"migrations.env=[{"name":"PGHOST","value":"a"},{"name":"PGHOST","value":"b"}]"#;
    refused(&["--set-json", twice], "has a name twice");
}

#[test]
fn a_database_must_be_named() {
    template(&[]).refuses("nothing says where the database is: set migrations.existingSecret");
    template(&[
        "--set-json",
        r#"migrations.env=[{"name":"PGHOST","value":"db"}]"#,
    ])
    .must();
    template(&[
        "--set-json",
        r#"migrations.envFrom=[{"secretRef":{"name":"db"}}]"#,
    ])
    .must();
}

#[test]
fn sources() {
    for (source, sentence) in [
        (
            r#"{"type":"configMap"}"#,
            "set source.configMap.name to one that is there",
        ),
        (
            r#"{"type":"configMap","configMap":{"name":"a","files":{"b":"c"}}}"#,
            "has a name and files",
        ),
        (
            r#"{"type":"configMap","configMap":{"name":"a","archive":"m.zip"}}"#,
            "which ends with .tar.gz",
        ),
        (
            r#"{"type":"imageVolume"}"#,
            "set source.imageVolume.reference",
        ),
        (
            r#"{"type":"emptyDir","emptyDir":{"image":"a"}}"#,
            "set source.emptyDir.image and source.emptyDir.path",
        ),
    ] {
        refused(
            &["--set-json", &format!("migrations.source={source}")],
            sentence,
        );
    }
    refused(
        &["--kube-version", "1.32", "--set-json", super::SOURCES[2]],
        "which Kubernetes has from 1.33 on (by default from 1.35 on), and this is v1.32",
    );
    refused(
        &["--set", "migrations.backup.enabled=true"],
        "name the PersistentVolumeClaim",
    );
}

#[test]
fn a_config_map_ends_at_a_mebibyte() {
    let values = tempfile::NamedTempFile::new().unwrap();
    let text = format!(
        "migrations: {{source: {{type: configMap, configMap: {{files: {{0001_a.sql: \"{}\"}}}}}}}}",
        "-".repeat(1_048_570)
    );
    std::fs::write(values.path(), text).unwrap();
    refused(
        &["--values", values.path().to_str().unwrap()],
        "has 1048580 bytes, and a ConfigMap ends at 1048576: make one with a .tar.gz",
    );
}

#[test]
fn all_mistakes_at_once() {
    let said = template(&[
        "--set",
        "migrations.command=rake",
        "--set",
        "migrations.timeout=9m",
    ]);
    for sentence in [
        "migrations.command is a string",
        "migrations.timeout is 540 s",
        "nothing says where",
    ] {
        said.refuses(sentence);
    }
}

#[test]
fn what_the_schema_says() {
    for (set, words) in [
        ("migrations.timout=3", "timout"),
        ("migrations.mode=cronjob", "mode"),
        ("migrations.retries=many", "retries"),
        ("image.digest=latest", "digest"),
        ("migrations.source.dir=migrations", "dir"),
        ("migration.timeout=3", "migration"),
    ] {
        let said = template(&["--set", SECRET, "--set", set]);
        said.refuses("values don't meet the specifications of the schema");
        said.refuses(words);
    }
}
