//! A look at the history of a folder's migrations: a glance at the rows where that is enough, else all there is.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use super::{Looked, of_history};
use crate::{
    connect::{Class, Session, classify},
    formats::Shape,
    history::{self, Journal, Noted, Snapshot},
    migration::Applied,
    plan::Plan,
    progress::Seen,
    report::status::Status,
    runner::{self, Params},
    source::Source,
};

/// How much to ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// The rows, and more only if they are others than the last time.
    Glance,
    /// The same, while what is needed is being applied, and an applier says that there is something new: then the rows
    /// are enough also where they are others.
    Follow,
    /// Everything.
    Whole,
}

/// What a look says of what it left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Details {
    /// Nothing was left out.
    Known,
    /// There is nothing new.
    AsBefore,
    /// They are to be asked for soon.
    Wanted,
}

/// What is remembered of the looks before.
#[derive(Debug)]
pub(super) struct Known {
    database: String,
    /// The history table was there.
    exists: bool,
    fingerprint: u64,
    /// The last repair that the journal knows of.
    repaired: i64,
    /// The journal is there and not for this role to read.
    journal_denied: bool,
}

/// One look. The error is the connection's.
pub(super) async fn look(
    session: &Session,
    source: &Source,
    params: &Params,
    known: &mut Option<Known>,
    depth: Depth,
) -> Result<(Looked, Details), tokio_postgres::Error> {
    let look = Look {
        session,
        source,
        params,
    };
    if let Some(known) = known.as_mut().filter(|_| depth != Depth::Whole)
        && let Some(looked) = look.glance(known, depth).await?
    {
        return Ok(looked);
    }
    Ok((look.whole(known).await?, Details::Known))
}

struct Look<'a> {
    session: &'a Session,
    source: &'a Source,
    params: &'a Params,
}

// === impl Look ===

impl Look<'_> {
    /// `None` where the rows alone do not tell enough.
    async fn glance(
        &self,
        known: &mut Known,
        depth: Depth,
    ) -> Result<Option<(Looked, Details)>, tokio_postgres::Error> {
        let glanced = history::glance(self.session.client(), &self.params.history).await?;
        let Some((shape, rows)) = glanced else {
            return Ok(None);
        };
        let fingerprint = fingerprint(Some(shape), &rows);
        if fingerprint == known.fingerprint {
            // The news may be a failure in the journal, or another history's.
            let details = match depth {
                Depth::Follow => Details::Wanted,
                Depth::Glance | Depth::Whole => Details::AsBefore,
            };
            return Ok(Some((Looked::Unchanged, details)));
        }
        let Ok(plan) =
            runner::plan_of_rows(self.source, Some(shape), rows.clone(), &self.params.policy)
        else {
            return Ok(None);
        };
        let database = known.database.clone();
        if plan.is_current() && !rows.is_empty() {
            known.fingerprint = fingerprint;
            // Ready without a further round trip; how long each took is asked for later.
            let nothing = (HashMap::new(), known.repaired);
            let seen = self.seen(&plan, &rows, database, &nothing, fingerprint);
            return Ok(Some((Looked::Seen(Box::new(seen)), Details::Wanted)));
        }
        if depth == Depth::Follow && plan.conflicts.is_empty() {
            known.fingerprint = fingerprint;
            return Ok(Some((Looked::Followed(plan), Details::Wanted)));
        }
        Ok(None)
    }

    async fn whole(&self, known: &mut Option<Known>) -> Result<Looked, tokio_postgres::Error> {
        let client = self.session.client();
        let Params {
            history, policy, ..
        } = self.params;
        let exists = known.as_ref().is_none_or(|known| known.exists);
        let snapshot = match Snapshot::attempt(client, history, exists).await? {
            Ok(snapshot) => snapshot,
            Err(error) => {
                *known = None;
                return Ok(of_history(error));
            }
        };
        let fingerprint = fingerprint(snapshot.shape, &snapshot.rows);
        let denied = known.as_ref().is_some_and(|known| known.journal_denied);
        let noted = self.noted(&snapshot, denied).await?;
        let before = known.as_ref().map_or(0, |known| known.repaired);
        let denied = noted.is_none();
        let noted = noted.unwrap_or((HashMap::new(), before));
        *known = Some(Known {
            database: snapshot.database.clone(),
            exists: snapshot.shape.is_some(),
            fingerprint,
            repaired: noted.1,
            journal_denied: denied,
        });
        let plan = match runner::plan_of(self.source, &snapshot, policy) {
            Ok(plan) => plan,
            Err(error) => return Ok(Looked::NoHistory(error)),
        };
        let rows = &snapshot.rows;
        let mut seen = self.seen(&plan, rows, snapshot.database.clone(), &noted, fingerprint);
        if seen.status.state == "pending" {
            seen.holder = self.holder(&snapshot.database).await?;
        }
        Ok(Looked::Seen(Box::new(seen)))
    }

    fn seen(
        &self,
        plan: &Plan,
        rows: &[Applied],
        database: String,
        (noted, repaired): &(HashMap<String, Noted>, i64),
        fingerprint: u64,
    ) -> Seen {
        let status = Status::new(
            self.source.format,
            self.params.history.table.to_string(),
            database,
            &self.source.migrations,
            plan,
            rows,
            noted,
        );
        let seen = Seen::new(status, plan, fingerprint, |version| {
            noted
                .get(version)
                .is_some_and(|noted| noted.lacks_privilege)
        });
        Seen {
            repaired: *repaired,
            ..seen
        }
    }

    /// What the journal knows, with the last repair; `None` where it is there and may not be read.
    async fn noted(
        &self,
        snapshot: &Snapshot,
        denied: bool,
    ) -> Result<Option<(HashMap<String, Noted>, i64)>, tokio_postgres::Error> {
        match snapshot.journal {
            Journal::NoSchema | Journal::NoTable => return Ok(Some((HashMap::new(), 0))),
            Journal::Denied if denied => return Ok(None),
            // Who may not write may be allowed to read.
            Journal::Denied | Journal::Usable => {}
        }
        let migrations = &self.source.migrations;
        let asking =
            history::noted_and_repaired(self.session.client(), &self.params.history, migrations);
        match asking.await {
            Ok(noted) => Ok(Some(noted)),
            Err(history::Error::Database(error)) if classify(&error) != Class::Statement => {
                Err(error)
            }
            Err(_) => Ok(None),
        }
    }

    async fn holder(&self, database: &str) -> Result<Option<String>, tokio_postgres::Error> {
        let keys = runner::lock_keys(self.params, database);
        let holder = runner::seen_holder(self.session, &keys).await?;
        Ok(holder.map(|holder| holder.to_string()))
    }
}

/// What tells these rows from others, as far as a glance sees them.
fn fingerprint(shape: Option<Shape>, rows: &[Applied]) -> u64 {
    let mut hasher = DefaultHasher::new();
    shape.hash(&mut hasher);
    for row in rows {
        (row.order, &row.version, &row.checksum, row.created_at).hash(&mut hasher);
    }
    hasher.finish()
}
