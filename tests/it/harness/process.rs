//! Small things about processes that need no `unsafe`.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::process::{Command, Output};

/// Sends a signal by name (`TERM`, `KILL`, `STOP`, …).
pub(crate) fn signal(pid: u32, name: &str) {
    // The shell's own `kill`: a bare Debian has no other.
    let status = Command::new("sh")
        .args([
            "-c",
            "kill -s \"$1\" \"$2\"",
            "kill",
            name,
            &pid.to_string(),
        ])
        .status()
        .expect("sh starts");
    assert!(status.success(), "signal {name} to {pid}");
}

/// Whether a process exists and is not only a zombie.
pub(crate) fn is_alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        let state = stat.rsplit(") ").next().unwrap_or_default();
        !state.starts_with('Z')
    })
}

/// A figure in KiB from `/proc/PID/status`, such as `VmHWM` or `RssAnon`. `None` once the process has ended.
pub(crate) fn memory_kib(pid: u32, key: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with(key))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Servers and PgBouncer refuse to run as root: then they run as the user that Debian's package made.
pub(crate) fn as_server_user(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    // The checkout may lie where that user may not be.
    command.current_dir("/");
    command
        .args([
            "--reuid=postgres",
            "--regid=postgres",
            "--clear-groups",
            "--",
        ])
        .arg(program);
    command
}

/// Gives a folder to the user that servers run as.
pub(crate) fn give_to_server_user(path: &Path) {
    if is_root() {
        let (uid, gid) = postgres_ids();
        chown(path, Some(uid), Some(gid)).expect("chown to postgres");
    }
}

pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").expect("/proc is mounted").uid() == 0
}

fn postgres_ids() -> (u32, u32) {
    let passwd = fs::read_to_string("/etc/passwd").expect("/etc/passwd");
    let ids = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some("postgres")).then_some(())?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some((uid, gid))
    });
    ids.expect("no user postgres: run `make setup`")
}

/// Runs a command that must succeed; the failure shows all that it said.
#[track_caller]
pub(crate) fn must(command: &mut Command) -> Output {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}; run `make setup`"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// The permission bits of a file.
pub(crate) fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("the file").mode() & 0o7777
}
