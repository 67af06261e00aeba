//! What each state is called on the page, what it means and what to do about it when nobody has said it better.

use crate::progress::State;

/// How a state looks and reads. Colour never tells alone: the sign and the word say the same.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    /// One character that system fonts have and draw as text, not as a coloured picture.
    pub(super) sign: &'static str,
    pub(super) name: &'static str,
    /// A class of the style sheet.
    pub(super) tone: &'static str,
    pub(super) meaning: &'static str,
    /// Empty where there is nothing to do.
    pub(super) next: &'static str,
    /// Seconds until the page asks again.
    pub(super) refresh: u32,
}

/// The look of a state.
pub(super) const fn look(state: State) -> Look {
    match state {
        State::Connecting => Look {
            sign: "…",
            name: "connecting",
            tone: "wait",
            meaning: "The schema could not be looked at yet.",
            next: "Nothing, unless it stays so: then see whether the database runs and whether the connection URL and the \
                   network policy lead to it.",
            refresh: 5,
        },
        State::Pending => Look {
            sign: "○",
            name: "pending",
            tone: "wait",
            meaning: "Migrations that this image needs are not applied yet.",
            next: "See to the Job or the init container that runs `schemagate migrate`; with \
                   SCHEMAGATE_AUTO_MIGRATE=true this process applies them itself.",
            refresh: 5,
        },
        State::WaitingForLock => Look {
            sign: "◐",
            name: "waiting for lock",
            tone: "busy",
            meaning: "Migrations are needed, and another session holds the lock.",
            next: "Nothing while the holder gets on. If it does not, look at what it waits for.",
            refresh: 2,
        },
        State::Migrating => Look {
            sign: "►",
            name: "migrating",
            tone: "busy",
            meaning: "This process is applying migrations.",
            next: "",
            refresh: 2,
        },
        State::Ready => Look {
            sign: "✓",
            name: "ready",
            tone: "good",
            meaning: "Every migration that this image needs is applied.",
            next: "",
            refresh: 10,
        },
        State::Ahead => Look {
            sign: "↑",
            name: "ahead",
            tone: "good",
            meaning: "Every migration that this image needs is applied, and the database has newer ones besides.",
            next: "Nothing while a newer release rolls out, or after this one was rolled back.",
            refresh: 10,
        },
        State::Mismatch => Look {
            sign: "≠",
            name: "mismatch",
            tone: "bad",
            meaning: "The history in the database does not match the migrations of this image.",
            next: "Nothing is applied until they match: deploy the image that wrote this history, or see \
                   `schemagate status`.",
            refresh: 10,
        },
        State::Failed => Look {
            sign: "✕",
            name: "failed",
            tone: "bad",
            meaning: "A migration that this image needs has failed.",
            next: "Put right what the error names and deploy a corrected file; the same file is not tried again here.",
            refresh: 10,
        },
    }
}

/// The sign of a migration's state in the list.
pub(super) fn sign(state: &str) -> &'static str {
    match state {
        "applied" => "✓",
        "running" => "►",
        "pending" => "○",
        "failed" => "✕",
        "changed" | "out of order" => "≠",
        "ahead" => "↑",
        "missing" => "?",
        _ => "–",
    }
}

/// The class of a migration's state in the list.
pub(super) fn tone(state: &str) -> &'static str {
    match state {
        "applied" | "ahead" => "good",
        "running" => "busy",
        "pending" => "wait",
        "failed" | "changed" | "out of order" => "bad",
        _ => "calm",
    }
}
