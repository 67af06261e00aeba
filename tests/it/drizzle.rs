//! Beside the real drizzle-orm, both generations, on folders that the real drizzle-kit wrote (`tests/peers/shop`).
//!
//! drizzle-orm runs all that is pending in one transaction. The shop adds an enum value in its sixth migration and uses it in
//! the seventh, which PostgreSQL refuses in one transaction (55P04). Where drizzle-orm has to build the whole shop it therefore
//! gets the first six migrations in a first deployment and the rest in a second, as happened to the team that wrote them.

use crate::harness::{Database, Drizzle, Folder, Schemagate, Server, fixture};

/// Migrations up to the one that adds the enum value.
const BEFORE_ENUM_USE: usize = 6;
const ALL: usize = 10;

fn both(check: impl Fn(Drizzle)) {
    check(Drizzle::Classic);
    check(Drizzle::V1);
}

fn drizzle_builds_the_shop(generation: Drizzle, database: &Database<'_>) {
    let first = Folder::first_of(&generation.shop(), BEFORE_ENUM_USE);
    generation.migrate(first.path(), &database.url());
    generation.migrate(&generation.shop(), &database.url());
}

/// The columns that both tools must write alike.
fn rows(database: &Database<'_>) -> Vec<Vec<String>> {
    let has_name = database.value(
        "SELECT count(*) FROM information_schema.columns
         WHERE table_schema = 'drizzle' AND table_name = '__drizzle_migrations' AND column_name = 'name'",
    );
    let more = if has_name == "1" { ", name" } else { "" };
    database.query(&format!(
        "SELECT id, hash, created_at{more} FROM drizzle.__drizzle_migrations ORDER BY id"
    ))
}

#[track_caller]
fn assert_equal(one: &Database<'_>, other: &Database<'_>) {
    assert_eq!(rows(one), rows(other), "history rows differ");
    let (left, right) = (one.schema_dump(), other.schema_dump());
    assert!(left == right, "dumps differ:\n{left}\n=====\n{right}");
}

#[test]
fn schema_and_rows_are_what_drizzle_orm_makes() {
    both(|generation| {
        let (theirs, ours) = (Server::debian().database(), Server::debian().database());
        drizzle_builds_the_shop(generation, &theirs);
        Schemagate::migrate(&ours, generation.shop())
            .run()
            .assert_code(0);
        assert_eq!(rows(&ours).len(), ALL);
        assert_equal(&theirs, &ours);
    });
}

#[test]
fn each_tool_finds_nothing_to_do_after_the_other() {
    both(|generation| {
        let (theirs, ours) = (Server::debian().database(), Server::debian().database());
        drizzle_builds_the_shop(generation, &theirs);
        Schemagate::migrate(&ours, generation.shop())
            .run()
            .assert_code(0);

        Schemagate::status(&theirs, generation.shop())
            .arg("--exit-code")
            .run()
            .assert_code(0);
        Schemagate::migrate(&theirs, generation.shop())
            .run()
            .assert_code(0);
        generation.migrate(&generation.shop(), &ours.url());
        assert_eq!(rows(&ours).len(), ALL);
        assert_equal(&theirs, &ours);
    });
}

#[test]
fn nothing_pending_writes_nothing() {
    both(|generation| {
        let database = Server::debian().database();
        drizzle_builds_the_shop(generation, &database);
        Schemagate::migrate(&database, generation.shop())
            .run()
            .assert_code(0)
            .assert_says("exit_code");
        assert_eq!(
            database.value("SELECT count(*) FROM pg_namespace WHERE nspname = 'schemagate'"),
            "0"
        );
    });
}

#[test]
fn half_by_drizzle_orm_then_half_by_schemagate() {
    both(|generation| {
        let (reference, database) = (Server::debian().database(), Server::debian().database());
        drizzle_builds_the_shop(generation, &reference);
        let half = Folder::first_of(&generation.shop(), 4);
        generation.migrate(half.path(), &database.url());
        Schemagate::migrate(&database, generation.shop())
            .run()
            .assert_code(0);
        assert_equal(&reference, &database);
    });
}

#[test]
fn half_by_schemagate_then_half_by_drizzle_orm() {
    both(|generation| {
        let (reference, database) = (Server::debian().database(), Server::debian().database());
        drizzle_builds_the_shop(generation, &reference);
        let half = Folder::first_of(&generation.shop(), BEFORE_ENUM_USE);
        Schemagate::migrate(&database, half.path())
            .run()
            .assert_code(0);
        generation.migrate(&generation.shop(), &database.url());
        assert_equal(&reference, &database);
    });
}

#[test]
fn a_new_enum_value_can_be_used_at_once() {
    both(|generation| {
        let (theirs, ours) = (Server::debian().database(), Server::debian().database());
        let refused = generation.try_migrate(&generation.shop(), &theirs.url());
        assert!(!refused.status.success());
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(said.contains("55P04"), "{said}");
        assert!(!theirs.has_table("customers"), "one transaction for all");

        Schemagate::migrate(&ours, generation.shop())
            .run()
            .assert_code(0);
        assert!(ours.has_table("refunds"));

        // In one transaction we can do no better, and nothing is half applied.
        let all = Server::debian().database();
        Schemagate::migrate(&all, generation.shop())
            .env("SCHEMAGATE_TRANSACTION", "all")
            .run()
            .assert_code(5)
            .assert_says("55P04");
        assert!(!all.has_table("customers"));
    });
}

// A branch that was made before `c` was generated and merged after it was deployed.
const BEFORE_MERGE: &[(&str, i64, &str)] = &[
    ("0000_a", 1_700_000_000_000, "CREATE TABLE a (id int);"),
    ("0001_c", 1_700_000_300_000, "CREATE TABLE c (id int);"),
];
const MERGED: &[(&str, i64, &str)] = &[
    BEFORE_MERGE[0],
    ("0001_b", 1_700_000_200_000, "CREATE TABLE b (id int);"),
    ("0002_c", 1_700_000_300_000, "CREATE TABLE c (id int);"),
];

fn merged_branch() -> (Database<'static>, Folder) {
    let database = Server::debian().database();
    let before = Folder::classic(BEFORE_MERGE);
    Drizzle::Classic.migrate(before.path(), &database.url());
    (database, Folder::classic(MERGED))
}

#[test]
fn classic_drizzle_skips_an_older_entry_without_a_word() {
    let (database, merged) = merged_branch();
    Drizzle::Classic.migrate(merged.path(), &database.url());
    assert!(!database.has_table("b"), "drizzle-orm never runs it");
}

#[test]
fn an_older_entry_of_classic_drizzle_is_refused() {
    let (database, merged) = merged_branch();
    Schemagate::migrate(&database, &merged)
        .run()
        .assert_code(6)
        .assert_says("0001_b")
        .assert_says("SCHEMAGATE_OUT_OF_ORDER");
    assert!(!database.has_table("b"));
    assert_eq!(rows(&database).len(), 2);
}

#[test]
fn an_older_entry_of_classic_drizzle_is_applied_on_demand() {
    let (database, merged) = merged_branch();
    Schemagate::migrate(&database, &merged)
        .env("SCHEMAGATE_OUT_OF_ORDER", "apply")
        .run()
        .assert_code(0);
    assert!(database.has_table("b"));
    assert_eq!(rows(&database)[2][2], "1700000200000");
    Schemagate::migrate(&database, &merged).run().assert_code(0);
    Drizzle::Classic.migrate(merged.path(), &database.url());
    assert_eq!(rows(&database).len(), 3);
}

#[test]
fn an_older_entry_of_classic_drizzle_is_ignored_on_demand() {
    let (database, merged) = merged_branch();
    Schemagate::migrate(&database, &merged)
        .env("SCHEMAGATE_OUT_OF_ORDER", "ignore")
        .run()
        .assert_code(0)
        .assert_says("0001_b");
    assert!(!database.has_table("b"));
}

#[test]
fn an_older_folder_of_v1_is_applied_by_both() {
    let older = |folder: &Folder| {
        folder.write(
            "20250110000000_merged_late/migration.sql",
            b"CREATE TABLE merged_late (id int);",
        );
    };
    let (theirs, ours) = (Server::debian().database(), Server::debian().database());
    let folder = Folder::first_of(&Drizzle::V1.shop(), 3);
    for database in [&theirs, &ours] {
        Drizzle::V1.migrate(folder.path(), &database.url());
    }
    older(&folder);
    Drizzle::V1.migrate(folder.path(), &theirs.url());
    Schemagate::migrate(&ours, &folder).run().assert_code(0);
    assert!(ours.has_table("merged_late"));
    assert_equal(&theirs, &ours);
}

/// A database that classic Drizzle has brought to the step before the team moved to v1.
fn classic_history() -> Database<'static> {
    let database = Server::debian().database();
    for count in [BEFORE_ENUM_USE, ALL - 1] {
        let folder = Folder::first_of(&Drizzle::Classic.shop(), count);
        Drizzle::Classic.migrate(folder.path(), &database.url());
    }
    database
}

/// `name` and whether `applied_at` is set, by `id`.
fn upgraded_rows(database: &Database<'_>) -> Vec<Vec<String>> {
    database.query("SELECT name, applied_at IS NULL FROM drizzle.__drizzle_migrations ORDER BY id")
}

#[test]
fn a_classic_table_is_upgraded_as_v1_does_it() {
    let (theirs, ours) = (classic_history(), classic_history());
    let folder = fixture("drizzle/v1/upgraded");
    Drizzle::V1.migrate(&folder, &theirs.url());
    Schemagate::migrate(&ours, &folder).run().assert_code(0);
    assert_equal(&theirs, &ours);
    assert_eq!(upgraded_rows(&theirs), upgraded_rows(&ours));
    assert_eq!(rows(&ours).len(), ALL);
    Drizzle::V1.migrate(&folder, &ours.url());
    Schemagate::migrate(&theirs, &folder).run().assert_code(0);
    assert_equal(&theirs, &ours);
}

#[test]
fn a_classic_table_that_is_current_is_not_upgraded_by_a_dry_run() {
    let database = classic_history();
    let before = rows(&database);
    Schemagate::migrate(&database, fixture("drizzle/v1/upgraded"))
        .env("SCHEMAGATE_DRY_RUN", "true")
        .run()
        .assert_code(0)
        .assert_prints("20250812172026_warehouse");
    assert_eq!(rows(&database), before);
}

#[test]
fn a_classic_row_without_a_v1_folder_stops_the_upgrade() {
    let (theirs, ours) = (classic_history(), classic_history());
    let stray = "INSERT INTO drizzle.__drizzle_migrations (hash, created_at) VALUES ('feed', 1600000000000)";
    let folder = fixture("drizzle/v1/upgraded");
    for database in [&theirs, &ours] {
        database.query(stray);
    }
    let refused = Drizzle::V1.try_migrate(&folder, &theirs.url());
    assert!(!refused.status.success());
    let before = ours.schema_dump();
    Schemagate::migrate(&ours, &folder).run().assert_code(6);
    assert_eq!(ours.schema_dump(), before, "the table keeps its shape");
    assert_equal(&theirs, &ours);
}

// formats.md, 1b: a classic tool on an upgraded table writes rows without a name, and v1 then runs those migrations again.
#[test]
fn a_classic_folder_on_an_upgraded_table_leaves_no_row_without_a_name() {
    let database = classic_history();
    let upgraded = Folder::first_of(&fixture("drizzle/v1/upgraded"), ALL - 1);
    Drizzle::V1.migrate(upgraded.path(), &database.url());

    Schemagate::migrate(&database, Drizzle::Classic.shop())
        .run()
        .assert_code(0);
    assert!(database.has_table("warehouse.stock"));
    let last = rows(&database).pop().expect("rows");
    assert_eq!(last[2], "1755019225925");
    assert_eq!(
        last[3], "20250812172025_warehouse",
        "as `drizzle-kit up` names it"
    );
    assert_eq!(rows(&database).len(), ALL);
}

#[test]
fn a_script_with_its_own_commit_is_applied_as_drizzle_does() {
    let folder = Folder::classic(&[
        (
            "0000_type",
            1_700_000_000_000,
            "CREATE TYPE mood AS ENUM ('good');",
        ),
        (
            "0001_value",
            1_700_000_100_000,
            "ALTER TYPE mood ADD VALUE 'bad';--> statement-breakpoint\nCOMMIT;--> statement-breakpoint\nBEGIN;\
             --> statement-breakpoint\nCREATE TABLE moods (feeling mood DEFAULT 'bad');",
        ),
    ]);
    let (theirs, ours) = (Server::debian().database(), Server::debian().database());
    Drizzle::Classic.migrate(folder.path(), &theirs.url());
    Schemagate::migrate(&ours, &folder).run().assert_code(0);
    assert_equal(&theirs, &ours);
}

#[test]
fn an_edited_applied_file_is_a_warning() {
    let database = Server::debian().database();
    let before = Folder::classic(BEFORE_MERGE);
    Schemagate::migrate(&database, &before).run().assert_code(0);
    before.write("0000_a.sql", b"CREATE TABLE a (id bigint);");
    Drizzle::Classic.migrate(before.path(), &database.url());
    Schemagate::migrate(&database, &before)
        .run()
        .assert_code(0)
        .assert_says("0000_a");
    Schemagate::migrate(&database, &before)
        .env("SCHEMAGATE_CHECKSUM", "fail")
        .run()
        .assert_code(6)
        .assert_says("0000_a");
}

#[test]
fn bytes_that_are_no_utf8_are_hashed_as_drizzle_does() {
    let folder = Folder::classic(&[("0000_latin", 1_700_000_000_000, "")]);
    folder.write(
        "0000_latin.sql",
        b"CREATE TABLE lat(t text default '\xe9');",
    );
    let (theirs, ours) = (Server::debian().database(), Server::debian().database());
    Drizzle::Classic.migrate(folder.path(), &theirs.url());
    Schemagate::migrate(&ours, &folder).run().assert_code(0);
    assert_equal(&theirs, &ours);
}

#[test]
fn another_table_is_named_by_setting() {
    let database = Server::debian().database();
    let folder = Folder::classic(BEFORE_MERGE);
    Schemagate::migrate(&database, &folder)
        .env("SCHEMAGATE_HISTORY_TABLE", "public.done")
        .run()
        .assert_code(0);
    assert_eq!(database.value("SELECT count(*) FROM public.done"), "2");
    assert!(!database.has_table("drizzle.__drizzle_migrations"));
}
