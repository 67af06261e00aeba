//! Directives: `-- schemagate: key=value …` in comments at the head of a file, invisible to other tools.

use std::ops::Range;
use std::time::Duration;

use jiff::SignedDuration;
use semver::VersionReq;

use crate::migration::{Approve, Directives};
pub use crate::sql::Issue;
use crate::sql::lex::{Lexeme, Tokens};
use crate::window::Windows;

const WORD: &str = "schemagate";
const EXAMPLE: &str = "-- schemagate: transaction=off";

/// Reads the directives of a file, given from its start (all of it, or at least up to its first statement).
///
/// Line comments before the first statement count; blank lines, other comments and a byte order mark may stand between
/// them. An unknown key, a bad value, a word that is almost `schemagate`, and a directive in a block comment are issues: a
/// typo must never silently drop a safety setting.
pub fn parse(head: &str) -> Result<Directives, Vec<Issue>> {
    let mut reader = Reader {
        text: head,
        directives: Directives::default(),
        seen: Vec::new(),
        issues: Vec::new(),
    };
    for (lexeme, range) in comments(head) {
        match lexeme {
            Lexeme::LineComment => reader.comment(range),
            _ => reader.block_comment(range),
        }
    }
    if reader.issues.is_empty() {
        Ok(reader.directives)
    } else {
        Err(reader.issues)
    }
}

/// Where the first statement starts: directives behind it do not count.
pub(super) fn head_end(text: &str) -> usize {
    comments(text).last().map_or(0, |(_, range)| range.end)
}

/// Whether a line comment would be read as a directive, or refused as a misspelt one, at the head of a file.
pub(super) fn looks_like_one(comment: &str) -> bool {
    !matches!(recognise(comment), Recognised::Prose)
}

/// The comments before the first statement.
fn comments(text: &str) -> impl Iterator<Item = (Lexeme, Range<usize>)> {
    let bom = if text.starts_with('\u{feff}') { 3 } else { 0 };
    let mut behind = bom;
    Tokens::new(&text[bom..])
        .map_while(move |token| {
            let range = bom + token.start..bom + token.end;
            let on_same_line = range.start < behind;
            match token.lexeme {
                // pg_dump's \restrict: psql's commands take their whole line.
                Lexeme::Backslash => {
                    behind = text[range.start..]
                        .find('\n')
                        .map_or(text.len(), |at| range.start + at);
                    Some(None)
                }
                Lexeme::LineComment | Lexeme::BlockComment if token.terminated => {
                    Some((!on_same_line).then_some((token.lexeme, range)))
                }
                Lexeme::Space | Lexeme::Semi => Some(None),
                _ => on_same_line.then_some(None),
            }
        })
        .flatten()
}

/// What a comment's text is, its dashes off.
enum Recognised<'t> {
    /// `schemagate:` and then this.
    Directive(&'t str),
    /// Meant as one, but not written as one.
    Misspelt(String),
    Prose,
}

fn recognise(comment: &str) -> Recognised<'_> {
    let text = comment.trim_start_matches('-').trim();
    let end = text
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-')
        .unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    let word = word.to_ascii_lowercase();
    let body = rest.trim_start().strip_prefix(':');
    match body {
        Some(body) if word == WORD => Recognised::Directive(body),
        None if word == WORD && rest.split_whitespace().any(is_pair) => {
            Recognised::Misspelt(format!("a directive needs a colon: {EXAMPLE}"))
        }
        Some(_) if word.len() > 7 && strsim::damerau_levenshtein(&word, WORD) <= 2 => {
            Recognised::Misspelt(format!(
                "`{word}:` is no directive; did you mean `{EXAMPLE}`"
            ))
        }
        _ => Recognised::Prose,
    }
}

/// Whether a word of a sentence is in truth a setting.
fn is_pair(word: &str) -> bool {
    word.split_once('=').is_some_and(|(key, value)| {
        !value.is_empty()
            && !key.is_empty()
            && key.chars().all(|c| c.is_ascii_alphabetic() || c == '-')
    })
}

/// One `key=value`.
struct Pair<'t> {
    key: &'t str,
    value: &'t str,
    /// The byte offset of the key in the file.
    offset: usize,
}

struct Reader<'t> {
    text: &'t str,
    directives: Directives,
    seen: Vec<&'t str>,
    issues: Vec<Issue>,
}

// === impl Reader ===

impl<'t> Reader<'t> {
    fn issue(&mut self, offset: usize, message: impl Into<String>) {
        self.issues.push(Issue::at(self.text, offset, message));
    }

    fn block_comment(&mut self, range: Range<usize>) {
        let directive = self.text[range.clone()]
            .lines()
            .map(|line| line.trim_start_matches(['/', '*', ' ', '\t']))
            .any(looks_like_one);
        if directive {
            self.issue(
                range.start,
                format!("directives are read from line comments only: {EXAMPLE}"),
            );
        }
    }

    fn comment(&mut self, range: Range<usize>) {
        match recognise(&self.text[range.clone()]) {
            Recognised::Prose => {}
            Recognised::Misspelt(message) => self.issue(range.start, message),
            Recognised::Directive(body) => {
                let trailing = self.text[range.clone()].trim_end().len();
                let start = range.start + trailing - body.len();
                self.body(body, start);
            }
        }
    }

    fn body(&mut self, body: &'t str, start: usize) {
        let pairs = match pairs(body, start) {
            Ok(pairs) => pairs,
            Err((offset, message)) => return self.issue(offset, message),
        };
        if pairs.is_empty() {
            self.issue(
                start,
                format!("an empty directive; write key=value: {EXAMPLE}"),
            );
        }
        let reasoned = pairs
            .iter()
            .find(|pair| matches!(pair.key, "approve" | "waive"));
        let reason = pairs.iter().find(|pair| pair.key == "reason");
        match (reasoned, reason) {
            (None, Some(pair)) => self.issue(
                pair.offset,
                "reason belongs to approve or waive on the same line",
            ),
            (Some(pair), None) => self.issue(
                pair.offset,
                format!("{} needs a reason: reason=\"…\" on the same line", pair.key),
            ),
            (Some(_), Some(pair)) if pair.value.trim().is_empty() => {
                self.issue(pair.offset, "reason is empty");
            }
            _ => {}
        }
        let reason = reason.map(|pair| pair.value.trim()).unwrap_or_default();
        for pair in &pairs {
            self.pair(pair, reason);
        }
    }

    /// `reason` is that of its line.
    fn pair(&mut self, pair: &Pair<'t>, reason: &str) {
        if pair.key != "reason" && self.seen.contains(&pair.key) {
            return self.issue(pair.offset, format!("{} is given twice", pair.key));
        }
        self.seen.push(pair.key);
        if let Err(message) = self.set(pair, reason) {
            self.issue(pair.offset, message);
        }
    }

    fn set(&mut self, pair: &Pair<'t>, reason: &str) -> Result<(), String> {
        let directives = &mut self.directives;
        match pair.key {
            "transaction" => {
                one_of(pair, &["off"])?;
                directives.transaction_off = true;
            }
            "phase" => directives.contract = one_of(pair, &["contract", "expand"])? == "contract",
            "lock-timeout" => directives.lock_timeout = Some(duration(pair)?),
            "statement-timeout" => directives.statement_timeout = Some(duration(pair)?),
            "approve" => {
                directives.approve = Some(Approve {
                    classes: classes(pair)?,
                    reason: reason.to_owned(),
                });
            }
            "waive" => {
                one_of(pair, &["backup"])?;
                directives.waive_backup = Some(reason.to_owned());
            }
            "window" => {
                let windows = Windows::parse(pair.value);
                directives.window =
                    Some(windows.map_err(|wrong| format!("window={:?}: {wrong}", pair.value))?);
            }
            "requires-app" => directives.requires_app = Some(requirement(pair)?),
            "reason" => {}
            unknown => return Err(unknown_key(unknown)),
        }
        Ok(())
    }
}

/// The keys of the contract, for messages.
const KEYS: [&str; 8] = [
    "transaction",
    "phase",
    "approve",
    "waive",
    "window",
    "requires-app",
    "lock-timeout",
    "statement-timeout",
];

fn unknown_key(key: &str) -> String {
    let near = KEYS
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(known, key), known))
        .min()
        .filter(|(distance, _)| *distance <= 3);
    match near {
        Some((_, known)) => format!("unknown directive {key}; did you mean {known}"),
        None => format!("unknown directive {key}; known are {}", KEYS.join(", ")),
    }
}

fn one_of<'t>(pair: &Pair<'t>, accepted: &[&str]) -> Result<&'t str, String> {
    if accepted.contains(&pair.value) {
        return Ok(pair.value);
    }
    Err(format!(
        "{}={:?}: accepted is {}",
        pair.key,
        pair.value,
        accepted.join(" or ")
    ))
}

/// What `approve` can approve: the classes of risk above `safe`.
const CLASSES: [&str; 3] = ["destructive", "rewrite", "blocking"];

/// One class, or several with commas between.
fn classes(pair: &Pair<'_>) -> Result<Vec<String>, String> {
    let classes = pair.value.split(',').map(str::trim);
    if classes.clone().all(|class| CLASSES.contains(&class)) {
        return Ok(classes.map(str::to_owned).collect());
    }
    Err(format!(
        "approve={:?}: accepted is destructive, rewrite or blocking, or several with commas between",
        pair.value
    ))
}

/// What a version of the application must fulfil, as Cargo writes it.
fn requirement(pair: &Pair<'_>) -> Result<VersionReq, String> {
    let wrong = |why: &str| {
        format!(
            "requires-app={:?}: {why}; accepted is a requirement such as \">=1.4\" or \">=1.4, <3\"",
            pair.value
        )
    };
    if pair.value.trim().is_empty() {
        return Err(wrong("it is empty"));
    }
    VersionReq::parse(pair.value).map_err(|error| wrong(&error.to_string()))
}

/// `500ms`, `30s`, `5m`, `1h30m`, `0`; at most what PostgreSQL's timeouts hold (31 bits of milliseconds).
fn duration(pair: &Pair<'_>) -> Result<Duration, String> {
    let value = pair.value;
    let plain = value.starts_with(|c: char| c.is_ascii_digit())
        && value
            .chars()
            .all(|c| c.is_ascii_digit() || "hms".contains(c));
    let parsed = if value == "0" {
        Some(Duration::ZERO)
    } else {
        plain
            .then(|| value.parse::<SignedDuration>().ok())
            .flatten()
            .and_then(|parsed| Duration::try_from(parsed).ok())
    };
    parsed
        .filter(|parsed| i32::try_from(parsed.as_millis()).is_ok())
        .ok_or_else(|| {
            format!(
                "{}={value:?}: accepted is a duration such as 500ms, 30s, 5m, 1h30m, or 0 for no limit",
                pair.key
            )
        })
}

/// Splits `key=value key="quoted value"`.
fn pairs(body: &str, start: usize) -> Result<Vec<Pair<'_>>, (usize, String)> {
    let mut pairs = Vec::new();
    let mut rest = body.trim_start();
    while !rest.is_empty() {
        let offset = start + body.len() - rest.len();
        let end = rest
            .find(|c: char| c == '=' || c.is_whitespace())
            .unwrap_or(rest.len());
        let (key, behind) = rest.split_at(end);
        let value = behind
            .strip_prefix('=')
            .filter(|_| !key.is_empty())
            .ok_or_else(|| {
                (
                    offset,
                    format!("{key:?}: a directive is key=value, without spaces around ="),
                )
            })?;
        let (value, behind) = take_value(value).map_err(|message| (offset, message))?;
        pairs.push(Pair { key, value, offset });
        rest = behind.trim_start();
    }
    Ok(pairs)
}

/// A value up to the next space, or in double quotes, and what is behind it.
fn take_value(text: &str) -> Result<(&str, &str), String> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        let (value, behind) = text.split_at(end);
        return if value.is_empty() {
            Err("a key without a value".to_owned())
        } else if value.contains('"') {
            Err(format!("{value}: quotes go around the whole value"))
        } else {
            Ok((value, behind))
        };
    };
    let (value, behind) = quoted
        .split_once('"')
        .ok_or_else(|| "a quote without an end".to_owned())?;
    if behind.starts_with(|c: char| !c.is_whitespace()) {
        return Err("nothing may follow a closing quote but a space".to_owned());
    }
    Ok((value, behind))
}

#[cfg(test)]
mod tests;
