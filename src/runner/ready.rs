//! What a run checks before its first write.

use super::{Error, Event, Runner, of_own};
use crate::{
    apply::{Failure, Frame, Holding, Job},
    connect::Session,
    history::Snapshot,
    preflight::{self, Pending},
};

/// How many findings in doubt are told.
const DOUBTS: usize = 5;

// === impl Runner ===

impl Runner<'_> {
    /// Refuses what is known to fail, before anything is written.
    pub(super) async fn preflight(
        &mut self,
        session: &Session,
        snapshot: &Snapshot,
        jobs: &[Job],
        frame: &Frame,
    ) -> Result<(), Error> {
        let pending = Pending {
            migrations: &self.source.migrations,
            jobs,
            history: &self.params.history,
            snapshot,
            server_version: session.server_version(),
        };
        let found = preflight::check(session.client(), &pending)
            .await
            .map_err(of_own)?;
        let (certain, doubts): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|finding| finding.certain);
        for doubt in doubts.iter().take(DOUBTS) {
            let warning = format!("{doubt}: it may fail; {}", doubt.help);
            (self.on_event)(Event::Warning(&warning));
        }
        if certain.is_empty() {
            return Ok(());
        }
        // Without the lock another pod may have made just now what is in the way, together with its row.
        if frame.holding != Holding::Session {
            let rows = self.look(session, true).await?.rows.len();
            if rows != snapshot.rows.len() {
                return Err(Error::Apply(Failure::AlreadyApplied));
            }
        }
        Err(Error::Preflight(certain))
    }
}
