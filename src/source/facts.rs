//! What one pass over a file tells: its checksums, its directives, the marks of other tools.

use super::checksum::{Checksums, Sums};
use super::directives;
use crate::formats::Format;
use crate::formats::other_tools::{self, Tool};
use crate::migration::{Directives, Migration};
use std::io::{self, Read};

/// How much is read at once, and how far the head of a file reaches in which directives are looked for.
pub(super) const PIECE: usize = 64 * 1024;

/// A file, read once.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub(super) head: Head,
    sums: Sums,
    size: u64,
}

/// What stands at the head of a file.
#[derive(Debug, Clone)]
pub(super) struct Head {
    directives: Result<Directives, Vec<String>>,
    /// Whose marks stand there.
    pub(super) other_tool: Option<Tool>,
    /// Drizzle's statement marker stands there.
    pub(super) has_drizzle_marker: bool,
    is_utf16: bool,
}

/// Reads a file in pieces. `path` is for messages, `buffer` is kept by the caller and used again.
pub(super) fn gather(path: &str, file: &mut dyn Read, buffer: &mut Vec<u8>) -> io::Result<Facts> {
    buffer.resize(PIECE, 0);
    let filled = fill(file, buffer)?;
    let head = Head::read(path, buffer.get(..filled).unwrap_or_default());
    let mut sums = Checksums::default();
    let mut size = 0;
    let mut last = filled;
    loop {
        sums.update(buffer.get(..last).unwrap_or_default());
        size += last as u64;
        if last < PIECE {
            break;
        }
        last = fill(file, buffer)?;
    }
    let sums = sums.finish();
    Ok(Facts { head, sums, size })
}

/// Reads until the buffer is full or the file ends.
fn fill(file: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// The head as text, cut behind a whole line where the file may go on.
fn head_text(head: &[u8]) -> std::borrow::Cow<'_, str> {
    let end = match head.iter().rposition(|byte| *byte == b'\n') {
        Some(at) if head.len() == PIECE => at + 1,
        _ => head.len(),
    };
    let head = head.get(..end).unwrap_or_default();
    String::from_utf8_lossy(head.strip_prefix("\u{feff}".as_bytes()).unwrap_or(head))
}

// === impl Head ===

impl Head {
    fn read(path: &str, head: &[u8]) -> Self {
        let text = head_text(head);
        let marker = Format::DrizzleClassic.statement_marker();
        Self {
            directives: directives::read(path, &text),
            other_tool: other_tools::by_text(&text),
            has_drizzle_marker: marker.is_some_and(|marker| text.contains(marker)),
            is_utf16: head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff"),
        }
    }
}

// === impl Facts ===

impl Facts {
    /// What is wrong with the text as UTF-8.
    pub(super) fn utf8_problem(&self, path: &str) -> Option<String> {
        let invalid = self.sums.invalid?;
        Some(if self.head.is_utf16 {
            format!("{path}: the file is UTF-16: save it as UTF-8")
        } else {
            format!(
                "{path} line {}: byte {} is not valid UTF-8: save the file as UTF-8",
                invalid.line, invalid.offset
            )
        })
    }

    /// The migration that these facts belong to. Problems with its directives are added to `problems`.
    pub(super) fn into_migration(
        self,
        identity: Identity,
        problems: &mut Vec<String>,
    ) -> Migration {
        let directives = self.head.directives.unwrap_or_else(|found| {
            problems.extend(found);
            Directives::default()
        });
        Migration {
            version: identity.version,
            name: identity.name,
            path: identity.path,
            checksum: self.sums.checksum,
            checksum_other_endings: self.sums.other_endings,
            created_at: identity.created_at,
            size: self.size,
            directives,
            down: identity.down,
        }
    }
}

/// What a file's place in the folder tells of a migration.
pub(super) struct Identity {
    pub(super) version: String,
    pub(super) name: String,
    pub(super) path: String,
    pub(super) created_at: i64,
    pub(super) down: Option<String>,
}
