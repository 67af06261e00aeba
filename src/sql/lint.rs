//! The rules of squawk over a script. Pure.
//!
//! Its parser recurses, and where it is wrong about itself it panics. So it never sees rows, nor a statement that is
//! larger or nested deeper than people write, and it runs on a stack of its own that holds what is left. Only `lint`
//! comes here; nothing that migrates does.

use std::{collections::BTreeSet, fmt, ops::Range, thread};

use squawk_linter::{Linter, LinterSettings, Rule, Violation};
use squawk_syntax::SourceFile;

use super::lex::{Lexeme, Tokens};
use super::risk;
use super::{Script, Statement};

/// Which rules are looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    names: BTreeSet<String>,
    /// A person has named them: nothing that they find is left out because the risk says the same.
    pub chosen: bool,
}

/// A rule's name that squawk does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownRule {
    /// As it was given.
    pub name: String,
    /// The one that was probably meant.
    pub nearest: Option<String>,
}

/// What a rule has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The rule's name.
    pub rule: String,
    /// Byte offset in the script.
    pub offset: usize,
    /// How many statements come before the one it is in; `None` for what concerns the whole file.
    pub statement: Option<usize>,
    /// What squawk says.
    pub message: String,
    /// The safer way, where squawk knows one.
    pub help: Option<String>,
}

/// What came of looking.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Looked {
    /// In the order of the file.
    pub found: Vec<Found>,
    /// Statements that no rule has seen, because they are too large or nested too deeply.
    pub left_out: Vec<usize>,
}

/// What a person has to have asked for: taste; timeouts, which schemagate sets itself; and what it does with `BEGIN` and
/// `CONCURRENTLY`, which it sorts out or refuses itself.
const ON_REQUEST: &[&str] = &[
    "ban-char-field",
    "ban-concurrent-index-creation-in-transaction",
    "ban-uncommitted-transaction",
    "prefer-bigint-over-int",
    "prefer-bigint-over-smallint",
    "prefer-identity",
    "prefer-repack",
    "prefer-robust-stmts",
    "prefer-text-field",
    "prefer-timestamp-tz",
    "require-enum-value-ordering",
    "require-lock-timeout",
    "require-statement-timeout",
    "transaction-nesting",
];

/// What squawk itself has only on request ([`Rule::is_opt_in`]).
const OPT_IN: &[&str] = &[
    "ban-add-column",
    "ban-add-composite-attribute",
    "ban-add-enum-value",
    "ban-alter-database-options",
    "ban-alter-extension",
    "ban-alter-function-options",
    "ban-alter-generated-expression",
    "ban-alter-policy-condition",
    "ban-alter-policy-roles",
    "ban-alter-role-options",
    "ban-alter-row-level-security",
    "ban-alter-sequence-values",
    "ban-alter-system-options",
    "ban-alter-view-options",
    "ban-create-policy",
    "ban-detach-inheritance",
    "ban-disable-trigger",
    "ban-drop-index",
    "ban-drop-policy",
    "ban-drop-trigger",
    "ban-new-write-restriction",
    "ban-replace-view-function",
    "ban-replica-identity",
    "ban-revoke",
    "ban-set-default",
    "require-table-schema",
    "require-timeout-settings",
];

/// What the risk of the same statement tells as well, with the lock's name.
const TOLD_BY_RISK: &[&str] = &[
    "adding-field-with-default",
    "adding-foreign-key-constraint",
    "adding-not-nullable-field",
    "adding-serial-primary-key-field",
    "ban-alter-domain-with-add-constraint",
    "ban-drop-column",
    "ban-drop-database",
    "ban-drop-domain",
    "ban-drop-extension",
    "ban-drop-function",
    "ban-drop-schema",
    "ban-drop-sequence",
    "ban-drop-table",
    "ban-drop-type",
    "ban-drop-view",
    "ban-truncate-cascade",
    "changing-column-type",
    "constraint-missing-not-valid",
    "disallowed-unique-constraint",
    "renaming-column",
    "renaming-object",
    "renaming-table",
    "require-concurrent-index-creation",
    "require-concurrent-index-deletion",
    "require-concurrent-partition-detach",
    "require-concurrent-reindex",
];

/// What holds of a new table as well as of an old one.
const OF_NEW_TABLES: &[&str] = &[
    "ban-char-field",
    "ban-duplicate-column-assignments",
    "identifier-too-long",
    "prefer-bigint-over-int",
    "prefer-bigint-over-smallint",
    "prefer-identity",
    "prefer-robust-stmts",
    "prefer-text-field",
    "prefer-timestamp-tz",
    "require-enum-value-ordering",
    "require-table-schema",
];

/// The word for no rule at all.
const NONE: &str = "none";

/// Tokens of one statement, and depth of its parentheses, that squawk is given.
const TOKENS: usize = 10_000;
const DEPTH: u32 = 100;
/// Bytes of a file that squawk is given.
const BYTES: usize = 8 << 20;
/// A token can take a few calls of a few hundred bytes each, deeper in each time. Untouched pages cost nothing.
const STACK: usize = 512 << 20;

// === impl Rules ===

impl Rules {
    /// The rules to look at: those named, or the ones about safety; without those excluded.
    pub fn new(only: &[String], exclude: &[String]) -> Result<Self, Vec<UnknownRule>> {
        let none = matches!(only, [word] if word == NONE);
        let (only, mut unknown) = if none {
            Default::default()
        } else {
            known(only)
        };
        let (exclude, more) = known(exclude);
        unknown.extend(more);
        if !unknown.is_empty() {
            return Err(unknown);
        }
        let chosen = none || !only.is_empty();
        let names = if chosen {
            only.into_iter().collect()
        } else {
            Self::usual()
        };
        Ok(Self {
            names: names
                .into_iter()
                .filter(|name: &String| !exclude.contains(name))
                .collect(),
            chosen,
        })
    }

    fn usual() -> BTreeSet<String> {
        Self::of_squawk()
            .filter(|name| !ON_REQUEST.contains(&name.as_str()))
            .collect()
    }

    /// What squawk looks at by itself. What it says of its own comments has a name that it does not read.
    fn of_squawk() -> impl Iterator<Item = String> {
        let all = Linter::with_default_rules().rules;
        all.into_iter()
            .filter(|rule| *rule != Rule::UnusedIgnore)
            .map(|rule| rule.to_string())
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }
}

/// The names in squawk's spelling, an alias as the rules that it stands for; and those that it does not know.
fn known(names: &[String]) -> (Vec<String>, Vec<UnknownRule>) {
    let mut known = Vec::new();
    let mut unknown = Vec::new();
    for name in names
        .iter()
        .map(|name| name.trim())
        .filter(|name| !name.is_empty())
    {
        match Rule::try_from(name) {
            Ok(rule) if rule.expands_to().is_empty() => known.push(rule.to_string()),
            Ok(alias) => known.extend(alias.expands_to().iter().map(Rule::to_string)),
            Err(_) => unknown.push(UnknownRule {
                name: name.to_owned(),
                nearest: nearest(name),
            }),
        }
    }
    (known, unknown)
}

fn nearest(name: &str) -> Option<String> {
    Rules::of_squawk()
        .chain(OPT_IN.iter().map(|&name| name.to_owned()))
        .map(|known| (strsim::damerau_levenshtein(&known, name), known))
        .min()
        .filter(|(distance, known)| *distance <= known.len() / 3)
        .map(|(_, known)| known)
}

/// Whether the risk of a statement says what the rule says of it.
pub fn is_told_by_risk(rule: &str) -> bool {
    TOLD_BY_RISK.contains(&rule)
}

/// Whether the rule is about tables that were there before.
pub fn is_of_old_tables(rule: &str) -> bool {
    !OF_NEW_TABLES.contains(&rule)
}

impl fmt::Display for UnknownRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is no rule {}", self.name)?;
        match &self.nearest {
            Some(nearest) => write!(f, "; did you mean {nearest}"),
            None => Ok(()),
        }
    }
}

/// Looks at a script. `version` is the server's, as its users write it (`16`, `15.4`); `in_transaction` whether the file
/// runs in one.
pub fn look(script: &Script, rules: &Rules, version: &str, in_transaction: bool) -> Looked {
    if rules.names.is_empty() {
        return Looked::default();
    }
    let excerpt = Excerpt::of(script);
    let text = excerpt.text.clone();
    let chosen: Vec<Rule> = rules
        .names()
        .filter_map(|name| Rule::try_from(name).ok())
        .collect();
    let settings = LinterSettings {
        pg_version: version.parse().unwrap_or_default(),
        assume_in_transaction: in_transaction,
    };
    let lint = move || {
        let mut linter = Linter::from(chosen.iter().copied());
        linter.settings = settings;
        let parse = SourceFile::parse(&text);
        let violations = linter.lint(&parse, &text);
        violations
            .into_iter()
            .filter(|violation| chosen.contains(&violation.code))
            .collect::<Vec<Violation>>()
    };
    let Ok(Ok(violations)) = thread::Builder::new()
        .name("lint".to_owned())
        .stack_size(STACK)
        .spawn(lint)
        .map(thread::JoinHandle::join)
    else {
        // No stack of that size is to be had.
        return Looked {
            found: Vec::new(),
            left_out: script
                .statements()
                .map(|statement| statement.index)
                .collect(),
        };
    };
    Looked {
        found: violations
            .iter()
            .map(|violation| excerpt.found(violation))
            .collect(),
        left_out: excerpt.left_out,
    }
}

/// The part of a script that squawk is given: no rows, and nothing too large. Comments stay, for they may say what is to
/// be ignored.
#[derive(Debug, Default)]
struct Excerpt {
    text: String,
    pieces: Vec<Piece>,
    left_out: Vec<usize>,
}

/// A statement with what stands before it.
#[derive(Debug)]
struct Piece {
    /// In the excerpt.
    range: Range<usize>,
    /// Of its first byte, in the script.
    start: usize,
    statement: usize,
}

// === impl Excerpt ===

impl Excerpt {
    fn of(script: &Script) -> Self {
        let mut excerpt = Self::default();
        let whole = script.text();
        let mut behind = 0;
        for statement in script.statements() {
            let end = statement
                .copy_data
                .as_ref()
                .map_or(statement.end, |data| data.end);
            let gap = whole.get(behind..statement.start).unwrap_or_default();
            let rows = risk::is_rows(&statement);
            if !rows && excerpt.takes(&statement) {
                let text = whole.get(behind..statement.end).unwrap_or_default();
                excerpt.push(text, behind, statement.index);
            } else {
                if gap.contains("--") || gap.contains("/*") {
                    excerpt.push(gap, behind, statement.index);
                }
                if !rows {
                    excerpt.left_out.push(statement.index);
                }
            }
            behind = end;
        }
        let rest = whole.get(behind..).unwrap_or_default();
        if rest.contains("--") && rest.len() < BYTES {
            excerpt.push(rest, behind, usize::MAX);
        }
        excerpt
    }

    fn takes(&self, statement: &Statement<'_>) -> bool {
        if self.text.len() + statement.text.len() > BYTES {
            return false;
        }
        let (mut tokens, mut depth) = (0, 0_u32);
        for token in Tokens::new(statement.text).filter(|token| token.is_significant()) {
            tokens += 1;
            match (token.lexeme, token.of(statement.text)) {
                (Lexeme::Open, _) | (_, "[") => depth += 1,
                (Lexeme::Close, _) | (_, "]") => depth = depth.saturating_sub(1),
                _ => {}
            }
            if tokens > TOKENS || depth > DEPTH {
                return false;
            }
        }
        true
    }

    fn push(&mut self, text: &str, start: usize, statement: usize) {
        if self.text.len() + text.len() > BYTES {
            return;
        }
        let from = self.text.len();
        self.text.push_str(text);
        self.pieces.push(Piece {
            range: from..self.text.len(),
            start,
            statement,
        });
    }

    fn found(&self, violation: &Violation) -> Found {
        let at = u32::from(violation.text_range.start()) as usize;
        let index = self.pieces.partition_point(|piece| piece.range.end <= at);
        let piece = self.pieces.get(index).or(self.pieces.last());
        Found {
            rule: violation.code.to_string(),
            offset: piece.map_or(0, |piece| {
                piece.start + at.saturating_sub(piece.range.start).min(piece.range.len())
            }),
            statement: piece
                .map(|piece| piece.statement)
                .filter(|index| *index != usize::MAX),
            message: violation.message.clone(),
            help: violation.help.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
