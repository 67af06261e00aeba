//! What a file may do to the session, suspected from its words.

/// What a file may leave behind that no rollback takes away, suspected from its words: a function body counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Leaks {
    /// Prepared statements.
    pub prepares: bool,
    /// Session-level advisory locks.
    pub locks: bool,
    /// Cursors.
    pub cursors: bool,
}

// === impl Leaks ===

impl Leaks {
    /// Of a file's text.
    pub fn of(text: &str) -> Self {
        Self {
            prepares: prepares(text),
            locks: positions(text, b"advisory").next().is_some(),
            cursors: positions(text, b"cursor").next().is_some(),
        }
    }

    /// Of several files.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self {
            prepares: self.prepares || other.prepares,
            locks: self.locks || other.locks,
            cursors: self.cursors || other.cursors,
        }
    }
}

/// `PREPARE name AS …` or `PREPARE name (…`; a column `prepared_at` or a sentence in a comment is none.
fn prepares(text: &str) -> bool {
    positions(text, b"prepare").any(|at| {
        let name = text[at + b"prepare".len()..].trim_start();
        let rest = name.trim_start_matches(|c: char| c.is_alphanumeric() || "_$\"".contains(c));
        let rest = rest.trim_start();
        let follows = rest.starts_with('(')
            || rest
                .get(..2)
                .is_some_and(|word| word.eq_ignore_ascii_case("as"));
        let spaced = text[at + b"prepare".len()..].starts_with(char::is_whitespace);
        spaced && follows
    })
}

/// Letters as English and SQL use them, the rarest first.
const RARE_FIRST: &[u8] = b"qjzxvkwybhgfmpudclsnrtoiae";

/// Where a word in small letters stands in a text, in whatever case. A file may have hundreds of megabytes: it is looked
/// through for the word's rarest letter.
fn positions<'t>(text: &'t str, word: &'t [u8]) -> impl Iterator<Item = usize> + 't {
    let rank = |letter: &u8| RARE_FIRST.iter().position(|rare| rare == letter);
    let rarest = word
        .iter()
        .enumerate()
        .min_by_key(|(_, letter)| rank(letter));
    let (offset, letter) = rarest.map_or((0, 0), |(offset, letter)| (offset, *letter));
    let text = text.as_bytes();
    memchr::memchr2_iter(letter, letter.to_ascii_uppercase(), text).filter_map(move |at| {
        let start = at.checked_sub(offset)?;
        let found = text.get(start..start + word.len())?;
        found.eq_ignore_ascii_case(word).then_some(start)
    })
}

/// Whether a file may take prepared statements away: its own text speaks of it. What a function that it calls does is not
/// seen; the server then says that there is no such statement, and the migration is sent again without them.
pub(super) fn may_drop(text: &str) -> bool {
    ["deallocate", "discard", "prepare"]
        .iter()
        .any(|word| positions(text, word.as_bytes()).next().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaks_are_suspected_anywhere() {
        let of = |text| {
            let leaks = Leaks::of(text);
            (leaks.prepares, leaks.locks)
        };
        assert_eq!(
            of("DO $$ BEGIN EXECUTE 'Prepare x AS SELECT 1'; END $$"),
            (true, false)
        );
        assert_eq!(of("SELECT PG_ADVISORY_LOCK(1)"), (false, true));
        assert_eq!(of("prepare y(int) AS SELECT $1"), (true, false));
        assert_eq!(of("CREATE TABLE t (prepared_at text)"), (false, false));
        assert_eq!(of("-- prepare the tables, as said"), (false, false));
        assert_eq!(of(""), (false, false));
    }

    #[test]
    fn words_are_found_in_any_case_and_place() {
        let at = |text: &str, word: &str| positions(text, word.as_bytes()).collect::<Vec<_>>();
        assert_eq!(at("cursor CURSOR é cUrSoR curso", "cursor"), [0, 7, 17]);
        assert_eq!(at("ory advisory_", "advisory"), [4]);
        assert_eq!(at("visory", "advisory"), [0; 0]);
        assert_eq!(at("ppreprepare", "prepare"), [4]);
        assert_eq!(at("", "discard"), [0; 0]);
    }

    #[test]
    fn files_that_may_drop_them() {
        assert!(may_drop("DO $$ BEGIN EXECUTE 'Deallocate All'; END $$"));
        assert!(may_drop("DISCARD TEMP"));
        assert!(!may_drop("CREATE TABLE cards (id int)"));
    }
}
