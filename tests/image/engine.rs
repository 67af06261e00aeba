//! The container engine: the one that answers, or else one that the tests start for themselves.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::harness::eventually::becomes_true;
use crate::harness::process::{is_root, must};

const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");

struct Engine {
    /// `DOCKER_HOST`; `None` is the default that answered.
    host: Option<String>,
    scratch: PathBuf,
    /// Held for its standard input, which closes with this process.
    _watcher: Child,
}

/// A path in the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(REPOSITORY).join(path)
}

/// Begins the name of everything that the tests make in the engine.
pub(crate) fn prefix() -> String {
    format!("schemagate-it-{}", std::process::id())
}

/// A name of its own; `kind` makes it readable in a message.
pub(crate) fn new_name(kind: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!(
        "{}-{kind}{}",
        prefix(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}

/// A new folder that goes with the tests. Containers may write to it, whoever they run as.
pub(crate) fn new_dir(kind: &str) -> PathBuf {
    let dir = engine().scratch.join(new_name(kind));
    fs::create_dir(&dir).expect("a folder inside the scratch folder");
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).expect("chmod");
    dir
}

/// A program that talks to the engine, such as `make image` or docker-compose.
pub(crate) fn program(name: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(name);
    command.current_dir(REPOSITORY).stdin(Stdio::null());
    // Cargo would build a crate again for whose script these have changed.
    for (name, _) in env::vars() {
        if name.starts_with("CARGO_") && name != "CARGO_HOME" {
            command.env_remove(name);
        }
    }
    if let Some(host) = &engine().host {
        command.env("DOCKER_HOST", host);
    }
    command
}

pub(crate) fn docker(args: &[&str]) -> Command {
    let mut command = program("docker");
    command.args(args);
    command
}

/// The same, ended after three minutes.
pub(crate) fn limited(args: &[&str]) -> Command {
    let mut command = program("timeout");
    command.args(["180", "docker"]).args(args);
    command
}

/// What a call that must succeed printed, without the line break at its end.
#[track_caller]
pub(crate) fn ask(args: &[&str]) -> String {
    text(&must(&mut docker(args)).stdout).trim_end().to_owned()
}

/// `docker build` by `BuildKit`. Debian's client brings it; a newer one needs the component buildx.
pub(crate) fn buildkit() -> Command {
    let newer = succeeds(docker(&["buildx", "version"]));
    let mut command = program(if newer { "docker" } else { "/usr/bin/docker" });
    command.env("DOCKER_BUILDKIT", "1").arg("build");
    command
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Both streams.
pub(crate) fn said(output: &Output) -> String {
    text(&output.stdout) + &text(&output.stderr)
}

fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        let scratch = tempfile::Builder::new()
            .prefix("schemagate-it-")
            .permissions(fs::Permissions::from_mode(0o755))
            .tempdir()
            .expect("a temporary folder")
            .keep();
        let mut version = Command::new("docker");
        version.arg("version");
        if succeeds(version) {
            let watcher = watcher(&["other", &scratch.to_string_lossy(), &prefix()]);
            return Engine {
                host: None,
                scratch,
                _watcher: watcher,
            };
        }
        start(scratch)
    })
}

fn start(scratch: PathBuf) -> Engine {
    assert!(
        is_root(),
        "no container engine answers (`docker version`), and only root can start one: start it, or set DOCKER_HOST"
    );
    let dir = scratch.join("engine");
    fs::create_dir(&dir).expect("a folder");
    let host = format!("unix://{}/docker.sock", dir.display());
    let watcher = watcher(&["own", &scratch.to_string_lossy()]);
    let answers = || {
        let mut version = Command::new("docker");
        version.arg("version").env("DOCKER_HOST", &host);
        succeeds(version)
    };
    assert!(
        becomes_true(answers),
        "the engine does not start; is everything installed (`make setup`)?\n{}",
        fs::read_to_string(dir.join("log")).unwrap_or_default()
    );
    Engine {
        host: Some(host),
        scratch,
        _watcher: watcher,
    }
}

/// It has its own process group, so a Ctrl-C for the tests does not reach it.
fn watcher(args: &[&str]) -> Child {
    Command::new(repository("tests/image/engine"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("tests/image/engine starts")
}

fn succeeds(mut command: Command) -> bool {
    let output = command.stdin(Stdio::null()).output();
    output.is_ok_and(|output| output.status.success())
}
