//! `--from-dump`: what the throwaway database holds before the first migration.

use std::path::Path;

use super::Error;
use crate::{
    exit::ExitStatus,
    sql::{Options, Script},
};

/// A dump that can be restored.
#[derive(Debug)]
pub struct Dump {
    /// Its file as it was given.
    pub path: String,
    /// Its statements.
    pub script: Script,
}

// === impl Dump ===

impl Dump {
    /// Reads a file of SQL, as `pg_dump` writes it unless it is asked for another format.
    ///
    /// # Errors
    ///
    /// Another format, with the command that makes SQL of it; statements that need more than one transaction or `psql`.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let shown = path.display().to_string();
        let refused = |why: &str, next: String| {
            let what = format!("--from-dump {shown}: {why}");
            Error::new(ExitStatus::Usage, what, next)
        };
        let word = quoted(&shown);
        let convert =
            || format!("make SQL of it: pg_restore --no-owner --no-privileges -f dump.sql {word}");
        if path.is_dir() {
            return Err(refused("a folder, and no SQL", convert()));
        }
        let bytes = std::fs::read(path).map_err(|error| {
            refused(
                &error.to_string(),
                "name a file that can be read".to_owned(),
            )
        })?;
        if bytes.starts_with(b"PGDMP") || bytes.starts_with(b"toc.dat\0") {
            return Err(refused("an archive of pg_dump, and no SQL", convert()));
        }
        if bytes.starts_with(b"\x1f\x8b") {
            return Err(refused(
                "compressed",
                format!("gunzip it first: gunzip -k {word}"),
            ));
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            let next = "dump with pg_dump --encoding=UTF8".to_owned();
            refused(&format!("byte {at} is no UTF-8"), next)
        })?;
        let script = prepare(text).map_err(|issues| {
            refused(
                &issues.join("; "),
                "dump one database, with pg_dump and without --create".to_owned(),
            )
        })?;
        Ok(Self {
            path: shown,
            script,
        })
    }
}

fn prepare(text: String) -> Result<Script, Vec<String>> {
    let options = Options {
        marker: None,
        in_transaction: true,
    };
    let told = |issues: Vec<crate::sql::Issue>| issues.iter().map(ToString::to_string).collect();
    let script = Script::prepare(text, options).map_err(told)?;
    let summary = script.summary();
    if !summary.refused.is_empty() {
        return Err(told(summary.refused.clone()));
    }
    match summary.bare.as_ref().or(summary.boundary.as_ref()) {
        Some(mark) => Err(vec![format!(
            "line {}: {} cannot run in the one transaction that restores it",
            mark.line, mark.what
        )]),
        None => Ok(script),
    }
}

/// A path as it can be typed.
fn quoted(path: &str) -> String {
    format!("'{}'", path.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], expected: Result<usize, &str>) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let found = Dump::read(file.path()).map(|dump| dump.script.summary().statements);
        match (found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected),
            (Err(error), Err(expected)) => {
                let told = format!("{} / {}", error.what, error.next);
                assert!(told.contains(expected), "{told}");
                assert_eq!(error.status, ExitStatus::Usage);
            }
            (found, expected) => panic!("{found:?} is not {expected:?}"),
        }
    }

    #[test]
    fn only_sql_is_read() {
        check(
            b"\\restrict abc\nCREATE TABLE t ();\nCOPY t FROM stdin;\n1\n\\.\n\\unrestrict abc\n",
            Ok(2),
        );
        check(b"BEGIN; CREATE TABLE t (); COMMIT;", Ok(1));
        check(
            b"PGDMP\x01\x0e",
            Err("pg_restore --no-owner --no-privileges -f dump.sql '"),
        );
        check(b"toc.dat\0\0", Err("pg_restore"));
        check(b"\x1f\x8b\x08", Err("gunzip"));
        check(b"SELECT '\xff'", Err("byte 8 is no UTF-8"));
        check(b"CREATE TABLE t ();\n\\connect shop\n", Err("line 2"));
        check(
            b"SELECT 1;\nCREATE DATABASE shop;",
            Err("line 2: CREATE DATABASE"),
        );
        let folder = tempfile::tempdir().unwrap();
        assert!(
            Dump::read(folder.path())
                .unwrap_err()
                .what
                .contains("a folder")
        );
        let missing = folder.path().join("none");
        assert!(
            Dump::read(&missing)
                .unwrap_err()
                .next
                .contains("can be read")
        );
    }
}
