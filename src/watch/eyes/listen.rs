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

/// How often who listens asks whether there is room for it.
const ROOM: Duration = Duration::from_secs(10);

/// The server process that answers, and whether more than three quarters of the connections that the server allows are
/// taken. Everybody may read the counts of the databases.
const WHERE: &str = "SELECT pg_catalog.pg_backend_pid(), \
     (SELECT pg_catalog.sum(numbackends) FROM pg_catalog.pg_stat_database) * 4 \
     > pg_catalog.current_setting('max_connections')::int * 3";

/// Whether to listen, and on what.
#[derive(Debug)]
pub(super) struct Listening {
    wanted: bool,
    /// The server process whose session listens.
    on: Option<i32>,
    /// The last connection could not listen.
    impossible: bool,
    /// That was said.
    said: bool,
    last: Cell<Instant>,
    /// When it was last asked whether there is room.
    asked: Instant,
}

// === impl Listening ===

impl Listening {
    pub(super) fn new(wanted: bool) -> Self {
        Self {
            wanted,
            on: None,
            impossible: false,
            said: false,
            last: Cell::new(Instant::now()),
            asked: Instant::now(),
        }
    }

    /// Whether a connection is to be kept, as far as it is known to be possible.
    pub(super) const fn is_possible(&self) -> bool {
        self.wanted && !self.impossible
    }

    /// Whether this session listens, so that it is worth keeping.
    pub(super) fn is_on(&self, session: &Session) -> bool {
        self.on.is_some() && self.on == session.wire_pid()
    }

    /// Makes a new session listen, where that works. The look must come after it: what is committed in between is
    /// notified to nobody.
    pub(super) async fn begin(&mut self, session: &Session) -> Result<(), tokio_postgres::Error> {
        let listens = self.is_on(session);
        if !self.wanted || listens && self.asked.elapsed() < ROOM {
            return Ok(());
        }
        self.on = None;
        self.impossible = false;
        self.asked = Instant::now();
        let rows = wire::query(session.client(), WHERE).await.rows(0)?;
        let value = |column: usize| rows.first()?.get(column)?.as_deref();
        let pid: Option<i32> = value(0).and_then(|pid| pid.parse().ok());
        if pid.is_none() || pid != session.wire_pid() {
            self.say("a pooler is in between, which passes no notifications on");
            return Ok(());
        }
        // Two hundred pods must not keep the application, or each other, out of a server that allows a hundred.
        if value(1) == Some("t") {
            self.say("few of the connections that the server allows are left");
            return Ok(());
        }
        if listens {
            self.on = pid;
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
        self.impossible = true;
        if !self.said {
            tracing::warn!(
                why,
                "cannot listen (SCHEMAGATE_WATCH=listen): polling instead"
            );
            self.said = true;
        }
    }
}
