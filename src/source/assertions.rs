//! The user's assertions: SQL files that must neither fail nor find anything.

use std::path::Path;

use super::{Error, folder::Kind, folder::Tree, unreadable, without_bom};
use crate::sql::{Options, Script};

/// A file of `SCHEMAGATE_VERIFY_DIR`.
#[derive(Debug, Clone)]
pub struct Assertion {
    /// The file's name.
    pub name: String,
    /// Its text; every statement of it only looks.
    pub script: Script,
}

// === impl Assertion ===

impl Assertion {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.script.statements().next().is_none()
    }
}

/// How a statement of an assertion may begin. The transaction is read-only and is rolled back, which the server sees to;
/// this list keeps out what would end it, what outlives a rollback (prepared statements, session locks by name, files),
/// and what returns rows whatever the schema is.
const WORDS: [&str; 7] = ["select", "with", "values", "table", "do", "call", "set"];

/// Reads every `*.sql` in the folder, in the order of their names; hidden ones and folders are left out.
///
/// # Errors
///
/// A folder that cannot be read or, unless `allow_empty`, has no such file; a file that is no text, or has a statement that
/// does more than look.
pub fn assertions(dir: &Path, allow_empty: bool) -> Result<Vec<Assertion>, Error> {
    let setting = |error: String| {
        Error::new(
            format!("SCHEMAGATE_VERIFY_DIR={}: {error}", dir.display()),
            "mount or copy the assertions there, or set SCHEMAGATE_VERIFY_DIR to where they are",
        )
    };
    let is_folder = std::fs::metadata(dir).map_err(|error| setting(error.to_string()))?;
    if !is_folder.is_dir() {
        return Err(setting("not a folder".to_owned()));
    }
    let tree = Tree::Folder(dir.to_owned());
    let names = tree.names()?;
    let mut found = Vec::new();
    let mut problems = Vec::new();
    for name in names.iter().filter(|name| name.is_sql()) {
        if let Kind::Other(why) = &name.kind {
            problems.push(format!("{}: {why}", name.name));
            continue;
        }
        let bytes = tree.bytes(&name.name);
        let bytes = bytes.map_err(|error| unreadable(&name.name, &error))?;
        match read(bytes) {
            Ok(script) => found.push(Assertion {
                name: name.name.clone(),
                script,
            }),
            Err(why) => problems.extend(why.iter().map(|why| format!("{} {why}", name.name))),
        }
    }
    Error::all(problems)?;
    if found.is_empty() && !allow_empty {
        return Err(setting("there is no *.sql in it".to_owned()));
    }
    Ok(found)
}

fn read(bytes: Vec<u8>) -> Result<Script, Vec<String>> {
    let text = String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        vec![format!(
            "byte {offset}: not valid UTF-8; save the file as UTF-8"
        )]
    })?;
    let script = Script::prepare(without_bom(text), Options::default())
        .map_err(|issues| issues.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    let problems: Vec<String> = script
        .statements()
        .filter_map(|statement| {
            let word = statement.text.split(|c: char| !c.is_ascii_alphabetic()).next()?;
            let word = word.to_ascii_lowercase();
            // A query may stand in parentheses.
            let looks = statement.text.starts_with('(') || WORDS.contains(&word.as_str());
            (!looks).then(|| {
                format!(
                    "line {}: an assertion only looks, in a transaction of its own: {} is refused, {} are not",
                    statement.line,
                    if word.is_empty() { "this".to_owned() } else { word.to_uppercase() },
                    "SELECT, WITH, VALUES, TABLE, DO, CALL and SET"
                )
            })
        })
        .collect();
    if problems.is_empty() {
        Ok(script)
    } else {
        Err(problems)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements() {
        let check = |text: &str, line: Option<&str>| match (read(text.as_bytes().to_vec()), line) {
            (Ok(_), None) => {}
            (Err(problems), Some(line)) => assert!(problems[0].starts_with(line), "{problems:?}"),
            (found, _) => panic!("{text}: {found:?}"),
        };
        for good in [
            "",
            "-- nothing\n",
            "\u{feff}SELECT 1;\r\nselect 2",
            "(SELECT 1) UNION (SELECT 2);",
            "/* a */ WITH a AS (SELECT 1) TABLE a; VALUES (1)",
            "DO $$ BEGIN NULL; COMMIT; END $$; SET LOCAL search_path = a",
            "SELECT 'COMMIT; DROP TABLE a'",
        ] {
            check(good, None);
        }
        for (bad, line) in [
            ("SELECT 1;\nCOMMIT", "line 2"),
            ("rollback", "line 1"),
            ("\r\n\r\nINSERT INTO a VALUES (1)", "line 3"),
            ("COPY a TO PROGRAM 'x'", "line 1"),
            ("PREPARE a AS SELECT 1", "line 1"),
            ("SELECT 1 \\gexec", "line 1"),
            ("EXPLAIN SELECT 1", "line 1"),
        ] {
            check(bad, Some(line));
        }
        assert!(read(vec![0xff]).is_err());
    }
}
