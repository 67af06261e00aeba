//! `wait`: block until the database answers, or until the schema is what this image needs.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{
    Context,
    needed::{Needed, Seen},
    setup,
};
use crate::{
    cli::Until,
    connect::{self, Backoff, Wait},
    duration,
    error::Error,
    exit::ExitStatus,
    report::log::millis,
    runner::{self, Event, stopped},
    wire,
};

/// How long one look may go without an answer once there has been one: then the connection is given up, and the next
/// look gets a new one.
const LOOK_LIMIT: Duration = Duration::from_secs(30);

/// The least time of the look that the end of the wait would cut.
const LAST_LOOK: Duration = Duration::from_secs(2);

/// Runs the command.
pub async fn run(context: &Context<'_>, until: Until) -> Result<(), Error> {
    match until {
        Until::Database => database(context).await,
        Until::Schema => schema(context).await,
    }
}

async fn database(context: &Context<'_>) -> Result<(), Error> {
    let (params, wait) = setup::connection(context.invocation)?;
    let mut log = |event: connect::Event<'_>| context.tell(&Event::Connect(event));
    // Behind a pooler a session alone says nothing of the database.
    let waiting = connect::until(&params, &wait, &mut log, async |session| {
        wire::execute(session.client(), "SELECT 1").await.ok()
    });
    let (session, ()) = stopped(&context.stop, waiting)
        .await?
        .map_err(runner::Error::Connect)?;
    tracing::info!(peer = session.peer(), "database answers");
    session.close().await;
    Ok(())
}

async fn schema(context: &Context<'_>) -> Result<(), Error> {
    let needed = Needed::load(context)?;
    let interval = context.invocation.config.serving.poll_interval;
    let mut waiting = Waiting::new(*needed.wait(), interval);
    let looking = async {
        loop {
            let looked = needed.look(context, &waiting.for_look()).await;
            if let Some(seen) = waiting.current(&needed, looked)? {
                return Ok(seen);
            }
            match waiting.pause() {
                Some(pause) => sleep(pause).await,
                None => return Err(waiting.give_up(&needed)),
            }
        }
    };
    let seen = stopped(&context.stop, looking).await??;
    for warning in &seen.warnings {
        tracing::warn!("{warning}");
    }
    let waited_ms = millis(waiting.began.elapsed());
    tracing::info!(waited_ms, "the schema is what this image needs");
    Ok(())
}

/// The state between looks. No connection is held in between.
struct Waiting {
    wait: Wait,
    began: Instant,
    end: Option<Instant>,
    pace: Backoff,
    /// What the last look that was answered has shown.
    seen: Option<Seen>,
    /// The failure that was told last.
    told: Option<String>,
    /// Why the look after it was not answered.
    trouble: Option<Error>,
}

// === impl Waiting ===

impl Waiting {
    fn new(wait: Wait, interval: Option<Duration>) -> Self {
        let began = Instant::now();
        let (first, longest) = interval.map_or(
            (Duration::from_secs(1), Duration::from_secs(15)),
            |interval| (interval, interval),
        );
        Self {
            wait,
            began,
            end: wait.timeout.and_then(|timeout| began.checked_add(timeout)),
            pace: Backoff::new(first, longest),
            seen: None,
            told: None,
            trouble: None,
        }
    }

    /// Whether the database has said anything of the history yet.
    const fn was_answered(&self) -> bool {
        self.seen.is_some() || self.trouble.is_some()
    }

    /// How long the next look may take. The first may take all the time there is: it is the wait for the database.
    fn for_look(&self) -> Wait {
        if !self.was_answered() {
            return self.wait;
        }
        let limit = LOOK_LIMIT.saturating_add(self.wait.auth_grace);
        let left = self.left().max(LAST_LOOK);
        Wait {
            timeout: Some(limit.min(left)),
            ..self.wait
        }
    }

    fn left(&self) -> Duration {
        self.end.map_or(Duration::MAX, |end| {
            end.saturating_duration_since(Instant::now())
        })
    }

    /// What was seen, if it is what is needed; the error, if waiting does not help.
    fn current(
        &mut self,
        needed: &Needed,
        looked: Result<Seen, Error>,
    ) -> Result<Option<Seen>, Error> {
        match looked {
            Ok(seen) if seen.is_current() => Ok(Some(seen)),
            Ok(seen) if !seen.conflicts.is_empty() => {
                Err(runner::Error::Conflicts(seen.conflicts).into())
            }
            Ok(seen) => {
                self.note(needed, seen);
                Ok(None)
            }
            Err(error) if self.may_pass(&error) => {
                tracing::info!(
                    error = error.what(),
                    "the schema could not be looked at; trying again"
                );
                self.trouble = Some(error);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Tells what is pending when that has changed: a pod that waits for an hour has few lines.
    fn note(&mut self, needed: &Needed, seen: Seen) {
        self.trouble = None;
        let before = self.seen.as_ref().map(|seen| &seen.pending);
        if before != Some(&seen.pending) {
            self.pace.reset();
            tracing::info!("waiting for the schema: {}", needed.missing(&seen));
        }
        if let Some(failure) = seen
            .failure
            .as_ref()
            .filter(|failure| self.told.as_ref() != Some(failure))
        {
            tracing::warn!("{failure}; still waiting, since it may be tried again");
            self.told = Some(failure.clone());
        }
        self.seen = Some(seen);
    }

    /// A blip: the database has answered before, and may again.
    fn may_pass(&self, error: &Error) -> bool {
        let answers = matches!(error, Error::Run(runner::Error::History(_)));
        let passes = matches!(
            error.exit_status(),
            ExitStatus::Unreachable | ExitStatus::Locked
        );
        self.wait.enabled && passes && (answers || self.was_answered())
    }

    /// The pause before the next look; `None` if the time is over.
    fn pause(&mut self) -> Option<Duration> {
        let left = self.left();
        // The last pause is cut, so that the very end of the time is looked at too.
        (self.wait.enabled && !left.is_zero()).then(|| self.pace.next_delay().min(left))
    }

    fn give_up(&mut self, needed: &Needed) -> Error {
        let trouble = self.trouble.take();
        let Some(seen) = &self.seen else {
            return trouble.unwrap_or_else(|| Error::System("nothing was looked at".to_owned()));
        };
        let Some(limit) = self.wait.timeout.filter(|_| self.wait.enabled) else {
            return needed.behind(seen);
        };
        let mut what = needed.missing(seen);
        let also = [seen.failure.clone(), trouble.map(|error| error.what())];
        for sentence in also.into_iter().flatten() {
            what = format!("{what}; {sentence}");
        }
        Error::Behind {
            what: format!(
                "{what}; not within {} (SCHEMAGATE_WAIT_TIMEOUT)",
                duration::print(limit)
            ),
            next: format!("see why nobody has brought it: {}", needed.next_step()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(timeout: Option<u64>) -> Waiting {
        let wait = Wait {
            enabled: true,
            timeout: timeout.map(Duration::from_secs),
            auth_grace: Duration::from_secs(10),
        };
        Waiting::new(wait, None)
    }

    #[test]
    fn the_first_look_may_take_all_the_time_and_the_others_a_part() {
        let mut waiting = waiting(Some(600));
        assert_eq!(waiting.for_look(), waiting.wait);
        waiting.seen = Some(Seen::default());
        let part = Some(LOOK_LIMIT + Duration::from_secs(10));
        assert_eq!(waiting.for_look().timeout, part);
        assert_eq!(waiting.for_look().auth_grace, waiting.wait.auth_grace);
        waiting.end = Some(waiting.began);
        assert_eq!(waiting.for_look().timeout, Some(LAST_LOOK));
        waiting.end = None;
        assert_eq!(waiting.for_look().timeout, part);
    }

    #[test]
    fn pauses_end_with_the_time() {
        assert!(waiting(None).pause().is_some());
        assert!(waiting(Some(600)).pause().is_some());
        assert!(waiting(Some(0)).pause().is_none());
        let mut once = waiting(Some(600));
        once.wait.enabled = false;
        assert!(once.pause().is_none());
    }

    #[test]
    fn what_may_pass_is_what_was_answered_before() {
        let unreachable = || {
            let source = std::io::ErrorKind::ConnectionRefused.into();
            let peer = "db".to_owned();
            Error::Run(runner::Error::Connect(connect::Error::Io { peer, source }))
        };
        let refused = || {
            let peer = "db".to_owned();
            Error::Run(runner::Error::Connect(connect::Error::TlsNotOffered {
                peer,
            }))
        };
        let mut waiting = waiting(None);
        assert!(!waiting.may_pass(&unreachable()));
        waiting.seen = Some(Seen::default());
        assert!(waiting.may_pass(&unreachable()));
        assert!(!waiting.may_pass(&refused()));
        waiting.wait.enabled = false;
        assert!(!waiting.may_pass(&unreachable()));
    }
}
