//! How a value comes onto the page: escaped, bounded, and with nothing in it that cannot be seen.

use std::fmt::Write as _;

use maud::{Escaper, Render};

/// How much of a name is shown, in bytes of HTML.
const NAME: usize = 300;
/// How much of a reason or an error is shown, in bytes of HTML.
const PROSE: usize = 2_000;
/// How much is shown of what there may be hundreds of, in bytes of HTML.
const NOTE: usize = 400;

/// A name: one line, bounded.
pub(super) struct Name<'a>(pub(super) &'a str);

/// A name in a narrow column: it may go on in the next line behind an underscore.
pub(super) struct Column<'a>(pub(super) &'a str);

/// A sentence or more, bounded.
pub(super) struct Prose<'a>(pub(super) &'a str);

/// The same where there may be hundreds.
pub(super) struct Note<'a>(pub(super) &'a str);

// === impl Name, Column, Prose, Note ===

impl Render for Name<'_> {
    fn render_to(&self, buffer: &mut String) {
        bounded(self.0, NAME, buffer, |_| Shown::Visibly);
    }
}

impl Render for Column<'_> {
    fn render_to(&self, buffer: &mut String) {
        bounded(self.0, NAME, buffer, |character| match character {
            '_' => Shown::Breaking,
            _ => Shown::Visibly,
        });
    }
}

impl Render for Prose<'_> {
    fn render_to(&self, buffer: &mut String) {
        bounded(self.0, PROSE, buffer, in_lines);
    }
}

impl Render for Note<'_> {
    fn render_to(&self, buffer: &mut String) {
        bounded(self.0, NOTE, buffer, in_lines);
    }
}

enum Shown {
    /// As it is; a mark instead of what a browser would hide.
    Visibly,
    /// As it is.
    Plainly,
    /// As it is, and a line may end behind it.
    Breaking,
}

const fn in_lines(character: char) -> Shown {
    match character {
        '\n' | '\t' => Shown::Plainly,
        _ => Shown::Visibly,
    }
}

/// Escapes what a browser would read as markup, and cuts.
fn bounded(text: &str, limit: usize, buffer: &mut String, how: impl Fn(char) -> Shown) {
    let end = buffer.len() + limit;
    for character in text.chars() {
        if buffer.len() >= end {
            buffer.push('…');
            return;
        }
        let how = how(character);
        let shown = match how {
            Shown::Visibly if is_hidden(character) => char::REPLACEMENT_CHARACTER,
            _ => character,
        };
        // Writing to a String cannot fail.
        let _ = Escaper::new(buffer).write_char(shown);
        if matches!(how, Shown::Breaking) {
            buffer.push_str("<wbr>");
        }
    }
}

/// Control characters, and those that turn the direction of what follows.
fn is_hidden(character: char) -> bool {
    character.is_control() || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
