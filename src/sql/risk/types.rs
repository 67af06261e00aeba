//! Types and functions as far as a rewrite hangs on them.

use crate::sql::Name;
use crate::sql::lex::Lexeme;
use crate::sql::words::Words;

/// A type as it is written, its aliases resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Type {
    /// PostgreSQL's own name (`varchar`, `int4`), or the user's.
    pub(super) name: Name,
    /// What stands in parentheses behind it.
    modifiers: Vec<u32>,
    array: bool,
    /// PostgreSQL brings it.
    pub(super) built_in: bool,
}

/// What PostgreSQL 18 brings, and what these are called besides (`src/backend/parser/gram.y`, `pg_type.dat`). Types of
/// the extensions that hold no constraints are among them.
const BUILT_IN: &[&str] = &[
    "aclitem",
    "bit",
    "bool",
    "box",
    "bpchar",
    "bytea",
    "char",
    "cid",
    "cidr",
    "circle",
    "citext",
    "date",
    "datemultirange",
    "daterange",
    "float4",
    "float8",
    "geography",
    "geometry",
    "halfvec",
    "hstore",
    "inet",
    "int2",
    "int2vector",
    "int4",
    "int4multirange",
    "int4range",
    "int8",
    "int8multirange",
    "int8range",
    "interval",
    "json",
    "jsonb",
    "jsonpath",
    "line",
    "lseg",
    "ltree",
    "macaddr",
    "macaddr8",
    "money",
    "name",
    "numeric",
    "nummultirange",
    "numrange",
    "oid",
    "oidvector",
    "path",
    "pg_lsn",
    "pg_snapshot",
    "point",
    "polygon",
    "regclass",
    "regcollation",
    "regconfig",
    "regdictionary",
    "regnamespace",
    "regoper",
    "regoperator",
    "regproc",
    "regprocedure",
    "regrole",
    "regtype",
    "sparsevec",
    "text",
    "tid",
    "time",
    "timestamp",
    "timestamptz",
    "timetz",
    "tsmultirange",
    "tsquery",
    "tsrange",
    "tstzmultirange",
    "tstzrange",
    "tsvector",
    "uuid",
    "varbit",
    "varchar",
    "vector",
    "xid",
    "xid8",
    "xml",
];

/// Functions that are not volatile, and words that stand before a parenthesis without being one. What is not here is
/// taken for volatile.
const STEADY: &[&str] = &[
    "abs",
    "age",
    "all",
    "and",
    "any",
    "array",
    "array_append",
    "array_cat",
    "array_fill",
    "as",
    "between",
    "btrim",
    "case",
    "cast",
    "ceil",
    "ceiling",
    "char_length",
    "coalesce",
    "concat",
    "concat_ws",
    "convert_from",
    "convert_to",
    "current_database",
    "current_date",
    "current_schema",
    "current_setting",
    "current_time",
    "current_timestamp",
    "current_user",
    "date_part",
    "date_trunc",
    "decode",
    "else",
    "encode",
    "extract",
    "floor",
    "format",
    "greatest",
    "hashtext",
    "in",
    "int4",
    "is",
    "json_build_array",
    "json_build_object",
    "jsonb_build_array",
    "jsonb_build_object",
    "least",
    "left",
    "length",
    "like",
    "ln",
    "localtime",
    "localtimestamp",
    "lower",
    "lpad",
    "ltrim",
    "make_date",
    "make_interval",
    "make_time",
    "make_timestamp",
    "make_timestamptz",
    "md5",
    "mod",
    "not",
    "now",
    "nullif",
    "octet_length",
    "or",
    "overlay",
    "position",
    "power",
    "precision",
    "replace",
    "right",
    "round",
    "row",
    "rpad",
    "rtrim",
    "sha256",
    "sha512",
    "sqrt",
    "statement_timestamp",
    "string_to_array",
    "substr",
    "substring",
    "then",
    "timezone",
    "to_char",
    "to_date",
    "to_json",
    "to_jsonb",
    "to_number",
    "to_timestamp",
    "to_tsvector",
    "transaction_timestamp",
    "trim",
    "trunc",
    "upper",
    "varying",
    "when",
    "zone",
];

/// Reads a type from the start of a text.
pub(super) fn read(text: &str) -> Option<Type> {
    take(&mut Words::new(text))
}

/// Reads a type.
pub(super) fn take(words: &mut Words<'_>) -> Option<Type> {
    let quoted = words.peek()?.lexeme == Lexeme::QuotedIdent;
    let mut name = words.name()?;
    let mut resolved = false;
    if name.schema.is_none() && !quoted {
        let alias = alias(&name.name, words);
        resolved = alias.is_some();
        name.name = alias.unwrap_or(name.name);
    }
    let modifiers = modifiers(words);
    if resolved || name.schema.is_none() {
        zone(&mut name, words);
    }
    let array = take_array(words);
    let ours = name
        .schema
        .as_deref()
        .is_none_or(|schema| schema == "pg_catalog");
    let built_in = ours && BUILT_IN.binary_search(&name.name.as_str()).is_ok();
    Some(Type {
        name,
        modifiers,
        array,
        built_in,
    })
}

/// The standard's name of a type, which may have more words.
fn alias(first: &str, words: &mut Words<'_>) -> Option<String> {
    let varying = |words: &mut Words<'_>, with: &str, without: &str| {
        if words.take("varying") { with } else { without }.to_owned()
    };
    Some(match first {
        "int" | "integer" => "int4".to_owned(),
        "bigint" => "int8".to_owned(),
        "smallint" => "int2".to_owned(),
        "decimal" | "dec" => "numeric".to_owned(),
        "real" => "float4".to_owned(),
        "float" => "float8".to_owned(),
        "boolean" => "bool".to_owned(),
        "double" => {
            words.take("precision");
            "float8".to_owned()
        }
        "national" => {
            words.take_any(&["character", "char"]);
            varying(words, "varchar", "bpchar")
        }
        "character" | "char" | "nchar" => varying(words, "varchar", "bpchar"),
        "bit" => varying(words, "varbit", "bit"),
        _ => return None,
    })
}

fn modifiers(words: &mut Words<'_>) -> Vec<u32> {
    words
        .options()
        .iter()
        .filter_map(|(word, _)| word.parse().ok())
        .collect()
}

/// `WITH TIME ZONE`, and the fields of an interval.
fn zone(name: &mut Name, words: &mut Words<'_>) {
    match name.name.as_str() {
        "time" | "timestamp" => {
            if words.take_all(&["with", "time", "zone"]) {
                name.name.push_str("tz");
            } else {
                words.take_all(&["without", "time", "zone"]);
            }
        }
        "interval" => {
            while words.take_any(&["year", "month", "day", "hour", "minute", "second", "to"]) {
                words.skip_parentheses();
            }
        }
        _ => {}
    }
}

fn take_array(words: &mut Words<'_>) -> bool {
    let mut array = words.take("array");
    loop {
        let mut ahead = words.clone();
        let Some(token) = ahead.next() else {
            return array;
        };
        if ahead.text_of(token) != "[" {
            return array;
        }
        while let Some(token) = ahead.next() {
            if ahead.text_of(token) == "]" {
                break;
            }
        }
        array = true;
        *words = ahead;
    }
}

// === impl Type ===

impl Type {
    /// `serial` and the like, which PostgreSQL knows in a column's definition only.
    pub(super) fn is_serial(&self) -> bool {
        let names = [
            "serial",
            "bigserial",
            "smallserial",
            "serial2",
            "serial4",
            "serial8",
        ];
        self.name.schema.is_none() && names.contains(&self.name.name.as_str())
    }

    /// An array is no domain, whatever it is an array of.
    pub(super) const fn is_array(&self) -> bool {
        self.array
    }

    /// Whether a column of this type can become one of the other without writing its rows again.
    ///
    /// The casts without a function in `pg_cast.dat`, and the support functions that find a cast of modifiers to do
    /// nothing (`varchar_support`, `varbit_support`, `numeric_support`, `timestamp_support`, `interval_support`).
    pub(super) fn becomes(&self, to: &Self) -> bool {
        if self.array || to.array || !self.built_in || !to.built_in {
            return self == to;
        }
        let (from, into) = (self.name.name.as_str(), to.name.name.as_str());
        let wider = match (self.modifiers.first(), to.modifiers.first()) {
            (_, None) => true,
            (Some(from), Some(to)) => from <= to,
            (None, Some(_)) => false,
        };
        match (from, into) {
            ("varchar" | "text", "text") | ("text", "varchar") if to.modifiers.is_empty() => true,
            ("varchar", "varchar")
            | ("varbit", "varbit")
            | ("timestamp", "timestamp")
            | ("timestamptz", "timestamptz") => wider,
            ("numeric", "numeric") => {
                to.modifiers.is_empty()
                    || (wider && !self.modifiers.is_empty() && scale(self) == scale(to))
            }
            ("cidr", "inet") => true,
            _ => self == to,
        }
    }
}

fn scale(of: &Type) -> u32 {
    of.modifiers.get(1).copied().unwrap_or_default()
}

/// Whether an expression may call a volatile function.
pub(super) fn is_volatile(expression: &str) -> bool {
    let mut words = Words::new(expression);
    let mut before: Option<Lexeme> = None;
    let mut schema_is_ours = true;
    while let Some(token) = words.next() {
        let behind = words.peek().map(|next| next.lexeme);
        let name = crate::sql::name::identifier(token, expression);
        if let Some(name) = name {
            if behind == Some(Lexeme::Dot) {
                schema_is_ours = name == "pg_catalog";
            } else if behind == Some(Lexeme::Open) {
                let ours = before != Some(Lexeme::Dot) || schema_is_ours;
                if !ours || !is_steady(&name) {
                    return true;
                }
            }
        }
        before = Some(token.lexeme);
    }
    false
}

/// Whether a function is known not to be volatile.
pub(super) fn is_steady(name: &str) -> bool {
    STEADY.contains(&name) || BUILT_IN.binary_search(&name).is_ok() || is_alias(name)
}

fn is_alias(name: &str) -> bool {
    alias(name, &mut Words::new("")).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_can_be_searched() {
        assert!(BUILT_IN.is_sorted());
    }

    #[test]
    fn types_are_read_with_all_their_words() {
        for (written, name, modifiers, array) in [
            ("character varying(20) not null", "varchar", vec![20], false),
            ("VARCHAR ( 20 )", "varchar", vec![20], false),
            ("double precision", "float8", vec![], false),
            ("timestamp(3) with time zone", "timestamptz", vec![3], false),
            ("numeric(10, 2)[]", "numeric", vec![10, 2], true),
            ("int array[4]", "int4", vec![], true),
            ("interval day to second(3)", "interval", vec![], false),
            ("\"char\"", "char", vec![], false),
            ("char", "bpchar", vec![], false),
        ] {
            let read = read(written).unwrap();
            assert_eq!(
                (read.name.name.as_str(), read.modifiers, read.array),
                (name, modifiers, array),
                "{written}"
            );
        }
        assert!(!read("mood").unwrap().built_in);
        assert!(!read("app.text").unwrap().built_in);
        assert!(read("pg_catalog.text").unwrap().built_in);
    }

    #[test]
    fn what_becomes_what_without_a_rewrite() {
        for (from, to, expected) in [
            ("varchar(20)", "varchar(40)", true),
            ("varchar(40)", "varchar(20)", false),
            ("varchar(20)", "text", true),
            ("varchar(20)", "varchar", true),
            ("varchar", "varchar(20)", false),
            ("text", "varchar", true),
            ("text", "varchar(20)", false),
            ("char(20)", "text", false),
            ("int", "bigint", false),
            ("int", "integer", true),
            ("numeric(10,2)", "numeric(12,2)", true),
            ("numeric(10,2)", "numeric(12,4)", false),
            ("numeric(10,2)", "numeric", true),
            ("numeric", "numeric(10,2)", false),
            ("timestamp", "timestamptz", false),
            ("timestamp(3)", "timestamp", true),
            ("cidr", "inet", true),
            ("inet", "cidr", false),
            ("mood", "text", false),
            ("text[]", "varchar[]", false),
            ("text[]", "text[]", true),
            ("text", "text[]", false),
        ] {
            let (read_from, read_to) = (read(from).unwrap(), read(to).unwrap());
            assert_eq!(read_from.becomes(&read_to), expected, "{from} to {to}");
        }
    }

    #[test]
    fn volatile_is_whatever_is_not_known_to_be_steady() {
        for (expression, expected) in [
            ("0", false),
            ("'{}'::jsonb", false),
            ("now()", false),
            ("pg_catalog.now()", false),
            ("current_timestamp(3)", false),
            ("'x'::varchar(10)", false),
            ("cast('1' as numeric(10, 2))", false),
            ("(now() + interval '1 day')", false),
            ("gen_random_uuid()", true),
            ("random()", true),
            ("clock_timestamp()", true),
            ("nextval('s')", true),
            ("app.now()", true),
            ("\"now\"()", false),
            ("my_function(1)", true),
        ] {
            assert_eq!(is_volatile(expression), expected, "{expression}");
        }
    }
}
