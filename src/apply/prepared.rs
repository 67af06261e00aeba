//! What is said with every migration, kept by the session as prepared statements.
//!
//! Only on a session of our own from end to end: behind a pooler the next message may meet a server that does not have them.

use super::frame::Statements;
use crate::sql::Template;

/// The statements that a session keeps, each as [`Template::prepared`] writes it; its place gives its name.
#[derive(Debug, Clone, Default)]
pub struct Prepared(Vec<String>);

// === impl Prepared ===

impl Prepared {
    /// These, each once.
    pub fn of(templates: &[Template]) -> Self {
        let mut texts: Vec<String> = Vec::new();
        for template in templates {
            let text = template.prepared();
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        Self(texts)
    }

    /// Whether the session keeps none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What makes the session keep them, in place of any that it has.
    pub fn prepare(&self) -> Statements {
        let mut out = Statements::default();
        out.push("DEALLOCATE ALL");
        for (index, text) in self.0.iter().enumerate() {
            out.push(&format!("PREPARE {} AS {text}", name(index)));
        }
        out
    }

    /// The shortest way to say a statement on this session.
    pub fn say(&self, template: &Template) -> String {
        let kept = (!self.is_empty()).then(|| template.prepared());
        match kept.and_then(|text| self.0.iter().position(|own| *own == text)) {
            Some(index) => format!("EXECUTE {}{}", name(index), template.arguments()),
            None => template.inline(),
        }
    }
}

fn name(index: usize) -> String {
    format!("schemagate_{}", index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_executed() {
        let row = |value: &str| {
            Template::new("INSERT INTO t VALUES (")
                .value(value)
                .text(")")
        };
        let prepared = Prepared::of(&[row("1"), row("2"), Template::new("SELECT 1")]);
        assert_eq!(
            prepared.prepare().sql,
            "DEALLOCATE ALL;PREPARE schemagate_1 AS INSERT INTO t VALUES ($1);PREPARE schemagate_2 AS SELECT 1;"
        );
        assert_eq!(prepared.prepare().count, 3);
        assert_eq!(prepared.say(&row("'x'")), "EXECUTE schemagate_1('x')");
        assert_eq!(
            prepared.say(&Template::new("SELECT 1")),
            "EXECUTE schemagate_2"
        );
        assert_eq!(prepared.say(&Template::new("SELECT 2")), "SELECT 2");
        assert_eq!(
            Prepared::default().say(&row("3")),
            "INSERT INTO t VALUES (3)"
        );
    }
}
