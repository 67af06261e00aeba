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

// === impl Finding ===

impl Finding {
    /// What it is and the safer way, in a line or two.
    pub fn text(&self) -> String {
        match &self.help {
            Some(help) => format!("{}. Safer: {help}", self.message.trim_end_matches('.')),
            None => self.message.clone(),
        }
    }
}

/// What a rule of ours says; `None` for one of squawk's.
pub fn about(rule: &str) -> Option<&'static str> {
    Some(match rule {
        "blocking" => "locks out reads or writes on a table that existed before",
        "rewrite" => "writes a whole table again, which locks it out for as long",
        "destructive" => "loses data",
        "opaque" => "what it does is known only when it runs",
        "mixed-release" => "destructive and additive in one release",
        "expand-behind-contract" => "an expand migration behind a contract one",
        "left-out" => "not looked at by the rules",
        _ => return None,
    })
}

/// Where a rule of squawk is explained; `None` for one of ours.
pub fn page(rule: &str) -> Option<String> {
    about(rule)
        .is_none()
        .then(|| format!("https://squawkhq.com/docs/{rule}"))
}
