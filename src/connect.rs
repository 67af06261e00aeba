//! Reaching the database: settings, waiting, TLS, and the session that comes of it.
//!
//! [`Params`] says how, from libpq's variables and connection URLs. [`connect`] waits for the database as long as
//! [`Wait`] says, [`connect_once`] tries once. A [`Session`] has a task of its own that moves its bytes; [`classify`]
//! tells what an error in the middle of a run means for it.
//!
//! This is the only module that dials databases. Sockets are opened here and handed to the client library, because the library
//! knows neither all of libpq's settings nor when a session is lost for good.

mod ahead;
mod attempt;
mod auth;
mod classify;
mod conninfo;
mod error;
mod foreign;
mod once;
mod params;
mod passfile;
mod read;
mod retry;
mod secret;
mod session;
mod settings;
mod socket;
mod target;
mod tls;
mod url;
mod wire;

use std::cell::OnceCell;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

pub use classify::{Class, classify, describe, is_refused_login};
pub use error::Error;
pub use params::{DatabaseLabel, Params};
pub use retry::Backoff;
pub use session::{Canceller, Session};
pub use tls::{Certificate, Tls, Verification};
pub use wire::Login;

/// The least time of the attempt that the end of the grace for refusals cuts.
const LAST_TRY: Duration = Duration::from_secs(5);

/// How long to wait for the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// `false`: one attempt (`SCHEMAGATE_WAIT`).
    pub enabled: bool,
    /// For a database that cannot be reached; `None` waits without end (`SCHEMAGATE_WAIT_TIMEOUT`).
    pub timeout: Option<Duration>,
    /// For one that refuses: an operator may still be creating the role (`SCHEMAGATE_AUTH_GRACE`).
    pub auth_grace: Duration,
}

/// What happens while waiting.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// An attempt failed, and there will be another.
    Failed {
        /// Which one, from 1.
        attempt: u32,
        /// Why.
        error: &'a Error,
        /// The pause before the next.
        next_in: Duration,
    },
    /// There is a session.
    Connected {
        /// Which attempt it was, from 1.
        attempt: u32,
        /// Since the first attempt began.
        elapsed: Duration,
        /// The server's address.
        peer: &'a str,
    },
}

/// One attempt: every host, every address, with TLS and without as the settings say.
pub async fn connect_once(params: &Params) -> Result<Session, Error> {
    attempt::attempt(&params.resolve()?).await
}

/// Waits for a session.
///
/// # Errors
///
/// The last error: [`Error::GaveUp`] around it when the time is over, itself when somebody has to change something first.
pub async fn connect(
    params: &Params,
    wait: &Wait,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<Session, Error> {
    let connected = until(params, wait, on_event, async |_| Ok(())).await;
    connected.map(|(session, ())| session)
}

/// Waits for a session and for the answer to a first question.
///
/// A pooler accepts clients while its server is down, and tells it, or waits in silence, when something is asked. So an
/// error of the question is a failed attempt like any other, and the time that the question takes is part of the wait.
/// What is no matter of the connection (a missing privilege, say) belongs into the answer.
///
/// # Errors
///
/// As in [`connect`].
pub async fn until<T>(
    params: &Params,
    wait: &Wait,
    on_event: &mut dyn FnMut(Event<'_>),
    question: impl AsyncFn(&Session) -> Result<T, tokio_postgres::Error>,
) -> Result<(Session, T), Error> {
    let mut waiting = Waiting::new(wait);
    loop {
        let error = match waiting.attempt(params, &question).await {
            Ok((session, answer)) => {
                on_event(Event::Connected {
                    attempt: waiting.attempts,
                    elapsed: waiting.began.elapsed(),
                    peer: session.peer(),
                });
                return Ok((session, answer));
            }
            Err(error) => error,
        };
        match waiting.pause(&error) {
            Some(next_in) => {
                on_event(Event::Failed {
                    attempt: waiting.attempts,
                    error: &error,
                    next_in,
                });
                waiting.remember(error);
                sleep(next_in).await;
            }
            None => return Err(waiting.give_up(error)),
        }
    }
}

/// The state between attempts.
struct Waiting {
    wait: Wait,
    began: Instant,
    deadline: Option<Instant>,
    backoff: Backoff,
    attempts: u32,
    /// Since when the database refuses without a break.
    refused_since: Option<Instant>,
    /// The last error of a whole attempt.
    last: Option<Error>,
}

// === impl Waiting ===

impl Waiting {
    fn new(wait: &Wait) -> Self {
        let began = Instant::now();
        Self {
            wait: *wait,
            began,
            deadline: wait.timeout.and_then(|timeout| began.checked_add(timeout)),
            backoff: Backoff::connecting(),
            attempts: 0,
            refused_since: None,
            last: None,
        }
    }

    /// One attempt, which the deadline may cut short.
    async fn attempt<T>(
        &mut self,
        params: &Params,
        question: &impl AsyncFn(&Session) -> Result<T, tokio_postgres::Error>,
    ) -> Result<(Session, T), Error> {
        self.attempts += 1;
        let asked = OnceCell::new();
        let trying = async {
            let session = connect_once(params).await?;
            let peer = asked.get_or_init(|| session.peer().to_owned()).clone();
            match question(&session).await {
                Ok(answer) => Ok((session, answer)),
                Err(source) => {
                    session.close().await;
                    Err(Error::Server { peer, source })
                }
            }
        };
        match self.end_of_attempt() {
            Some(end) => match timeout_at(end, trying).await {
                Ok(result) => result,
                // What went wrong before says more than that the last attempt took too long.
                Err(_) => Err(self
                    .last
                    .take()
                    .unwrap_or_else(|| self.too_long(params, asked.into_inner()))),
            },
            None => trying.await,
        }
    }

    /// A refusal is not forgotten because the next attempt hangs.
    fn end_of_attempt(&self) -> Option<Instant> {
        // One attempt, but not one without end.
        if !self.wait.enabled {
            return self.deadline;
        }
        let grace = self.refused_since.and_then(|since| {
            let end = since.checked_add(self.wait.auth_grace)?;
            Some(end.max(Instant::now() + LAST_TRY))
        });
        [self.deadline, grace].into_iter().flatten().min()
    }

    fn too_long(&self, params: &Params, asked: Option<String>) -> Error {
        if let Some(peer) = asked {
            return Error::NoAnswer { peer };
        }
        let hosts = params.database_label().map(|label| label.hosts.join(","));
        Error::Timeout {
            peer: hosts.unwrap_or_else(|| "the database".to_owned()),
            limit: self.wait.timeout.unwrap_or_default(),
            opened: None,
        }
    }

    /// The pause before the next attempt; `None` if there is none.
    fn pause(&mut self, error: &Error) -> Option<Duration> {
        // A mistake in a file is no matter of time.
        if !self.wait.enabled || matches!(error, Error::Settings(_)) {
            return None;
        }
        let now = Instant::now();
        let mut end = self.deadline;
        if self.is_refused(error) {
            let since = *self.refused_since.get_or_insert(now);
            let grace = since.checked_add(self.wait.auth_grace);
            end = [end, grace].into_iter().flatten().min();
        } else {
            self.refused_since = None;
        }
        let left = end.map_or(Duration::MAX, |end| end.saturating_duration_since(now));
        // The last pause is cut, so that the very end of the time is tried too.
        (!left.is_zero()).then(|| self.backoff.next_delay().min(left))
    }

    /// Refused, or refused before and without an answer now: a pooler that could not log in lets the next clients wait
    /// before it tries again.
    fn is_refused(&self, error: &Error) -> bool {
        matches!(error.class(), Class::Permanent(_))
            || error.says_little() && self.refused_since.is_some()
    }

    /// Keeps the error that says most.
    fn remember(&mut self, error: Error) {
        let says_less = error.says_little() && self.refused_since.is_some();
        if !says_less || self.last.is_none() {
            self.last = Some(error);
        }
    }

    fn give_up(&mut self, error: Error) -> Error {
        let error = match self.last.take() {
            Some(last) if error.says_little() && self.refused_since.is_some() => last,
            _ => error,
        };
        if !self.wait.enabled || matches!(error.class(), Class::Permanent(_)) {
            return error;
        }
        Error::GaveUp {
            waited: self.began.elapsed(),
            attempts: self.attempts,
            last: Box::new(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(timeout: u64, grace: u64) -> Waiting {
        Waiting::new(&Wait {
            enabled: true,
            timeout: Some(Duration::from_secs(timeout)),
            auth_grace: Duration::from_secs(grace),
        })
    }

    fn refused() -> Error {
        Error::TlsNotOffered {
            peer: "db".to_owned(),
        }
    }

    fn unreachable() -> Error {
        Error::io("db", std::io::ErrorKind::ConnectionRefused.into())
    }

    #[test]
    fn refusals_end_after_the_grace_and_failures_after_the_timeout() {
        assert!(waiting(60, 10).pause(&refused()).is_some());
        assert!(waiting(60, 0).pause(&refused()).is_none());
        assert!(waiting(60, 0).pause(&unreachable()).is_some());
        assert!(waiting(0, 10).pause(&unreachable()).is_none());
        assert!(waiting(0, 10).pause(&refused()).is_none());
        assert!(
            waiting(60, 10)
                .pause(&Error::Settings(Vec::new()))
                .is_none()
        );
    }

    #[test]
    fn a_break_in_the_refusals_begins_the_grace_anew() {
        let mut waiting = waiting(60, 10);
        assert!(waiting.pause(&refused()).is_some());
        assert!(waiting.refused_since.is_some());
        assert!(waiting.pause(&unreachable()).is_some());
        assert!(waiting.refused_since.is_none());
    }

    #[test]
    fn the_end_names_time_attempts_and_the_last_error() {
        let mut waiting = waiting(0, 0);
        waiting.attempts = 3;
        let error = waiting.give_up(unreachable());
        let text = error.to_string();
        assert!(
            text.starts_with("no session after 3 attempts in 0.0 s; the last: db: "),
            "{text}"
        );
        assert_eq!(error.exit_status(), crate::exit::ExitStatus::Unreachable);
        assert_eq!(
            waiting.give_up(refused()).exit_status(),
            crate::exit::ExitStatus::Refused
        );
    }
}
