//! Commands that look after tables: `VACUUM`, `REINDEX`, `LOCK` and the like.

use super::read::{Reader, Work};
use super::{Lock, Risk};
use crate::sql::Name;
use crate::sql::lex::Lexeme;
use crate::sql::words::{Words, is_off};

const FULL: Lock = Lock::AccessExclusive;
const WINDOW: &str = "run it in a maintenance window, or use pg_repack";

/// Reads a statement behind its first word, which is given in lower case.
pub(super) fn read(reader: &mut Reader<'_>, first: &[u8], mut words: Words<'_>) {
    match first {
        b"vacuum" => vacuum(reader, words),
        b"cluster" => {
            words.take("verbose");
            words.options();
            rewrite(reader, &mut words, "orders a table by an index");
        }
        b"repack" => {
            let concurrently = is_on(&words.options(), "concurrently");
            if concurrently {
                let why = "writes the table again, with reads and writes going on";
                names(reader, &mut words, Lock::ShareUpdateExclusive, why);
            } else {
                rewrite(reader, &mut words, "writes a table again");
            }
        }
        b"analyze" | b"analyse" => {
            words.options();
            words.take("verbose");
            names(
                reader,
                &mut words,
                Lock::ShareUpdateExclusive,
                "reads a sample of the rows",
            );
        }
        b"reindex" => reindex(reader, words),
        b"refresh" => refresh(reader, words),
        b"lock" => lock(reader, words),
        b"comment" | b"security" => comment(reader, words),
        b"reassign" => {
            let why =
                "changes the owner of every relation of a role: each is locked out for a moment";
            reader.unnamed(FULL, Work::Brief, why, None);
        }
        // LOAD.
        _ => {}
    }
}

fn is_on(options: &[(String, String)], wanted: &str) -> bool {
    options
        .iter()
        .any(|(word, value)| word == wanted && !is_off(value))
}

fn names(reader: &mut Reader<'_>, words: &mut Words<'_>, lock: Lock, why: &str) {
    let names = columned_names(words);
    if names.is_empty() {
        reader.unnamed(lock, Work::Nothing, why, None);
    }
    for name in names {
        reader.on(&name, lock, Work::Nothing, why, None);
    }
}

/// `t [*] [(columns)], …`.
fn columned_names(words: &mut Words<'_>) -> Vec<Name> {
    super::read::pieces(words.rest())
        .filter_map(|piece| {
            let mut piece = Words::new(piece);
            piece.take("only");
            piece.name()
        })
        .collect()
}

fn rewrite(reader: &mut Reader<'_>, words: &mut Words<'_>, what: &str) {
    let why = format!("{what}: writes every row again, with reads and writes locked out");
    // CLUSTER index ON table, as before 8.3.
    let mut old = words.clone();
    let behind_on = (old.name().is_some() && old.take("on"))
        .then(|| old.name())
        .flatten();
    let names = behind_on.map_or_else(|| columned_names(words), |table| vec![table]);
    if names.is_empty() {
        reader.unnamed(FULL, Work::Rewrite, &why, Some(WINDOW));
    }
    for name in names {
        reader.on(&name, FULL, Work::Rewrite, why.as_str(), Some(WINDOW));
    }
}

fn vacuum(reader: &mut Reader<'_>, mut words: Words<'_>) {
    let options = words.options();
    let full = words.take("full") || is_on(&options, "full");
    words.take("freeze");
    words.take("verbose");
    words.take_any(&["analyze", "analyse"]);
    if full {
        rewrite(reader, &mut words, "VACUUM FULL");
    } else {
        let why = "cleans up, with reads and writes going on";
        names(reader, &mut words, Lock::ShareUpdateExclusive, why);
    }
}

fn reindex(reader: &mut Reader<'_>, mut words: Words<'_>) {
    let by_option = is_on(&words.options(), "concurrently");
    let one = words.take_any(&["index", "table"]);
    if !one {
        words.take_any(&["schema", "database", "system"]);
    }
    let concurrently = words.take("concurrently") || by_option;
    let name = words.name().filter(|_| one);
    if concurrently {
        let why = "builds indexes again, with reads and writes going on";
        return match name {
            Some(name) => reader.on(&name, Lock::ShareUpdateExclusive, Work::Nothing, why, None),
            None => reader.unnamed(Lock::ShareUpdateExclusive, Work::Nothing, why, None),
        };
    }
    let why = "builds indexes again: locks out writes, and reads that would use the index";
    let safer = "REINDEX … CONCURRENTLY in a file with -- schemagate: transaction=off";
    match name {
        Some(name) => {
            let table = reader.memory.table_of(&name).unwrap_or(name);
            reader.on(&table, FULL, Work::Long, why, Some(safer));
        }
        None => reader.unnamed(FULL, Work::Long, why, Some(safer)),
    }
}

fn refresh(reader: &mut Reader<'_>, mut words: Words<'_>) {
    words.take_all(&["materialized", "view"]);
    let concurrently = words.take("concurrently");
    let Some(name) = words.name() else { return };
    if concurrently {
        let why = "computes a materialized view again, with reads going on";
        reader.on(&name, Lock::Exclusive, Work::Nothing, why, None);
    } else {
        reader.on(
            &name,
            FULL,
            Work::Rewrite,
            "computes a materialized view again: locks out whoever reads it for as long",
            Some("REFRESH MATERIALIZED VIEW CONCURRENTLY, which needs a unique index"),
        );
    }
}

/// `LOCK [TABLE] [ONLY] t [*], … [IN mode MODE] [NOWAIT]`.
fn lock(reader: &mut Reader<'_>, mut words: Words<'_>) {
    words.take("table");
    let mut tables = Vec::new();
    loop {
        words.take("only");
        tables.extend(words.name());
        if words
            .peek()
            .is_some_and(|token| words.text_of(token) == "*")
        {
            words.next();
        }
        if !words.take_lexeme(Lexeme::Comma) {
            break;
        }
    }
    let mode = words.take("in").then(|| {
        let mut modes = Lock::ALL.into_iter().rev();
        modes.find(|mode| {
            let lower = mode.word().to_ascii_lowercase();
            let parts: Vec<&str> = lower.split(' ').collect();
            words.clone().take_all(&parts)
        })
    });
    let mode = mode.flatten().unwrap_or(FULL);
    for table in tables {
        let why = "locks a table until the transaction ends";
        reader.on(&table, mode, Work::Long, why, None);
    }
}

/// `COMMENT ON TABLE t`, `… COLUMN t.c`, `… CONSTRAINT c ON t`; `SECURITY LABEL [FOR p] ON …`.
fn comment(reader: &mut Reader<'_>, mut words: Words<'_>) {
    while !words.take("on") {
        if words.next().is_none() {
            return;
        }
    }
    let lock = Lock::ShareUpdateExclusive;
    let why = "describes it";
    let column = words.is("column");
    let relation = words.take_any(&["table", "view", "column", "index", "sequence"])
        || words.take_all(&["materialized", "view"])
        || words.take_all(&["foreign", "table"]);
    if relation {
        return match described(&mut words, column) {
            Some(name) => reader.on(&name, lock, Work::Nothing, why, None),
            None => reader.unnamed(lock, Work::Nothing, why, None),
        };
    }
    if words.take_any(&["constraint", "trigger", "policy", "rule"]) {
        words.ident();
        if words.take("on")
            && !words.take("domain")
            && let Some(table) = words.name()
        {
            return reader.on(&table, lock, Work::Nothing, why, None);
        }
    }
    reader.without_lock(Risk::Safe, why, None);
}

/// A relation's name, the last part of which may be a column's.
fn described(words: &mut Words<'_>, column: bool) -> Option<Name> {
    let mut parts = vec![words.ident()?];
    while words.take_lexeme(Lexeme::Dot) {
        parts.push(words.ident()?);
    }
    if column {
        parts.pop();
    }
    Some(Name {
        name: parts.pop()?,
        schema: parts.pop(),
    })
}
