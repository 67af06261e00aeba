//! One small function for each kind of value. The error of each says what is accepted.

use std::net::SocketAddr;
use std::time::Duration;

use crate::duration;
use crate::http::Target;
use crate::migration::{FormatSetting, TableName};

/// The longest name PostgreSQL keeps: it cuts longer ones without an error.
///
/// <https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-IDENTIFIERS>
const NAME_BYTES: usize = 63;

/// Formats of the contract that this release does not read.
const LATER_FORMATS: [&str; 7] = [
    "golang-migrate",
    "goose",
    "dbmate",
    "sqlx",
    "prisma",
    "flyway",
    "refinery",
];

/// `true` or `false`.
pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("true or false is accepted".to_owned()),
    }
}

/// One of a closed list of words.
pub(super) fn word<T: Copy>(all: &[(&str, T)]) -> impl Fn(&str) -> Result<T, String> {
    move |text| {
        let found = all.iter().find(|(word, _)| *word == text);
        found.map(|(_, value)| *value).ok_or_else(|| {
            let words: Vec<&str> = all.iter().map(|(word, _)| *word).collect();
            format!("{} is accepted", words.join(" or "))
        })
    }
}

/// `SCHEMAGATE_FORMAT`, which tells formats that come later from formats nobody has heard of.
pub(super) fn format(text: &str) -> Result<FormatSetting, String> {
    word(FormatSetting::ALL)(text).map_err(|accepted| {
        if LATER_FORMATS.contains(&text) {
            format!("this format comes in a later release; {accepted}")
        } else {
            accepted
        }
    })
}

/// A duration, `None` for no limit.
pub(super) fn limit(text: &str) -> Result<Option<Duration>, String> {
    duration::parse(text).map(|duration| (!duration.is_zero()).then_some(duration))
}

/// A duration that PostgreSQL keeps as a 32-bit number of milliseconds, `None` for no limit.
///
/// <https://www.postgresql.org/docs/current/runtime-config-client.html#GUC-STATEMENT-TIMEOUT>
pub(super) fn server_limit(text: &str) -> Result<Option<Duration>, String> {
    let limit = limit(text)?;
    if limit.is_some_and(|limit| limit.as_millis() > 2_147_483_647) {
        return Err("PostgreSQL takes at most 2147483647ms (24 days); 0 is no limit".to_owned());
    }
    Ok(limit)
}

/// A number of the given type.
pub(super) fn number<T: std::str::FromStr>(
    accepted: &'static str,
) -> impl Fn(&str) -> Result<T, String> {
    move |text| text.parse().map_err(|_| format!("{accepted} is accepted"))
}

/// The pause between two looks.
pub(super) fn interval(text: &str) -> Result<Duration, String> {
    limit(text)?.ok_or_else(|| "a duration above 0 is accepted".to_owned())
}

/// An address to listen at; without a host, every address of both families.
pub(super) fn listen(text: &str) -> Result<SocketAddr, String> {
    let whole = match text.strip_prefix(':') {
        Some(port) => format!("[::]:{port}"),
        None => text.to_owned(),
    };
    whole.parse().map_err(|_| {
        "an IP address and a port are accepted, such as [::]:9911, 127.0.0.1:9911 or :9911"
            .to_owned()
    })
}

/// The URL of something that speaks HTTP; it may hold a password.
pub(super) fn http_url(text: &str) -> Result<Target, String> {
    Target::parse(text).map_err(ToOwned::to_owned)
}

/// A role's name as it stands in the catalog.
pub(super) fn role(text: &str) -> Result<String, String> {
    if text == "none" {
        // Even in quotes, `SET ROLE "none"` is `RESET ROLE`.
        return Err("none is not a role; leave it out instead".to_owned());
    }
    fits(text).map(|()| text.to_owned())
}

/// `schema.table`; a part in double quotes is taken as it is, another must not have anything that SQL would change.
///
/// SQL folds capitals outside quotes, tools' configuration files do not. A wrong guess would miss the history and run
/// everything again, so that capitals outside quotes are refused.
pub(super) fn table(text: &str) -> Result<TableName, String> {
    const EXPECTED: &str = "schema.table is accepted, such as public.migrations";
    let (schema, rest) = identifier(text)?;
    let rest = rest.strip_prefix('.').ok_or(EXPECTED)?;
    let (table, rest) = identifier(rest)?;
    if rest.is_empty() {
        Ok(TableName::new(schema, table))
    } else {
        Err(EXPECTED.to_owned())
    }
}

/// One part of a table's name, and what follows it.
fn identifier(text: &str) -> Result<(String, &str), String> {
    let (name, rest) = match text.strip_prefix('"') {
        Some(quoted) => unquote(quoted).ok_or("a double quote is not closed")?,
        None => bare(text)?,
    };
    if name.is_empty() {
        return Err("schema.table is accepted, neither of them empty".to_owned());
    }
    fits(&name)?;
    Ok((name, rest))
}

fn bare(text: &str) -> Result<(String, &str), String> {
    let (name, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let strange =
        |c: char| c == '"' || c.is_ascii_uppercase() || c.is_whitespace() || c.is_control();
    if name.contains(strange) {
        return Err(format!(
            "put {name:?} in double quotes, or write it in lower case, to say which is meant"
        ));
    }
    Ok((name.to_owned(), rest))
}

/// Up to the closing quote; `""` is one quote. `None` where there is none.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut rest = text;
    loop {
        let (before, after) = rest.split_once('"')?;
        name.push_str(before);
        match after.strip_prefix('"') {
            Some(more) => {
                name.push('"');
                rest = more;
            }
            None => return Some((name, after)),
        }
    }
}

fn fits(name: &str) -> Result<(), String> {
    if name.len() > NAME_BYTES {
        return Err(format!("PostgreSQL's names end at {NAME_BYTES} bytes"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migration::Phase;

    #[test]
    fn tables() {
        for (text, schema, name) in [
            ("public.migrations", "public", "migrations"),
            (
                "drizzle.__drizzle_migrations",
                "drizzle",
                "__drizzle_migrations",
            ),
            ("\"My Schema\".\"a.b\"\"c\"", "My Schema", "a.b\"c"),
            ("public.\"Migrations\"", "public", "Migrations"),
            ("ä-1.x$y", "ä-1", "x$y"),
        ] {
            assert_eq!(table(text).unwrap(), TableName::new(schema, name));
        }
    }

    #[test]
    fn no_tables() {
        let long = format!("public.{}", "x".repeat(64));
        for text in [
            "",
            ".",
            "a",
            "a.",
            ".b",
            "a.b.c",
            "\"a",
            "\"a\"",
            "\"a\".\"b",
            "\"a\"x.b",
            "a.b\"",
            "A.b",
            "a.B",
            "a b.c",
            "\"\".b",
            &long,
        ] {
            assert!(table(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn words_list_what_is_accepted() {
        assert_eq!(word(Phase::ALL)("all"), Ok(Phase::All));
        assert_eq!(
            word(Phase::ALL)("Expand"),
            Err("expand or contract or all is accepted".to_owned())
        );
        assert!(format("goose").unwrap_err().contains("later release"));
        assert!(!format("gose").unwrap_err().contains("later release"));
    }

    #[test]
    fn limits() {
        assert_eq!(limit("0"), Ok(None));
        assert_eq!(limit("5s"), Ok(Some(Duration::from_secs(5))));
        assert_eq!(
            server_limit("2147483647ms").unwrap().unwrap().as_millis(),
            2_147_483_647
        );
        assert!(server_limit("597h").is_err());
    }

    #[test]
    fn addresses_to_listen_at() {
        for (text, expected) in [
            ("[::]:9911", "[::]:9911"),
            (":9911", "[::]:9911"),
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("0.0.0.0:80", "0.0.0.0:80"),
        ] {
            assert_eq!(listen(text).unwrap().to_string(), expected);
        }
        for text in [
            "",
            ":",
            "9911",
            "localhost:9911",
            "1.2.3.4",
            "[::]",
            ":65536",
            "::1:80",
        ] {
            assert!(listen(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn urls_of_http() {
        let target = http_url("https://u:hunter2@push.example/x").unwrap();
        assert_eq!(target.to_string(), "https://push.example");
        assert!(http_url("localhost:4191").is_err());
        assert!(interval("0").is_err());
        assert_eq!(interval("3s"), Ok(Duration::from_secs(3)));
    }

    #[test]
    fn roles() {
        assert_eq!(role("App Owner"), Ok("App Owner".to_owned()));
        assert!(role("none").is_err());
        assert!(role(&"x".repeat(64)).is_err());
    }
}
