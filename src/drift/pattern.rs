//! `SCHEMAGATE_DRIFT_IGNORE`: which objects are left out.

use super::Name;

/// A list of patterns; see [`Patterns::parse`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patterns(Vec<Pattern>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    /// A kind of object (`index`) or an attribute (`owner`).
    kind: Option<String>,
    name: String,
}

// === impl Patterns ===

impl Patterns {
    /// Patterns with commas between them: `[kind:]schema.object`, in which `*` stands for anything, dots included. A
    /// name covers what is in it: `public.t` its columns and indexes too, `audit` a whole schema. A kind is what `verify`
    /// calls it (`table`, `index`, `grant`), or an attribute of objects (`owner`, `default`). Names are written without
    /// quotes, as the catalog has them.
    ///
    /// # Errors
    ///
    /// What is accepted instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        let expected = || {
            "patterns such as public.tmp_*, index:public.t_idx, owner:*, with commas between them"
                .to_owned()
        };
        let patterns = text.split(',').map(|pattern| {
            let (kind, name) = match pattern.trim().split_once(':') {
                Some((kind, name)) => (Some(kind.trim()), name.trim()),
                None => (None, pattern.trim()),
            };
            let empty = name.is_empty() || kind.is_some_and(str::is_empty);
            (!empty).then(|| Pattern {
                kind: kind.map(str::to_owned),
                name: name.to_owned(),
            })
        });
        let patterns: Option<Vec<Pattern>> = patterns.collect();
        patterns.map(Self).ok_or_else(expected)
    }

    /// Whether an object of one of these kinds, which lies in `table` besides, is left out.
    pub(super) fn cover(&self, kinds: &[&str], name: &Name, table: Option<&str>) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let plain = name.plain();
        self.0.iter().any(|pattern| {
            let kind = pattern.kind.as_deref();
            kind.is_none_or(|kind| kinds.contains(&kind))
                && (within(&pattern.name, &plain)
                    || table.is_some_and(|table| within(&pattern.name, table)))
        })
    }
}

/// Whether the pattern matches the name or the beginning of it before a `.` or a `(`.
fn within(pattern: &str, name: &str) -> bool {
    let ends = name.match_indices(['.', '(']).map(|(at, _)| at);
    ends.chain([name.len()])
        .any(|end| name.get(..end).is_some_and(|part| matches(pattern, part)))
}

/// `*` is anything. In the time of a product of both lengths, whatever the pattern is.
fn matches(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut pieces: Vec<&str> = pieces.collect();
    let Some(last) = pieces.pop() else {
        return rest.is_empty();
    };
    for piece in pieces {
        let Some(at) = rest.find(piece) else {
            return false;
        };
        rest = rest.get(at + piece.len()..).unwrap_or_default();
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        for (pattern, text, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("a*", "a.b.c", true),
            ("*_tmp", "x_tmp_tmp", true),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "acb", false),
            ("a*a", "a", false),
            ("**", "é🙂", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_name_covers_what_is_in_it() {
        let name = |kind: &str, parts: &[&str]| {
            Name::new(kind, parts.iter().map(|&part| part.to_owned()).collect())
        };
        let column = name("column", &["public", "t", "a"]);
        let index = name("index", &["public", "t_idx"]);
        let function = name("function", &["public", "f", "integer"]);
        for (patterns, object, table, expected) in [
            ("public.t", &column, None, true),
            ("public", &column, None, true),
            ("publi", &column, None, false),
            ("column:public.t.a", &column, None, true),
            ("default:*", &column, None, true),
            ("owner:*", &column, None, false),
            ("index:public.t", &column, None, false),
            ("x.*, public.*", &column, None, true),
            ("public.t", &index, None, false),
            ("public.t", &index, Some("public.t"), true),
            ("public.f", &function, None, true),
            ("public.f(integer)", &function, None, true),
            ("public.f(text)", &function, None, false),
        ] {
            let parsed = Patterns::parse(patterns).unwrap();
            let kinds = [object.kind.as_str(), "default"];
            assert_eq!(
                parsed.cover(&kinds, object, table),
                expected,
                "{patterns} {object}"
            );
        }
    }

    #[test]
    fn what_is_no_pattern() {
        for text in ["", "a,,b", "a,", "index:", ":x"] {
            assert!(Patterns::parse(text).is_err(), "{text:?}");
        }
    }
}
