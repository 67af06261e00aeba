//! Keeping a connection that the appliers' `NOTIFY` wakes.
//!
//! They send it inside the migration's transaction, so it arrives with the commit. Behind a transaction pooler nothing
//! arrives: the connection that listens belongs to somebody else a moment later. There, and on a standby, the sidecar
//! polls as if it had not been asked to listen.

use std::{cell::Cell, time::Duration};

use tokio::time::{Instant, sleep_until};

use crate::{
    connect::{self, Class, Session},
    wire,
};

/// A burst of notifications leads to no more looks than one in this time: five hundred small migrations are applied
/// within a second or two, and there may be a hundred of us.
const GAP: Duration = Duration::from_millis(50);

/// For the server to notice a pod that is gone: an idle session has nothing else to find it out by.
const SETTINGS: &str =
    "SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3";

/// Whether to listen, and on what.
#[derive(Debug)]
pub(super) struct Listening {
    wanted: bool,
    /// The server process whose session listens.
    on: Option<i32>,
    /// It was said that listening does not work here.
    said: bool,
    last: Cell<Instant>,
}

// === impl Listening ===

impl Listening {
    pub(super) fn new(wanted: bool) -> Self {
        Self {
            wanted,
            on: None,
            said: false,
            last: Cell::new(Instant::now()),
        }
    }

    /// Whether a connection is to be kept, should it be possible.
    pub(super) const fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// Whether this session listens, so that it is worth keeping.
    pub(super) fn is_on(&self, session: &Session) -> bool {
        self.on.is_some() && self.on == session.wire_pid()
    }

    /// Makes a new session listen, where that works. The look must come after it: what is committed in between is
    /// notified to nobody.
    pub(super) async fn begin(&mut self, session: &Session) -> Result<(), tokio_postgres::Error> {
        if !self.wanted || self.is_on(session) {
            return Ok(());
        }
        self.on = None;
        let mut reply = wire::query(session.client(), "SELECT pg_catalog.pg_backend_pid()").await;
        let pid: Option<i32> = reply.scalar(0)?.and_then(|pid| pid.parse().ok());
        if pid.is_none() || pid != session.wire_pid() {
            self.say("a pooler is in between, which passes no notifications on");
            return Ok(());
        }
        // A time limit of the role's or the server's own would end what is idle on purpose.
        let no_limit = if session.server_version() >= 140_000 {
            "; SET idle_session_timeout = 0"
        } else {
            ""
        };
        let sql = format!("{SETTINGS}{no_limit}; LISTEN schemagate");
        match wire::execute(session.client(), &sql).await.ok() {
            Ok(()) => self.on = pid,
            Err(error) if connect::classify(&error) == Class::Statement => {
                self.say(&connect::describe(&error));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Waits for a notification, and then until the burst may be over.
    pub(super) async fn notified(&self, session: &Session) {
        session.notified().await;
        sleep_until(self.last.get() + GAP).await;
        self.last.set(Instant::now());
    }

    fn say(&mut self, why: &str) {
        if !self.said {
            tracing::warn!(
                why,
                "cannot listen (SCHEMAGATE_WATCH=listen): polling instead"
            );
            self.said = true;
        }
    }
}
