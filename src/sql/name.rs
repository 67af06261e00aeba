//! Names as PostgreSQL reads them.

use std::fmt;

use crate::sql::lex::{Lexeme, Token};

/// PostgreSQL cuts longer names (`NAMEDATALEN` - 1), at the end of a character.
///
/// <https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-IDENTIFIERS>
const MAX_BYTES: usize = 63;

/// A name with its schema if one is written, unquoted, as it stands in the catalog: ASCII letters folded to lower case
/// unless quoted, cut at 63 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Name {
    /// The schema, where the file names one. A database in front of it is dropped.
    pub schema: Option<String>,
    /// The name itself.
    pub name: String,
}

// === impl Name ===

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.schema {
            Some(schema) => write!(f, "{schema}.{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// What an identifier's token means; `None` for any other token.
pub(super) fn identifier(token: Token, text: &str) -> Option<String> {
    let written = token.of(text);
    let mut name = match token.lexeme {
        Lexeme::Word => written.to_ascii_lowercase(),
        Lexeme::QuotedIdent => quoted(written),
        _ => return None,
    };
    name.truncate(name.floor_char_boundary(MAX_BYTES));
    Some(name)
}

fn quoted(written: &str) -> String {
    let unicode = written.starts_with(['u', 'U']);
    let inner = written.trim_start_matches(['u', 'U', '&']);
    let inner = inner.strip_prefix('"').unwrap_or(inner);
    let inner = inner.strip_suffix('"').unwrap_or(inner);
    let inner = inner.replace("\"\"", "\"");
    if unicode { unescape(&inner) } else { inner }
}

/// `\0061` and `\+000061` with the default escape character. A `UESCAPE` clause is not read: nobody names an index so.
pub(super) fn unescape(inner: &str) -> String {
    let mut out = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let behind = &rest[at + 1..];
        let (digits, skip) = match behind.strip_prefix('+') {
            Some(long) => (long.get(..6), 7),
            None => (behind.get(..4), 4),
        };
        let decoded = digits
            .and_then(|digits| u32::from_str_radix(digits, 16).ok())
            .and_then(char::from_u32);
        rest = if let Some(c) = decoded {
            out.push(c);
            &behind[skip..]
        } else {
            out.push('\\');
            behind.strip_prefix('\\').unwrap_or(behind)
        };
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::lex::token_at;

    #[track_caller]
    fn check(written: &str, expected: &str) {
        let token = token_at(written, 0).unwrap();
        assert_eq!(identifier(token, written).as_deref(), Some(expected));
    }

    #[test]
    fn names_are_read_as_the_catalog_has_them() {
        check("Users", "users");
        check("ÜBER", "Über");
        check("\"Users\"", "Users");
        check("\"u\"", "u");
        check("\"say \"\"hi\"\"\"", "say \"hi\"");
        check("U&\"d\\0061t\\+000061\"", "data");
        check("U&\"a\\\\b\\zz\"", "a\\b\\zz");
        check("\"\"\"\"", "\"");
    }

    #[test]
    fn long_names_are_cut_where_postgresql_cuts() {
        check(&"a".repeat(80), &"a".repeat(63));
        check(&format!("\"{}é\"", "a".repeat(62)), &"a".repeat(62));
    }

    #[test]
    fn other_tokens_are_no_names() {
        assert_eq!(identifier(token_at("'a'", 0).unwrap(), "'a'"), None);
    }
}
