//! Who lives below us.
//!
//! A process group is left by whoever wants to (`setsid`); descent is not, once orphans are given to us.

use std::fs;

use rustix::process::{Pid, getpid};

/// What `/proc/PID/stat` says (proc(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Process {
    pid: i32,
    parent: i32,
    /// A zombie has ended, and waits for its parent to take note.
    ended: bool,
}

/// Every living process below this one, children before grandchildren.
///
/// A look at a moving scene: what is started meanwhile is missing.
pub(super) fn below_us() -> Vec<Pid> {
    let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
    let all: Vec<Process> = numbers
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter_map(|pid| parse(&fs::read(format!("/proc/{pid}/stat")).ok()?))
        .collect();
    below(getpid().as_raw_pid(), &all)
        .into_iter()
        .filter_map(Pid::from_raw)
        .collect()
}

fn below(root: i32, all: &[Process]) -> Vec<i32> {
    let mut found = Vec::new();
    let mut parents = vec![root];
    while let Some(parent) = parents.pop() {
        let children = all.iter().filter(|process| process.parent == parent);
        for child in children.filter(|child| !child.ended) {
            found.push(child.pid);
            parents.push(child.pid);
        }
    }
    found
}

/// The name, the second field, may hold anything, also spaces and brackets.
fn parse(stat: &[u8]) -> Option<Process> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let pid = stat.split(|byte| *byte == b' ').next()?;
    let mut fields = std::str::from_utf8(stat.get(end + 1..)?)
        .ok()?
        .split_ascii_whitespace();
    let state = fields.next()?;
    Some(Process {
        pid: std::str::from_utf8(pid).ok()?.parse().ok()?,
        parent: fields.next()?.parse().ok()?,
        ended: matches!(state, "Z" | "X"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_whatever_the_name() {
        let process = |pid, parent, ended| Some(Process { pid, parent, ended });
        for (stat, expected) in [
            (&b"7 (sleep) S 3 7 7 0"[..], process(7, 3, false)),
            (b"7 (a) Z 9 (b)) Z 3 7 7 0", process(7, 3, true)),
            (b"7 (\xff\n) ) R 3 7", process(7, 3, false)),
            (b"7 (sleep)", None),
            (b"", None),
        ] {
            assert_eq!(parse(stat), expected, "{stat:?}");
        }
    }

    #[test]
    fn all_generations_are_found() {
        let all = [(2, 1), (3, 2), (4, 3), (5, 1), (6, 5), (7, 3)].map(|(pid, parent)| Process {
            pid,
            parent,
            ended: pid == 7,
        });
        assert_eq!(below(2, &all), [3, 4]);
        let mut found = below(1, &all);
        found.sort_unstable();
        assert_eq!(found, [2, 3, 4, 5, 6]);
        assert!(below(6, &all).is_empty());
    }
}
