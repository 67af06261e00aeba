//! compose.yaml from nothing, with the example as it is and with one whose migration is broken.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::bases;
use crate::engine::{ask, new_dir, new_name, program, repository, said, text};
use crate::harness::eventually;
use crate::harness::process::must;
use crate::ways::answer;

/// What the engine calls the start of a container that has not been started.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// A project of its own; it goes with its value.
struct Project {
    name: String,
    file: PathBuf,
}

impl Project {
    /// The examples copied, so that a test may change them.
    fn new() -> Self {
        let folder = new_dir("compose");
        must(
            Command::new("cp")
                .args(["-R", "compose.yaml", "examples"])
                .arg(&folder)
                .current_dir(repository("image")),
        );
        Self {
            name: new_name("compose"),
            file: folder.join("compose.yaml"),
        }
    }

    fn migrations(&self) -> PathBuf {
        let folder = self.file.parent().expect("a folder");
        folder.join("examples/app/drizzle")
    }

    fn compose(&self, args: &[&str]) -> Command {
        let mut compose = program("docker-compose");
        compose
            .arg("--file")
            .arg(&self.file)
            .args(["--project-name", &self.name])
            .args(args)
            .env("POSTGRES_IMAGE", bases::postgres())
            .env("NODE_IMAGE", bases::node())
            .env("SCHEMAGATE_IMAGE", bases::schemagate())
            .env("MIGRATIONS_IMAGE", format!("{}-migrations", self.name))
            .env("APP_IMAGE", format!("{}-app", self.name))
            // Any port that is free.
            .env("APP_PORT", "0")
            .env("STATUS_PORT", "0");
        compose
    }

    fn up(&self, words: &[&str]) -> Output {
        let mut up = self.compose(&[&["up", "--detach"], words].concat());
        up.output().expect("docker-compose: run `make setup`")
    }

    #[track_caller]
    fn must_come_up(&self, words: &[&str]) {
        let output = self.up(words);
        assert!(
            output.status.success(),
            "{}\n{}",
            said(&output),
            self.logs("migrate")
        );
    }

    fn container(&self, service: &str) -> String {
        let ids = must(&mut self.compose(&["ps", "--quiet", service])).stdout;
        text(&ids).trim_end().to_owned()
    }

    fn inspect(&self, service: &str, format: &str) -> String {
        ask(&["inspect", "--format", format, &self.container(service)])
    }

    /// Whether a container of it was ever started. Older releases of compose make it only then.
    fn was_started(&self, service: &str) -> bool {
        !self.container(service).is_empty()
            && self.inspect(service, "{{.State.StartedAt}}") != NEVER
    }

    fn logs(&self, service: &str) -> String {
        said(&must(&mut self.compose(&["logs", "--no-color", service])))
    }

    #[track_caller]
    fn answers(&self, words: &str) {
        eventually!(
            answer(&self.container("app")).is_some_and(|text| text.contains(words)),
            "{}",
            self.logs("app")
        );
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        let _ = self.compose(&["down", "--volumes"]).output();
    }
}

/// Adds a file to the classic Drizzle folder, as drizzle-kit does.
fn add(folder: &Path, tag: &str, sql: &str) {
    let journal = folder.join("meta/_journal.json");
    let mut value: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&journal).expect("the journal")).expect("JSON");
    let entries = value["entries"].as_array_mut().expect("entries");
    let mut entry = entries.last().expect("an entry").clone();
    entry["idx"] = entries.len().into();
    entry["when"] = (entry["when"].as_u64().expect("a time") + 1000).into();
    entry["tag"] = tag.into();
    entries.push(entry);
    fs::write(journal, value.to_string()).expect("the journal");
    fs::write(folder.join(format!("{tag}.sql")), sql).expect("a file");
}

#[test]
fn up_from_nothing_and_again() {
    let project = Project::new();
    // Long enough to be seen.
    add(&project.migrations(), "0003_slow", "select pg_sleep(3);");
    project.must_come_up(&["--build"]);
    project.answers("The schema came first.");
    // Both are of the engine's clock.
    let ended = project.inspect("migrate", "{{.State.FinishedAt}}");
    let started = project.inspect("app", "{{.State.StartedAt}}");
    assert!(ended < started, "{ended} {started}");
    assert_eq!(project.inspect("migrate", "{{.State.ExitCode}}"), "0");
    let logs = project.logs("migrate");
    assert!(logs.contains("\"version\":\"0003_slow\""), "{logs}");
    eventually!(
        project.inspect("schema", "{{.State.Health.Status}}") == "healthy",
        "{}",
        project.logs("schema")
    );

    project.must_come_up(&[]);
    assert_eq!(project.inspect("migrate", "{{.State.ExitCode}}"), "0");
    let logs = project.logs("migrate");
    assert!(logs.contains("\"applied\":[]"), "{logs}");
    project.answers("The schema came first.");
}

#[test]
fn a_broken_migration_keeps_the_application_down_and_says_why() {
    let project = Project::new();
    add(
        &project.migrations(),
        "0003_broken",
        "alter table notse add column body text;",
    );
    let output = project.up(&["--build"]);
    assert!(!output.status.success(), "{}", said(&output));
    assert_eq!(project.inspect("migrate", "{{.State.ExitCode}}"), "5");
    let logs = project.logs("migrate");
    for words in ["0003_broken", "notse", "what to do"] {
        assert!(logs.contains(words), "{words}\n{logs}");
    }
    assert!(!project.was_started("app"));
    eventually!(
        project.logs("schema").contains("0003_broken"),
        "{}",
        project.logs("schema")
    );
    assert_ne!(
        project.inspect("schema", "{{.State.Health.Status}}"),
        "healthy"
    );

    // Mended, it comes up.
    let file = project.migrations().join("0003_broken.sql");
    fs::write(file, "alter table notes add column body text;").expect("a file");
    project.must_come_up(&["--build"]);
    project.answers("The schema came first.");
}
