//! Warnings that are worth saying once, not at every attempt.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// Remembers what was said; clones share the memory.
#[derive(Debug, Clone, Default)]
pub(super) struct Once(Arc<Mutex<BTreeSet<String>>>);

// === impl Once ===

impl Once {
    /// Logs the warning, unless it was logged before.
    pub(super) fn warn(&self, text: &str) {
        if self.is_new(text) {
            tracing::warn!("{text}");
        }
    }

    fn is_new(&self, text: &str) -> bool {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        said.insert(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_the_memory() {
        let once = Once::default();
        assert!(once.is_new("a"));
        assert!(!once.clone().is_new("a"));
        assert!(once.is_new("b"));
    }
}
