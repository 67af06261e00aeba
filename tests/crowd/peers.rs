//! The same herd with other tools, for comparison: nothing is asserted of how many of theirs fail, it is printed.
//!
//! A process of Node takes 50 MB and a third of a second of a processor, so theirs are fewer. sqlx-cli takes minutes to build;
//! it is in `make bench`.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::harness::{Folder, Schemagate, Server};
use crate::herd::{MIGRATIONS, alone, over_time, recorded, role, server, thirty};
use crate::pod::Pods;
use crate::tell;

const SECONDS: &str = "SELECT pg_sleep(3);";

/// What became of a herd.
struct Came {
    failed: usize,
    /// How often a migration ran that had run before.
    repeated: usize,
}

/// Lets a herd loose on a database of its own; `call` gets its URL.
fn herd(server: &Server, name: &str, count: usize, call: impl Fn(&str) -> Command) -> Came {
    let database = server.database();
    let url = database.url_as(&role(&database));
    let (pods, samples) = recorded(&database, || {
        let mut pods = Pods::start(count, || call(&url));
        pods.wait(Duration::from_mins(2));
        pods
    });
    let ran = "SELECT count(*) - count(DISTINCT number), count(DISTINCT number) FROM ran";
    let ran = database.query(ran).remove(0);
    let came = Came {
        failed: count - pods.ended_with(0),
        repeated: ran[0].parse().expect("a number"),
    };
    tell!(
        "  {name}: {} of {count} processes failed; {} of {MIGRATIONS} migrations ran, and {} times one ran again; connections \
         each second: {}",
        came.failed,
        ran[1],
        came.repeated,
        over_time(&samples)
    );
    assert_ne!(
        ran[1],
        "0",
        "{name} runs nothing:\n{}",
        pods.iter().next().expect("a pod")
    );
    came
}

/// With the marks that it wants.
fn for_dbmate(folder: &Folder) -> Folder {
    let copy = Folder::empty();
    for name in folder.names() {
        let text = std::fs::read_to_string(folder.path().join(&name)).expect("a migration");
        copy.write(
            &name,
            format!("-- migrate:up\n{text}-- migrate:down\n").as_bytes(),
        );
    }
    copy
}

fn for_drizzle(folder: &Folder) -> Folder {
    let read = |name: String| {
        let text = std::fs::read_to_string(folder.path().join(&name)).expect("a migration");
        (name.trim_end_matches(".sql").to_owned(), text)
    };
    let files: Vec<_> = folder.names().into_iter().map(read).collect();
    let times = 1_700_000_000_000..;
    let entries: Vec<_> = files
        .iter()
        .zip(times)
        .map(|((tag, text), when)| (tag.as_str(), when, text.as_str()))
        .collect();
    Folder::classic(&entries)
}

fn repository(path: &str) -> std::path::PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    assert!(path.exists(), "no {}: run `make setup`", path.display());
    path
}

#[test]
fn the_same_herd_with_other_tools() {
    let _alone = alone();
    let server = server();
    let folder = thirty(SECONDS);
    tell!("herds at once on max_connections = 100, a migration of 3 s among {MIGRATIONS}:");
    for count in [40, 300] {
        let ours = herd(&server, "schemagate migrate", count, |url| {
            let call = Schemagate::new(&["migrate"]).url(url).folder(&folder);
            call.command()
        });
        assert_eq!((ours.failed, ours.repeated), (0, 0));
    }

    let program = repository("tests/bench/peers/node_modules/@dbmate/linux-x64/bin/dbmate");
    let files = for_dbmate(&folder);
    herd(&server, "dbmate", 300, |url| {
        let mut command = Command::new(&program);
        command.args(["--url", &format!("{url}?sslmode=disable")]);
        command.arg("--migrations-dir").arg(files.path());
        command.args(["--no-dump-schema", "migrate"]);
        command
    });

    let package = repository("tests/peers/drizzle-classic");
    repository("tests/peers/drizzle-classic/node_modules/drizzle-orm");
    let files = for_drizzle(&folder);
    herd(&server, "drizzle-orm", 40, |url| {
        let mut command = Command::new("node");
        command.arg("../migrate.mjs").arg(files.path()).arg(url);
        command.current_dir(&package);
        command
    });
}
