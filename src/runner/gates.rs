//! The gates in a run: asked before anything is written, and again before each migration whose answer may have changed
//! since; journalled when they were passed by approval.

use super::{Error, Event, Runner, facts, of_own, write::Work};
use crate::{
    apply::{Frame, Job},
    bootstrap,
    connect::Session,
    gate::{self, Approval, Facts, Held, Needs, Verdict, listing},
    history::{
        Journal, Snapshot,
        journal::{Entry, Kind},
    },
    migration::{TransactionMode, quote_literal},
};

/// What the gates said of a run.
#[derive(Debug, Default)]
pub(super) struct Gated {
    /// The migration at which the run ends.
    pub(super) held: Option<Box<Held>>,
    /// What was known; `None` where no gate holds any of the migrations, whatever there is to know.
    pub(super) facts: Option<Facts>,
}

// === impl Runner ===

impl Runner<'_> {
    /// Asks the gates for each job and cuts the jobs off at the first that is held. When that is the very first, or all
    /// are to go in one transaction, the run ends here, before anything is written.
    pub(super) async fn ask_gates(
        &mut self,
        session: &Session,
        snapshot: &Snapshot,
        jobs: &mut Vec<Job>,
    ) -> Result<Gated, Error> {
        let needs = facts::needs_of(self.params, self.source, jobs);
        if !needs.facts {
            return Ok(Gated::default());
        }
        let mut facts = self
            .facts(session, snapshot, snapshot.journal, needs)
            .await?;
        if needs.backup && !facts.bootstrap {
            self.lay_backups(session, snapshot, &mut facts).await?;
        }
        let mut gated = Gated::default();
        for (index, job) in jobs.iter().enumerate() {
            let candidate = facts::candidate(self.source, job);
            let Verdict::Held(mut held) = gate::judge(candidate, &self.params.gate, &facts) else {
                continue;
            };
            let together = self.params.transaction == TransactionMode::All;
            if together && index > 0 {
                held.reason.push_str(
                    "; with SCHEMAGATE_TRANSACTION=all what stands before it does not run either",
                );
            }
            if together || index == 0 {
                return Err(Error::Held(Box::new(held)));
            }
            gated.held = Some(Box::new(held));
            jobs.truncate(index);
            break;
        }
        gated.facts = Some(facts);
        Ok(gated)
    }

    /// Passes the gates with the next of the jobs: asks again, unless `facts` are of this moment, tells who is still
    /// connected before a contract step, and notes who let it through, once in a run.
    pub(super) async fn pass_gates(
        &mut self,
        work: &Work<'_>,
        job: &Job,
        gated: &mut Gated,
        is_first: bool,
    ) -> Result<(), Error> {
        let Work {
            session,
            snapshot,
            frame,
            ground,
            ..
        } = work;
        let candidate = facts::candidate(self.source, job);
        let needs = Needs::of(candidate, &self.params.gate);
        let Some(facts) = gated.facts.as_mut().filter(|_| needs.facts) else {
            return Ok(());
        };
        if needs.changes && !is_first && !facts.bootstrap {
            let journal = if ground.journal {
                Journal::Usable
            } else {
                snapshot.journal
            };
            // What was let through before does not change under the lock.
            let earlier = std::mem::take(&mut facts.earlier);
            *facts = self.facts(session, snapshot, journal, needs).await?;
            facts.earlier = earlier;
        }
        let approvals = match gate::judge(candidate, &self.params.gate, facts) {
            Verdict::Held(held) => return Err(Error::Held(Box::new(held))),
            Verdict::Open(approvals) => approvals,
        };
        if needs.connected && !facts.bootstrap {
            self.tell_connected(&candidate.migration.version, facts);
        }
        if approvals.is_empty() || self.noted.contains(&job.migration) {
            return Ok(());
        }
        if ground.journal {
            self.note_approvals(session, frame, job, &approvals).await?;
        }
        self.noted.push(job.migration);
        // Without a journal the log is all that remembers.
        let version = &candidate.migration.version;
        for Approval { what, by, reason } in approvals {
            let reason = reason.as_deref().unwrap_or("not given");
            (self.on_event)(Event::Note(&format!(
                "{version}: {what} let through by {by}; reason: {reason}"
            )));
        }
        Ok(())
    }

    /// Whether a gate may hold this job.
    pub(super) fn is_gated(&self, job: &Job) -> bool {
        Needs::of(facts::candidate(self.source, job), &self.params.gate).facts
    }

    async fn facts(
        &self,
        session: &Session,
        snapshot: &Snapshot,
        journal: Journal,
        needs: Needs,
    ) -> Result<Facts, Error> {
        let client = session.client();
        let mut facts = facts::facts(client, self.params, snapshot, journal, needs).await?;
        // Without a journal only this run itself remembers.
        if self.building && journal != Journal::Usable {
            facts.bootstrap = true;
        }
        Ok(facts)
    }

    /// A backup cannot be noted where there is no journal, and no run would come as far as creating it.
    async fn lay_backups(
        &self,
        session: &Session,
        snapshot: &Snapshot,
        facts: &mut Facts,
    ) -> Result<(), Error> {
        if !matches!(snapshot.journal, Journal::NoSchema | Journal::NoTable) {
            return Ok(());
        }
        let role = self.params.history.role.as_deref();
        let laid = bootstrap::journal(session.client(), snapshot.journal, role).await;
        if !laid.map_err(of_own)? {
            facts.backup = gate::Backup::Unknown(crate::apply::journal_grant(
                &snapshot.database,
                &snapshot.user,
            ));
        }
        Ok(())
    }

    fn tell_connected(&mut self, version: &str, facts: &Facts) {
        let who = if facts.connected.is_empty() {
            "nobody else".to_owned()
        } else {
            listing(&facts.connected)
        };
        (self.on_event)(Event::Note(&format!(
            "before contract step {version}: connected to this database: {who}"
        )));
    }

    /// Notes who let a migration through, and why.
    async fn note_approvals(
        &mut self,
        session: &Session,
        frame: &Frame,
        job: &Job,
        approvals: &[Approval],
    ) -> Result<(), Error> {
        let migration = &self.source.migrations[job.migration];
        let mut rows = Vec::new();
        for approval in approvals {
            let detail = serde_json::json!({
                "what": approval.what,
                "by": approval.by,
                "reason": approval.reason,
            });
            let detail = format!("{}::pg_catalog.jsonb", quote_literal(&detail.to_string()));
            let mut entry = Entry::about(Kind::Approved, &migration.version, &migration.checksum);
            entry.detail = Some(&detail);
            rows.push(self.params.author.insert_sql(&entry));
        }
        bootstrap::fenced(
            session.client(),
            frame,
            &self.params.limits,
            &rows.join(";"),
        )
        .await
        .map_err(of_own)
    }
}
