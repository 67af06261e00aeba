//! A session with the server: its client, what is known of it, its end, and how to cancel what it runs.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::error::DbError;
use tokio_postgres::{AsyncMessage, Client, Connection};

use super::attempt::{self, Way};
use super::error::Error;
use super::params::DatabaseLabel;
use super::tls::Tls;
use super::wire::{CancelKey, Login, Wire};

/// How long the server gets to close its side after ours said good-bye.
const GOODBYE: Duration = Duration::from_secs(1);
/// How long a cancel request may take, and how much of it is waiting for the server to have read it.
const CANCEL: Duration = Duration::from_secs(5);
const CANCEL_READ: Duration = Duration::from_secs(2);

/// A session. A task of its own moves the bytes; dropping the session ends it, [`Session::close`] does so politely.
#[derive(Debug)]
pub struct Session {
    client: Client,
    facts: Facts,
    way: Way,
    key: Option<CancelKey>,
    task: JoinHandle<()>,
    end: watch::Receiver<End>,
    notifications: Arc<Notify>,
}

/// What the server told while the session started.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    pub(super) server_version: u32,
    pub(super) server_version_text: String,
    /// `in_hot_standby`, which servers from 14 on report.
    pub(super) in_hot_standby: Option<bool>,
    /// `default_transaction_read_only`, from 14 on too.
    pub(super) read_only: Option<bool>,
}

/// Has the task that moves the bytes ended, and why?
#[derive(Debug, Clone)]
enum End {
    Running,
    Closed(Option<Arc<tokio_postgres::Error>>),
}

/// Cancels what a session runs, from outside of it.
#[derive(Debug, Clone)]
pub struct Canceller {
    way: Way,
    key: Option<CancelKey>,
}

// === impl Session ===

impl Session {
    /// Spawns the task that moves the bytes.
    pub(super) fn start(
        client: Client,
        connection: Connection<Wire, Wire>,
        way: Way,
        key: Option<CancelKey>,
    ) -> Self {
        let facts = Facts::of(&connection);
        let (ended, end) = watch::channel(End::Running);
        let notifications = Arc::new(Notify::new());
        let task = tokio::spawn(drive(connection, ended, Arc::clone(&notifications)));
        Self {
            client,
            facts,
            way,
            key,
            task,
            end,
            notifications,
        }
    }

    /// The client; everything is asked through it.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The process id that the server's start message named. On a direct line it is `pg_backend_pid()`; a pooler
    /// sends a number of its own.
    pub fn wire_pid(&self) -> Option<i32> {
        self.key.map(|key| key.pid)
    }

    /// The server's version as `server_version_num` has it (`150018`), known without asking, behind poolers too. 0 if
    /// it does not say.
    pub fn server_version(&self) -> u32 {
        self.facts.server_version
    }

    /// The server's version in its own words (`15.18 (Debian 15.18-1)`).
    pub fn server_version_text(&self) -> &str {
        &self.facts.server_version_text
    }

    /// Whether the server said that it is a standby (14 and later say so).
    pub fn in_hot_standby(&self) -> Option<bool> {
        self.facts.in_hot_standby
    }

    pub(super) fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Hosts, database and user that the settings gave when this session was made.
    pub fn label(&self) -> DatabaseLabel {
        self.way.label()
    }

    /// The server: `host:port`, with the address where a name was looked up, or the socket's path.
    pub fn peer(&self) -> &str {
        &self.way.peer
    }

    /// What is known of the encryption; `None` without any.
    pub fn tls(&self) -> Option<&Tls> {
        self.way.tls.as_ref()
    }

    /// How the server was shown who we are. Behind a pooler it is the pooler that asked.
    pub fn login(&self) -> Login {
        self.way.login
    }

    /// Something that can cancel what this session runs.
    pub fn canceller(&self) -> Canceller {
        Canceller {
            way: self.way.clone(),
            key: self.key,
        }
    }

    /// Waits until the session has ended, by whichever side; the error, if one was behind it. It can be awaited beside
    /// a query, and again afterwards.
    pub async fn closed(&self) -> Option<Arc<tokio_postgres::Error>> {
        let mut end = self.end.clone();
        let ended = end.wait_for(|end| matches!(end, End::Closed(_))).await;
        match ended.as_deref() {
            Ok(End::Closed(error)) => error.clone(),
            // The task was dropped together with the runtime.
            Ok(End::Running) | Err(_) => None,
        }
    }

    /// Waits for a `NOTIFY` on a channel that this session listens to; one that came since the last call counts.
    pub async fn notified(&self) {
        self.notifications.notified().await;
    }

    /// Says good-bye to the server and closes the socket.
    pub async fn close(self) {
        let Self {
            client, mut task, ..
        } = self;
        // Without its client the task sends `Terminate` and ends.
        drop(client);
        if timeout(GOODBYE, &mut task).await.is_err() {
            task.abort();
        }
    }
}

/// Moves bytes until the session ends.
async fn drive(
    mut connection: Connection<Wire, Wire>,
    ended: watch::Sender<End>,
    notifications: Arc<Notify>,
) {
    let error = loop {
        match poll_fn(|cx| connection.poll_message(cx)).await {
            Some(Ok(AsyncMessage::Notice(notice))) => log(&notice),
            Some(Ok(AsyncMessage::Notification(_))) => notifications.notify_one(),
            Some(Ok(_)) => {}
            Some(Err(error)) => break Some(Arc::new(error)),
            None => break None,
        }
    };
    // The socket is closed before the end is told.
    drop(connection);
    let _ = ended.send(End::Closed(error));
}

/// The server's NOTICE and WARNING messages. Their DETAIL stays out: it can hold values of rows.
fn log(notice: &DbError) {
    let code = notice.code().code();
    if notice.severity() == "WARNING" {
        tracing::warn!(target: "schemagate::server", code, "{}", notice.message());
    } else {
        tracing::debug!(target: "schemagate::server", code, "{}", notice.message());
    }
}

// === impl Facts ===

impl Facts {
    fn of(connection: &Connection<Wire, Wire>) -> Self {
        let flag = |name| match connection.parameter(name) {
            Some("on") => Some(true),
            Some("off") => Some(false),
            _ => None,
        };
        let version = connection.parameter("server_version").unwrap_or_default();
        Self {
            server_version: version_number(version),
            server_version_text: version.to_owned(),
            in_hot_standby: flag("in_hot_standby"),
            read_only: flag("default_transaction_read_only"),
        }
    }
}

/// `15.18 (Debian …)` to 150018, `9.6.24` to 90624, `18beta1` to 180000. As `PQserverVersion` does it.
fn version_number(text: &str) -> u32 {
    let digits = |part: &str| {
        let end = part
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(part.len());
        part.get(..end)
            .and_then(|digits| digits.parse::<u32>().ok())
            .unwrap_or(0)
    };
    let word = text.split(' ').next().unwrap_or_default();
    let mut parts = word.split('.').map(digits).map(|part| part.min(9999));
    let mut part = || parts.next().unwrap_or(0);
    match part() {
        major @ 10.. => major * 10_000 + part(),
        major => major * 10_000 + part() * 100 + part(),
    }
}

// === impl Canceller ===

impl Canceller {
    /// Asks the server to cancel what the session runs now, and waits until it has read that. Whether anything was
    /// cancelled is seen in the session only.
    ///
    /// `PgBouncer` 1.18 drops the request of a client that closes at once, so this one waits for the server to close, as
    /// libpq does. One that closes a moment later, while the request is passed on, can bring the whole pooler down ("bad
    /// client state"): so the request goes on by itself when nobody waits for it any longer.
    pub async fn cancel(&self) -> Result<(), Error> {
        let Some(key) = self.key else {
            return Err(Error::NoCancelKey);
        };
        let canceller = self.clone();
        let request = tokio::spawn(async move { canceller.request(key).await });
        // It neither panics nor is aborted.
        request.await.unwrap_or(Ok(()))
    }

    async fn request(&self, key: CancelKey) -> Result<(), Error> {
        let peer = &self.way.peer;
        let request = async {
            let mut stream = attempt::transport_for_cancel(&self.way).await?;
            stream
                .write_all(&cancel_request(key))
                .await
                .map_err(|source| Error::io(peer, source))?;
            stream
                .flush()
                .await
                .map_err(|source| Error::io(peer, source))?;
            // An error or an end of the stream both mean that it was read.
            let _ = timeout(CANCEL_READ, stream.read(&mut [0; 64])).await;
            Ok(())
        };
        timeout(CANCEL, request).await.unwrap_or_else(|_| {
            Err(Error::Timeout {
                peer: peer.clone(),
                limit: CANCEL,
                opened: None,
            })
        })
    }
}

/// `CancelRequest`: <https://www.postgresql.org/docs/current/protocol-message-formats.html>.
fn cancel_request(key: CancelKey) -> [u8; 16] {
    let mut request = [0, 0, 0, 16, 4, 210, 22, 46, 0, 0, 0, 0, 0, 0, 0, 0];
    request[8..12].copy_from_slice(&key.pid.to_be_bytes());
    request[12..].copy_from_slice(&key.secret);
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for (text, number) in [
            ("15.18 (Debian 15.18-1.pgdg12+1)", 150_018),
            ("9.6.24", 90_624),
            ("18beta1", 180_000),
            ("17devel", 170_000),
            ("13.0.0", 130_000),
            ("", 0),
            ("nonsense", 0),
            ("99999999999.1", 100),
            ("4000000000.1", 99_990_001),
        ] {
            assert_eq!(version_number(text), number, "{text}");
        }
    }

    #[test]
    fn a_cancel_request() {
        let key = CancelKey {
            pid: 0x0102_0304,
            secret: *b"wxyz",
        };
        assert_eq!(
            &cancel_request(key),
            b"\0\0\0\x10\x04\xd2\x16\x2e\x01\x02\x03\x04wxyz"
        );
    }
}
