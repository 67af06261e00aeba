//! Something at a place in a file that a person should look at, in the forms that tools read.

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Good to know.
    Note,
    /// Look at it.
    Warning,
    /// It stops something.
    Error,
}

/// A finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The rule, in words with dashes: `destructive`, `ban-drop-column`.
    pub rule: String,
    /// How bad it is.
    pub level: Level,
    /// The file as a person names it, with `/`.
    pub path: String,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1, where it is known.
    pub column: Option<u32>,
    /// What it is and why, in a sentence.
    pub message: String,
    /// The safer way, or what to do.
    pub help: Option<String>,
}
