//! `plan`: what would run, statement by statement, with risk and locks.

mod listing;
mod tracing;

use std::io::IsTerminal as _;

use super::{Context, print, setup};
use crate::{
    apply::{self, Job},
    bootstrap,
    catalog::{self, View},
    cli::{Output, PlanArgs},
    connect::Session,
    duration,
    error::Error,
    gate::{self, Candidate, Facts, Verdict},
    history::Snapshot,
    migration::TransactionMode,
    plan::{Deferral, Plan, State},
    report::{
        github,
        plan::{self, Deferred, HeldStep, Report, SCHEMA_VERSION, Step, Surroundings},
        sarif,
    },
    runner::{self, Params, stopped},
    source::Source,
};
use listing::Listing;

/// Runs the command.
pub async fn run(context: &Context<'_>, args: &PlanArgs) -> Result<(), Error> {
    let Context {
        invocation,
        summary,
        ..
    } = context;
    let source = setup::load(&invocation.config)?;
    let (connect, wait) = setup::connection(invocation)?;
    let mut params = setup::params(invocation, &source, connect, wait);
    summary.borrow_mut().format = Some(source.format.label());
    summary.borrow_mut().history = Some(params.history.table.to_string());
    // A dry run writes nothing, not even to take it back.
    let trace = args.trace.filter(|_| !invocation.config.dry_run);
    let (mut snapshot, mut session) = look(context, &params).await?;
    let mut pending = runner::plan_of(&source, &snapshot, &params.policy)?;
    if trace.is_some() && snapshot.in_recovery && !pending.run.is_empty() {
        session.close().await;
        params
            .connect
            .require_primary()
            .map_err(runner::Error::NoPrimary)?;
        (snapshot, session) = look(context, &params).await?;
        pending = runner::plan_of(&source, &snapshot, &params.policy)?;
    }
    summary.borrow_mut().planned(&source.migrations, &pending);
    let mut report = begin(context, &source, &params, &snapshot, &session, &pending);
    if args.trace.is_some() && trace.is_none() {
        let warning = "SCHEMAGATE_DRY_RUN=true: the trace was not run";
        report.warnings.push(warning.to_owned());
    }
    if !pending.conflicts.is_empty() {
        show(context, args, &report)?;
        return Err(runner::Error::Conflicts(pending.conflicts).into());
    }
    let mut jobs = prepare(&source, &params, &snapshot, &session, &pending, &mut report)?;
    if runner::needs_writing(&pending, &snapshot, &source) {
        let refusing = bootstrap::refuse_foreign(session.client(), &params.history, &snapshot);
        let refused = stopped(&context.stop, refusing).await?;
        if let Err(error) = refused.map_err(runner::Error::from) {
            if let runner::Error::Foreign(foreign) = &error {
                report.conflicts.push(foreign.to_string());
                show(context, args, &report)?;
            }
            return Err(error.into());
        }
    }
    let working = fill(
        &source,
        &params,
        &snapshot,
        &session,
        &mut jobs,
        &mut report,
    );
    stopped(&context.stop, working).await??;
    let end = match trace {
        Some(trace) if !jobs.is_empty() => {
            let traced = tracing::Tracing {
                context,
                source: &source,
                params: &params,
                snapshot: &snapshot,
                session: &session,
                args: trace,
            };
            traced.run(&mut jobs, &mut report).await?
        }
        _ => None,
    };
    show(context, args, &report)?;
    session.close().await;
    if let Some(error) = end {
        return Err(error);
    }
    if args.exit_code && !pending.run.is_empty() {
        let versions = report.migrations.into_iter().map(|step| step.version);
        return Err(Error::Pending(versions.collect()));
    }
    Ok(())
}

async fn look(context: &Context<'_>, params: &Params) -> Result<(Snapshot, Session), Error> {
    Ok(runner::look(params, &context.stop, &mut |event| context.tell(&event)).await?)
}

/// The report without what would run.
fn begin(
    context: &Context<'_>,
    source: &Source,
    params: &Params,
    snapshot: &Snapshot,
    session: &Session,
    pending: &Plan,
) -> Report {
    let states = source.migrations.iter().zip(&pending.states);
    let deferred = states.filter_map(|(migration, state)| {
        let State::Deferred(why) = state else {
            return None;
        };
        Some(Deferred {
            version: migration.version.clone(),
            path: migration.path.clone(),
            why: deferral(why, source),
            for_contract: !matches!(why, Deferral::BehindTarget),
        })
    });
    Report {
        schema_version: SCHEMA_VERSION,
        database: snapshot.database.clone(),
        server: session.server_version_text().to_owned(),
        format: source.format.label(),
        history: params.history.table.to_string(),
        folder: context.invocation.config.dir.to_string_lossy().into_owned(),
        pending: pending.pending(),
        deferred: deferred.collect(),
        conflicts: pending.conflicts.iter().map(ToString::to_string).collect(),
        warnings: pending.warnings.clone(),
        surroundings: Surroundings {
            asks_backup: params.gate.require_backup.is_some(),
            slow: context.invocation.config.slow_threshold,
            ..Surroundings::default()
        },
        ..Report::default()
    }
}

fn deferral(why: &Deferral, source: &Source) -> String {
    match why {
        Deferral::BehindTarget => "behind SCHEMAGATE_TARGET".to_owned(),
        Deferral::Contract => "a contract step, for SCHEMAGATE_PHASE=contract".to_owned(),
        Deferral::BehindContract(index) => format!(
            "behind {}, which waits for SCHEMAGATE_PHASE=contract",
            source
                .migrations
                .get(*index)
                .map_or("", |other| &other.version)
        ),
    }
}

/// Reads every pending file as a run would, or refuses what it would refuse.
fn prepare(
    source: &Source,
    params: &Params,
    snapshot: &Snapshot,
    session: &Session,
    pending: &Plan,
    report: &mut Report,
) -> Result<Vec<Job>, Error> {
    if !runner::needs_writing(pending, snapshot, source) {
        return Ok(Vec::new());
    }
    let mut release = runner::release(session, snapshot);
    let mut warn = |warning: &str| report.warnings.push(warning.to_owned());
    let jobs = apply::prepare::prepare(
        source,
        &pending.run,
        params.transaction,
        &mut release,
        &mut warn,
    );
    Ok(jobs.map_err(runner::Error::Prepare)?)
}

/// What would run: its statements, what the gates say, how large the relations are.
async fn fill(
    source: &Source,
    params: &Params,
    snapshot: &Snapshot,
    session: &Session,
    jobs: &mut [Job],
    report: &mut Report,
) -> Result<(), Error> {
    let mut listing = Listing::new(runner::release(session, snapshot));
    for job in jobs.iter_mut() {
        let step = listing.step(source, job).map_err(runner::Error::Apply)?;
        report.migrations.push(step);
    }
    let facts = runner::facts_for(session.client(), params, source, snapshot, jobs).await?;
    report.surroundings.bootstrap = facts.bootstrap;
    for (job, step) in jobs.iter().zip(&mut report.migrations) {
        let candidate = runner::candidate(source, job);
        judge(step, candidate, &params.gate, &facts);
        let backup = gate::passing_backup(candidate, &params.gate, &facts);
        if let Some((at, limit)) = backup {
            let limit = duration::print(limit);
            report.surroundings.backup = Some(format!("{at:.0}, and may be {limit} old"));
        }
    }
    let restorable = runner::restorable(
        session,
        params,
        source,
        snapshot,
        jobs,
        Some(facts.bootstrap),
    );
    report.surroundings.restore_point = match restorable.await {
        Ok(restorable) => restorable,
        Err(runner::Error::Apply(apply::Failure::Refused { what, .. })) => Some(Err(what)),
        Err(error) => return Err(error.into()),
    };
    let risks = report.migrations.iter().map(|step| step.risk);
    report.risk = risks.max().unwrap_or_default();
    for (search_path, names) in listing.names(&report.migrations) {
        let view = View {
            role: params.history.role.as_deref(),
            search_path: search_path.as_deref(),
        };
        match catalog::relations(session.client(), view, &names).await {
            Ok(found) => listing.resolve(&mut report.migrations, search_path.as_deref(), found),
            // Of a file that sets a role or a path that is not there yet; the sizes are not worth the plan.
            Err(error) if search_path.is_some() && error.as_db_error().is_some() => {}
            Err(error) => {
                let failure = apply::Failure::of_own(error);
                return Err(runner::Error::Apply(failure).into());
            }
        }
    }
    report.warn_of_locks(params.transaction == TransactionMode::All);
    Ok(())
}

/// What the gates say: the one place where `plan` asks them.
fn judge(step: &mut Step, candidate: Candidate<'_>, settings: &gate::Settings, facts: &Facts) {
    match gate::judge(candidate, settings, facts) {
        Verdict::Open(approvals) => step.approvals = approvals,
        Verdict::Held(held) => {
            step.held = Some(HeldStep {
                reason: held.reason,
                line: held.statement.map(|(line, _)| line),
                let_through: held.let_through,
            });
        }
    }
}

fn show(context: &Context<'_>, args: &PlanArgs, report: &Report) -> Result<(), Error> {
    let text = match args.output {
        Output::Text => {
            let no_colour = context.invocation.config.log.no_color;
            plan::text(report, !no_colour && std::io::stdout().is_terminal())
        }
        Output::Json => plan::json(report),
        Output::Markdown => plan::markdown(report),
        Output::Github => github::render(&plan::findings(report)),
        Output::Sarif => sarif::render(&plan::findings(report)),
    };
    // A workflow would take an empty line for one of the log.
    if text.is_empty() {
        return Ok(());
    }
    print(&text)
}
