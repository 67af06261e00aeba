//! Where the programs of a PostgreSQL server are on this machine.

use std::{
    cmp::Reverse,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::Error;
use crate::exit::ExitStatus;

/// Where the packages of Debian and of the PostgreSQL project keep each major version: the folder, what stands before
/// the version, and what behind it.
const PACKAGES: [(&str, &str, &str); 2] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
];

/// The folder with `initdb` and `postgres`: along `path` (the variable PATH), else the newest installed version, else
/// what `pg_config` says.
///
/// # Errors
///
/// None is found.
pub(super) fn find(path: Option<&OsStr>) -> Result<PathBuf, Error> {
    let along = path.map(std::env::split_paths).into_iter().flatten();
    let mut candidates: Vec<PathBuf> = along.collect();
    candidates.extend(
        PACKAGES
            .iter()
            .flat_map(|(folder, before, behind)| versions(Path::new(folder), before, behind)),
    );
    let found = candidates.into_iter().find(|folder| has_server(folder));
    found.or_else(configured).ok_or_else(|| {
        Error::new(
            ExitStatus::Usage,
            "--server auto: no PostgreSQL server is on this machine: neither in PATH nor in /usr/lib/postgresql",
            "install one (`apt-get install postgresql`), add the folder of `initdb` and `postgres` to PATH, or leave \
             --server away and name a server",
        )
    })
}

fn has_server(folder: &Path) -> bool {
    ["initdb", "postgres"]
        .iter()
        .all(|program| folder.join(program).is_file())
}

/// The installed versions, newest first.
fn versions(folder: &Path, before: &str, behind: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| {
            let name = entry.file_name();
            let version = name.to_str()?.strip_prefix(before)?.parse().ok()?;
            Some((version, entry.path().join(behind)))
        })
        .collect();
    found.sort_by_key(|(version, _)| Reverse(*version));
    found.into_iter().map(|(_, folder)| folder).collect()
}

fn configured() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    let folder = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim_end());
    has_server(&folder).then_some(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_wins_then_the_newest() {
        let scratch = tempfile::tempdir().unwrap();
        for version in ["9", "15", "x", "14"] {
            let bin = scratch.path().join(version).join("bin");
            fs::create_dir_all(&bin).unwrap();
            fs::write(bin.join("initdb"), "").unwrap();
            if version != "15" {
                fs::write(bin.join("postgres"), "").unwrap();
            }
        }
        let bin = |version: &str| scratch.path().join(version).join("bin");
        assert_eq!(
            versions(scratch.path(), "", "bin"),
            ["15", "14", "9"].map(bin)
        );
        let path = std::env::join_paths([bin("15"), bin("9"), bin("14")]).unwrap();
        assert_eq!(find(Some(&path)).unwrap(), bin("9"));
    }
}
