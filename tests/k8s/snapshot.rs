//! Rendered output beside the file that a person has read.

use std::{env, fs};

use crate::tools::repository;

/// Compares with `tests/k8s/snapshots/NAME`. `UPDATE_SNAPSHOTS=1` writes the file instead: read what has changed, then commit it.
#[track_caller]
pub(crate) fn assert_snapshot(name: &str, actual: &str) {
    let path = repository("tests/k8s/snapshots").join(name);
    if env::var_os("UPDATE_SNAPSHOTS").is_some() {
        assert!(
            env::var_os("CI").is_none(),
            "a snapshot is not written where nobody reads it"
        );
        fs::create_dir_all(path.parent().expect("a folder")).expect("the folder of snapshots");
        fs::write(&path, actual).expect("the snapshot");
        return;
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    if expected == actual {
        return;
    }
    let line = expected
        .lines()
        .zip(actual.lines())
        .take_while(|(expected, actual)| expected == actual)
        .count();
    panic!(
        "{} differs from line {}: expected {:?}, is {:?}; UPDATE_SNAPSHOTS=1 writes it anew\n{actual}",
        path.display(),
        line + 1,
        expected.lines().nth(line),
        actual.lines().nth(line),
    );
}
