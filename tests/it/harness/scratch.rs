//! One scratch folder for the test process, and a watcher that clears up after it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Waits for the end of the test process (its end of the pipe closes, whatever ended it), stops every server that has
/// left a pid file, and removes the folder. It has its own process group, so a Ctrl-C for the tests does not reach it.
const WATCHER: &str = r#"
trap '' HUP INT TERM
cat >/dev/null
pids() { for file in "$1"/*/data/postmaster.pid "$1"/*/pgbouncer.pid; do [ -f "$file" ] && head -n 1 "$file"; done; }
for pid in $(pids "$1"); do kill -s QUIT "$pid"; done
for turn in $(seq 100); do
    left=
    for pid in $(pids "$1"); do kill -s 0 "$pid" && left=yes; done
    [ -z "$left" ] && break
    sleep 0.1
done
for pid in $(pids "$1"); do kill -s KILL "$pid"; done
for mount in "$1"/*/mount; do [ -d "$mount" ] && umount "$mount"; done
rm -rf --one-file-system "$1"
"#;

struct Scratch {
    dir: PathBuf,
    /// Held for its standard input, which closes with this process.
    _watcher: Child,
}

/// A new folder inside the scratch folder of this test process; `kind` makes it readable in a message.
pub(crate) fn new_dir(kind: &str) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let dir = base().join(format!("{kind}{number}"));
    fs::create_dir(&dir).expect("a folder inside the scratch folder");
    dir
}

/// Short (a unix socket's path has 107 bytes at most) and passable for the user that servers run as.
fn base() -> &'static Path {
    static SCRATCH: OnceLock<Scratch> = OnceLock::new();
    &SCRATCH.get_or_init(create).dir
}

fn create() -> Scratch {
    let dir = tempfile::Builder::new()
        .prefix("schemagate-it-")
        .permissions(fs::Permissions::from_mode(0o755))
        .tempdir()
        .expect("a temporary folder")
        .keep();
    let watcher = Command::new("sh")
        .args(["-c", WATCHER, "watcher"])
        .arg(&dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("sh starts");
    Scratch {
        dir,
        _watcher: watcher,
    }
}
