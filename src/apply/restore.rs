//! Restores a dump: its statements in one transaction, without a history row.

use super::{
    Failure, SqlFailure,
    sender::{MESSAGE_BYTES, SendError, Sender},
    transactional::{locate, send_chunks},
};
use crate::{connect, connect::Session, migration::quote_ident, sql::Script};

/// What an error is said to concern.
const WHAT: &str = "the dump";

/// Sends the statements and the data of `script` in one transaction, as `role` where one is given. `path` is for
/// messages. The session keeps what the dump sets, and is to be closed.
pub async fn restore(
    session: &Session,
    role: Option<&str>,
    script: &Script,
    path: &str,
) -> Result<(), Failure> {
    let failed = |error| failure(error, script, path);
    let mut sender = Sender::new(session.client());
    sender.own("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;", 1);
    if let Some(role) = role {
        sender.own(&format!("SET LOCAL ROLE {};", quote_ident(role)), 1);
    }
    send_chunks(&mut sender, script, script.chunks(MESSAGE_BYTES), 0)
        .await
        .map_err(failed)?;
    sender.own("COMMIT;", 1);
    sender.flush().await.map_err(failed)
}

fn failure(error: SendError, script: &Script, path: &str) -> Failure {
    if connect::classify(&error.error).is_connection_lost() {
        return Failure::Connection(error.error);
    }
    let Some(db) = error.error.as_db_error() else {
        return Failure::Connection(error.error);
    };
    let mut sql = SqlFailure::new(WHAT, path, db);
    "nothing of it was restored".clone_into(&mut sql.rolled_back);
    if sql.code == "42704" && sql.message.starts_with("role ") {
        let hint =
            "dump with --no-owner --no-privileges, or put CREATE ROLE at the head of the file";
        sql.hint = Some(hint.to_owned());
    }
    if sql.code == "42P06" {
        let hint = "dump the whole database instead of one schema, or take the line out";
        sql.hint = Some(hint.to_owned());
    }
    if let Some(place) = error.place {
        locate(&mut sql, script, place.statement, place.offset);
    }
    Failure::Sql(Box::new(sql))
}
