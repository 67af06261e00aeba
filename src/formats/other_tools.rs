//! Folders of tools that are not supported yet, recognised so that their files are never taken for plain SQL.

use std::fmt;

/// A tool told from its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tool {
    /// `migration_lock.toml`.
    Prisma,
    /// `-- +goose Up`.
    Goose,
    /// `-- migrate:up`.
    Dbmate,
    /// `V1__name.sql`, `R__name.sql`, `U1__name.sql`.
    FlywayOrRefinery,
}

/// Prisma's file beside its folders.
pub const PRISMA_LOCK: &str = "migration_lock.toml";

/// The tool that a file's name belongs to.
pub fn by_name(file: &str) -> Option<Tool> {
    if file == PRISMA_LOCK {
        return Some(Tool::Prisma);
    }
    let (stem, extension) = file.rsplit_once('.')?;
    if !extension.eq_ignore_ascii_case("sql") {
        return None;
    }
    let (head, _) = stem.split_once("__")?;
    let is_version = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_digit())
            && text
                .chars()
                .all(|c| c.is_ascii_digit() || matches!(c, '.' | '_'))
    };
    let known = head == "R" || head.strip_prefix(['V', 'U']).is_some_and(is_version);
    known.then_some(Tool::FlywayOrRefinery)
}

/// The tool whose section marks stand in a file.
pub fn by_text(head: &str) -> Option<Tool> {
    head.lines().find_map(|line| {
        let comment = line.trim_start_matches('\u{feff}').trim_start();
        let word = comment.strip_prefix("--")?.trim_start();
        if word.starts_with("+goose") {
            Some(Tool::Goose)
        } else if word.starts_with("migrate:up") {
            Some(Tool::Dbmate)
        } else {
            None
        }
    })
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prisma => "Prisma",
            Self::Goose => "goose",
            Self::Dbmate => "dbmate",
            Self::FlywayOrRefinery => "Flyway or refinery",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_names() {
        for (file, expected) in [
            ("migration_lock.toml", Some(Tool::Prisma)),
            ("V1__a.sql", Some(Tool::FlywayOrRefinery)),
            ("V1.2_3__a b.SQL", Some(Tool::FlywayOrRefinery)),
            ("R__views.sql", Some(Tool::FlywayOrRefinery)),
            ("U5__unver.sql", Some(Tool::FlywayOrRefinery)),
            ("V1_a.sql", None),
            ("Users__a.sql", None),
            ("0001__a.sql", None),
            ("V1__a.txt", None),
        ] {
            assert_eq!(by_name(file), expected, "{file}");
        }
    }

    #[test]
    fn knows_section_marks() {
        for (head, expected) in [
            ("-- +goose Up\nSELECT 1;", Some(Tool::Goose)),
            ("\u{feff}-- +goose Up", Some(Tool::Goose)),
            ("\r\n  --+goose Up\r\n", Some(Tool::Goose)),
            ("-- a comment\n-- migrate:up\n", Some(Tool::Dbmate)),
            ("-- migrate:up transaction:false", Some(Tool::Dbmate)),
            ("SELECT '+goose';", None),
            ("-- see migrate:up", None),
            ("", None),
        ] {
            assert_eq!(by_text(head), expected, "{head}");
        }
    }
}
