//! Every block of SQL runs on a real server.

use std::fmt::Write as _;

use super::documents;
use crate::harness::{Folder, Schemagate, Server};

/// What the words speak of.
const SHOP: &str = "
    CREATE TABLE users (id bigint PRIMARY KEY, old text);
    CREATE TABLE orders (id bigint, customer_id bigint REFERENCES users);
";

/// Each as a superuser, in a database of its own that schemagate has migrated: `psql` would run them in this way too, one
/// statement after the other.
#[test]
fn every_sql_block_runs() {
    let server = Server::own_with("shared_preload_libraries = 'pgaudit'");
    server
        .session("postgres")
        .query("CREATE ROLE migrator LOGIN; CREATE ROLE app_migrator LOGIN");
    let folder = Folder::sql(&[("0001_shop.sql", SHOP)]);
    let mut count = 0;
    let mut failed = String::new();
    for block in documents().iter().flat_map(|document| &document.blocks) {
        if block.language != "sql" {
            continue;
        }
        count += 1;
        let database = server.database();
        Schemagate::migrate(&database, &folder).run().assert_code(0);
        let script = Folder::sql(&[("block.sql", &block.text)]);
        let output = std::process::Command::new(server.bin().join("psql"))
            .args([
                "-X",
                "-q",
                "-v",
                "ON_ERROR_STOP=1",
                "-d",
                &database.url(),
                "-f",
            ])
            .arg(script.path().join("block.sql"))
            .output()
            .expect("no psql: run `make setup`");
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let _ = writeln!(failed, "{}: {said}", block.place);
        }
    }
    assert!(failed.is_empty(), "{failed}");
    assert!(count >= 10, "{count} blocks");
}
