//! Each way to bring migrations to the image, and the binary to another image. What a pod would mount is made as the kubelet
//! makes it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::bases::{self, example};
use crate::container::{Container, Run};
use crate::engine::{docker, new_dir, text};
use crate::harness::eventually;
use crate::harness::process::must;
use crate::postgres::Postgres;
use crate::run::drizzle;

const TITLE: &str = "The schema came first.";

/// The example: the application with schemagate in it.
fn app() -> &'static str {
    static IMAGE: OnceLock<String> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let args = [
            ("NODE_IMAGE", bases::node()),
            ("SCHEMAGATE_IMAGE", bases::schemagate()),
        ];
        example("Dockerfile", &args)
    })
}

/// What the application answers, asked from inside.
pub(crate) fn answer(container: &str) -> Option<String> {
    let script = "fetch('http://127.0.0.1:3000').then((r) => r.text()).then(console.log)";
    let output = docker(&["exec", container, "node", "--eval", script]).output();
    let output = output.expect("docker");
    output.status.success().then(|| text(&output.stdout))
}

#[track_caller]
fn assert_answers(app: &Container) {
    eventually!(
        answer(&app.name).is_some_and(|text| text.contains(TITLE)),
        "{}",
        app.logs()
    );
}

/// An image's files, as an image volume shows them.
fn unpacked(image: &str) -> PathBuf {
    let folder = new_dir("volume");
    // A name for the command, which an image of files alone does not have. It never runs.
    let container = must(&mut docker(&["create", image, "never"])).stdout;
    let container = text(&container);
    let mut export = docker(&["export", container.trim_end()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("docker starts");
    must(
        Command::new("tar")
            .args(["--extract", "--directory"])
            .arg(&folder)
            .stdin(export.stdout.take().expect("a pipe")),
    );
    assert!(export.wait().expect("its end").success());
    must(&mut docker(&["rm", container.trim_end()]));
    folder
}

fn migrated(db: &Postgres) -> bool {
    db.query("select count(*) from notes") == "1"
}

fn archive() -> Vec<u8> {
    let mut tar = Command::new("tar");
    tar.args(["--create", "--gzip", "--directory"]);
    must(tar.arg(drizzle()).arg(".")).stdout
}

/// A `ConfigMap`'s volume: the files are links to links, so that all change at once.
fn config_map(files: &[(&str, Vec<u8>)]) -> PathBuf {
    let folder = new_dir("configmap");
    let version = folder.join("..2025_01_06_09_12_31.418");
    fs::create_dir(&version).expect("a folder");
    symlink(version.file_name().expect("a name"), folder.join("..data")).expect("a link");
    for (name, content) in files {
        fs::write(version.join(name), content).expect("a file");
        symlink(Path::new("..data").join(name), folder.join(name)).expect("a link");
    }
    folder
}

#[test]
fn migrations_in_an_image_of_their_own() {
    let db = Postgres::start();
    let image = example(
        "migrations.Dockerfile",
        &[("SCHEMAGATE_IMAGE", bases::schemagate())],
    );
    db.run(&image, &[]).to_end().assert_code(0);
    assert!(migrated(&db));
}

#[test]
fn migrations_in_a_config_map() {
    let db = Postgres::start();
    let volume = config_map(&[
        ("0001_notes.sql", b"create table notes ();".to_vec()),
        (
            "0002_first_note.sql",
            b"insert into notes default values;".to_vec(),
        ),
    ]);
    db.run(bases::schemagate(), &[])
        .read_only(&volume, "/migrations")
        .to_end()
        .assert_code(0);
    assert!(migrated(&db));
}

#[test]
fn migrations_in_a_config_map_as_an_archive() {
    let db = Postgres::start();
    let volume = config_map(&[("migrations.tar.gz", archive())]);
    db.run(bases::schemagate(), &[])
        .read_only(&volume, "/archive")
        .env("SCHEMAGATE_DIR", "/archive/migrations.tar.gz")
        .to_end()
        .assert_code(0);
    assert!(migrated(&db));
}

#[test]
fn migrations_in_an_image_volume() {
    let db = Postgres::start();
    let volume = unpacked(&example("files.Dockerfile", &[]));
    db.run(bases::schemagate(), &[])
        .read_only(&volume, "/migrations")
        .to_end()
        .assert_code(0);
    assert!(migrated(&db));
}

#[test]
fn migrations_from_the_image_of_the_application() {
    let db = Postgres::start();
    let empty_dir = new_dir("emptydir");
    Run::new(app())
        .option("--entrypoint=cp")
        .mount(&empty_dir, "/shared")
        .words(&["-R", "/app/drizzle/.", "/shared"])
        .start()
        .end()
        .assert_code(0);
    db.run(bases::schemagate(), &[])
        .read_only(&empty_dir, "/migrations")
        .to_end()
        .assert_code(0);
    assert!(migrated(&db));
}

#[test]
fn the_binary_copied_into_the_image_of_the_application() {
    let db = Postgres::start();
    let image = app();
    let held = db
        .run(image, &[])
        .option("--entrypoint=/schemagate")
        .env("SCHEMAGATE_REQUIRE_CURRENT", "true")
        .words(&["run", "--", "node", "server.js"]);
    held.to_end().assert_code(8);
    // It migrates where it is told to, and becomes the application.
    let app = db
        .run(image, &[])
        .env("SCHEMAGATE_AUTO_MIGRATE", "true")
        .start();
    assert_answers(&app);
    let first = docker(&["exec", &app.name, "readlink", "/proc/1/exe"]).output();
    let first = text(&first.expect("docker").stdout);
    assert!(first.trim_end().ends_with("node"), "{first}");
}

#[test]
fn the_binary_installed_into_an_empty_folder() {
    let db = Postgres::start();
    let tools = new_dir("emptydir");
    Run::locked_down(bases::schemagate())
        .mount(&tools, "/tools")
        .words(&["install", "/tools"])
        .to_end()
        .assert_code(0);
    assert_runs_from(&db, &tools);
}

#[test]
fn the_binary_in_an_image_volume() {
    let db = Postgres::start();
    assert_runs_from(&db, &unpacked(bases::schemagate()));
}

/// The application begins with the schemagate in the folder, not with the one in its image.
#[track_caller]
fn assert_runs_from(db: &Postgres, tools: &Path) {
    let app = db
        .run(app(), &["run", "--", "node", "server.js"])
        .option("--entrypoint=/tools/schemagate")
        .read_only(tools, "/tools")
        .env("SCHEMAGATE_AUTO_MIGRATE", "true")
        .start();
    assert_answers(&app);
}
