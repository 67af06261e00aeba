//! A blocking SQL session for tests.

use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio_postgres::{CancelToken, Client, NoTls, SimpleQueryMessage};

/// How long the server may take to answer a test; what waits for a lock that nobody gives back fails then.
const ANSWER: Duration = Duration::from_mins(5);

/// A connection of the test's own, open until dropped.
pub(crate) struct Session {
    runtime: Runtime,
    client: Client,
}

/// A statement under way in a session of its own; cancelled on drop.
pub(crate) struct Background {
    cancel: CancelToken,
    thread: Option<JoinHandle<Result<(), tokio_postgres::Error>>>,
}

// === impl Session ===

impl Session {
    /// Connects, or says why not.
    pub(crate) fn try_connect(url: &str) -> Result<Self, tokio_postgres::Error> {
        let runtime = runtime();
        let connecting = tokio_postgres::connect(url, NoTls);
        let (client, connection) = runtime.block_on(answered(url, connecting))?;
        runtime.spawn(connection);
        Ok(Self { runtime, client })
    }

    /// Connects.
    #[track_caller]
    pub(crate) fn connect(url: &str) -> Self {
        Self::try_connect(url).unwrap_or_else(|error| panic!("{url}: {error:?}"))
    }

    /// Runs a script by the simple protocol; the rows of all its statements as text, NULL as `NULL`.
    pub(crate) fn try_query(&self, sql: &str) -> Result<Vec<Vec<String>>, tokio_postgres::Error> {
        let asking = self.client.simple_query(sql);
        let messages = self.runtime.block_on(answered(sql, asking))?;
        Ok(messages
            .iter()
            .filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => Some(row),
                _ => None,
            })
            .map(|row| {
                (0..row.len())
                    .map(|column| row.get(column).unwrap_or("NULL").to_owned())
                    .collect()
            })
            .collect())
    }

    /// The same with a limit; `None` when there was no answer in time.
    pub(crate) fn try_query_within(&self, sql: &str, limit: Duration) -> Option<bool> {
        self.runtime.block_on(async {
            let answer = self.client.simple_query(sql);
            let answer = tokio::time::timeout(limit, answer).await.ok()?;
            Some(answer.is_ok())
        })
    }

    /// Sends a script whose answer is awaited on a thread of its own. The session ends when the answer is dropped.
    pub(crate) fn query_in_background(self, sql: &'static str) -> Background {
        let cancel = self.client.cancel_token();
        let thread = thread::spawn(move || self.try_query(sql).map(drop));
        Background {
            cancel,
            thread: Some(thread),
        }
    }

    /// Runs a script that must succeed.
    #[track_caller]
    pub(crate) fn query(&self, sql: &str) -> Vec<Vec<String>> {
        self.try_query(sql)
            .unwrap_or_else(|error| panic!("{sql}: {error:?}"))
    }

    /// The first column of the first row.
    #[track_caller]
    pub(crate) fn value(&self, sql: &str) -> String {
        self.query(sql)
            .first()
            .unwrap_or_else(|| panic!("{sql}: no row"))[0]
            .clone()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let runtime = runtime();
        let _ = runtime.block_on(self.cancel.cancel_query(NoTls));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn answered<T>(question: &str, answer: impl Future<Output = T>) -> T {
    let answer = tokio::time::timeout(ANSWER, answer).await;
    answer.unwrap_or_else(|_| panic!("no answer within {ANSWER:?}: {question}"))
}

fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}
