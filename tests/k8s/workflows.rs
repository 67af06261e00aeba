//! The workflows: read by actionlint and shellcheck, pinned, and their shell run for real.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::harness::{Database, Folder, Server};
use crate::tools::{Said, actionlint, repository, run, yaml};

fn files() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = [".github/workflows", "k8s/examples"]
        .iter()
        .flat_map(|folder| fs::read_dir(repository(folder)).expect(folder))
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|end| end == "yml"))
        .collect();
    files.sort();
    assert!(files.len() >= 4, "{files:?}");
    files
}

/// Every step of a workflow.
fn steps(workflow: &Value) -> Vec<Value> {
    let jobs = workflow["jobs"].as_object().unwrap().values();
    jobs.filter_map(|job| job["steps"].as_array())
        .flatten()
        .cloned()
        .collect()
}

/// The shell of a step by its name.
#[track_caller]
fn script(file: &str, name: &str) -> String {
    let workflow = yaml(&fs::read_to_string(repository(file)).unwrap());
    let steps = steps(&workflow);
    let step = steps.iter().find(|step| step["name"] == name);
    step.unwrap_or_else(|| panic!("no step {name:?} in {file}"))["run"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn actionlint_has_nothing_to_say() {
    // It asks shellcheck about every script, and says nothing where there is none.
    run(Command::new("shellcheck").arg("--version"), "").must();
    for file in files() {
        let said = actionlint(&file);
        assert!(said.success && said.stdout.is_empty(), "{said}");
    }
    let broken = Folder::empty();
    broken.write(
        "w.yml",
        b"on: push\njobs:\n  a:\n    runs-on: ubuntu-24.04\n    steps:\n      - run: echo $x | grep $y\n",
    );
    actionlint(&broken.path().join("w.yml")).refuses("SC2086");
}

#[test]
fn every_action_is_pinned_by_its_commit() {
    let mut pinned = 0;
    for file in files() {
        let text = fs::read_to_string(&file).unwrap();
        for line in text.lines().filter(|line| line.contains("uses: ")) {
            let (_, reference) = line.split_once("uses: ").unwrap();
            if reference.starts_with("./") {
                continue;
            }
            let (_, rest) = reference.split_once('@').expect("a version");
            let (commit, version) = rest
                .split_once(" # v")
                .unwrap_or_else(|| panic!("{}: {line}", file.display()));
            let is_commit = commit.len() == 40 && commit.chars().all(|c| c.is_ascii_hexdigit());
            assert!(
                is_commit && version.contains('.'),
                "{}: {line}",
                file.display()
            );
            pinned += 1;
        }
        // The same action is the same commit everywhere.
        assert!(!text.contains("pull_request_target"), "{}", file.display());
    }
    assert!(pinned >= 15, "{pinned}");
    let all: String = files()
        .iter()
        .map(|file| fs::read_to_string(file).unwrap())
        .collect();
    let mut uses: Vec<&str> = all
        .lines()
        .filter_map(|line| line.split_once("uses: "))
        .map(|(_, uses)| uses.trim())
        .collect();
    uses.sort_unstable();
    uses.dedup();
    let mut names: Vec<&str> = uses
        .iter()
        .map(|uses| uses.split('@').next().unwrap())
        .collect();
    names.dedup();
    assert_eq!(names.len(), uses.len(), "one version of each: {uses:?}");
}

#[test]
fn tokens_may_only_read_unless_a_job_says_more() {
    for file in files() {
        let workflow = yaml(&fs::read_to_string(&file).unwrap());
        assert_eq!(
            workflow["permissions"],
            serde_json::json!({"contents": "read"}),
            "{}",
            file.display()
        );
        for step in steps(&workflow) {
            if step["uses"]
                .as_str()
                .is_some_and(|uses| uses.starts_with("actions/checkout@"))
            {
                assert_eq!(
                    step["with"]["persist-credentials"],
                    "false",
                    "{}",
                    file.display()
                );
            }
            let script = step["run"].as_str().unwrap_or_default();
            assert!(
                !script.contains("${{"),
                "a script takes values from its environment: {script}"
            );
        }
    }
}

#[test]
fn ci_calls_the_recipes() {
    let workflow = yaml(&fs::read_to_string(repository(".github/workflows/ci.yml")).unwrap());
    let runs: Vec<String> = steps(&workflow)
        .iter()
        .filter_map(|step| step["run"].as_str().map(str::to_owned))
        .collect();
    for recipe in [".ci/run", "make image", "tests/k8s/e2e.sh schemagate:dev"] {
        assert!(
            runs.iter().any(|run| run == recipe),
            "{recipe} in {runs:#?}"
        );
    }
    assert!(
        fs::read_to_string(repository(".ci/run"))
            .unwrap()
            .contains("make --no-print-directory test")
    );
}

// === the pull request of a team ===

const EXAMPLE: &str = "k8s/examples/migrations-image.yml";

/// A repository of a team, with a base branch and what a pull request adds.
struct Team<'database> {
    database: &'database Database<'database>,
    folder: Folder,
    temp: Folder,
    base: String,
}

impl<'database> Team<'database> {
    fn new(
        database: &'database Database<'database>,
        base: &[(&str, &str)],
        added: &[(&str, &str)],
    ) -> Self {
        let folder = Folder::empty();
        let mut team = Self {
            database,
            folder,
            temp: Folder::empty(),
            base: String::new(),
        };
        team.git(&["init", "--quiet"]);
        team.folder.write("README.md", b"a shop\n");
        team.commit(base);
        team.base = team.git(&["rev-parse", "HEAD"]).trim().to_owned();
        team.commit(added);
        team
    }

    fn commit(&self, files: &[(&str, &str)]) {
        for (name, text) in files {
            self.folder
                .write(&format!("migrations/{name}"), text.as_bytes());
        }
        self.git(&["add", "."]);
        self.git(&[
            "-c",
            "user.name=a",
            "-c",
            "user.email=a@example.com",
            "commit",
            "--quiet",
            "-m",
            "c",
        ]);
    }

    #[track_caller]
    fn git(&self, arguments: &[&str]) -> String {
        run(
            Command::new("git")
                .arg("-C")
                .arg(self.folder.path())
                .args(arguments),
            "",
        )
        .must()
    }

    /// A step of the workflow, as the runner would run it.
    fn step(&self, name: &str) -> Said {
        let binary = Path::new(env!("CARGO_BIN_EXE_schemagate"))
            .parent()
            .unwrap();
        let mut bash = Command::new("bash");
        bash.args([
            "--noprofile",
            "--norc",
            "-eo",
            "pipefail",
            "-c",
            &script(EXAMPLE, name),
        ])
        .current_dir(self.folder.path())
        .env_clear()
        .env("PATH", format!("{}:/usr/bin:/bin", binary.display()))
        .env("HOME", self.temp.path())
        .env("RUNNER_TEMP", self.temp.path())
        .env("GITHUB_STEP_SUMMARY", self.temp.path().join("summary.md"))
        .env("BASE", &self.base)
        .env("SCHEMAGATE_DATABASE_URL", self.database.url())
        .env("SCHEMAGATE_DIR", "migrations");
        run(&mut bash, "")
    }

    fn plan(&self) -> String {
        let plan = fs::read_to_string(self.temp.path().join("plan.md")).unwrap();
        assert_eq!(
            fs::read_to_string(self.temp.path().join("summary.md")).unwrap(),
            plan
        );
        plan
    }
}

const VALIDATE: &str = "Everything from nothing, again, down and up";
const PLAN: &str = "What the pull request adds, on the schema of the base branch";
const LINT: &str = "What it risks; destructive and unapproved ends with 7";

#[test]
fn a_pull_request_is_validated_planned_and_linted() {
    let database = Server::debian().database();
    let team = Team::new(
        &database,
        &[("0001_a.sql", "CREATE TABLE a (n int, m int);")],
        &[("0002_m.sql", "ALTER TABLE a DROP COLUMN m;")],
    );
    team.step(VALIDATE).must();
    team.step(PLAN).must();
    let plan = team.plan();
    assert!(
        plan.contains("0002") && plan.contains("destructive") && !plan.contains("0001_a.sql"),
        "{plan}"
    );
    let lint = team.step(LINT);
    assert!(!lint.success, "{lint}");
    assert!(
        lint.stdout.contains("::error file=migrations/0002_m.sql"),
        "{lint}"
    );
    assert!(!lint.stdout.contains("0001_a.sql"), "{lint}");
}

#[test]
fn a_pull_request_that_is_harmless_passes() {
    let database = Server::debian().database();
    let team = Team::new(
        &database,
        &[
            ("0001_a.sql", "CREATE TABLE a (n int);"),
            (
                "0002_gone.sql",
                "-- schemagate: phase=contract approve=destructive reason=\"old\"\nDROP TABLE a;",
            ),
        ],
        &[("0003_b.sql", "CREATE TABLE b (n int);")],
    );
    for step in [VALIDATE, PLAN, LINT] {
        team.step(step).must();
    }
    assert!(team.plan().contains("0003"), "{}", team.plan());
}

#[test]
fn the_first_pull_request_has_no_migrations_to_compare_with() {
    let database = Server::debian().database();
    let team = Team::new(&database, &[], &[("0001_a.sql", "CREATE TABLE a (n int);")]);
    for step in [VALIDATE, PLAN, LINT] {
        team.step(step).must();
    }
    assert!(team.plan().contains("0001"), "{}", team.plan());
}
