//! `--from-dump`.

use std::process::Command;

use super::{tables, validate};
use crate::harness::{Folder, Schemagate, Server, postgres::debian_bin, process::must};

#[test]
fn the_history_in_a_dump_is_honoured() {
    let database = Server::debian().database();
    let first = tables();
    Schemagate::migrate(&database, &first).run().assert_code(0);
    database.query("INSERT INTO a SELECT * FROM generate_series(1, 1000); CREATE TABLE t (x text); INSERT INTO t VALUES (E'a\\tb;''\\n'), (NULL)");
    let dumps = Folder::empty();
    let dump = |name: &str, args: &[&str]| {
        let path = dumps.path().join(name);
        must(
            Command::new(debian_bin().join("pg_dump"))
                .args(args)
                .arg("-f")
                .arg(&path)
                .args(["-d", &database.url()]),
        );
        path.display().to_string()
    };
    let plain = dump("it's a dump.sql", &[]);
    let folder = first;
    folder.write(
        "0003_c.up.sql",
        b"DO $$ BEGIN ASSERT (SELECT count(*) FROM a) = 1000; ASSERT (SELECT count(*) FROM t) = 2; END $$;\nALTER TABLE a ADD y int;",
    );
    folder.write("0003_c.down.sql", b"ALTER TABLE a DROP y;");
    let from = |path: &str| validate(&database, &folder).arg("--from-dump").arg(path);
    from(&plain)
        .run()
        .assert_code(0)
        .assert_prints("dump      ")
        .assert_prints("up        1 migration applied")
        .assert_prints("down      1 migration undone; the schema is as it was before");
    for format in ["-Fc", "-Ft"] {
        from(&dump(format, &[format]))
            .run()
            .assert_code(2)
            .assert_says("pg_restore --no-owner --no-privileges -f dump.sql");
    }
    from(&dump("create.sql", &["--create"]))
        .run()
        .assert_code(2)
        .assert_says("without --create");
    let missing = format!("{plain}.none");
    from(&missing)
        .run()
        .assert_code(2)
        .assert_says("No such file");
    let broken = dumps.path().join("broken.sql");
    std::fs::write(
        &broken,
        "CREATE TABLE x (id int);\nCOPY x FROM stdin;\n1\nnot a number\n\\.\n",
    )
    .unwrap();
    from(&broken.display().to_string())
        .run()
        .assert_code(5)
        .assert_says("broken.sql:2:1")
        .assert_says("nothing of it was restored");
    std::fs::write(
        &broken,
        "CREATE TABLE x ();\nALTER TABLE x OWNER TO nobody_of_this_name;\n",
    )
    .unwrap();
    from(&broken.display().to_string())
        .run()
        .assert_code(5)
        .assert_says("--no-owner --no-privileges");
}
