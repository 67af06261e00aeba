//! One of our own statements with the values that change from one migration to the next set apart, so that a session can
//! say it as it stands or prepare it once: parsed and planned anew for each of five hundred migrations, the lock, the look
//! at the history and the two rows cost as much as a small migration itself.

use std::fmt::Write as _;

/// A statement as text and values in turn.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Template {
    /// The text before each value, and behind the last one.
    texts: Vec<String>,
    /// Each as a literal that needs no further quoting.
    values: Vec<String>,
}

// === impl Template ===

impl Template {
    /// A statement that begins with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            texts: vec![text.into()],
            values: Vec::new(),
        }
    }

    /// Goes on with text.
    #[must_use]
    pub fn text(mut self, text: &str) -> Self {
        match self.texts.last_mut() {
            Some(last) => last.push_str(text),
            None => self.texts.push(text.to_owned()),
        }
        self
    }

    /// Goes on with a value, a literal as SQL writes it.
    #[must_use]
    pub fn value(mut self, literal: impl Into<String>) -> Self {
        if self.texts.is_empty() {
            self.texts.push(String::new());
        }
        self.values.push(literal.into());
        self.texts.push(String::new());
        self
    }

    /// Goes on with another statement's text and values.
    #[must_use]
    pub fn then(mut self, other: &Self) -> Self {
        for (index, text) in other.texts.iter().enumerate() {
            self = self.text(text);
            if let Some(value) = other.values.get(index) {
                self = self.value(value.as_str());
            }
        }
        self
    }

    /// The statement with its values in place.
    pub fn inline(&self) -> String {
        self.woven(|_, value, out| out.push_str(value))
    }

    /// The statement with `$1`, `$2`, … in their place: the same for all migrations.
    pub fn prepared(&self) -> String {
        self.woven(|index, _, out| {
            let _ = write!(out, "${}", index + 1);
        })
    }

    /// The values, as `EXECUTE name` takes them.
    pub fn arguments(&self) -> String {
        if self.values.is_empty() {
            String::new()
        } else {
            format!("({})", self.values.join(", "))
        }
    }

    fn woven(&self, mut put: impl FnMut(usize, &str, &mut String)) -> String {
        let mut out = String::new();
        for (index, text) in self.texts.iter().enumerate() {
            out.push_str(text);
            if let Some(value) = self.values.get(index) {
                put(index, value, &mut out);
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_statement_in_both_forms() {
        let row = Template::new("a = ").value("'it''s'").text(" OR b = ");
        let row = row.value("7");
        let whole = Template::new("SELECT '$1' FROM t WHERE ")
            .then(&row)
            .text(" LIMIT 1");
        assert_eq!(
            whole.inline(),
            "SELECT '$1' FROM t WHERE a = 'it''s' OR b = 7 LIMIT 1"
        );
        assert_eq!(
            whole.prepared(),
            "SELECT '$1' FROM t WHERE a = $1 OR b = $2 LIMIT 1"
        );
        assert_eq!(whole.arguments(), "('it''s', 7)");
    }

    #[test]
    fn nothing_to_set_apart() {
        let plain = Template::new("SELECT 1");
        assert_eq!(plain.inline(), plain.prepared());
        assert_eq!(plain.arguments(), "");
        assert_eq!(Template::default().value("1").prepared(), "$1");
    }
}
