//! The programs that `make setup` builds: helm, kubectl, actionlint.

use std::ffi::OsStr;
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// A path inside the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// What a program said, and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    command: String,
    pub(crate) success: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs `helm` in the repository.
pub(crate) fn helm(arguments: &[&str]) -> Said {
    // Neither a cluster nor what a person has configured may matter.
    let mut command = program("helm");
    for variable in ["HELM_CONFIG_HOME", "HELM_CACHE_HOME", "HELM_DATA_HOME"] {
        command.env(variable, repository("target/k8s/helm"));
    }
    run(command.env("KUBECONFIG", "/dev/null").args(arguments), "")
}

/// Runs `kubectl` in the repository, without a cluster.
pub(crate) fn kubectl(arguments: &[&str]) -> Said {
    run(
        program("kubectl")
            .env("KUBECONFIG", "/dev/null")
            .args(arguments),
        "",
    )
}

/// Runs `actionlint` on one workflow.
pub(crate) fn actionlint(workflow: &Path) -> Said {
    run(
        program("actionlint")
            .args(["-no-color", "-oneline"])
            .arg(workflow),
        "",
    )
}

/// Judges pod templates (a JSON list) as a namespace that enforces Pod Security `restricted` would.
pub(crate) fn restricted(templates: &str) -> Said {
    run(&mut program("restricted"), templates)
}

/// Validates YAML files, or standard input (`-`), and gives them back as a list in JSON.
pub(crate) fn kubernetes_validate<S: AsRef<OsStr>>(files: &[S], input: &str) -> Said {
    let peer = repository("tests/peers/kubernetes-validate");
    let mut command = Command::new(peer.join(".venv/bin/python"));
    command
        .arg(peer.join("validate.py"))
        .arg(repository("target/k8s/crds"))
        .args(files);
    run(&mut command, input)
}

/// Reads any YAML (workflows, tests of rules) as JSON, each scalar as text.
#[track_caller]
pub(crate) fn yaml(text: &str) -> Value {
    read_yaml(text, "BaseLoader")
}

/// Reads the values of a chart, with their types.
#[track_caller]
pub(crate) fn values(text: &str) -> Value {
    read_yaml(text, "SafeLoader")
}

#[track_caller]
fn read_yaml(text: &str, loader: &str) -> Value {
    let script = format!(
        "import json, sys, yaml; json.dump(yaml.load(sys.stdin, yaml.{loader}), sys.stdout)"
    );
    let python = repository("tests/peers/kubernetes-validate/.venv/bin/python");
    let said = run(Command::new(python).args(["-c", &script]), text).must();
    serde_json::from_str(&said).expect("JSON")
}

fn program(name: &str) -> Command {
    let mut command = Command::new(repository("target/k8s/bin").join(name));
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

/// Runs a command with text on its standard input.
pub(crate) fn run(command: &mut Command, input: &str) -> Said {
    let started = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child =
        started.unwrap_or_else(|error| panic!("{command:?}: {error}; run `make setup`"));
    let mut stdin = child.stdin.take().expect("a pipe");
    let output: Output = std::thread::scope(|scope| {
        // A program that reads none of it may end first.
        scope.spawn(move || drop(stdin.write_all(input.as_bytes())));
        child.wait_with_output().expect("the program's end")
    });
    Said {
        command: format!("{command:?}"),
        success: output.status.success(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

// === impl Said ===

impl Said {
    /// The program must have succeeded; gives what it wrote.
    #[track_caller]
    pub(crate) fn must(self) -> String {
        assert!(self.success, "{self}");
        self.stdout
    }

    /// The program must have refused, with these words.
    #[track_caller]
    pub(crate) fn refuses(&self, words: &str) {
        assert!(!self.success, "accepted: {self}");
        // A message may be folded by the program that prints it.
        let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let said = flat(&format!("{} {}", self.stdout, self.stderr));
        assert!(said.contains(&flat(words)), "no {words:?} in {self}");
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            command,
            success,
            stdout,
            stderr,
        } = self;
        write!(f, "{command}: success {success}\n{stderr}\n{stdout}")
    }
}
