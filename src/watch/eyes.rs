//! Looking: a connection for each look, or one that is kept and listens.

mod folder;
mod listen;
mod marked;

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::{Need, pace::Pace};
use crate::{
    connect::{self, Backoff, Canceller, Session},
    exit::ExitStatus,
    history,
    plan::Plan,
    progress::{Seen, Told},
    runner,
};
use folder::{Depth, Details, Known};
use listen::Listening;

/// How long reaching the database may take: several hosts, each with its own limit.
const CONNECT_LIMIT: Duration = Duration::from_secs(30);
/// How long its answers may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// The pauses before who listens takes its connection up again: from this, doubling, to that.
const LOST_FIRST: Duration = Duration::from_millis(100);
const LOST_LONGEST: Duration = Duration::from_secs(15);
/// How long the end of the process may wait for a look to be given up.
const GIVE_UP_LIMIT: Duration = Duration::from_secs(1);
/// How soon the details are asked for that a glance has left out, or that a notification may be about whose reason the
/// rows do not show.
const DETAILS: Duration = Duration::from_secs(2);

/// Why it is looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wake {
    /// It is time.
    Due,
    /// An applier has said that it did something.
    Notified,
    /// The kept connection is gone.
    Lost,
}

/// What a look has shown.
pub(super) enum Looked {
    /// All there is.
    Seen(Box<Seen>),
    /// Other pods have applied something, and more is pending.
    Followed(Plan),
    /// The rows of the last look.
    Unchanged,
    /// What stands in the history's place is none.
    NoHistory(runner::Error),
    /// The database answers, and does not let the history be read.
    Unreadable(Told),
    /// No answer.
    Unreachable(Told),
}

/// What looks.
pub(super) struct Eyes<'a> {
    need: &'a Need,
    known: Option<Known>,
    listening: Listening,
    kept: Option<Session>,
    /// Ends the question that is being asked.
    asking: Option<Canceller>,
    /// When more is to be asked than the last look did.
    details: Option<Instant>,
    /// The pauses before a lost connection is taken up again.
    lost: Backoff,
}

// === impl Eyes ===

impl<'a> Eyes<'a> {
    pub(super) fn new(need: &'a Need, listen: bool) -> Self {
        Self {
            need,
            known: None,
            listening: Listening::new(listen),
            kept: None,
            asking: None,
            details: None,
            lost: Backoff::new(LOST_FIRST, LOST_LONGEST),
        }
    }

    /// Whether the next look needs no new connection.
    pub(super) fn is_connected(&self) -> bool {
        self.kept.is_some()
    }

    /// Closes the kept connection: a run has its own, and a server may allow one only.
    pub(super) async fn close(&mut self) {
        if let Some(session) = self.kept.take() {
            session.close().await;
        }
    }

    /// A look was given up. A server that waits for a table's lock would go on waiting for a client that has left: a
    /// session for each pod that was replaced meanwhile.
    pub(super) async fn give_up(&mut self) {
        if let Some(canceller) = self.asking.take() {
            let _ = timeout(GIVE_UP_LIMIT, canceller.cancel()).await;
        }
    }

    /// Waits for what makes a look worth while before its time. Without a kept connection there is nothing.
    pub(super) async fn wake(&self) -> Wake {
        let Some(session) = &self.kept else {
            return std::future::pending().await;
        };
        tokio::select! {
            _ = session.closed() => Wake::Lost,
            () = self.listening.notified(session) => Wake::Notified,
        }
    }

    /// When the next look is due.
    pub(super) fn due(&mut self, pace: &mut Pace, settled: bool) -> Instant {
        let now = Instant::now();
        let details = self.details;
        // Until there is a connection again, nobody tells what happens.
        let deaf = self.kept.is_none() && self.listening.is_possible();
        let lost = deaf.then(|| now + self.lost.next_delay());
        soonest(now, now + pace.next(settled), details, lost)
    }

    /// One look. Every step of it ends.
    pub(super) async fn look(&mut self, wake: Wake, settled: bool) -> Looked {
        let depth = match wake {
            _ if self.details.is_some_and(|due| due <= Instant::now()) => Depth::Whole,
            _ if settled => Depth::Glance,
            Wake::Notified => Depth::Follow,
            Wake::Due | Wake::Lost => Depth::Whole,
        };
        if wake == Wake::Lost {
            self.kept = None;
            // A server that lets in and throws out must not be asked without a break.
            tokio::time::sleep(self.lost.next_delay()).await;
        }
        if let Some(session) = self.kept.take() {
            match self.ask(session, depth).await {
                Ok(looked) => {
                    self.lost.reset();
                    return looked;
                }
                Err(error @ connect::Error::NoAnswer { .. }) => {
                    return Looked::Unreachable(of_connection(&error));
                }
                // Of a kept connection that is all it says: it is old.
                Err(_) => {}
            }
        }
        let outcome = match self.connect().await {
            Ok(session) => self.ask(session, depth).await,
            Err(error) => Err(error),
        };
        outcome.unwrap_or_else(|error| Looked::Unreachable(of_connection(&error)))
    }

    async fn connect(&self) -> Result<Session, connect::Error> {
        let params = self.need.connect();
        let connecting = connect::connect_once(params);
        timeout(CONNECT_LIMIT, connecting)
            .await
            .unwrap_or_else(|_| {
                let hosts = params.database_label().map(|label| label.hosts.join(","));
                Err(connect::Error::Timeout {
                    peer: hosts.unwrap_or_else(|| "the database".to_owned()),
                    limit: CONNECT_LIMIT,
                    opened: None,
                })
            })
    }

    /// Asks, and keeps or closes the connection.
    async fn ask(&mut self, session: Session, depth: Depth) -> Result<Looked, connect::Error> {
        let canceller = session.canceller();
        let peer = session.peer().to_owned();
        self.asking = Some(canceller.clone());
        let asked = timeout(ANSWER_LIMIT, self.ask_all(&session, depth)).await;
        self.asking = None;
        match asked {
            Ok(Ok(looked)) => {
                if self.listening.is_on(&session) {
                    self.kept = Some(session);
                } else {
                    session.close().await;
                }
                Ok(looked)
            }
            Ok(Err(source)) => {
                session.close().await;
                Err(connect::Error::Server { peer, source })
            }
            Err(_) => {
                // A server that waits for a table's lock would go on waiting for a client that has left, and the next
                // look would join it.
                let _ = canceller.cancel().await;
                drop(session);
                Err(connect::Error::NoAnswer { peer })
            }
        }
    }

    /// The error is the connection's.
    async fn ask_all(
        &mut self,
        session: &Session,
        depth: Depth,
    ) -> Result<Looked, tokio_postgres::Error> {
        self.listening.begin(session).await?;
        match self.need {
            Need::Folder { source, params } => {
                let (looked, details) =
                    folder::look(session, source, params, &mut self.known, depth).await?;
                match details {
                    Details::Known => self.details = None,
                    Details::AsBefore => {}
                    Details::Wanted => {
                        // Not all pods at once.
                        let within = Backoff::new(DETAILS, DETAILS).next_delay();
                        self.details.get_or_insert(Instant::now() + within);
                    }
                }
                Ok(looked)
            }
            Need::Marker { marker, role, .. } => {
                let state = marker.first(session.client(), role.as_deref()).await?;
                Ok(match state {
                    Ok(state) => {
                        let seen = marked::seen(marker, state, session.label().database);
                        Looked::Seen(Box::new(seen))
                    }
                    Err(error) => of_history(error),
                })
            }
        }
    }
}

/// The next look: when the pace says, or sooner where details are wanted or a connection is. Details that are overdue
/// could not be had: they wait for the pace as everything does.
fn soonest(now: Instant, due: Instant, details: Option<Instant>, lost: Option<Instant>) -> Instant {
    let details = details.filter(|details| *details > now);
    [details, lost]
        .into_iter()
        .flatten()
        .fold(due, Instant::min)
}

// === impl Need ===

impl Need {
    fn connect(&self) -> &connect::Params {
        match self {
            Self::Folder { params, .. } => &params.connect,
            Self::Marker { connect, .. } => connect,
        }
    }
}

/// Why there is no answer.
pub(super) fn of_connection(error: &connect::Error) -> Told {
    Told {
        what: error.to_string(),
        next: error.help().unwrap_or_else(|| match error {
            connect::Error::File { .. } | connect::Error::Settings(_) => {
                "correct it there; files are read again at every attempt".to_owned()
            }
            _ => "look at the server and its log".to_owned(),
        }),
    }
}

/// An error that is no matter of the connection.
fn of_history(error: history::Error) -> Looked {
    if error.exit_status() == ExitStatus::History {
        return Looked::NoHistory(runner::Error::History(error));
    }
    Looked::Unreadable(Told {
        what: error.to_string(),
        next: error.help(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soonest_that_is_still_to_come() {
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        let past = now.checked_sub(Duration::from_secs(1));
        assert_eq!(soonest(now, at(9), None, None), at(9));
        assert_eq!(soonest(now, at(9), Some(at(2)), None), at(2));
        assert_eq!(soonest(now, at(9), Some(at(2)), Some(at(1))), at(1));
        assert_eq!(soonest(now, at(9), Some(at(20)), Some(at(12))), at(9));
        assert_eq!(
            soonest(now, at(9), past, None),
            at(9),
            "no loop without a pause"
        );
        assert_eq!(soonest(now, at(9), Some(now), None), at(9));
    }
}
