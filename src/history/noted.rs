//! What the journal knows of each migration: when it was applied, how long it took, whether its last attempt failed.

use std::collections::HashMap;

use tokio_postgres::Client;

use super::{Error, Params, journal};
use crate::{
    migration::{Migration, quote_ident},
    wire::{self, Row},
};

/// SQLSTATE of a missing privilege, which an operator may still grant.
const INSUFFICIENT_PRIVILEGE: &str = "42501";

/// What the journal knows of a migration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Noted {
    /// When it was applied.
    pub at: Option<String>,
    /// How long it took.
    pub duration_ms: Option<i64>,
    /// The message of its last attempt, if that failed with the content that the file has now.
    pub failure: Option<String>,
    /// That attempt lacked a privilege: the same file may run once it is granted.
    pub lacks_privilege: bool,
}

/// Asks the journal, in one round trip. By version; a migration of which nothing is known has no entry.
pub async fn noted(
    client: &Client,
    params: &Params,
    migrations: &[Migration],
) -> Result<HashMap<String, Noted>, Error> {
    let (noted, _) = noted_and_repaired(client, params, migrations).await?;
    Ok(noted)
}

/// The same with the last repair of anything in this history (0: none): after one, what failed may run again.
pub async fn noted_and_repaired(
    client: &Client,
    params: &Params,
    migrations: &[Migration],
) -> Result<(HashMap<String, Noted>, i64), Error> {
    let table = &params.table;
    let questions = format!(
        "{};{};{}",
        journal::applied_sql(table),
        journal::failed_sql(table),
        journal::repaired_sql(table)
    );
    let (sql, offset) = match &params.role {
        Some(role) => (
            format!(
                "BEGIN READ ONLY;SET LOCAL ROLE {};{questions};COMMIT",
                quote_ident(role)
            ),
            2,
        ),
        None => (questions, 0),
    };
    let mut reply = wire::query(client, &sql).await;
    let answer = (|| {
        let (applied, failed) = (reply.rows(offset)?, reply.rows(offset + 1)?);
        Ok((applied, failed, reply.scalar(offset + 2)?))
    })();
    if answer.is_err() && params.role.is_some() {
        // The first error matters.
        let _ = wire::execute(client, "ROLLBACK").await;
    }
    let (applied, failed, repaired) = answer.map_err(Error::Database)?;
    let repaired = repaired.and_then(|id| id.parse().ok()).unwrap_or(0);
    Ok((collect(applied, failed, migrations), repaired))
}

fn collect(
    applied: Vec<Row>,
    failed: Vec<Row>,
    migrations: &[Migration],
) -> HashMap<String, Noted> {
    let mut noted: HashMap<String, Noted> = HashMap::new();
    for row in applied {
        let mut row = row.into_iter();
        let version = row.next().flatten().unwrap_or_default();
        let entry = noted.entry(version).or_default();
        entry.at = row.next().flatten();
        entry.duration_ms = row.next().flatten().and_then(|ms| ms.parse().ok());
    }
    for row in failed {
        let mut row = row.into_iter();
        let version = row.next().flatten().unwrap_or_default();
        let checksum = row.next().flatten();
        let same = migrations.iter().any(|migration| {
            migration.version == version && Some(&migration.checksum) == checksum.as_ref()
        });
        // A file that was corrected since has not failed.
        if same {
            let entry = noted.entry(version).or_default();
            entry.failure = Some(row.next().flatten().unwrap_or_else(|| "failed".to_owned()));
            entry.lacks_privilege = row.next().flatten().as_deref() == Some(INSUFFICIENT_PRIVILEGE);
        }
    }
    noted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migration::Directives;

    fn migration(version: &str, checksum: &str) -> Migration {
        Migration {
            version: version.to_owned(),
            name: String::new(),
            path: format!("{version}.sql"),
            checksum: checksum.to_owned(),
            checksum_other_endings: [String::new(), String::new()],
            created_at: 0,
            size: 0,
            directives: Directives::default(),
            down: None,
        }
    }

    fn rows<const N: usize>(rows: &[[&str; N]]) -> Vec<Row> {
        let row = |row: &[&str; N]| row.iter().map(|value| Some((*value).to_owned())).collect();
        rows.iter().map(row).collect()
    }

    #[test]
    fn a_failure_counts_only_for_the_content_that_failed() {
        let noted = collect(
            rows(&[["1", "2026-01-01 00:00:00+00", "12"]]),
            rows(&[
                ["2", "bb", "no table", "42P01"],
                ["3", "old", "typo", "42601"],
                ["4", "dd", "permission denied", "42501"],
            ]),
            &[
                migration("1", "aa"),
                migration("2", "bb"),
                migration("3", "cc"),
                migration("4", "dd"),
            ],
        );
        assert_eq!(noted["1"].duration_ms, Some(12));
        assert_eq!(noted["2"].failure.as_deref(), Some("no table"));
        assert!(!noted["2"].lacks_privilege && noted["4"].lacks_privilege);
        assert_eq!(noted.get("3"), None);
    }
}
