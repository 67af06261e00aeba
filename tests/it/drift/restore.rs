//! A dump and its restore are no drift, neither on the same major version nor on a newer one.

use super::{found, kinds::rich, report, verify};
use crate::harness::{Schemagate, Server};

/// Moves a rich database, and asks there. What a person then changes is found all the same.
#[track_caller]
fn check(from: &Server, to: &Server, exact_text_differs: bool) {
    let database = from.database();
    let (folder, _) = rich(&database);
    Schemagate::migrate(&database, &folder).run().assert_code(0);
    let moved = database.restore_into(to);
    if exact_text_differs {
        let (before, after) = (database.schema_dump(), moved.schema_dump());
        assert_ne!(before, after, "nothing is proved");
    }
    let outcome = verify(&moved, &folder).run();
    assert_eq!(found(&outcome), Vec::<String>::new());
    outcome.assert_code(0);
    assert_eq!(report(&outcome)["compared_with"]["exact"], false);
    moved.query(
        "ALTER TABLE shop.customer DROP CONSTRAINT odd,
           ADD CONSTRAINT odd CHECK (big > 0 OR (n > 0 AND (big < 100 OR n IS NULL)));
         ALTER POLICY own ON shop.customer USING (name IN ('a', 'c') AND state = current_user);
         ALTER TABLE shop.customer ALTER later TYPE bigint;
         DROP INDEX shop.part;
         CREATE OR REPLACE FUNCTION shop.g(a int, b varchar DEFAULT 'q') RETURNS SETOF shop.customer LANGUAGE sql STABLE
           AS 'SELECT * FROM shop.customer WHERE (name) = b';",
    );
    let outcome = verify(&moved, &folder).run();
    outcome.assert_code(6);
    assert_eq!(
        found(&outcome),
        [
            "changed column shop.customer.later type",
            "changed constraint shop.customer.odd definition",
            "changed function shop.g(integer, character varying) definition",
            "removed index shop.part",
            "changed policy shop.customer.own using",
        ]
    );
    // The next run is this server's own.
    folder.write("0002_more.sql", b"CREATE TABLE more (a int)");
    Schemagate::migrate(&moved, &folder).run().assert_code(0);
    let outcome = verify(&moved, &folder).run();
    outcome.assert_code(0);
    assert_eq!(report(&outcome)["compared_with"]["exact"], true);
}

#[test]
fn into_a_new_server_of_the_same_major_version() {
    check(Server::debian(), &Server::own(), true);
}

#[test]
fn into_another_database_of_the_same_server() {
    check(Server::debian(), Server::debian(), true);
}

#[test]
fn from_15_to_18() {
    check(Server::debian(), Server::embedded("18"), false);
}

#[test]
fn from_14_to_18() {
    check(Server::embedded("14"), Server::embedded("18"), false);
}

#[test]
fn from_14_to_15() {
    check(Server::embedded("14"), Server::debian(), false);
}
