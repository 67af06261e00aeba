//! Each exit code as the engine sees it, with the words that `kubectl describe pod` would show.

use crate::bases;
use crate::container::{Ended, Run};
use crate::engine::docker;
use crate::harness::eventually;
use crate::harness::process::must;
use crate::postgres::{Postgres, URL};
use crate::run::{drizzle, folder};

fn migrate(db: &Postgres, sql: &str) -> Run {
    db.run(bases::schemagate(), &["migrate"])
        .read_only(&folder(sql), "/migrations")
}

/// What every end that is not 0 leaves behind: two lines, what happened and what to do.
#[track_caller]
fn leaves(ended: &Ended, code: i32, words: &str) {
    ended.assert_code(code).assert_last_words(words);
    assert!(ended.message.contains("what to do: "), "{ended}");
    assert!(!ended.said.contains("s3cret"), "{ended}");
}

#[test]
fn settings_and_files() {
    let image = Run::locked_down(bases::schemagate());
    leaves(&image.to_end(), 2, "SCHEMAGATE_DATABASE_URL");
    let typo = image.env("SCHEMAGATE_LOCK_TIMOUT", "2s").to_end();
    leaves(&typo, 2, "SCHEMAGATE_LOCK_TIMEOUT");
}

#[test]
fn nobody_of_that_name() {
    let ended = Run::locked_down(bases::schemagate())
        .read_only(&drizzle(), "/migrations")
        .env("DATABASE_URL", URL)
        .env("SCHEMAGATE_WAIT", "false")
        .to_end();
    leaves(&ended, 3, "db");
}

#[test]
fn what_the_database_says() {
    let db = Postgres::start();
    leaves(&migrate(&db, "select 1;\nselekt 2;").to_end(), 5, "selekt");

    migrate(&db, "create table kept ();")
        .to_end()
        .assert_code(0);
    let changed = migrate(&db, "create table kept (id int);").to_end();
    leaves(&changed, 6, "0001");

    let history = "shop.history";
    let loses = migrate(&db, "drop table kept;").env("SCHEMAGATE_HISTORY_TABLE", history);
    leaves(&loses.to_end(), 7, "0001");

    let pending = loses.clone().words(&["status", "--exit-code"]).to_end();
    pending.assert_code(8);

    let wrong = migrate(&db, "select 1;")
        .env("DATABASE_URL", "postgres://postgres:wrong@db/postgres")
        .env("SCHEMAGATE_AUTH_GRACE", "1s");
    leaves(&wrong.to_end(), 9, "password");

    let slow = migrate(&db, "select pg_sleep(600);")
        .env("SCHEMAGATE_HISTORY_TABLE", history)
        .env("SCHEMAGATE_DEADLINE", "2s");
    leaves(&slow.to_end(), 10, "deadline");
}

#[test]
fn the_lock_is_elsewhere() {
    let db = Postgres::start();
    let key = "4711";
    let holder = migrate(&db, "select pg_sleep(600);")
        .env("SCHEMAGATE_LOCK_KEY", key)
        .start();
    let held = "select count(*) from pg_locks where locktype = 'advisory' and granted";
    eventually!(db.query(held) != "0", "{}", holder.logs());
    let late = migrate(&db, "select 1;")
        .env("SCHEMAGATE_LOCK_KEY", key)
        .env("SCHEMAGATE_LOCK_WAIT_TIMEOUT", "off");
    leaves(&late.to_end(), 4, "lock");

    must(&mut docker(&["kill", "--signal=INT", &holder.name]));
    holder.end().assert_code(130);
}
