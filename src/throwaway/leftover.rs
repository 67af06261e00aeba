//! Folders of servers whose run and whose keeper were both killed.

use std::{
    fs::{self, File, Metadata},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    thread::sleep,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use super::server::User;

/// How the names of our folders begin.
pub(super) const PREFIX: &str = "schemagate-validate-";
/// Locked (flock(2)) as long as a run or its keeper lives.
pub(super) const LOCK: &str = "lock";
/// Where the server's data is.
pub(super) const DATA: &str = "data";
/// How long a server may take to end.
const END_LIMIT: Duration = Duration::from_secs(5);

/// Removes the folders that nobody has locked, with the servers that may still run in them, and names them. Only what
/// belongs to us or to the server's user: `/tmp` is everybody's.
pub(super) fn remove_folders(temp: &Path, user: &User) -> Vec<PathBuf> {
    let entries = fs::read_dir(temp).into_iter().flatten().flatten();
    let ours = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX));
    let folders = ours.map(|entry| entry.path());
    folders
        .filter(|folder| remove_if_dead(folder, user))
        .collect()
}

fn remove_if_dead(folder: &Path, user: &User) -> bool {
    let is_ours = |found: &Metadata| {
        found.uid() == user.own || user.switch.is_some_and(|(uid, _)| found.uid() == uid)
    };
    let Some(found) = fs::symlink_metadata(folder)
        .ok()
        .filter(Metadata::is_dir)
        .filter(is_ours)
    else {
        return false;
    };
    let lock = match File::open(folder.join(LOCK)) {
        Ok(lock) => match lock.try_lock() {
            Ok(()) => Some(lock),
            Err(_) => return false,
        },
        // Half removed by whoever was killed then.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(_) => return false,
    };
    end_server(folder, found.uid());
    let removed = remove(folder);
    drop(lock);
    removed
}

/// Removes a folder in which a process may just be writing its last.
pub(super) fn remove(folder: &Path) -> bool {
    for _ in 0..50 {
        match fs::remove_dir_all(folder) {
            Ok(()) => return true,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return true,
            Err(_) => sleep(Duration::from_millis(20)),
        }
    }
    false
}

/// Ends the server of a folder, if it is one: a process of that user that works in the folder's data.
fn end_server(folder: &Path, uid: u32) {
    let data = folder.join(DATA);
    let Some(pid) = postmaster(&data) else {
        return;
    };
    let place = format!("/proc/{}", pid.as_raw_nonzero());
    let is_it = || {
        let owner = fs::metadata(&place).is_ok_and(|found| found.uid() == uid);
        owner && fs::read_link(format!("{place}/cwd")).is_ok_and(|cwd| cwd == data)
    };
    let limit = Instant::now() + END_LIMIT;
    // SIGQUIT is an immediate shutdown, which gives shared memory back; SIGKILL would leave it.
    let mut signal = Signal::QUIT;
    while is_it() {
        let _ = kill_process(pid, signal);
        if Instant::now() > limit {
            if signal == Signal::KILL {
                return;
            }
            signal = Signal::KILL;
        }
        sleep(Duration::from_millis(50));
    }
}

/// The first line of `postmaster.pid`.
fn postmaster(data: &Path) -> Option<Pid> {
    let text = fs::read_to_string(data.join("postmaster.pid")).ok()?;
    Pid::from_raw(text.lines().next()?.trim().parse().ok()?)
}
