//! One simple-query message and its answer.
//!
//! The simple protocol is what carries several statements in one round trip, needs no named statement (which a
//! transaction pooler would mix up) and tells, by counting, which statement of a message failed.
//!
//! <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SIMPLE-QUERY>

use std::pin::pin;

use futures_util::StreamExt;
use tokio_postgres::{Client, Error, SimpleQueryMessage, SimpleQueryStream};

/// A row in text form.
pub type Row = Vec<Option<String>>;

/// What came back for one message.
#[derive(Debug, Default)]
pub struct Reply {
    /// The rows of each completed statement, in order; empty when rows were not asked for.
    pub results: Vec<Vec<Row>>,
    /// How many rows each completed statement had.
    pub counts: Vec<usize>,
    /// How many statements completed before the error, or all of them.
    pub completed: usize,
    /// The error that ended the message; everything behind it was skipped by the server.
    pub error: Option<Error>,
}

/// A message that was sent. The server reads messages in order, and the next one only when it is done with this.
pub struct Sent(Result<SimpleQueryStream, Error>);

// === impl Reply ===

impl Reply {
    /// The rows of statement `index`, or the error of the message.
    pub fn rows(&mut self, index: usize) -> Result<Vec<Row>, Error> {
        if index >= self.completed
            && let Some(error) = self.error.take()
        {
            return Err(error);
        }
        Ok(self
            .results
            .get_mut(index)
            .map(std::mem::take)
            .unwrap_or_default())
    }

    /// The first column of the first row of statement `index`.
    pub fn scalar(&mut self, index: usize) -> Result<Option<String>, Error> {
        let mut rows = self.rows(index)?;
        Ok(rows
            .first_mut()
            .and_then(|row| row.first_mut())
            .and_then(Option::take))
    }

    /// Nothing but success or the error.
    pub fn ok(self) -> Result<(), Error> {
        self.error.map_or(Ok(()), Err)
    }
}

/// Sends a message and keeps its rows. For our own queries, whose answers are small.
pub async fn query(client: &Client, sql: &str) -> Reply {
    collect(client, sql, true).await
}

/// Sends a message and drops the rows as they come: a migration may select a whole table.
pub async fn execute(client: &Client, sql: &str) -> Reply {
    collect(client, sql, false).await
}

/// Sends a message and does not wait for its answer.
pub async fn send(client: &Client, sql: &str) -> Sent {
    Sent(client.simple_query_raw(sql).await)
}

async fn collect(client: &Client, sql: &str, keep_rows: bool) -> Reply {
    receive(send(client, sql).await, keep_rows).await
}

// === impl Sent ===

impl Sent {
    /// Waits for the answer and drops its rows as they come.
    pub async fn answer(self) -> Reply {
        receive(self, false).await
    }
}

async fn receive(sent: Sent, keep_rows: bool) -> Reply {
    let mut reply = Reply::default();
    let stream = match sent.0 {
        Ok(stream) => stream,
        Err(error) => {
            reply.error = Some(error);
            return reply;
        }
    };
    let mut stream = pin!(stream);
    let mut rows = Vec::new();
    let mut count = 0;
    while let Some(message) = stream.next().await {
        match message {
            Ok(SimpleQueryMessage::Row(row)) => {
                count += 1;
                if keep_rows {
                    let cell = |column| row.try_get(column).ok().flatten().map(str::to_owned);
                    rows.push((0..row.len()).map(cell).collect());
                }
            }
            Ok(SimpleQueryMessage::CommandComplete(_)) => {
                reply.completed += 1;
                reply.counts.push(std::mem::take(&mut count));
                if keep_rows {
                    reply.results.push(std::mem::take(&mut rows));
                }
            }
            Ok(_) => {}
            Err(error) => {
                reply.error = Some(error);
                break;
            }
        }
    }
    reply
}
