//! Containers and networks that go with their value.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::engine::{ask, docker, limited, new_dir, new_name, said, text};
use crate::harness::process::must;

/// How the image is meant to be run: nothing may be written, nothing is permitted.
const LOCKED_DOWN: [&str; 5] = [
    "--read-only",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--user=65532",
    "--pids-limit=32",
];

pub(crate) struct Network {
    name: String,
}

/// A call of `docker run`.
#[derive(Clone)]
pub(crate) struct Run {
    options: Vec<String>,
    image: String,
    words: Vec<String>,
}

pub(crate) struct Container {
    pub(crate) name: String,
    /// Where it finds `/dev/termination-log`.
    message: Option<PathBuf>,
}

/// What a container came to, seen from outside.
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) said: String,
    /// What it left in `/dev/termination-log`.
    pub(crate) message: String,
}

// === impl Network ===

impl Network {
    pub(crate) fn new() -> Self {
        let name = new_name("net");
        must(&mut docker(&["network", "create", &name]));
        Self { name }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = docker(&["network", "rm", &self.name]).output();
    }
}

// === impl Run ===

impl Run {
    /// An image as it comes.
    pub(crate) fn new(image: &str) -> Self {
        Self {
            options: Vec::new(),
            image: image.to_owned(),
            words: Vec::new(),
        }
    }

    /// An image with schemagate in it, locked down.
    pub(crate) fn locked_down(image: &str) -> Self {
        LOCKED_DOWN.into_iter().fold(Self::new(image), Self::option)
    }

    pub(crate) fn option(mut self, option: &str) -> Self {
        self.options.push(option.to_owned());
        self
    }

    pub(crate) fn env(self, name: &str, value: &str) -> Self {
        self.option(&format!("--env={name}={value}"))
    }

    /// In this network, where it is found by that name.
    pub(crate) fn network(self, network: &Network, alias: &str) -> Self {
        self.option(&format!("--network={}", network.name))
            .option(&format!("--network-alias={alias}"))
    }

    pub(crate) fn mount(self, folder: &Path, at: &str) -> Self {
        self.option(&format!("--volume={}:{at}", folder.display()))
    }

    pub(crate) fn read_only(self, folder: &Path, at: &str) -> Self {
        self.option(&format!("--volume={}:{at}:ro", folder.display()))
    }

    /// What comes after the image's name.
    pub(crate) fn words(mut self, words: &[&str]) -> Self {
        self.words = words.iter().map(|&word| word.to_owned()).collect();
        self
    }

    #[track_caller]
    pub(crate) fn start(&self) -> Container {
        self.start_with(None)
    }

    /// Runs to its end, with a file for its last words as the kubelet makes it: empty, and anybody may write to it.
    #[track_caller]
    pub(crate) fn to_end(&self) -> Ended {
        self.start_with_message().end()
    }

    #[track_caller]
    pub(crate) fn start_with_message(&self) -> Container {
        let file = new_dir("message").join("log");
        fs::write(&file, "").expect("a file");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).expect("chmod");
        let run = self.clone().mount(&file, "/dev/termination-log");
        run.start_with(Some(file))
    }

    #[track_caller]
    fn start_with(&self, message: Option<PathBuf>) -> Container {
        let container = Container {
            name: new_name("run"),
            message,
        };
        must(
            docker(&["run", "--detach", "--name", &container.name])
                .args(&self.options)
                .arg(&self.image)
                .args(&self.words),
        );
        container
    }
}

// === impl Container ===

impl Container {
    pub(crate) fn inspect(&self, format: &str) -> String {
        ask(&["inspect", "--format", format, &self.name])
    }

    pub(crate) fn logs(&self) -> String {
        said(&must(&mut docker(&["logs", &self.name])))
    }

    pub(crate) fn is_running(&self) -> bool {
        self.inspect("{{.State.Running}}") == "true"
    }

    /// Waits for its end.
    pub(crate) fn end(self) -> Ended {
        // One that should have ended and serves instead would be waited for for ever.
        let code = text(&must(&mut limited(&["wait", &self.name])).stdout);
        let code = code.trim_end().parse().expect("an exit code");
        let message = self.message.as_ref().map(fs::read_to_string);
        Ended {
            code,
            said: self.logs(),
            message: message.map_or_else(String::new, |text| text.expect("the last words")),
        }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = docker(&["rm", "--force", "--volumes", &self.name]).output();
    }
}

// === impl Ended ===

impl Ended {
    #[track_caller]
    pub(crate) fn assert_code(&self, code: i32) -> &Self {
        assert!(self.code == code, "expected exit {code}\n{self}");
        self
    }

    #[track_caller]
    pub(crate) fn assert_says(&self, text: &str) -> &Self {
        assert!(self.said.contains(text), "no {text:?} in\n{self}");
        self
    }

    /// The last words have this in them, and nothing is lost on the way to the log.
    #[track_caller]
    pub(crate) fn assert_last_words(&self, text: &str) -> &Self {
        assert!(self.message.contains(text), "no {text:?} in\n{self}");
        self
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            f,
            "exit {}\n{}--- /dev/termination-log\n{}",
            self.code, self.said, self.message
        )
    }
}
