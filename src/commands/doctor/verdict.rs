//! The steps of `migrate` up to its first write, and what they would end with.

use std::time::Duration;

use super::{Asker, Folder};
use crate::{
    apply::{self, Job},
    bootstrap, connect,
    error::Error,
    gate::{self, Facts, Held, Verdict},
    history::{Journal, Snapshot},
    lock::Holder,
    plan::Plan,
    preflight::{self, Pending},
    report::doctor::Section,
    runner::{self, LockWait},
};

/// Pending migrations that are listed.
const LISTED: usize = 20;

/// Says what is pending and what stands in its way.
pub(super) async fn of(
    asker: &Asker<'_>,
    folder: &Folder,
    snapshot: &Snapshot,
    holder: Option<Holder>,
    section: &mut Section,
) -> Result<(), Error> {
    let Folder { source, params } = folder;
    let plan = runner::plan_of(source, snapshot, &params.policy)?;
    for warning in &plan.warnings {
        section.note("warning", warning.as_str(), "");
    }
    if !plan.conflicts.is_empty() {
        for conflict in &plan.conflicts {
            section.problem("conflict", conflict.to_string(), &conflict.help());
        }
        return Err(runner::Error::Conflicts(plan.conflicts).into());
    }
    if !runner::needs_writing(&plan, snapshot, source) {
        section.ok("migrations", "nothing is pending");
        return Ok(());
    }
    tell_failures(asker, folder, snapshot, &plan, section).await;
    let versions: Vec<&str> = plan
        .run
        .iter()
        .filter_map(|&index| source.migrations.get(index))
        .map(|migration| migration.version.as_str())
        .collect();
    let more = match versions.len().saturating_sub(LISTED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let listed: Vec<&str> = versions.iter().copied().take(LISTED).collect();
    section.note(
        "migrations",
        format!("{} pending: {}{more}", versions.len(), listed.join(", ")),
        "",
    );
    if snapshot.in_recovery {
        params
            .connect
            .clone()
            .require_primary()
            .map_err(runner::Error::NoPrimary)?;
        return Err(no_primary(asker).into());
    }
    waits(params.lock_wait, holder)?;
    let mut release = runner::release(asker.session, snapshot);
    let mut warn = |warning: &str| section.note("warning", warning, "");
    let mut jobs = apply::prepare::prepare(
        source,
        &plan.run,
        params.transaction,
        &mut release,
        &mut warn,
    )
    .map_err(runner::Error::Prepare)?;
    bootstrap::refuse_foreign(asker.session.client(), &params.history, snapshot)
        .await
        .map_err(runner::Error::from)?;
    let asking = runner::facts_for(asker.session.client(), params, source, snapshot, &jobs);
    let held = held(folder, &asking.await?, &mut jobs, section);
    // What is held at once ends before anything else is looked at.
    if held.is_none() || !jobs.is_empty() {
        findings(asker, folder, snapshot, &jobs, section).await?;
        // Whether the database is being built matters only where the point is not needed.
        runner::restorable(asker.session, params, source, snapshot, &jobs, None).await?;
    }
    held.map_or(Ok(()), |held| {
        Err(runner::Error::Held(Box::new(held)).into())
    })
}

/// What the journal has of the last attempts. Whether the next one fares better nobody knows, so it is a note.
async fn tell_failures(
    asker: &Asker<'_>,
    folder: &Folder,
    snapshot: &Snapshot,
    plan: &Plan,
    section: &mut Section,
) {
    if snapshot.journal != Journal::Usable {
        return;
    }
    let Folder { source, params } = folder;
    let Ok(failures) = runner::failures(asker.session, params, source).await else {
        return;
    };
    let pending = plan
        .run
        .iter()
        .filter_map(|&index| source.migrations.get(index));
    for migration in pending {
        if let Some(message) = failures.get(&migration.version) {
            section.note(
                "last attempt",
                format!("{} failed: {message}", migration.version),
                "correct the file, or the data it stumbles over; `schemagate status --history` tells when",
            );
        }
    }
}

/// What the wait for a primary would end with.
fn no_primary(asker: &Asker<'_>) -> runner::Error {
    runner::Error::Connect(connect::Error::Role {
        peer: asker.session.peer().to_owned(),
        wanted: "primary",
        found: "a standby",
    })
}

/// A holder that gets on is waited for; one that does not would be given up.
fn waits(patience: LockWait, holder: Option<Holder>) -> Result<(), runner::Error> {
    let off = patience == LockWait::Off;
    match holder {
        Some(holder) if off || !holder.makes_progress() => Err(runner::Error::LockWait {
            stuck_for: holder.in_state.unwrap_or(Duration::ZERO),
            holder: Some(Box::new(holder)),
            off,
        }),
        _ => Ok(()),
    }
}

/// The first migration that a gate holds; what stands before it would run, so the rest is cut off.
fn held(
    folder: &Folder,
    facts: &Facts,
    jobs: &mut Vec<Job>,
    section: &mut Section,
) -> Option<Held> {
    let Folder { source, params } = folder;
    let (index, held) = jobs.iter().enumerate().find_map(|(index, job)| {
        match gate::judge(runner::candidate(source, job), &params.gate, facts) {
            Verdict::Held(held) => Some((index, held)),
            Verdict::Open(_) => None,
        }
    })?;
    section.problem("held", held.to_string(), &held.let_through);
    jobs.truncate(index);
    Some(held)
}

async fn findings(
    asker: &Asker<'_>,
    folder: &Folder,
    snapshot: &Snapshot,
    jobs: &[Job],
    section: &mut Section,
) -> Result<(), Error> {
    let pending = Pending {
        migrations: &folder.source.migrations,
        jobs,
        history: &folder.params.history,
        snapshot,
        server_version: asker.session.server_version(),
    };
    let found = preflight::check(asker.session.client(), &pending)
        .await
        .map_err(|error| runner::Error::Apply(apply::Failure::of_own(error)))?;
    for finding in &found {
        if finding.certain {
            section.problem(&finding.place, finding.message.as_str(), &finding.help);
        } else {
            let value = format!("it may fail: {}", finding.message);
            section.note(&finding.place, value, &finding.help);
        }
    }
    let certain: Vec<_> = found
        .into_iter()
        .filter(|finding| finding.certain)
        .collect();
    if certain.is_empty() {
        section.ok("before the run", "nothing is known to fail");
        return Ok(());
    }
    Err(runner::Error::Preflight(certain).into())
}
