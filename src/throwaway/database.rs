//! The throwaway database: made from `template0`, dropped at the end.
//!
//! `template0` and not `template1`, where a team may keep extensions and tables: what is built from nothing shall be
//! built by the migrations. It also can be copied while somebody is connected to `template1`.
//!
//! The session that made it stays connected to the database of the settings until the end, under the new database's
//! name. Everybody may see that name in `pg_stat_activity`, whatever database they are connected to; so a run that
//! looks for leftovers sees without any lock that this one is in use, from before it is made until after it is dropped.

use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::error::SqlState;

use super::Error;
use crate::{
    connect::{self, Session, Wait},
    exit::ExitStatus,
    migration::{quote_ident, quote_literal},
    wire,
};

/// How the names of ours begin; behind it come 32 hexadecimal digits.
const PREFIX: &str = "schemagate_validate_";
/// How long dropping may take: the server waits up to 5 s for sessions to end.
const DROP_LIMIT: Duration = Duration::from_secs(15);

/// A database that exists for a while.
#[derive(Debug)]
pub struct Database {
    name: String,
    role: Option<String>,
    outside: connect::Params,
    session: Session,
}

/// What the first look shows.
#[derive(Debug)]
struct Facts {
    pid: Option<i32>,
    in_recovery: bool,
    user: String,
}

// === impl Database ===

impl Database {
    /// Connects to the server, for [`Database::create`]. Waits like every command.
    ///
    /// # Errors
    ///
    /// As in [`connect::until`].
    pub async fn connect(
        params: &connect::Params,
        wait: &Wait,
        on_event: &mut dyn FnMut(connect::Event<'_>),
    ) -> Result<Session, connect::Error> {
        let answered = connect::until(params, wait, on_event, async |session| {
            wire::query(session.client(), "SELECT 1").await.ok()
        });
        answered.await.map(|(session, ())| session)
    }

    /// Makes a role that can own a database, on a server that has none yet.
    ///
    /// # Errors
    ///
    /// What the server said.
    pub async fn create_role(session: &Session, role: &str) -> Result<(), Error> {
        run(session, &format!("CREATE ROLE {}", quote_ident(role)))
            .await
            .map_err(|error| Error::of_server("make the role", &error))
    }

    /// Makes a database that belongs to `role`, or to whoever is connected.
    ///
    /// Not to be dropped half way: the server would make it all the same. It can be cancelled.
    ///
    /// # Errors
    ///
    /// A pooler, a standby, a role without `CREATEDB`.
    pub async fn create(
        outside: connect::Params,
        session: Session,
        role: Option<&str>,
    ) -> Result<Self, Error> {
        let facts = Facts::of(&session).await?;
        facts.refuse(session.wire_pid())?;
        let name = format!("{PREFIX}{}", uuid::Uuid::new_v4().simple());
        let mut settings = format!(
            "SET application_name = {};SET statement_timeout = 0",
            quote_literal(&name)
        );
        if session.server_version() >= 140_000 {
            settings.push_str(";SET idle_session_timeout = 0");
        }
        run(&session, &settings)
            .await
            .map_err(|error| Error::of_server("prepare the session", &error))?;
        let owner = role.map_or_else(String::new, |role| format!(" OWNER {}", quote_ident(role)));
        let create = format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'{owner}");
        match run(&session, &create).await {
            // The locale of the server goes with another encoding.
            Err(error) if error.code() == Some(&SqlState::INVALID_PARAMETER_VALUE) => {
                run(&session, &format!("{create} LC_COLLATE 'C' LC_CTYPE 'C'")).await
            }
            outcome => outcome,
        }
        .map_err(|error| not_created(&error, &facts.user, role))?;
        let database = Self {
            name,
            role: role.map(str::to_owned),
            outside,
            session,
        };
        database.comment().await;
        Ok(database)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The server's version in its own words.
    pub fn server(&self) -> &str {
        self.session.server_version_text()
    }

    /// How to reach it.
    pub fn params(&self) -> connect::Params {
        self.outside.in_database(&self.name)
    }

    /// The roles of the server, which are nobody's database alone.
    pub async fn roles(&self) -> Result<Vec<String>, Error> {
        column(
            &self.session,
            "SELECT rolname FROM pg_catalog.pg_roles ORDER BY rolname",
        )
        .await
        .map_err(|error| Error::of_server("list the roles", &error))
    }

    /// Ends its sessions and drops it.
    ///
    /// # Errors
    ///
    /// What the server said; then the next run tries again.
    pub async fn drop(self) -> Result<(), Error> {
        let dropped = timeout(DROP_LIMIT, self.drop_now()).await;
        let outcome = dropped.unwrap_or_else(|_| {
            Err(Error::new(
                ExitStatus::Unreachable,
                "the server did not answer",
                String::new(),
            ))
        });
        let name = self.name.clone();
        self.session.close().await;
        outcome.map_err(|error| Error {
            what: format!("database {name} is left behind: {error}"),
            next: format!("the next `schemagate validate` drops it, or: DROP DATABASE {name}"),
            status: error.status,
        })
    }

    /// Drops the databases of runs that were killed, and names them. What another role has left, or somebody uses in this
    /// moment, stays.
    ///
    /// # Errors
    ///
    /// What the server said.
    pub async fn drop_leftovers(&self) -> Result<Vec<String>, Error> {
        // `backend_type` is not shown to everybody.
        let sql = format!(
            "SELECT d.datname, pg_catalog.pg_get_userbyid(d.datdba) FROM pg_catalog.pg_database d \
             WHERE d.datname OPERATOR(pg_catalog.~) '^{PREFIX}[0-9a-f]{{32}}$' AND NOT EXISTS (SELECT 1 \
             FROM pg_catalog.pg_stat_activity a WHERE a.application_name = d.datname \
             OR a.datname = d.datname AND a.backend_type IS DISTINCT FROM 'autovacuum worker') ORDER BY 1"
        );
        let rows = wire::query(self.session.client(), &sql).await.rows(0);
        let rows = rows.map_err(|error| Error::of_server("look for leftovers", &error))?;
        let mut dropped = Vec::new();
        for row in rows {
            let mut row = row.into_iter().flatten();
            let (Some(name), Some(owner)) = (row.next(), row.next()) else {
                continue;
            };
            match drop_on(&self.session, &name, Some(&owner)).await {
                Ok(()) => dropped.push(name),
                Err(error) => tracing::info!(
                    database = name,
                    error = connect::describe(&error),
                    "a leftover stays"
                ),
            }
        }
        Ok(dropped)
    }

    async fn drop_now(&self) -> Result<(), Error> {
        let refused = |error| Error::of_server("drop it", &error);
        let Err(error) = drop_on(&self.session, &self.name, self.role.as_deref()).await else {
            return Ok(());
        };
        if !connect::classify(&error).is_connection_lost() {
            return Err(refused(error));
        }
        let again = connect::connect_once(&self.outside).await;
        let session = again
            .map_err(|error| Error::new(error.exit_status(), error.to_string(), String::new()))?;
        let outcome = drop_on(&session, &self.name, self.role.as_deref()).await;
        session.close().await;
        outcome.map_err(refused)
    }

    /// For whoever finds it. It is only a word, so a failure is none.
    async fn comment(&self) {
        let text = format!(
            "made by schemagate validate at {}; to be dropped when nobody is connected",
            jiff::Timestamp::now()
        );
        let role = self.role.as_ref().map_or_else(String::new, |role| {
            format!("SET LOCAL ROLE {};", quote_ident(role))
        });
        let sql = format!(
            "BEGIN;{role}COMMENT ON DATABASE {} IS {};COMMIT",
            self.name,
            quote_literal(&text)
        );
        if run(&self.session, &sql).await.is_err() {
            let _ = run(&self.session, "ROLLBACK").await;
        }
    }
}

/// Ends the sessions in it and drops it, as its owner: a role without `INHERIT` must become it first. A session of
/// ours that is on its way out counts for the 5 s that the server itself waits.
async fn drop_on(
    session: &Session,
    name: &str,
    owner: Option<&str>,
) -> Result<(), tokio_postgres::Error> {
    let end = format!(
        "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity \
         WHERE datname = {} AND pid <> pg_catalog.pg_backend_pid()",
        quote_literal(name)
    );
    // Others' sessions may not be ended; then dropping tells it.
    let _ = run(session, &end).await;
    let drop = format!("DROP DATABASE IF EXISTS {}", quote_ident(name));
    let outcome = run(session, &drop).await;
    let Err(error) = &outcome else {
        return Ok(());
    };
    let refused = error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE);
    let (Some(owner), true) = (owner, refused) else {
        return outcome;
    };
    if run(session, &format!("SET ROLE {}", quote_ident(owner)))
        .await
        .is_err()
    {
        return outcome;
    }
    let outcome = run(session, &drop).await;
    let _ = run(session, "RESET ROLE").await;
    outcome
}

fn not_created(error: &tokio_postgres::Error, user: &str, role: Option<&str>) -> Error {
    let mut error = match (
        error.code(),
        Error::of_server("make the throwaway database", error),
    ) {
        (Some(code), told) if *code == SqlState::INSUFFICIENT_PRIVILEGE => told,
        (_, told) => return told,
    };
    let user = quote_ident(user);
    error.next = match role {
        None => format!("as a superuser: ALTER ROLE {user} CREATEDB; or use `--server auto`"),
        Some(role) => format!(
            "as a superuser: ALTER ROLE {user} CREATEDB; GRANT {} TO {user}; or use `--server auto`",
            quote_ident(role)
        ),
    };
    error
}

async fn run(session: &Session, sql: &str) -> Result<(), tokio_postgres::Error> {
    wire::execute(session.client(), sql).await.ok()
}

/// The first column of a question's rows.
async fn column(session: &Session, sql: &str) -> Result<Vec<String>, tokio_postgres::Error> {
    let rows = wire::query(session.client(), sql).await.rows(0)?;
    Ok(rows
        .into_iter()
        .filter_map(|row| row.into_iter().next().flatten())
        .collect())
}

// === impl Facts ===

impl Facts {
    async fn of(session: &Session) -> Result<Self, Error> {
        let sql =
            "SELECT pg_catalog.pg_backend_pid(), pg_catalog.pg_is_in_recovery(), SESSION_USER";
        let rows = wire::query(session.client(), sql).await.rows(0);
        let mut row = rows
            .map_err(|error| Error::of_server("look at the server", &error))?
            .into_iter()
            .flatten();
        let mut next = || row.next().flatten().unwrap_or_default();
        Ok(Self {
            pid: next().parse().ok(),
            in_recovery: next() == "t",
            user: next(),
        })
    }

    fn refuse(&self, wire_pid: Option<i32>) -> Result<(), Error> {
        let refused = |what| {
            let next = "give it a URL (SCHEMAGATE_DATABASE_URL) that goes to a primary itself, or use `--server auto`";
            Err(Error::new(ExitStatus::Usage, what, next))
        };
        if self.in_recovery {
            return refused("the server is a standby, where no database can be made");
        }
        if self.pid != wire_pid {
            return refused(
                "this is a pooler, which may not know a database that was made just now",
            );
        }
        Ok(())
    }
}
