//! The marker, and what else the journal learns of the command.

use std::time::Duration;

use super::{End, Error, Outcome, Params, Won, Wrapper, error::Unmarked, watch::Watched};
use crate::{
    child::Ended,
    connect::Session,
    history::{
        journal::{Entry, Kind},
        marker::Marker,
    },
    hold::Hold,
    migration::quote_literal,
    runner::{self, Event, Queue, stopped},
};

/// How often the lock's connection may be lost over the writing of one row.
const LOST_LIMIT: u32 = 3;

// === impl Wrapper ===

impl Wrapper<'_> {
    /// Writes what is to be written, and gives the lock back.
    pub(super) async fn conclude(
        &mut self,
        hold: Hold,
        watched: Watched,
    ) -> Result<Outcome, Error> {
        let Watched { end, elapsed } = watched;
        let name = self.params.name();
        let End::Itself {
            ended: Ended::Code(0),
            told,
        } = end
        else {
            return Err(self.failed(hold, end, elapsed).await);
        };
        let Some(marker) = self.params.marker.clone() else {
            hold.release().await;
            return Ok(Outcome::Done { elapsed });
        };
        let written = match told {
            None => self
                .mark(hold, &marker, elapsed)
                .await
                .map_err(Unmarked::Run),
            Some(signal) => {
                hold.release().await;
                Err(Unmarked::Told(signal))
            }
        };
        match written {
            Ok(()) => Ok(Outcome::Done { elapsed }),
            Err(why) => Err(Error::Unmarked {
                name,
                marker: marker.name,
                why,
            }),
        }
    }

    /// Writes the marker in the transaction that holds the lock. When that fails its fate is unknown: the lock is won
    /// again, and the marker is looked at behind it.
    async fn mark(
        &mut self,
        hold: Hold,
        marker: &Marker,
        elapsed: Duration,
    ) -> Result<(), runner::Error> {
        let sql = self.end_sql(Kind::ExecDone, marker, elapsed, None);
        let mut hold = hold;
        let mut lost = 0;
        self.queue = Queue::new();
        loop {
            let why = match hold.end_and_keep(&sql).await {
                Ok(session) => {
                    self.note_fingerprint(session).await;
                    return Ok(());
                }
                Err(unended) => unended.to_string(),
            };
            lost += 1;
            if lost > LOST_LIMIT {
                return Err(runner::Error::Lost(why));
            }
            (self.on_event)(Event::Warning(&format!(
                "the marker {} may not have been written ({why}); taking the lock again to see",
                marker.name
            )));
            hold = match stopped(self.stop, self.win()).await?? {
                Won::Marked { .. } => return Ok(()),
                Won::Lock(hold) => hold,
            };
        }
    }

    /// Notes the schema as the tool leaves it.
    async fn note_fingerprint(&mut self, session: Option<Session>) {
        let Some(session) = session else { return };
        let Params { role, author, .. } = self.params;
        let noted = runner::note_fingerprint(session.client(), role.as_deref(), author).await;
        if let Some(warning) = noted {
            (self.on_event)(Event::Warning(&warning));
        }
        session.close().await;
    }

    /// Notes the failure where a marker was asked for. The command's end is what counts: a failure of this is a warning.
    async fn failed(&mut self, hold: Hold, end: End, elapsed: Duration) -> Error {
        let name = self.params.name();
        match self.params.marker.clone() {
            Some(marker) if !matches!(end, End::LockLost { .. }) => {
                let message = end.sentence(&name);
                let sql = self.end_sql(Kind::Failed, &marker, elapsed, Some(&message));
                if let Err(unended) = hold.end(&sql).await {
                    (self.on_event)(Event::Warning(&format!(
                        "the failure could not be journalled: {unended}"
                    )));
                }
            }
            _ => hold.release().await,
        }
        Error::Command { name, end, elapsed }
    }

    /// The row, and the end of the transaction that holds the lock.
    fn end_sql(
        &self,
        kind: Kind,
        marker: &Marker,
        elapsed: Duration,
        message: Option<&str>,
    ) -> String {
        let mut detail = serde_json::json!({"command": self.params.name()});
        if let Some(message) = message {
            detail["message"] = message.into();
        }
        let detail = format!("{}::pg_catalog.jsonb", quote_literal(&detail.to_string()));
        let duration = elapsed.as_millis().to_string();
        let mut entry = Entry::of(kind);
        entry.version = Some(&marker.name);
        entry.duration_ms = Some(&duration);
        entry.detail = Some(&detail);
        let row = self.params.author.insert_sql(&entry);
        format!("{row};NOTIFY schemagate;COMMIT")
    }
}
