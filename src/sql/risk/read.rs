//! Reads one statement into its effects: which command it is, and what each command has in common.

use super::memory::Memory;
use super::{Effect, Lock, Risk, alter, block, create, data, discard, maintain};
use crate::sql::Name;
use crate::sql::lex::Lexeme;
use crate::sql::words::Words;

/// As many effects as are told of one statement.
const EFFECTS: usize = 200;
/// Statements in statements (`EXPLAIN`, `PREPARE`, `DO`, dynamic SQL) are followed so far.
const DEPTH: u8 = 8;
/// Stands for a name in SQL that is put together when it runs.
pub(super) const UNKNOWN_NAME: &str = "\u{1}";
/// Letters of the longest first word that is looked at, rounded up.
const LONGEST: usize = 16;

/// What a lock is held for, or what happens under it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// Nobody waits for it, whatever the lock is called.
    Nothing,
    /// A change in the catalog.
    Brief,
    /// Rows are read, or an index is built.
    Long,
    /// The relation is written again.
    Rewrite,
    /// Data is lost.
    Loses,
    /// Data is lost, by writing the relation again.
    Empties,
}

/// Collects the effects of a statement.
#[derive(Debug)]
pub(super) struct Reader<'r> {
    pub(super) memory: &'r mut Memory,
    pub(super) version: u32,
    pub(super) effects: Vec<Effect>,
    pub(super) opaque: bool,
    /// In a block, where a condition or an exception may keep a `CREATE` from creating.
    pub(super) conditional: bool,
    depth: u8,
}

// === impl Reader ===

impl<'r> Reader<'r> {
    pub(super) fn new(memory: &'r mut Memory, version: u32) -> Self {
        Self {
            memory,
            version,
            effects: Vec::new(),
            opaque: false,
            conditional: false,
            depth: 0,
        }
    }

    /// The worst of the effects.
    pub(super) fn risk(&self) -> Risk {
        self.effects
            .iter()
            .map(|effect| effect.risk)
            .max()
            .unwrap_or_default()
    }

    /// Reads a statement, which may stand in another.
    pub(super) fn statement(&mut self, text: &str) {
        if self.depth == DEPTH {
            return self.guess(text, "statements are nested too deeply to follow");
        }
        self.depth += 1;
        self.command(text);
        self.depth -= 1;
    }

    fn command(&mut self, text: &str) {
        let mut words = Words::new(text);
        while words.take_lexeme(Lexeme::Open) {}
        let first = words.next().map_or("", |token| words.text_of(token));
        let mut lower = [0_u8; LONGEST];
        let Some(lower) = lower.get_mut(..first.len()) else {
            return self.guess(text, UNKNOWN);
        };
        lower.copy_from_slice(first.as_bytes());
        lower.make_ascii_lowercase();
        match &*lower {
            b"alter" => alter::read(self, words),
            b"create" => create::read(self, words),
            b"drop" => discard::read(self, words),
            b"do" => block::read(self, words),
            b"insert" | b"update" | b"delete" | b"merge" | b"truncate" | b"copy" | b"with"
            | b"select" | b"values" | b"table" | b"call" => data::read(self, lower, words, text),
            b"explain" => data::explain(self, words),
            b"prepare" => data::prepare(self, words),
            b"execute" => data::execute(self),
            b"vacuum" | b"cluster" | b"repack" | b"reindex" | b"refresh" | b"lock" | b"analyze"
            | b"analyse" | b"comment" | b"security" | b"reassign" | b"load" => {
                maintain::read(self, lower, words);
            }
            b"discard" => self.memory.forget_temporary(),
            // Sessions, transactions, privileges, cursors: no relation is held up.
            b"" | b"set" | b"reset" | b"show" | b"begin" | b"start" | b"commit" | b"end"
            | b"rollback" | b"abort" | b"savepoint" | b"release" | b"deallocate" | b"declare"
            | b"fetch" | b"move" | b"close" | b"listen" | b"notify" | b"unlisten"
            | b"checkpoint" | b"grant" | b"revoke" | b"import" => {}
            _ => self.guess(text, UNKNOWN),
        }
    }

    /// Something that only the server can tell. The worst word in it decides.
    pub(super) fn guess(&mut self, text: &str, why: &str) {
        self.opaque = true;
        let mut words = text.split(|c: char| !c.is_ascii_alphanumeric());
        let worst = ["drop", "truncate", "delete"];
        // Also in its strings: they may be what it runs.
        let loses = words.any(|word| worst.iter().any(|worst| word.eq_ignore_ascii_case(worst)));
        let work = if loses { Work::Loses } else { Work::Long };
        self.unnamed(Lock::AccessExclusive, work, why, None);
    }

    /// An effect on a relation that the statement names.
    pub(super) fn on(
        &mut self,
        object: &Name,
        lock: Lock,
        work: Work,
        why: impl Into<String>,
        safer: Option<&str>,
    ) {
        let loses = matches!(work, Work::Loses | Work::Empties);
        let mut effect = effect(Some(object.clone()), Some(lock), work, why.into(), safer);
        effect.made_here = self.memory.is_made(object, loses);
        if effect.risk > Risk::Safe && effect.made_here {
            effect.risk = Risk::Safe;
            effect.safer = None;
            effect
                .why
                .push_str("; made in this release, nobody uses it yet");
        }
        self.push(effect);
    }

    /// An effect on relations that the statement does not name.
    pub(super) fn unnamed(&mut self, lock: Lock, work: Work, why: &str, safer: Option<&str>) {
        self.push(effect(None, Some(lock), work, why.to_owned(), safer));
    }

    /// An effect that takes no lock on a relation.
    pub(super) fn without_lock(&mut self, risk: Risk, why: &str, safer: Option<&str>) {
        let mut effect = effect(None, None, Work::Brief, why.to_owned(), safer);
        effect.risk = risk;
        self.push(effect);
    }

    /// Data is lost that the statement does not name, `CASCADE` and the like.
    pub(super) fn cascade(&mut self, why: &str) {
        self.unnamed(
            Lock::AccessExclusive,
            Work::Loses,
            why,
            Some("drop what depends on it in statements of its own, so that a reviewer sees each"),
        );
    }

    /// The tables that a foreign key connects this one with.
    pub(super) fn referenced(&mut self, table: &Name, lock: Lock, why: &str) {
        if self.memory.may_reference(table) {
            self.unnamed(lock, Work::Brief, why, None);
        }
    }

    fn push(&mut self, effect: Effect) {
        if self.effects.len() < EFFECTS {
            return self.effects.push(effect);
        }
        // Thousands of actions in one statement: the worst of each kind stays.
        let milder = |known: &Effect| known.risk < effect.risk || known.lock < effect.lock;
        if self.effects.iter().all(milder)
            && let Some(last) = self.effects.last_mut()
        {
            *last = effect;
        }
    }

    /// Whether the server has this major version. An unknown one has not: what came later is milder.
    pub(super) const fn has(&self, major: u32) -> bool {
        self.version >= major * 10_000
    }

    /// Notes that a relation was created.
    pub(super) fn made(&mut self, name: &Name, if_not_exists: bool) {
        let doubtful = if_not_exists || self.conditional;
        if name.name != UNKNOWN_NAME && (!doubtful || self.memory.believes_if_not_exists) {
            self.memory.make(name);
        }
    }
}

const UNKNOWN: &str = "not a command that is known here; what it does shows when it runs";

fn effect(
    object: Option<Name>,
    lock: Option<Lock>,
    work: Work,
    why: String,
    safer: Option<&str>,
) -> Effect {
    let blocks = lock.is_some_and(|lock| lock >= Lock::Share);
    Effect {
        object,
        lock,
        brief: work == Work::Brief,
        rewrite: matches!(work, Work::Rewrite | Work::Empties),
        made_here: false,
        risk: match work {
            Work::Brief | Work::Long if blocks => Risk::Blocking,
            Work::Nothing | Work::Brief | Work::Long => Risk::Safe,
            Work::Rewrite => Risk::Rewrite,
            Work::Loses | Work::Empties => Risk::Destructive,
        },
        why,
        safer: safer.map(str::to_owned),
    }
}

/// See [`super::is_additive`].
pub(super) fn is_additive(text: &str) -> bool {
    let mut words = Words::new(text);
    if words.take("create") {
        return !words.is("or");
    }
    if words.take_all(&["alter", "type"]) {
        words.name();
        return words.is("add");
    }
    if !words.take_all(&["alter", "table"]) {
        return false;
    }
    words.take_all(&["if", "exists"]);
    words.take("only");
    words.name();
    pieces(words.rest()).any(|piece| Words::new(piece).is("add"))
}

/// What stands between commas outside every parenthesis and bracket.
pub(super) fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let mut words = Words::new(text);
        let mut depth = 0_u32;
        while let Some(token) = words.next() {
            match (token.lexeme, words.text_of(token)) {
                (Lexeme::Open, _) | (_, "[") => depth += 1,
                (Lexeme::Close, _) | (_, "]") => depth = depth.saturating_sub(1),
                (Lexeme::Comma, _) if depth == 0 => {
                    rest = Some(words.rest());
                    return text.get(..token.start);
                }
                _ => {}
            }
        }
        rest = None;
        Some(text)
    })
}

/// Whether a word stands in the text, outside parentheses, as a keyword.
pub(super) fn has_word(text: &str, word: &str) -> bool {
    let mut words = Words::new(text);
    let mut depth = 0_u32;
    while let Some(token) = words.next() {
        match token.lexeme {
            Lexeme::Open => depth += 1,
            Lexeme::Close => depth = depth.saturating_sub(1),
            Lexeme::Word if depth == 0 && words.text_of(token).eq_ignore_ascii_case(word) => {
                return true;
            }
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_end_at_commas_outside_parentheses() {
        let found: Vec<&str> = pieces("a (1, 2), ARRAY[1,2] 'x,y' , c").collect();
        assert_eq!(found, ["a (1, 2)", " ARRAY[1,2] 'x,y' ", " c"]);
        assert_eq!(pieces("").count(), 1);
    }
}
