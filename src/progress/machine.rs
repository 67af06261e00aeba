//! How one [`Progress`] follows from another.

use super::Progress;

/// The state, and what it takes to decide the next one.
#[derive(Debug)]
pub struct Machine {
    progress: Progress,
}

// === impl Machine ===

impl Machine {
    /// Nothing is known yet.
    pub fn new(progress: Progress) -> Self {
        Self { progress }
    }

    /// What the endpoints show.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }
}
