//! A connection URL, or a keyword string, to settings.
//!
//! <https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS>. Passwords arrive unencoded more
//! often than not, so besides libpq's reading others are tried; one is taken only if it is the only one that makes
//! sense. No message repeats a part of the text that could belong to a password.

use percent_encoding::percent_decode_str;

use super::conninfo;
use super::foreign::{self, Meaning};
use super::settings::{Origin, Settings, keyword};
use crate::problem::Problem;

/// The settings, and warnings about what was ignored.
pub(super) type Parsed = (Settings, Vec<String>);

/// Reads `text`; `holder` is the variable or file that it came from.
pub(super) fn parse(holder: &str, text: &str) -> Result<Parsed, Vec<Problem>> {
    let text = text.trim();
    let one = |expected: String| vec![Problem::new(holder, expected)];
    let pairs = match kind(text) {
        Kind::Postgres(rest) => pairs(rest, false).map_err(one)?,
        Kind::Jdbc(rest) => pairs(rest, true).map_err(one)?,
        Kind::JdbcLocal(rest) => pairs(&format!("localhost/{rest}"), true).map_err(one)?,
        Kind::Keywords => conninfo::pairs(text).map_err(one)?,
        Kind::Wrong(why) => return Err(one(why)),
    };
    settings(holder, pairs)
}

/// What sort of text it is.
enum Kind<'a> {
    /// What follows `postgres://`.
    Postgres(&'a str),
    /// What follows `jdbc:postgresql://`.
    Jdbc(&'a str),
    /// What follows `jdbc:postgresql:` without a host.
    JdbcLocal(&'a str),
    Keywords,
    Wrong(String),
}

fn kind(text: &str) -> Kind<'_> {
    if text.starts_with(['"', '\'']) {
        return Kind::Wrong("begins with a quote: remove the quotes around the URL".to_owned());
    }
    if let Some(rest) = strip_prefix_ignoring_case(text, "jdbc:") {
        return jdbc(rest);
    }
    let Some((scheme, rest)) = scheme(text) else {
        return if text.contains('=') {
            Kind::Keywords
        } else {
            no_scheme()
        };
    };
    let base = scheme.split('+').next().unwrap_or_default();
    match base.to_ascii_lowercase().as_str() {
        "postgres" | "postgresql" => match rest.strip_prefix("//") {
            Some(rest) => Kind::Postgres(rest),
            None => Kind::Wrong(format!("\"//\" is missing after \"{base}:\"")),
        },
        lower => other_scheme(lower, rest),
    }
}

fn jdbc(text: &str) -> Kind<'_> {
    match strip_prefix_ignoring_case(text, "postgresql:") {
        // `jdbc:postgresql:database` means this machine.
        // <https://jdbc.postgresql.org/documentation/use/#connecting-to-the-database>
        Some(rest) => match rest.strip_prefix("//") {
            Some(rest) => Kind::Jdbc(rest),
            None => Kind::JdbcLocal(rest.trim_start_matches('/')),
        },
        None => Kind::Wrong(
            "schemagate speaks PostgreSQL only: expected jdbc:postgresql://…".to_owned(),
        ),
    }
}

/// A scheme, if the text has one: letters, digits, `+`, `-`, `.` up to a colon.
fn scheme(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let valid = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    valid.then_some((scheme, rest))
}

fn other_scheme(scheme: &str, rest: &str) -> Kind<'static> {
    const OTHERS: &[&str] = &[
        "sqlite",
        "sqlite3",
        "file",
        "libsql",
        "mysql",
        "mysql2",
        "mariadb",
        "mssql",
        "sqlserver",
        "oracle",
        "mongodb",
        "mongodb+srv",
        "redis",
        "duckdb",
        "d1",
        "planetscale",
    ];
    Kind::Wrong(match scheme {
        "prisma" => "this is the address of Prisma's proxy, which does not speak PostgreSQL: \
             give the database's own postgres:// URL"
            .to_owned(),
        other if OTHERS.contains(&other) => format!(
            "schemagate speaks PostgreSQL only, not {other}: expected postgres://user@host:5432/database"
        ),
        other if rest.starts_with("//") => format!(
            "the scheme {other}:// is not known: write postgres://, if it is a PostgreSQL database"
        ),
        // What stands before the colon may be a user, a host or a password.
        _ => return no_scheme(),
    })
}

fn no_scheme() -> Kind<'static> {
    Kind::Wrong(
        "no connection URL: it must begin with postgres://, as in postgres://user@host:5432/database"
            .to_owned(),
    )
}

fn strip_prefix_ignoring_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix)
        .then(|| &text[prefix.len()..])
}

/// One way to read what follows the scheme, still encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reading<'a> {
    userinfo: Option<&'a str>,
    hosts: &'a str,
    database: &'a str,
    query: &'a str,
}

fn pairs(rest: &str, jdbc: bool) -> Result<Vec<(String, String)>, String> {
    let reading = choose(rest)?;
    let mut pairs = Vec::new();
    if let Some(userinfo) = reading.userinfo {
        let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
        pairs.push(("user".to_owned(), decode(user, "the user")?));
        pairs.push(("password".to_owned(), decode(password, "the password")?));
    }
    let (hosts, ports) = hosts(reading.hosts)?;
    pairs.push(("host".to_owned(), hosts));
    pairs.push(("port".to_owned(), ports));
    let database = decode(reading.database, "the database's name")?;
    pairs.push(("dbname".to_owned(), database));
    for part in reading.query.split('&').filter(|part| !part.is_empty()) {
        // URLs of Java read "+" as a blank, those of libpq do not.
        let part = if jdbc {
            part.replace('+', " ")
        } else {
            part.to_owned()
        };
        let (name, value) = part
            .split_once('=')
            .ok_or("a parameter after \"?\" has no \"=\"")?;
        let name = decode(name, "a parameter's name")?;
        let value = decode(value, &format!("the parameter {name}"))?;
        // An empty host in the query must not undo one that stands before it.
        if !value.is_empty() {
            pairs.push((name, value));
        }
    }
    Ok(pairs)
}

/// The reading that makes sense.
fn choose(rest: &str) -> Result<Reading<'_>, String> {
    let standard = standard(rest);
    if standard.is_clean() {
        return Ok(standard);
    }
    // A password with an unencoded "/" or "?": the first "@" whose right side is a whole address.
    let other = rest
        .match_indices('@')
        .filter(|(at, _)| rest[..*at].contains(':'))
        .map(|(at, _)| Reading {
            userinfo: Some(&rest[..at]),
            ..split(&rest[at + 1..])
        })
        .find(|reading| *reading != standard && reading.is_clean());
    match (standard.is_possible(), other) {
        (false, Some(other)) => Ok(other),
        (true, None) => Ok(standard),
        (true, Some(_)) => Err(
            "can be read in two ways: write \"@\" as %40, \"/\" as %2F and \"?\" as %3F in user, password and \
             database"
                .to_owned(),
        ),
        (false, None) => Err(standard.complaint()),
    }
}

/// As libpq reads it, except that the last `@` before the path ends user and password, not the first.
fn standard(rest: &str) -> Reading<'_> {
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => Reading {
            userinfo: Some(&rest[..at]),
            ..split(&rest[at + 1..])
        },
        None => split(rest),
    }
}

fn split(rest: &str) -> Reading<'_> {
    let (before, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (hosts, database) = before.split_once('/').unwrap_or((before, ""));
    Reading {
        userinfo: None,
        hosts,
        database,
        query,
    }
}

// === impl Reading ===

impl Reading<'_> {
    /// Nothing in it is odd.
    fn is_clean(&self) -> bool {
        self.is_possible() && !self.database.contains('@') && !self.query_looks_like_a_password()
    }

    /// Without a user before the hosts, an `@` among unknown parameters is rather the end of a password with a `?`.
    fn query_looks_like_a_password(&self) -> bool {
        let unknown = |part: &str| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            matches!(foreign::meaning(name, value), Meaning::Unknown(_))
        };
        self.userinfo.is_none() && self.query.contains('@') && self.query.split('&').any(unknown)
    }

    /// It can be read, though perhaps nobody meant it.
    fn is_possible(&self) -> bool {
        hosts(self.hosts).is_ok()
            && self
                .query
                .split('&')
                .all(|part| part.is_empty() || part.contains('='))
    }

    fn complaint(&self) -> String {
        match hosts(self.hosts) {
            Err(why) => why,
            Ok(_) => "a parameter after \"?\" has no \"=\"".to_owned(),
        }
    }
}

/// Host list and port list in libpq's form: `h1:1,[::1],h3` to (`h1,::1,h3`, `1,,`).
fn hosts(text: &str) -> Result<(String, String), String> {
    let mut hosts = Vec::new();
    let mut ports = Vec::new();
    for part in text.split(',') {
        let (host, port) = host_and_port(part)?;
        hosts.push(decode(host, "a host")?);
        ports.push(port);
    }
    let ports = if ports.iter().all(|port| port.is_empty()) {
        String::new()
    } else {
        ports.join(",")
    };
    Ok((hosts.join(","), ports))
}

fn host_and_port(text: &str) -> Result<(&str, &str), String> {
    const PORT: &str = "the part behind the host's \":\" is no port number (in a password write \":\" as %3A, \"/\" \
                        as %2F, \"@\" as %40, \"?\" as %3F)";
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest
            .split_once(']')
            .ok_or("the \"[\" of an IPv6 address is not closed")?;
        match after.strip_prefix(':') {
            Some(port) => (host, port),
            None if after.is_empty() => (host, ""),
            None => return Err("something stands between \"]\" and the port".to_owned()),
        }
    } else {
        text.split_once(':').unwrap_or((text, ""))
    };
    let odd = |c: char| c.is_whitespace() || matches!(c, '@' | '?' | '/' | '#' | '\\' | '=' | '&');
    if host.contains(odd) {
        return Err("a host's name holds a character that none can have".to_owned());
    }
    if !port.chars().all(|c| c.is_ascii_digit()) {
        return Err(PORT.to_owned());
    }
    Ok((host, port))
}

/// Percent-decoding; a `%` that begins no escape stands for itself.
fn decode(text: &str, what: &str) -> Result<String, String> {
    let decoded = percent_decode_str(text)
        .decode_utf8()
        .map_err(|_| format!("{what} is no UTF-8 once decoded"))?;
    if decoded.contains('\0') {
        return Err(format!("{what} holds a NUL"));
    }
    Ok(decoded.into_owned())
}

/// Pairs to settings: libpq's, those of other clients, and mistakes.
fn settings(holder: &str, pairs: Vec<(String, String)>) -> Result<Parsed, Vec<Problem>> {
    let origin = Origin::Url(holder.to_owned());
    let mut settings = Settings::default();
    let (mut ignored, mut problems) = (Vec::new(), Vec::new());
    for (name, value) in pairs {
        match foreign::meaning(&name, &value) {
            Meaning::Set(keyword, value) => {
                if !value.is_empty() {
                    settings.set(keyword, value, origin.clone());
                }
            }
            Meaning::Ignored => ignored.push(name),
            Meaning::Refused(expected) => {
                problems.push(Problem::new(
                    holder,
                    format!("{name}={value:?}: expected {expected}"),
                ));
            }
            Meaning::Unknown(near) => problems.push(Problem::new(holder, unknown(&name, near))),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let warnings = if ignored.is_empty() {
        Vec::new()
    } else {
        let names = ignored.join(", ");
        vec![format!(
            "{holder}: parameters of other clients are ignored: {names}"
        )]
    };
    Ok((settings, warnings))
}

fn unknown(name: &str, near: Option<&str>) -> String {
    // Only what looks like a name is repeated: half of a mangled password does not.
    let plain = name.len() <= 40
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
    match (plain, near) {
        (true, Some(near)) => format!("unknown parameter {name:?}; did you mean {near:?}?"),
        (true, None) => format!("unknown parameter {name:?}"),
        (false, _) => "an unknown parameter".to_owned(),
    }
}

/// The settings of one section of a service file, where nothing but libpq's keywords is known; `None` where the file
/// has no such section.
pub(super) fn from_service(
    file: &str,
    section: &str,
    text: &str,
) -> Result<Option<Settings>, Problem> {
    let problem = |why: String| Problem::new(file, why);
    let Some(pairs) = conninfo::service(text, section).map_err(problem)? else {
        return Ok(None);
    };
    let mut settings = Settings::default();
    for (name, value) in pairs {
        let keyword = keyword(&name).ok_or_else(|| problem(unknown(&name, None)))?;
        settings.set(keyword, value, Origin::Service(file.to_owned()));
    }
    Ok(Some(settings))
}

#[cfg(test)]
mod tests;
