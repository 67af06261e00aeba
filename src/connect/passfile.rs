//! `PGPASSFILE` and `~/.pgpass`.
//!
//! <https://www.postgresql.org/docs/current/libpq-pgpass.html>

use std::fs::Metadata;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::secret::Secret;

/// What a line is compared with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) host: &'a str,
    pub(super) port: u16,
    pub(super) database: &'a str,
    pub(super) user: &'a str,
}

/// The password of the first line that fits, and a warning if the file had to be ignored. A file that is not there
/// gives neither, like libpq.
pub(super) fn look(path: &Path, wanted: Wanted<'_>) -> (Option<Secret>, Option<String>) {
    let Ok(metadata) = std::fs::metadata(path) else {
        return (None, None);
    };
    if let Some(why) = ignored(&metadata) {
        return (
            None,
            Some(format!(
                "password file {} is ignored: {why}",
                path.display()
            )),
        );
    }
    match std::fs::read(path) {
        Ok(bytes) => (find(&String::from_utf8_lossy(&bytes), wanted), None),
        Err(error) => (
            None,
            Some(format!(
                "password file {} cannot be read: {error}",
                path.display()
            )),
        ),
    }
}

/// libpq's conditions.
fn ignored(metadata: &Metadata) -> Option<&'static str> {
    if !metadata.is_file() {
        Some("it is not a plain file")
    } else if metadata.permissions().mode() & 0o077 != 0 {
        Some(
            "its group or others have access, it must be u=rw (0600) or less; PGPASSWORD_FILE takes any",
        )
    } else {
        None
    }
}

fn find(text: &str, wanted: Wanted<'_>) -> Option<Secret> {
    let port = wanted.port.to_string();
    let wanted = [wanted.host, &port, wanted.database, wanted.user];
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .find_map(|line| password(line, wanted))
        .filter(|password| !password.is_empty())
}

/// The password in a line, if its four other fields fit.
fn password(line: &str, wanted: [&str; 4]) -> Option<Secret> {
    let mut rest = line;
    for wanted in wanted {
        let (field, after) = field(rest);
        if !(rest.starts_with("*:") || field == wanted) {
            return None;
        }
        rest = after?;
    }
    Some(Secret::new(field(rest).0))
}

/// A field without its escapes, and what follows the colon after it.
fn field(text: &str) -> (String, Option<&str>) {
    let mut field = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            ':' => return (field, text.get(at + 1..)),
            '\\' => field.extend(chars.next().map(|(_, escaped)| escaped)),
            other => field.push(other),
        }
    }
    (field, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        let wanted = Wanted {
            host: "db",
            port: 5432,
            database: "app:x",
            user: "me",
        };
        let found =
            find(text, wanted).map(|secret| String::from_utf8_lossy(secret.expose()).into_owned());
        assert_eq!(found.as_deref(), expected, "{text}");
    }

    #[test]
    fn lines() {
        check("db:5432:app\\:x:me:pw", Some("pw"));
        check("*:*:*:*:pw", Some("pw"));
        check("db:*:*:me:a\\:b\\\\c", Some("a:b\\c"));
        check("db:*:*:me:a:trailing", Some("a"));
        check("other:*:*:*:no\ndb:*:*:*:yes\n*:*:*:*:later", Some("yes"));
        check("# db:*:*:*:no\n\r\n*:*:*:me:yes\r\n", Some("yes"));
        check("db:5433:*:*:no", None);
        check("db:5432:app:me:no", None);
        check("db*:*:*:*:no", None);
        check("db:*:*:*", None);
        check("db:*:*:*:", None);
        check("", None);
        check("*:*:*:*:p\\", Some("p"));
    }

    #[test]
    fn permissions() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pgpass");
        std::fs::write(&path, "*:*:*:*:pw").unwrap();
        let wanted = Wanted {
            host: "h",
            port: 1,
            database: "d",
            user: "u",
        };
        for (mode, taken) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let (password, warning) = look(&path, wanted);
            assert_eq!(password.is_some(), taken, "{mode:o}");
            assert_eq!(warning.is_none(), taken, "{mode:o}");
        }
        assert_eq!(look(&folder.path().join("none"), wanted), (None, None));
        assert!(look(folder.path(), wanted).1.is_some());
    }
}
