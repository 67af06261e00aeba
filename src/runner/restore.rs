//! Where a person may go back to: the position in the write-ahead log before the first migration of a run, and before a
//! destructive one a restore point with a name.

use super::{Error, Event, Params, Runner, Task, facts, of_own};
use crate::{
    apply::{Failure, Frame, Job},
    bootstrap, connect,
    connect::Session,
    history::{
        self, Snapshot,
        journal::{Entry, Kind},
    },
    migration::{RestorePoint, quote_ident, quote_literal},
    source::Source,
    sql::risk::Risk,
    wire,
};

/// Where the server stands in its log, and when.
///
/// <https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-ADMIN-BACKUP>
const WHERE_IN_WAL: &str = "SELECT pg_catalog.pg_current_wal_insert_lsn()::pg_catalog.text, pg_catalog.clock_timestamp()::pg_catalog.text";

/// Whether the role that works, and the one that logged in, may create a restore point, and whether the log is kept for
/// one.
const MAY: &str = "SELECT pg_catalog.has_function_privilege(CURRENT_USER, f.oid, 'EXECUTE'), \
    pg_catalog.has_function_privilege(SESSION_USER, f.oid, 'EXECUTE'), \
    pg_catalog.current_setting('wal_level') \
    FROM (SELECT pg_catalog.to_regprocedure('pg_catalog.pg_create_restore_point(pg_catalog.text)')::pg_catalog.oid AS oid) f";

/// The name of a restore point has no more than 63 bytes (`MAXFNAMELEN` of `xlog_internal.h`); so many are for the
/// version.
const VERSION_BYTES: usize = 24;

/// Where the position of the restore point stands until its row is written.
const POSITION: &str = "schemagate.restore_point";

/// A restore point to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Point {
    /// The destructive migration.
    version: String,
    /// The role that logged in may, and `SCHEMAGATE_ROLE` may not.
    as_login: bool,
    /// Without it the run must not go on.
    needed: bool,
}

// === impl Runner ===

impl Runner<'_> {
    /// Whether this run begins with a named restore point; asked before anything is written.
    ///
    /// # Errors
    ///
    /// `SCHEMAGATE_RESTORE_POINT` is `true`, and none can be created.
    pub(super) async fn restore_point(
        &mut self,
        session: &Session,
        snapshot: &Snapshot,
        jobs: &[Job],
        building: Option<bool>,
    ) -> Result<Option<Point>, Error> {
        if self.started {
            return Ok(None);
        }
        let asked = ask(session, self.params, self.source, snapshot, jobs, building);
        match asked.await? {
            Some(Err(why)) => {
                (self.on_event)(Event::Aside(&format!("no named restore point: {why}")));
                Ok(None)
            }
            Some(Ok(point)) => Ok(Some(point)),
            None => Ok(None),
        }
    }

    /// The start of the run, once, with what to go back to. `building` says whether the database is being built from
    /// nothing, where that is known.
    pub(super) async fn note_start(
        &mut self,
        session: &Session,
        snapshot: &Snapshot,
        frame: &Frame,
        journal: bool,
        building: Option<bool>,
        point: Option<&Point>,
    ) -> Result<(), Error> {
        let mut sql = WHERE_IN_WAL.to_owned();
        let asks = building.is_none() && snapshot.rows.is_empty();
        if asks {
            sql.push_str(", ");
            sql.push_str(&facts::tables_sql(&self.params.history.table));
        }
        let mut reply = wire::query(session.client(), &sql).await;
        let rows = reply.rows(0).map_err(of_own)?;
        let text = |column: usize| rows.first()?.get(column)?.as_deref();
        let migrates = self.params.task == Task::Migrate;
        self.building = migrates && building.unwrap_or(asks && text(2).is_none());
        let mut named = point.map(|point| (point, point.name(&self.params.author.run.to_string())));
        let written = self
            .write_start(session, frame, journal, named.as_ref())
            .await;
        match (&named, written) {
            (_, Ok(())) => {}
            (Some((point, _)), Err(error)) if is_about_the_point(&error) => {
                let why = connect::describe(&error);
                if point.needed {
                    return Err(Error::Apply(Failure::Refused {
                        what: format!(
                            "the restore point before {} (SCHEMAGATE_RESTORE_POINT=true) could not be created: {why}",
                            point.version
                        ),
                        next: "SCHEMAGATE_RESTORE_POINT=auto goes on without one".to_owned(),
                    }));
                }
                (self.on_event)(Event::Aside(&format!("no named restore point: {why}")));
                named = None;
                self.write_start(session, frame, journal, None)
                    .await
                    .map_err(of_own)?;
            }
            (_, Err(error)) => return Err(of_own(error)),
        }
        (self.on_event)(Event::RunStarted {
            wal: text(0).unwrap_or_default(),
            at: text(1).unwrap_or_default(),
            restore_point: named.as_ref().map(|(_, name)| name.as_str()),
        });
        self.started = true;
        Ok(())
    }

    /// Behind the lock: of racing pods one alone creates a point.
    async fn write_start(
        &self,
        session: &Session,
        frame: &Frame,
        journal: bool,
        named: Option<&(&Point, String)>,
    ) -> Result<(), tokio_postgres::Error> {
        let mut statements = Vec::new();
        if let Some((point, name)) = named {
            statements.extend(point.statements(name, frame.role.as_deref()));
        }
        if journal {
            let author = &self.params.author;
            let detail = detail(named.map(|(_, name)| name.as_str()));
            let mut entry = Entry::of(Kind::RunStarted);
            entry.detail = Some(&detail);
            statements.push(author.insert_sql(&entry));
            if self.building {
                let last = self.attempted.last();
                let detail = serde_json::json!({ "to": last }).to_string();
                let detail = format!("{}::pg_catalog.jsonb", quote_literal(&detail));
                let mut entry = Entry::of(Kind::Bootstrap);
                entry.detail = Some(&detail);
                statements.push(author.insert_sql(&entry));
            }
        }
        if statements.is_empty() {
            return Ok(());
        }
        let sql = statements.join(";");
        bootstrap::fenced(session.client(), frame, &self.params.limits, &sql).await
    }
}

/// What [`Runner::restore_point`] asks; why there can be none where it is not needed, in words.
async fn ask(
    session: &Session,
    params: &Params,
    source: &Source,
    snapshot: &Snapshot,
    jobs: &[Job],
    building: Option<bool>,
) -> Result<Option<Result<Point, String>>, Error> {
    let setting = params.restore_point;
    let destructive = jobs.iter().find(|job| job.risk.risk == Risk::Destructive);
    let migration = destructive.and_then(|job| source.migrations.get(job.migration));
    let (Some(migration), false) = (migration, params.gate.off) else {
        return Ok(None);
    };
    // A database that is built from nothing has nothing to go back to.
    let building = building.unwrap_or(snapshot.rows.is_empty());
    if setting == RestorePoint::Off || setting == RestorePoint::Auto && building {
        return Ok(None);
    }
    let role = params.history.role.as_deref();
    let rows = history::ask(session.client(), role, MAY)
        .await
        .map_err(of_own)?;
    let text = |column: usize| rows.first()?.get(column)?.as_deref();
    let (may, login_may) = (text(0) == Some("t"), text(1) == Some("t"));
    let refusal = if text(2) == Some("minimal") {
        Some((
            "wal_level of the server is minimal".to_owned(),
            "set wal_level = replica on the server".to_owned(),
        ))
    } else if !may && !login_may {
        Some((
            format!("role {} may not create one", snapshot.user),
            format!(
                "as a superuser: GRANT EXECUTE ON FUNCTION pg_catalog.pg_create_restore_point(text) TO {}",
                quote_ident(&snapshot.user)
            ),
        ))
    } else {
        None
    };
    match (refusal, setting) {
        (None, _) => Ok(Some(Ok(Point {
            version: migration.version.clone(),
            as_login: !may,
            needed: setting == RestorePoint::Needed,
        }))),
        (Some((why, next)), RestorePoint::Needed) => Err(Error::Apply(Failure::Refused {
            what: format!(
                "{} ({}) is destructive and SCHEMAGATE_RESTORE_POINT=true asks for a restore point before it, but {why}",
                migration.version, migration.path
            ),
            next: format!("{next}; or SCHEMAGATE_RESTORE_POINT=auto, which goes on without one"),
        })),
        (Some((why, _)), _) => Ok(Some(Err(why))),
    }
}

/// Whether a run of these jobs would begin with a restore point, or why it would go on without one; `None` where it needs
/// none. Only looks. `building` says whether the database is being built from nothing, where that is known.
///
/// # Errors
///
/// `SCHEMAGATE_RESTORE_POINT` is `true`, and none can be created.
pub async fn restorable(
    session: &Session,
    params: &Params,
    source: &Source,
    snapshot: &Snapshot,
    jobs: &[Job],
    building: Option<bool>,
) -> Result<Option<Result<(), String>>, Error> {
    let asked = ask(session, params, source, snapshot, jobs, building).await?;
    Ok(asked.map(|point| point.map(|_| ())))
}

/// An error of the server that neither the lock nor the connection explains.
fn is_about_the_point(error: &tokio_postgres::Error) -> bool {
    let lock = crate::apply::frame::LOCK_NOT_HELD;
    !connect::classify(error).is_connection_lost()
        && error
            .as_db_error()
            .is_some_and(|error| !error.message().contains(lock) && error.code().code() != "57014")
}

/// What the journal's row of the start says besides: our own release, and the restore point with its position.
fn detail(name: Option<&str>) -> String {
    let release = quote_literal(env!("CARGO_PKG_VERSION"));
    let point = name.map_or_else(String::new, |name| {
        format!(
            ", 'restore_point', {}, 'restore_point_wal', pg_catalog.current_setting('{POSITION}')",
            quote_literal(name)
        )
    });
    format!("pg_catalog.jsonb_build_object('schemagate', {release}{point})")
}

// === impl Point ===

impl Point {
    /// `schemagate_0004_add_users_20260801T120000Z_1a2b3c4d`: letters that a recovery setting takes without quoting.
    fn name(&self, run: &str) -> String {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        let version: String = self
            .version
            .chars()
            .map(|c| if is_plain(c) { c } else { '_' })
            .take(VERSION_BYTES)
            .collect();
        let at = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
        let run: String = run.chars().take(8).collect();
        format!("schemagate_{version}_{at}_{run}")
    }

    /// The row that tells of it may belong to another role: a setting carries the position across.
    fn statements(&self, name: &str, role: Option<&str>) -> Vec<String> {
        let role = role.filter(|_| self.as_login);
        let mut statements = Vec::new();
        if role.is_some() {
            statements.push("RESET ROLE".to_owned());
        }
        statements.push(format!(
            "SELECT pg_catalog.set_config('{POSITION}', pg_catalog.pg_create_restore_point({})::pg_catalog.text, true)",
            quote_literal(name)
        ));
        if let Some(role) = role {
            statements.push(format!("SET LOCAL ROLE {}", quote_ident(role)));
        }
        statements
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_fits_whatever_the_version_is_called() {
        for version in [
            "0004",
            "20260801120000_add_users_and_drop_everything_else",
            "0004 Ω'\"\\x",
        ] {
            let point = Point {
                version: version.to_owned(),
                as_login: false,
                needed: false,
            };
            let name = point.name("1a2b3c4d-0000-0000-0000-000000000000");
            assert!(name.len() <= 63, "{name}");
            assert!(
                name.starts_with("schemagate_") && name.ends_with("_1a2b3c4d"),
                "{name}"
            );
            assert!(
                name.bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)),
                "{name}"
            );
        }
    }
}
