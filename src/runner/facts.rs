//! What the gates need to know of the surroundings, in one round trip, and only what a pending migration makes
//! necessary.

use jiff::Timestamp;
use tokio_postgres::Client;

use super::{Error, Params, of_own};
use crate::{
    apply::{Job, journal_grant},
    gate::{Backup, Candidate, Connected, Earlier, Facts, Given, Needs},
    history::{self, Journal, Snapshot, journal},
    migration::{TableName, quote_literal},
    source::Source,
    wire::Row,
};

/// What the gates need to know for these jobs.
///
/// # Errors
///
/// What the server said.
pub async fn facts_for(
    client: &Client,
    params: &Params,
    source: &Source,
    snapshot: &Snapshot,
    jobs: &[Job],
) -> Result<Facts, Error> {
    let needs = needs_of(params, source, jobs);
    if needs.facts {
        facts(client, params, snapshot, snapshot.journal, needs).await
    } else {
        Ok(Facts::default())
    }
}

/// What must be known for these jobs.
pub(super) fn needs_of(params: &Params, source: &Source, jobs: &[Job]) -> Needs {
    jobs.iter().fold(Needs::default(), |needs, job| {
        needs.and(Needs::of(candidate(source, job), &params.gate))
    })
}

/// A job at the gates.
pub fn candidate<'a>(source: &'a Source, job: &'a Job) -> Candidate<'a> {
    Candidate {
        migration: &source.migrations[job.migration],
        risk: &job.risk,
    }
}

/// Asks. The journal may have been created since the look.
pub(super) async fn facts(
    client: &Client,
    params: &Params,
    snapshot: &Snapshot,
    journal: Journal,
    needs: Needs,
) -> Result<Facts, Error> {
    let question = question(params, snapshot.rows.is_empty(), journal, needs);
    let rows = history::ask(client, params.history.role.as_deref(), &question)
        .await
        .map_err(of_own)?;
    read(rows.first(), snapshot, journal).ok_or(Error::History(history::Error::Answer(
        "no time, or no sessions",
    )))
}

/// The time in microseconds, a table of somebody else's, whether the journal says that the database is being built,
/// the time of the last backup, the sessions, the approvals.
fn question(params: &Params, is_empty: bool, journal: Journal, needs: Needs) -> String {
    let null = || "NULL".to_owned();
    let journal = journal == Journal::Usable;
    let table = &params.history.table;
    let micros = |time: &str| {
        format!("(EXTRACT(EPOCH FROM {time}) * 1000000)::pg_catalog.int8::pg_catalog.text")
    };
    let bare = bare(&params.gate.approve);
    let columns = [
        micros("pg_catalog.clock_timestamp()"),
        if is_empty { tables_sql(table) } else { null() },
        if journal { building_sql(table) } else { null() },
        if journal && needs.backup {
            format!(
                "(SELECT {} FROM {} WHERE event = 'backup' AND at <= pg_catalog.clock_timestamp())",
                micros("pg_catalog.max(at)"),
                journal::TABLE
            )
        } else {
            null()
        },
        if needs.connected {
            CONNECTED.to_owned()
        } else {
            null()
        },
        if journal && needs.earlier && !bare.is_empty() {
            format!(
                "(SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(detail->>'by', checksum) ORDER BY id) FROM {} \
                 WHERE history = {} AND event = 'approved' AND detail->>'by' IN ({bare}))::pg_catalog.text",
                journal::TABLE,
                quote_literal(&table.to_string()),
            )
        } else {
            null()
        },
    ];
    format!("SELECT {}", columns.join(", "))
}

/// The approvals without a hash, as a list of literals.
fn bare(given: &[Given]) -> String {
    let bare = given.iter().filter(|given| given.hex.is_none());
    let bare: Vec<String> = bare.map(|given| quote_literal(&given.by())).collect();
    bare.join(", ")
}

/// One table or view of the database that is neither ours nor an extension's, if there is any.
pub(super) fn tables_sql(history: &TableName) -> String {
    format!(
        "(SELECT pg_catalog.format('%s.%s', n.nspname, c.relname) FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'p', 'm', 'f', 'v') AND n.nspname NOT IN ('information_schema', 'schemagate') \
         AND pg_catalog.left(n.nspname::pg_catalog.text, 3) <> 'pg_' \
         AND NOT (n.nspname = {} AND c.relname = {}) \
         AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d WHERE d.deptype = 'e' AND d.objid = c.oid \
           AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass) LIMIT 1)",
        quote_literal(&history.schema),
        quote_literal(&history.table)
    )
}

/// Whether the journal says that the database is being built from nothing: a run has noted so, and none has come to its
/// end since, nor applied the last migration that the image had then (a run may be killed between that and its end).
/// `old` where that was a day ago: an older image, to which the folder looks current, may have served ever since.
fn building_sql(history: &TableName) -> String {
    let history = quote_literal(&history.to_string());
    let table = journal::TABLE;
    format!(
        "(SELECT CASE WHEN EXISTS (SELECT 1 FROM {table} j WHERE j.id > b.id AND j.history = {history} \
           AND (j.event = 'run_finished' AND j.detail->>'outcome' = 'done' OR j.event = 'baselined' \
             OR j.event = 'applied' AND j.version = b.detail->>'to')) THEN NULL \
           WHEN b.at < pg_catalog.clock_timestamp() - '1 day'::pg_catalog.interval THEN 'old' ELSE 't' END \
         FROM {table} b WHERE b.history = {history} AND b.event = 'bootstrap' ORDER BY b.id DESC LIMIT 1)"
    )
}

/// Who else is connected to this database, by name. Its name is what every role may see of a session; its type is not,
/// nor has a worker of the server's own a user.
///
/// <https://www.postgresql.org/docs/current/monitoring-stats.html#MONITORING-PG-STAT-ACTIVITY-VIEW>
const CONNECTED: &str = "\
    (SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(s.name, s.count, s.pids) ORDER BY s.name) \
     FROM (SELECT a.application_name AS name, pg_catalog.count(*) AS count, \
       (pg_catalog.array_agg(a.pid ORDER BY a.pid))[1:5] AS pids \
       FROM pg_catalog.pg_stat_activity a WHERE a.datname = pg_catalog.current_database() \
       AND a.pid <> pg_catalog.pg_backend_pid() AND a.usesysid IS NOT NULL \
       AND COALESCE(a.backend_type, 'client backend') = 'client backend' \
       AND COALESCE(a.application_name, '') NOT LIKE 'schemagate/%' GROUP BY a.application_name) s)::pg_catalog.text";

/// From the answer to [`question`].
fn read(row: Option<&Row>, snapshot: &Snapshot, journal: Journal) -> Option<Facts> {
    let row = row?;
    let text = |column: usize| row.get(column).and_then(Option::as_deref);
    let time = |column: usize| Timestamp::from_microsecond(text(column)?.parse().ok()?).ok();
    let connected: Vec<(Option<String>, u64, Vec<i32>)> = list(text(4))?;
    let earlier: Vec<(String, String)> = list(text(5))?;
    let is_empty = snapshot.rows.is_empty();
    let bootstrap = text(2) == Some("t") || (is_empty && text(1).is_none());
    let usable = journal == Journal::Usable;
    Some(Facts {
        bootstrap,
        no_bootstrap: if bootstrap {
            None
        } else {
            why_not(text(1), text(2).is_some(), usable, is_empty)
        },
        now: time(0)?,
        backup: match (journal, time(3)) {
            (Journal::Denied, _) => {
                Backup::Unknown(journal_grant(&snapshot.database, &snapshot.user))
            }
            (_, Some(at)) => Backup::At(at),
            (_, None) => Backup::None,
        },
        connected: connected
            .into_iter()
            .map(|(name, count, pids)| Connected { name, count, pids })
            .collect(),
        earlier: earlier
            .into_iter()
            .map(|(by, checksum)| Earlier { by, checksum })
            .collect(),
    })
}

/// A list in JSON; none at all is empty.
fn list<T: serde::de::DeserializeOwned>(json: Option<&str>) -> Option<Vec<T>> {
    json.map_or(Some(Vec::new()), |json| serde_json::from_str(json).ok())
}

/// Why a database is not taken as being built from nothing, where a person may think that it is.
fn why_not(table: Option<&str>, is_old: bool, journal: bool, is_empty: bool) -> Option<String> {
    match table {
        _ if is_old => Some(
            "the run that began to build the database from nothing is more than a day ago, so what is there is guarded"
                .to_owned(),
        ),
        Some(table) => Some(format!(
            "the history is empty, but {table} is there already, so the database is not being built from nothing"
        )),
        None if !journal && !is_empty => Some(
            "without the journal it cannot be known whether the database is still being built from nothing"
                .to_owned(),
        ),
        None => None,
    }
}
