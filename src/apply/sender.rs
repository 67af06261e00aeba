//! Sends the text of a transaction in as few messages as it needs, and tells which file and which statement an error
//! belongs to.
//!
//! The server lexes a whole message before its first statement runs and keeps the parse trees of all of them: a big
//! file goes in pieces of about [`MESSAGE_BYTES`], cut between statements. Run-time errors carry no position, so the
//! statements that completed before the error are counted.

use bytes::Bytes;
use futures_util::SinkExt;
use tokio_postgres::{
    Client, Error,
    error::{DbError, ErrorPosition},
};

use crate::wire::{self, Sent};

/// Above this the text is sent; 20 MB in one message cost 373 MB in the server process, in pieces 58 MB.
pub const MESSAGE_BYTES: usize = 1 << 20;

/// Data of a `COPY` goes in pieces of this size.
const COPY_BYTES: usize = 64 << 10;

/// Collects text and sends it when told to, or when it is big enough. One message is under way while the next is collected;
/// that one goes out when the server is done with the first: after a syntax error there would be no transaction for it.
pub struct Sender<'a> {
    client: &'a Client,
    buffer: String,
    spans: Vec<Span>,
    under_way: Option<Posted>,
}

/// A message that was sent, and what is needed to tell whose error its answer is.
pub struct Posted {
    sent: Sent,
    text: String,
    spans: Vec<Span>,
}

/// A piece of a file that is being sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// The place of the migration in the run.
    pub job: usize,
    /// Where the piece begins in the script, in bytes.
    pub offset: usize,
    /// How many statements of the script come before it.
    pub first_statement: usize,
}

/// Part of a message.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: usize,
    statements: usize,
    piece: Option<Piece>,
}

/// An error and where it arose.
#[derive(Debug)]
pub struct SendError {
    /// What the server said, or the connection's end.
    pub error: Error,
    /// In which file; `None` is our own text around it.
    pub place: Option<Place>,
}

/// A place in a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The place of the migration in the run.
    pub job: usize,
    /// The statement, from 0.
    pub statement: usize,
    /// The byte in the script, where the server gave a position.
    pub offset: Option<usize>,
}

// === impl Sender ===

impl<'a> Sender<'a> {
    /// A sender with nothing to send.
    pub fn new(client: &'a Client) -> Self {
        Self {
            client,
            buffer: String::new(),
            spans: Vec::new(),
            under_way: None,
        }
    }

    /// How many bytes wait to be sent.
    pub fn pending_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Adds our own text.
    pub fn own(&mut self, sql: &str, statements: usize) {
        self.push(sql, statements, None);
    }

    /// Adds a piece of a file and ends it with a line break and `;`, which cover a last `-- comment` and a missing
    /// `;`. An empty statement is not counted by the server.
    pub async fn file(
        &mut self,
        sql: &str,
        statements: usize,
        piece: Piece,
    ) -> Result<(), SendError> {
        if !self.buffer.is_empty() && self.buffer.len() + sql.len() > MESSAGE_BYTES {
            self.turn().await?;
        }
        self.push(sql, statements, Some(piece));
        self.push("\n;", 0, None);
        Ok(())
    }

    /// Sends a `COPY … FROM stdin` with its data. Only inside a transaction: the driver prepares a named statement for
    /// it, which a transaction pooler would lose otherwise.
    pub async fn copy(&mut self, sql: &str, data: &[u8], piece: Piece) -> Result<(), SendError> {
        self.flush().await?;
        self.copy_data(sql, data).await.map_err(|error| SendError {
            error,
            place: Some(Place {
                job: piece.job,
                statement: piece.first_statement,
                offset: Some(piece.offset),
            }),
        })
    }

    async fn copy_data(&self, sql: &str, data: &[u8]) -> Result<(), Error> {
        let sink = self.client.copy_in::<_, Bytes>(sql).await?;
        let mut sink = std::pin::pin!(sink);
        for chunk in data.chunks(COPY_BYTES) {
            sink.send(Bytes::copy_from_slice(chunk)).await?;
        }
        sink.finish().await.map(|_rows| ())
    }

    /// Sends what has been collected, and waits until the server is done with all.
    pub async fn flush(&mut self) -> Result<(), SendError> {
        if !self.buffer.is_empty() {
            self.turn().await?;
        }
        self.settle().await
    }

    /// Sends what has been collected when the server is done with what was sent before.
    pub async fn turn(&mut self) -> Result<(), SendError> {
        self.settle().await?;
        self.under_way = Some(self.send().await);
        // The connection's task has the message now; it must have its turn to write it before the next one is collected.
        tokio::task::yield_now().await;
        Ok(())
    }

    /// The same for the last message, whose answer is for the caller to wait for.
    pub async fn post(mut self) -> Result<Posted, SendError> {
        self.settle().await?;
        Ok(self.send().await)
    }

    async fn settle(&mut self) -> Result<(), SendError> {
        match self.under_way.take() {
            Some(posted) => posted.answer().await,
            None => Ok(()),
        }
    }

    async fn send(&mut self) -> Posted {
        Posted {
            sent: wire::send(self.client, &self.buffer).await,
            text: std::mem::take(&mut self.buffer),
            spans: std::mem::take(&mut self.spans),
        }
    }

    fn push(&mut self, sql: &str, statements: usize, piece: Option<Piece>) {
        self.spans.push(Span {
            start: self.buffer.len(),
            statements,
            piece,
        });
        self.buffer.push_str(sql);
    }
}

// === impl Posted ===

impl Posted {
    /// Waits until the server is done with it.
    pub async fn answer(self) -> Result<(), SendError> {
        let reply = self.sent.answer().await;
        let Some(error) = reply.error else {
            return Ok(());
        };
        let position = match error.as_db_error().and_then(DbError::position) {
            Some(ErrorPosition::Original(position)) => Some(*position),
            _ => None,
        };
        let place = place(&self.spans, &self.text, reply.completed, position);
        Err(SendError { error, place })
    }
}

fn place(spans: &[Span], buffer: &str, completed: usize, position: Option<u32>) -> Option<Place> {
    let by_count = span_of_statement(spans, completed);
    let Some(position) = position else {
        let (span, before) = by_count?;
        return span.piece.map(|piece| Place {
            job: piece.job,
            statement: piece.first_statement + completed - before,
            offset: None,
        });
    };
    let byte = byte_of(buffer, position);
    let index = spans.partition_point(|span| span.start <= byte).max(1) - 1;
    // "at or near" the `;` that we added behind a file means its end.
    let (span, byte) = match spans.get(index)? {
        span if span.piece.is_none() && index > 0 && byte <= span.start + 1 => {
            (spans.get(index - 1)?, span.start)
        }
        span => (span, byte),
    };
    let piece = span.piece?;
    let before: usize = spans
        .iter()
        .take_while(|other| other.start < span.start)
        .map(|other| other.statements)
        .sum();
    Some(Place {
        job: piece.job,
        statement: piece.first_statement + completed.saturating_sub(before),
        offset: Some(piece.offset + (byte - span.start)),
    })
}

/// The span that holds the statement with `completed` statements before it, and how many come before the span.
fn span_of_statement(spans: &[Span], completed: usize) -> Option<(&Span, usize)> {
    let mut before = 0;
    for span in spans {
        if completed < before + span.statements {
            return Some((span, before));
        }
        before += span.statements;
    }
    None
}

/// PostgreSQL counts characters from 1; past the end is the end.
fn byte_of(text: &str, position: u32) -> usize {
    text.char_indices()
        .nth((position as usize).saturating_sub(1))
        .map_or(text.len(), |(byte, _)| byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `BEGIN;` + file of two statements + `\n;` + `COMMIT;`
    fn message() -> (Vec<Span>, String) {
        let mut spans = Vec::new();
        let mut buffer = String::new();
        let piece = Piece {
            job: 3,
            offset: 100,
            first_statement: 10,
        };
        for (sql, statements, piece) in [
            ("BEGIN;", 1, None),
            ("é x;\ny z", 2, Some(piece)),
            ("\n;", 0, None),
            ("COMMIT;", 1, None),
        ] {
            spans.push(Span {
                start: buffer.len(),
                statements,
                piece,
            });
            buffer.push_str(sql);
        }
        (spans, buffer)
    }

    fn check(completed: usize, position: Option<u32>, expected: Option<(usize, Option<usize>)>) {
        let (spans, buffer) = message();
        let found = place(&spans, &buffer, completed, position);
        assert_eq!(
            found.map(|place| (place.statement, place.offset)),
            expected,
            "completed {completed}, position {position:?}"
        );
    }

    #[test]
    fn places() {
        check(0, None, None);
        check(1, None, Some((10, None)));
        check(2, None, Some((11, None)));
        check(3, None, None);
        check(9, None, None);
        // Characters: `é` is one, though it has two bytes.
        check(1, Some(9), Some((10, Some(103))));
        check(2, Some(12), Some((11, Some(106))));
        // Syntax errors: nothing has completed.
        check(0, Some(12), Some((10, Some(106))));
        // At the `;` behind the file.
        check(0, Some(16), Some((10, Some(109))));
        check(0, Some(1), None);
        check(0, Some(4000), None);
    }
}
