//! Commands that read and write rows, and commands that hold other commands.

use super::read::{Reader, Work};
use super::{Lock, Risk, types};
use crate::sql::Name;
use crate::sql::lex::Lexeme;
use crate::sql::words::{Words, is_off};

/// Calls of these change no relation that anybody waits for, and words that stand before a parenthesis.
const HARMLESS: &[&str] = &[
    "array_agg",
    "avg",
    "by",
    "count",
    "cume_dist",
    "distinct",
    "exists",
    "filter",
    "from",
    "generate_series",
    "having",
    "join",
    "json_agg",
    "jsonb_agg",
    "lastval",
    "lateral",
    "limit",
    "max",
    "min",
    "nextval",
    "offset",
    "on",
    "over",
    "partition",
    "pg_advisory_lock",
    "pg_advisory_unlock",
    "pg_advisory_xact_lock",
    "pg_backend_pid",
    "pg_notify",
    "pg_sleep",
    "pg_try_advisory_lock",
    "pg_try_advisory_xact_lock",
    "rank",
    "row_number",
    "select",
    "set_config",
    "setval",
    "some",
    "string_agg",
    "sum",
    "to_regclass",
    "union",
    "unnest",
    "using",
    "values",
    "version",
    "where",
    "with",
];

/// Whether a statement only adds rows, seen from its first words: nothing more is read of it.
pub(super) fn is_plain_insert(text: &str) -> bool {
    let mut words = Words::new(text);
    if !words.take_all(&["insert", "into"]) {
        return false;
    }
    words.name();
    if words.take("as") {
        words.ident();
    }
    words.skip_parentheses();
    // Not WITH, nor a query in parentheses that may begin with it.
    ["values", "select", "default", "overriding", "table"]
        .iter()
        .any(|word| words.is(word))
}

/// Reads a statement whose first word is given in lower case.
pub(super) fn read(reader: &mut Reader<'_>, first: &[u8], mut words: Words<'_>, text: &str) {
    let rows = Lock::RowExclusive;
    match first {
        b"insert" => {
            words.take("into");
            if let Some(table) = words.name() {
                reader.on(&table, rows, Work::Nothing, "adds rows", None);
            }
            if !is_plain_insert(text) {
                nested(reader, text);
            }
        }
        b"update" => {
            words.take("only");
            if let Some(table) = words.name() {
                let whole = !super::read::has_word(words.rest(), "where");
                let why = if whole {
                    "changes every row in one statement: the rows stay locked until the end, and the table grows by as many"
                } else {
                    "changes rows"
                };
                reader.on(&table, rows, Work::Nothing, why, None);
            }
            nested(reader, words.rest());
        }
        b"delete" => {
            words.take("from");
            words.take("only");
            if let Some(table) = words.name() {
                deletes(reader, &table);
            }
            nested(reader, words.rest());
        }
        b"truncate" => truncate(reader, words),
        b"copy" => copy(reader, words),
        b"call" => {
            reader.opaque = true;
            let why = "calls a procedure; what it does shows when it runs";
            reader.unnamed(Lock::AccessExclusive, Work::Long, why, None);
        }
        b"select" => {
            select(reader, words);
            nested(reader, text);
        }
        // WITH, MERGE, VALUES, TABLE.
        _ => nested(reader, text),
    }
}

fn deletes(reader: &mut Reader<'_>, table: &Name) {
    reader.on(
        table,
        Lock::RowExclusive,
        Work::Loses,
        "deletes rows",
        Some("keep them in a table of their own first, or mark them deleted"),
    );
}

/// What writes in a `WITH`, or wherever else a query may stand: `DELETE FROM t`, `UPDATE t SET`, `INSERT INTO t`,
/// `MERGE … DELETE`, `SELECT … INTO t`.
fn nested(reader: &mut Reader<'_>, text: &str) {
    let mut words = Words::new(text);
    let merges = words.clone().take("merge");
    let mut depth = 0_u32;
    let mut target = None;
    let mut before = Lexeme::Open;
    while let Some(token) = words.next() {
        match token.lexeme {
            Lexeme::Open => depth += 1,
            Lexeme::Close => depth = depth.saturating_sub(1),
            Lexeme::Word if before != Lexeme::Dot => {
                keyword(
                    reader,
                    &mut words,
                    token.of(text),
                    (depth, merges),
                    &mut target,
                );
            }
            _ => {}
        }
        before = token.lexeme;
    }
}

fn keyword(
    reader: &mut Reader<'_>,
    words: &mut Words<'_>,
    word: &str,
    (depth, merges): (u32, bool),
    target: &mut Option<Name>,
) {
    let is = |keyword: &str| word.eq_ignore_ascii_case(keyword);
    if is("delete") {
        if words.take("from") {
            words.take("only");
            if let Some(table) = words.name() {
                deletes(reader, &table);
            }
        } else if merges && let Some(table) = target {
            deletes(reader, &table.clone());
        }
    } else if is("into") {
        let temporary = words.take_any(&["temporary", "temp"]);
        words.take_any(&["unlogged"]);
        words.take("table");
        if let Some(name) = words.name() {
            if depth == 0 && temporary {
                reader.memory.make_temporary(&name);
            } else if depth == 0 && !merges {
                reader.made(&name, false);
            }
            *target = Some(name);
        }
    } else if is("update") && depth > 0 {
        // Not FOR UPDATE, nor DO UPDATE SET.
        let mut ahead = words.clone();
        ahead.take("only");
        let table = ahead.name();
        if !ahead.is("set") {
            ahead.take("as");
            ahead.ident();
        }
        if let Some(table) = table.filter(|_| ahead.is("set")) {
            let rows = Lock::RowExclusive;
            reader.on(&table, rows, Work::Nothing, "changes rows", None);
        }
    }
}

fn truncate(reader: &mut Reader<'_>, mut words: Words<'_>) {
    words.take("table");
    let cascade = super::read::has_word(words.rest(), "cascade");
    for piece in super::read::pieces(words.rest()) {
        let mut piece = Words::new(piece);
        piece.take("only");
        if let Some(table) = piece.name() {
            reader.on(
                &table,
                Lock::AccessExclusive,
                Work::Empties,
                "empties a table",
                None,
            );
        }
    }
    if cascade {
        reader.unnamed(
            Lock::AccessExclusive,
            Work::Empties,
            "CASCADE empties every table that refers to it",
            Some("name the tables, so that a reviewer sees each"),
        );
    }
}

fn copy(reader: &mut Reader<'_>, mut words: Words<'_>) {
    if let Some(query) = words.parenthesis() {
        return nested(reader, query);
    }
    words.take("binary");
    let Some(table) = words.name() else { return };
    words.skip_parentheses();
    if words.take("from") {
        reader.on(&table, Lock::RowExclusive, Work::Nothing, "adds rows", None);
    }
}

/// A `SELECT` that calls a function, where that is not known to be harmless: `SELECT create_partitions('orders')`. With
/// a `FROM` it most likely computes something of rows, so nothing is guessed of it.
fn select(reader: &mut Reader<'_>, mut words: Words<'_>) {
    let reads = super::read::has_word(words.rest(), "from");
    while let Some(name) = next_call(&mut words) {
        let ours = name
            .schema
            .as_deref()
            .is_none_or(|schema| schema == "pg_catalog");
        if ours && (HARMLESS.contains(&name.name.as_str()) || types::is_steady(&name.name)) {
            continue;
        }
        reader.opaque = true;
        if !reads {
            let why = format!("calls {name}; what it does shows when it runs");
            reader.unnamed(Lock::AccessExclusive, Work::Long, &why, None);
        }
        return;
    }
}

/// The next name before a parenthesis.
fn next_call(words: &mut Words<'_>) -> Option<Name> {
    loop {
        let mut ahead = words.clone();
        if let Some(name) = ahead.name()
            && ahead
                .peek()
                .is_some_and(|token| token.lexeme == Lexeme::Open)
        {
            *words = ahead;
            return Some(name);
        }
        words.next()?;
    }
}

/// `EXPLAIN` runs a statement only with `ANALYZE`.
pub(super) fn explain(reader: &mut Reader<'_>, mut words: Words<'_>) {
    let options = words.options();
    let mut runs = options
        .iter()
        .any(|(word, value)| matches!(word.as_str(), "analyze" | "analyse") && !is_off(value));
    runs |= words.take_any(&["analyze", "analyse"]);
    words.take("verbose");
    if runs {
        reader.statement(words.rest());
    }
}

/// `PREPARE name [(types)] AS statement` is read as if it ran.
pub(super) fn prepare(reader: &mut Reader<'_>, mut words: Words<'_>) {
    words.ident();
    words.skip_parentheses();
    if words.take("as") {
        reader.statement(words.rest());
    }
}

/// What was prepared in this file has been read there.
pub(super) fn execute(reader: &mut Reader<'_>) {
    reader.without_lock(Risk::Safe, "runs what was prepared", None);
}
