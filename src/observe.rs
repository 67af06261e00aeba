//! Looking at a long statement from outside: who blocks it, and how far PostgreSQL says it is.
//!
//! While a statement runs its own session cannot be asked anything, and once it has failed nobody knows any more who
//! stood in its way. So a second connection looks now and then, from when the statement has taken some time until it
//! ends. It is a courtesy: where there is no second connection to be had, or it does not answer, nothing is told, and
//! nothing else changes. Between two looks it is idle outside any transaction, so it has no snapshot that a concurrent
//! index build would wait for, and no lock; a look is one short transaction with timeouts of its own, which is all that
//! can be had behind a transaction pooler without leaving settings there.

pub mod sight;
mod views;

use std::{
    cell::RefCell,
    convert::Infallible,
    future::Future,
    time::{Duration, Instant},
};

pub use sight::{Blocker, Sight, Step, Waiting, list, rough};
use tokio::time::{sleep, timeout};

use crate::{
    connect::{self, Session},
    wire,
};

/// When the first look comes, unless a lock timeout would be over before.
const FIRST: Duration = Duration::from_secs(3);
/// How long the pause between two looks is at most.
const PAUSE: Duration = Duration::from_secs(1);
/// A connection costs more than the shortest lock timeouts are worth.
const LEAST: Duration = Duration::from_millis(50);
/// After a failure, of connecting or of a look.
const AGAIN: Duration = Duration::from_secs(30);
/// How long connecting may take, and the answer to a look.
const PATIENCE: Duration = Duration::from_secs(5);
/// How much later than it should a look may come.
const LATE: Duration = Duration::from_secs(1);
/// How often a log that nobody draws a bar into gets a line.
const LINE: Duration = Duration::from_secs(10);

/// Looks at what one session runs.
pub struct Watch<'a> {
    params: &'a connect::Params,
    pid: Option<i32>,
    application_name: String,
    server_version: u32,
    /// Behind a pooler nothing may be set for longer than a transaction.
    settings: Option<&'static str>,
    first: Duration,
    pause: Duration,
    seen: RefCell<Seen>,
}

/// The last wait that was seen.
#[derive(Default)]
struct Seen {
    blockers: Vec<Blocker>,
    at: Option<Instant>,
}

/// Which session is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// Its server process; behind a pooler it is not known, and changes.
    pub pid: Option<i32>,
    /// How it is called, as `pg_stat_activity` shows it.
    pub application_name: &'a str,
    /// `server_version_num`.
    pub server_version: u32,
}

// === impl Watch ===

impl<'a> Watch<'a> {
    /// `lock_limit` is how long the session waits for a lock: who blocks it has to be seen before that is over.
    pub fn new(
        params: &'a connect::Params,
        target: &Target<'_>,
        lock_limit: Option<Duration>,
    ) -> Self {
        let half = lock_limit.map_or(FIRST, |limit| (limit / 2).max(LEAST));
        let is_direct = target.pid.is_some();
        Self {
            params,
            pid: target.pid,
            application_name: target.application_name.to_owned(),
            server_version: target.server_version,
            settings: (is_direct && target.server_version >= 140_000)
                .then_some("SET idle_session_timeout = '20s'"),
            first: half.min(FIRST),
            pause: half.min(PAUSE),
            seen: RefCell::default(),
        }
    }

    /// Does the work and tells of each look at it. The end of the work is the end of the looking: nothing is waited for.
    pub async fn beside<T>(
        &self,
        work: impl Future<Output = T>,
        on_sight: &mut dyn FnMut(&Sight),
    ) -> T {
        let mut work = std::pin::pin!(work);
        tokio::select! {
            biased;
            out = &mut work => out,
            never = self.look_on(on_sight) => match never {},
        }
    }

    /// Who was in the way when the work ended because of a lock.
    pub fn blockers(&self) -> Vec<Blocker> {
        let mut seen = self.seen.borrow_mut();
        // What was seen longer ago was another wait, which went well.
        let recent = self.pause * 2 + LATE;
        match seen.at.take() {
            Some(at) if at.elapsed() < recent => std::mem::take(&mut seen.blockers),
            _ => Vec::new(),
        }
    }

    async fn look_on(&self, on_sight: &mut dyn FnMut(&Sight)) -> Infallible {
        let began = Instant::now();
        let mut next_line = LINE;
        sleep(self.first).await;
        // Most migrations end before, and there may be thousands.
        let look = views::look_sql(&self.target());
        loop {
            let Some(session) = self.open().await else {
                sleep(AGAIN).await;
                continue;
            };
            while let Some(found) = look_at(&session, &look).await {
                if let Some(mut sight) = found {
                    sight.elapsed = began.elapsed();
                    sight.is_line = sight.elapsed >= next_line;
                    if sight.is_line {
                        next_line = sight.elapsed + LINE;
                    }
                    self.remember(&sight);
                    on_sight(&sight);
                }
                sleep(self.pause).await;
            }
            // Its task says good-bye.
            drop(session);
            sleep(AGAIN).await;
        }
    }

    fn remember(&self, sight: &Sight) {
        if let Some(waiting) = &sight.waiting
            && !waiting.blockers.is_empty()
        {
            *self.seen.borrow_mut() = Seen {
                blockers: waiting.blockers.clone(),
                at: Some(Instant::now()),
            };
        }
    }

    async fn open(&self) -> Option<Session> {
        let opening = async {
            let session = connect::connect_once(self.params).await.ok()?;
            if let Some(settings) = self.settings {
                wire::execute(session.client(), settings).await.ok().ok()?;
            }
            Some(session)
        };
        timeout(PATIENCE, opening).await.ok().flatten()
    }

    fn target(&self) -> Target<'_> {
        Target {
            pid: self.pid,
            application_name: &self.application_name,
            server_version: self.server_version,
        }
    }
}

/// One look. `None` when it failed; nothing inside when the session runs nothing at the moment.
async fn look_at(session: &Session, look: &str) -> Option<Option<Sight>> {
    let asking = wire::query(session.client(), look);
    let reply = timeout(PATIENCE, asking).await.ok()?;
    reply.error.is_none().then(|| views::read(&reply.results))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_before_a_lock_timeout_is_over() {
        let address =
            |name: &str| (name == "DATABASE_URL").then(|| "postgres://app@db/shop".to_owned());
        let params = connect::Params::from_vars(&address, "schemagate");
        let (params, _) = params.unwrap();
        let target = Target {
            pid: Some(7),
            application_name: "schemagate",
            server_version: 150_000,
        };
        let check = |limit: Option<u64>, first: u64, pause: u64| {
            let watch = Watch::new(&params, &target, limit.map(Duration::from_millis));
            let found = (watch.first.as_millis(), watch.pause.as_millis());
            assert_eq!(found, (u128::from(first), u128::from(pause)), "{limit:?}");
        };
        check(None, 3000, 1000);
        check(Some(60_000), 3000, 1000);
        check(Some(2000), 1000, 1000);
        check(Some(500), 250, 250);
        check(Some(10), 50, 50);
    }
}
