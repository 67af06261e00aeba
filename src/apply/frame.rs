//! The SQL around a migration: the fence before it, the cleaning and the history row behind it. Pure text.
//!
//! A whole migration is one simple-query message, so it costs one round trip, needs no session to survive a pooler,
//! and a paused client holds nothing:
//!
//! 1. `BEGIN` at READ COMMITTED, whatever the role's defaults say;
//! 2. settings of this transaction;
//! 3. the lock, tried without blocking. A lost lock makes the value of `lock_timeout` invalid, which ends the message;
//! 4. *in the next statement*, whose snapshot is younger than the lock, the look at the history;
//! 5. a savepoint, the file, its release. A file that ends our transaction cannot release it, so no row is written;
//! 6. everything that the file may have set is undone; qualified names from here on;
//! 7. the history row, the journal row, `NOTIFY`, `COMMIT`.
//!
//! On a session of our own the message of the next migration is sent before the answer to this one. Step 3 then also asks
//! whether this one is committed, which step 7 has noted in a setting of the session.

use std::time::Duration;

use super::{leaks::Leaks, prepared::Prepared};
pub use crate::{
    formats::{ALREADY_APPLIED, MOVED_ON},
    sql::FENCE_SAVEPOINT as SAVEPOINT,
};
use crate::{
    lock::{IDLE_LIMIT, LockKeys},
    migration::{quote_ident, quote_literal},
    sql::Template,
};

/// What the server quotes back when the lock is not ours.
pub const LOCK_NOT_HELD: &str = "schemagate: lock not held";

/// What the server quotes back when a message that was sent ahead finds that the migration before it is not applied.
pub const SENT_AHEAD: &str = "schemagate: sent ahead";

/// Which migration this session has committed last: set in its transaction, so that it says nothing of one that failed. A
/// message that was sent before the answer of the one before asks it; the transaction alone would not do, since after a
/// syntax error, or a deferred constraint that fails at `COMMIT`, the server waits outside any transaction.
const LAST_COMMITTED: &str = "schemagate.last_committed";

/// `RESET ALL` leaves role and session authorization alone.
pub const RESETS: [&str; 3] = ["RESET SESSION AUTHORIZATION", "RESET ROLE", "RESET ALL"];

/// How the server reads the next message. `RESET ALL` goes back to the defaults of role and database, which may name
/// another encoding than that of our files and another reading of backslashes.
pub const READABLE: [(&str, &str); 2] = [
    ("client_encoding", "UTF8"),
    ("standard_conforming_strings", "on"),
];

/// Everything about a session that the text depends on.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The lock.
    pub keys: LockKeys,
    /// Who holds the main key besides the transaction.
    pub holding: Holding,
    /// `server_version_num`.
    pub server_version: u32,
    /// The server can notice a client that went away while a statement runs (14 and later, on Linux).
    pub checks_connection: bool,
    /// `SCHEMAGATE_ROLE`.
    pub role: Option<String>,
    /// Ours, to be set again behind a pooler, where `RESET ALL` clears it.
    pub application_name: String,
    /// The session is our own from end to end, so that what `RESET ALL` goes back to is known.
    pub direct: bool,
    /// On a direct connection: no timeouts by default, and backslashes are read as the standard says.
    pub usual_defaults: bool,
    /// The link can lose its power: neither a Unix socket nor the loopback.
    pub remote: bool,
    /// What the session keeps of all this.
    pub prepared: Prepared,
}

/// Who holds the main key while a transaction runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holding {
    /// Nobody besides the transaction itself.
    Transaction,
    /// This session, for the whole run; a direct connection only.
    Session,
    /// A second connection of ours; only the second key can be taken here.
    Elsewhere,
}

/// The limits of one migration.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    /// `lock_timeout`; `None` is no limit.
    pub lock: Option<Duration>,
    /// `statement_timeout`; `None` is no limit.
    pub statement: Option<Duration>,
}

/// Text to send with the number of statements in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statements {
    /// The SQL, each statement ended by `;`.
    pub sql: String,
    /// How many.
    pub count: usize,
}

// === impl Statements ===

impl Statements {
    /// Adds one statement.
    pub fn push(&mut self, statement: &str) {
        self.sql.push_str(statement);
        self.sql.push(';');
        self.count += 1;
    }

    /// Adds others behind.
    pub fn append(&mut self, others: &Self) {
        self.sql.push_str(&others.sql);
        self.count += others.count;
    }
}

// === impl Frame ===

impl Frame {
    /// Steps 1 to 3.
    ///
    /// `idles` says that the transaction takes several messages, between which the server waits for us; `after` names the
    /// migration without which this one may not run, when its answer is not there yet.
    pub fn begin(&self, limits: &Limits, idles: bool, after: Option<&str>) -> Statements {
        let mut out = Statements::default();
        out.push("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE");
        self.push_settings(limits, idles, &mut out);
        out.push(&self.prepared.say(&self.lock(limits, after)));
        out
    }

    /// Step 3.
    pub fn lock(&self, limits: &Limits, after: Option<&str>) -> Template {
        let locks = match self.holding {
            Holding::Elsewhere => self.keys.try_second(),
            Holding::Transaction | Holding::Session => self.keys.try_both(),
        };
        let mut lock = Template::new(format!(
            "SELECT pg_catalog.set_config('lock_timeout', CASE WHEN NOT ({locks}) THEN '{LOCK_NOT_HELD}' "
        ));
        if self.can_send_ahead() {
            let after = quote_literal(after.unwrap_or_default());
            let last =
                format!("COALESCE(pg_catalog.current_setting('{LAST_COMMITTED}', true), '')");
            lock = lock.text("WHEN ").value(after.as_str());
            lock = lock.text(" OPERATOR(pg_catalog.<>) '' AND ").value(after);
            lock = lock.text(&format!(
                " OPERATOR(pg_catalog.<>) {last} THEN '{SENT_AHEAD}' "
            ));
        }
        lock.text("ELSE ")
            .value(format!("'{}'", milliseconds(limits.lock)))
            .text(" END, true)")
    }

    /// Whether the message of the next migration may be sent before the answer of this one: on a session that is ours from
    /// end to end the server reads both in order.
    pub fn can_send_ahead(&self) -> bool {
        self.holding == Holding::Session
    }

    /// What the next message may ask for.
    pub fn committed(&self, version: &str) -> Statements {
        let mut out = Statements::default();
        if self.can_send_ahead() {
            out.push(&set("", LAST_COMMITTED, version));
        }
        out
    }

    /// The settings of a further file in the same transaction, which still holds the lock.
    pub fn go_on(&self, limits: &Limits) -> Statements {
        let mut out = Statements::default();
        self.push_settings(limits, true, &mut out);
        out.push(&set("LOCAL ", "lock_timeout", &milliseconds(limits.lock)));
        out
    }

    fn push_settings(&self, limits: &Limits, idles: bool, out: &mut Statements) {
        let mut settings = Vec::new();
        let known = self.direct && self.usual_defaults;
        if idles {
            settings.push((
                "idle_in_transaction_session_timeout",
                milliseconds(Some(IDLE_LIMIT)),
            ));
        }
        if limits.statement.is_some() || !known {
            settings.push(("statement_timeout", milliseconds(limits.statement)));
        }
        if self.server_version >= 170_000 && !known {
            settings.push(("transaction_timeout", "0".to_owned()));
        }
        if self.holding != Holding::Session {
            settings.extend(self.watchfulness());
        }
        for (name, value) in settings {
            out.push(&set("LOCAL ", name, &value));
        }
        out.append(&self.set_role());
    }

    /// `SCHEMAGATE_ROLE` for the rest of a transaction.
    pub fn set_role(&self) -> Statements {
        let mut out = Statements::default();
        if let Some(role) = &self.role {
            out.push(&format!("SET LOCAL ROLE {}", quote_ident(role)));
        }
        out
    }

    /// Step 6 without the release of the savepoint.
    pub fn clean(&self, leaks: Leaks) -> Statements {
        let mut out = Statements::default();
        for reset in RESETS {
            out.push(reset);
        }
        out.push("DISCARD TEMP");
        if leaks.cursors || !self.direct {
            out.push("CLOSE ALL");
        }
        if !self.direct {
            // On our own session nobody minds a message from a channel.
            out.push("UNLISTEN *");
        }
        out.append(&self.untransactional(leaks));
        out.append(&self.session_settings());
        out.append(&self.set_role());
        out
    }

    /// What outlives even a rollback. Both would take things from the application too, where a pooler keeps them on the
    /// same server connection, so they are said only where the file gives reason; and our own lock is a session-level
    /// lock on a direct connection.
    pub fn untransactional(&self, leaks: Leaks) -> Statements {
        let mut out = Statements::default();
        if leaks.prepares {
            out.push("DEALLOCATE ALL");
        }
        if leaks.locks && self.holding != Holding::Session {
            out.push("SELECT pg_catalog.pg_advisory_unlock_all()");
        }
        out
    }

    /// Step 7 behind the rows.
    pub fn commit(&self) -> Statements {
        let mut out = Statements::default();
        out.push("NOTIFY schemagate");
        out.push("COMMIT");
        out
    }

    /// The settings that this session keeps from its start to its end and after every `RESET ALL`: what frees the lock
    /// when this client is killed, cut off or stopped. Behind a pooler only our name, which the pooler believes to be set.
    pub fn session_settings(&self) -> Statements {
        let mut settings = Vec::new();
        // On a direct connection `RESET ALL` goes back to the encoding that we connected with.
        if !(self.direct && self.usual_defaults) {
            settings.extend(READABLE.map(|(name, value)| (name, value.to_owned())));
        }
        if self.holding == Holding::Session {
            settings.extend(self.watchfulness());
            if self.server_version >= 140_000 {
                settings.push(("idle_session_timeout", milliseconds(Some(IDLE_LIMIT))));
            }
        } else {
            settings.push(("application_name", self.application_name.clone()));
        }
        let mut out = Statements::default();
        for (name, value) in settings {
            out.push(&set("", name, &value));
        }
        out
    }

    /// Server-side keepalives and the connection check; together they end a session whose client lost its power
    /// within about 20 s.
    pub fn watchfulness(&self) -> Vec<(&'static str, String)> {
        let mut settings = Vec::new();
        if self.remote {
            settings.extend([
                ("tcp_keepalives_idle", "5".to_owned()),
                ("tcp_keepalives_interval", "5".to_owned()),
                ("tcp_keepalives_count", "3".to_owned()),
                // Keepalives rest while sent data is not acknowledged: an answer that nobody takes.
                ("tcp_user_timeout", milliseconds(Some(IDLE_LIMIT))),
            ]);
        }
        if self.checks_connection {
            settings.push(("client_connection_check_interval", "2000".to_owned()));
        }
        settings
    }

    /// The transaction of a second connection that holds the main key while a statement runs outside a transaction
    /// behind a pooler; the last one tells whether the lock was had.
    pub fn holder_begin(&self) -> Statements {
        let mut settings = vec![(
            "idle_in_transaction_session_timeout",
            milliseconds(Some(IDLE_LIMIT)),
        )];
        if self.server_version >= 170_000 {
            settings.push(("transaction_timeout", "0".to_owned()));
        }
        settings.extend(self.watchfulness());
        let mut out = Statements::default();
        out.push("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE");
        for (name, value) in settings {
            out.push(&set("LOCAL ", name, &value));
        }
        out.push(&format!(
            "SELECT pg_catalog.pg_try_advisory_xact_lock({})",
            self.keys.main
        ));
        out
    }
}

/// Milliseconds for a PostgreSQL time setting; no limit is 0.
pub fn milliseconds(limit: Option<Duration>) -> String {
    limit.map_or_else(
        || "0".to_owned(),
        |limit| limit.as_millis().clamp(1, i32::MAX as u128).to_string(),
    )
}

/// One `SET`. A `SELECT` of several `set_config`s was measured to be slower than as many of these: it is planned.
pub fn set(local: &str, name: &str, value: &str) -> String {
    format!("SET {local}{name} = {}", quote_literal(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(holding: Holding, server_version: u32) -> Frame {
        Frame {
            keys: LockKeys {
                main: 90,
                second: -7,
            },
            holding,
            server_version,
            checks_connection: server_version >= 140_000,
            role: None,
            application_name: "schemagate/1 pod".into(),
            direct: holding == Holding::Session,
            usual_defaults: false,
            remote: true,
            prepared: Prepared::default(),
        }
    }

    #[test]
    fn the_count_is_the_number_of_statements() {
        for holding in [Holding::Transaction, Holding::Session, Holding::Elsewhere] {
            let frame = frame(holding, 150_000);
            for statements in [
                frame.begin(&Limits::default(), true, None),
                frame.clean(Leaks::of("PREPARE, pg_advisory_lock")),
                frame.clean(Leaks::default()),
                frame.commit(),
            ] {
                assert_eq!(statements.sql.matches(';').count(), statements.count);
            }
        }
    }

    #[test]
    fn settings_follow_the_server_version() {
        let begin = |version| {
            frame(Holding::Transaction, version)
                .begin(&Limits::default(), false, None)
                .sql
        };
        assert!(!begin(130_000).contains("client_connection_check_interval"));
        assert!(begin(140_000).contains("client_connection_check_interval"));
        assert!(!begin(160_000).contains("transaction_timeout"));
        assert!(begin(170_000).contains("transaction_timeout"));
    }

    #[test]
    fn the_main_key_is_left_to_the_connection_that_holds_it() {
        let begin = |holding| {
            frame(holding, 150_000)
                .begin(&Limits::default(), false, None)
                .sql
        };
        assert!(begin(Holding::Session).contains("xact_lock(90)"));
        assert!(begin(Holding::Transaction).contains("xact_lock(90)"));
        assert!(!begin(Holding::Elsewhere).contains("xact_lock(90)"));
        assert!(begin(Holding::Elsewhere).contains("xact_lock(-7)"));
    }

    #[test]
    fn times_are_milliseconds_and_never_zero_by_rounding() {
        assert_eq!(milliseconds(None), "0");
        assert_eq!(milliseconds(Some(Duration::from_micros(10))), "1");
        assert_eq!(milliseconds(Some(Duration::from_secs(2))), "2000");
        assert_eq!(milliseconds(Some(Duration::MAX)), i32::MAX.to_string());
    }

    #[test]
    fn our_own_session_lock_is_not_given_back() {
        let leaks = Leaks::of("SELECT pg_advisory_lock(1)");
        let clean = |holding| frame(holding, 150_000).clean(leaks).sql;
        assert!(!clean(Holding::Session).contains("unlock_all"));
        assert!(clean(Holding::Transaction).contains("unlock_all"));
    }
}
