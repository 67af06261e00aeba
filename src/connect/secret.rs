//! A password that cannot be printed.

use std::fmt;

/// Bytes of a password. No `Display`, and a `Debug` that says nothing.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret(Vec<u8>);

// === impl Secret ===

impl Secret {
    pub(super) fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// The content of a password file: the line breaks at its end are no part of it.
    pub(super) fn from_file_content(mut bytes: Vec<u8>) -> Self {
        while matches!(bytes.last(), Some(b'\n' | b'\r')) {
            bytes.pop();
        }
        Self(bytes)
    }

    pub(super) fn expose(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_breaks_at_the_end_are_cut_and_nothing_else() {
        let secret = Secret::from_file_content(b" p\nw \r\n\n".to_vec());
        assert_eq!(secret.expose(), b" p\nw ");
        assert_eq!(format!("{secret:?}"), "…");
    }
}
