//! What the command finds in its environment.

use super::{exec, path, read};
use crate::harness::{Database, Folder, Schemagate, Server};

const ENVIRONMENT: &str = r#"env >"$DIR/env""#;

/// The environment of the command, without those of the shell itself.
#[track_caller]
fn environment(call: &Schemagate, folder: &Folder) -> Vec<String> {
    call.run().assert_code(0);
    let text = read(&folder.path().join("env"));
    text.lines().map(str::to_owned).collect()
}

#[track_caller]
fn assert_has(environment: &[String], line: &str) {
    assert!(
        environment.iter().any(|found| found == line),
        "{line} in {environment:#?}"
    );
}

#[track_caller]
fn assert_lacks(environment: &[String], name: &str) {
    let start = format!("{name}=");
    assert!(
        !environment.iter().any(|found| found.starts_with(&start)),
        "{name} in {environment:#?}"
    );
}

fn call(database: &Database<'_>, folder: &Folder) -> Schemagate {
    exec(&database.url(), folder, ENVIRONMENT)
}

#[test]
fn the_url_that_won_and_none_of_our_secrets() {
    let database = Server::debian().database();
    let folder = Folder::empty();
    let call = call(&database, &folder)
        .env("DATABASE_URL_FILE", "/not/read")
        .env("SCHEMAGATE_QUIT_URL", "http://127.0.0.1:1/quit")
        .env("SCHEMAGATE_LOG", "debug")
        .env("APP", "as it was");
    let found = environment(&call, &folder);
    assert_has(&found, &format!("DATABASE_URL={}", database.url()));
    assert_has(&found, "APP=as it was");
    assert_has(&found, "SCHEMAGATE_LOG=debug");
    for gone in [
        "SCHEMAGATE_DATABASE_URL",
        "SCHEMAGATE_QUIT_URL",
        "DATABASE_URL_FILE",
    ] {
        assert_lacks(&found, gone);
    }
}

#[test]
fn as_it_was_written() {
    let database = Server::debian().database();
    let folder = Folder::empty();
    for scheme in ["postgresql+psycopg2", "jdbc:postgresql"] {
        let url = database.url().replace("postgres:", &format!("{scheme}:"));
        let found = environment(&call(&database, &folder).url(&url), &folder);
        assert_has(&found, &format!("DATABASE_URL={url}"));
    }
}

#[test]
fn what_the_file_holds() {
    let database = Server::debian().database();
    let folder = Folder::empty();
    folder.write("url", format!("{}\n", database.url()).as_bytes());
    let file = folder.path().join("url");
    let call = Schemagate::new(&["exec", "--", "sh", "-c", ENVIRONMENT])
        .env("PATH", path())
        .env("DIR", folder.path());
    for variable in ["SCHEMAGATE_DATABASE_URL_FILE", "DATABASE_URL_FILE"] {
        let found = environment(&call.clone().env(variable, &file), &folder);
        assert_has(&found, &format!("DATABASE_URL={}", database.url()));
        assert_lacks(&found, variable);
    }
}

#[test]
fn without_a_url_none_is_invented() {
    let server = Server::debian();
    let database = server.database();
    let folder = Folder::empty();
    folder.write("password", b"hunter2\n");
    let call = Schemagate::new(&["exec", "--", "sh", "-c", ENVIRONMENT])
        .env("PATH", path())
        .env("DIR", folder.path())
        .env("PGHOST", "127.0.0.1")
        .env("PGPORT", server.port().to_string())
        .env("PGUSER", "postgres")
        .env("PGDATABASE", &database.name)
        .env("PGPASSWORD_FILE", folder.path().join("password"));
    let found = environment(&call, &folder);
    assert_lacks(&found, "DATABASE_URL");
    assert_has(&found, &format!("PGDATABASE={}", database.name));
    // libpq knows no file for it.
    assert_has(&found, "PGPASSWORD=hunter2");
}
