//! A mistake in the settings, collected so that all of them are told at once.

use std::fmt;

/// One mistake: which variable, what stood there, what is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The variable or flag as the user knows it (`SCHEMAGATE_LOCK_TIMEOUT`, `PGSSLMODE`).
    pub variable: String,
    /// What was given. Never a secret's value.
    pub value: Option<String>,
    /// What is accepted, or what to do.
    pub expected: String,
}

// === impl Problem ===

impl Problem {
    /// A problem that shows the given value.
    pub fn with_value(
        variable: impl Into<String>,
        value: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        Self {
            variable: variable.into(),
            value: Some(value.into()),
            expected: expected.into(),
        }
    }

    /// A problem without a value: nothing was given, or what was given is a secret.
    pub fn new(variable: impl Into<String>, expected: impl Into<String>) -> Self {
        Self {
            variable: variable.into(),
            value: None,
            expected: expected.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{}={value:?}: {}", self.variable, self.expected),
            None => write!(f, "{}: {}", self.variable, self.expected),
        }
    }
}
