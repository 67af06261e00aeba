//! The harness itself, without our binary: real servers, pooler, proxy and peers do what the other tests rely on.

use std::time::{Duration, Instant};

use crate::harness::{Drizzle, Folder, PgBouncer, Proxy, Server, Session, Stop, eventually};

#[test]
fn each_test_has_a_fresh_database() {
    let (one, other) = (Server::debian().database(), Server::debian().database());
    one.query("CREATE TABLE t (id int)");
    assert!(one.has_table("t"));
    assert!(!other.has_table("t"));
}

#[test]
fn older_and_newer_servers_are_what_they_say() {
    for major in ["14", "18"] {
        let version = Server::embedded(major)
            .database()
            .value("SHOW server_version");
        assert!(version.starts_with(major), "{version}");
    }
}

#[test]
fn a_server_survives_an_immediate_stop() {
    let server = Server::own();
    let database = server.database();
    database.query("CREATE TABLE t (id int)");
    server.stop(Stop::Immediate);
    assert!(Session::try_connect(&database.url()).is_err());
    server.start();
    assert!(database.has_table("t"));
}

#[test]
fn a_standby_follows_and_is_promoted() {
    let primary = Server::own();
    primary.session("postgres").query("CREATE TABLE t (id int)");
    let standby = Server::standby_of(&primary);
    let session = standby.session("postgres");
    assert_eq!(session.value("SELECT pg_is_in_recovery()"), "t");
    eventually!(
        session.value("SELECT to_regclass('t') IS NOT NULL") == "t",
        "the table arrives"
    );
    standby.promote();
    session.query("INSERT INTO t VALUES (1)");
}

#[test]
fn a_password_is_asked_for() {
    let database = Server::debian().database();
    let role = database.role("app", "LOGIN PASSWORD 'right' IN ROLE needs_password");
    assert!(Session::try_connect(&database.url_as(&format!("{role}:right"))).is_ok());
    assert!(Session::try_connect(&database.url_as(&format!("{role}:wrong"))).is_err());
}

#[test]
fn the_pooler_shares_one_server_connection() {
    let database = Server::debian().database();
    let bouncer = PgBouncer::start(Server::debian(), "transaction", 1);
    let url = bouncer.url(&database);
    let (one, other) = (Session::connect(&url), Session::connect(&url));
    let pid = |session: &Session| session.value("SELECT pg_backend_pid()");
    assert_eq!(pid(&one), pid(&other));
    one.query("SET search_path TO nowhere");
    assert_eq!(other.value("SHOW search_path"), "nowhere", "settings leak");
}

#[test]
fn the_proxy_delays_holds_and_cuts() {
    let database = Server::debian().database();
    let proxy = Proxy::to(Server::debian().port());
    let url = database.url_at(proxy.port());
    let session = Session::connect(&url);

    proxy.delay(Duration::from_millis(20));
    let start = Instant::now();
    session.query("SELECT 1");
    assert!(start.elapsed() >= Duration::from_millis(40));
    proxy.delay(Duration::ZERO);

    proxy.cut();
    assert!(session.try_query("SELECT 1").is_err());
    assert!(Session::try_connect(&url).is_ok());
    proxy.refuse();
    assert!(Session::try_connect(&url).is_err());
    proxy.accept_again();
    Session::connect(&url);
}

#[test]
fn a_held_link_says_nothing() {
    let database = Server::debian().database();
    let proxy = Proxy::to(Server::debian().port());
    let session = Session::connect(&database.url_at(proxy.port()));
    proxy.hold();
    assert!(
        session
            .try_query_within("SELECT 1", Duration::from_millis(300))
            .is_none()
    );
}

#[test]
fn both_generations_of_drizzle_migrate() {
    for generation in [Drizzle::Classic, Drizzle::V1] {
        let database = Server::debian().database();
        let folder = Folder::first_of(&generation.shop(), 3);
        generation.migrate(folder.path(), &database.url());
        assert!(database.has_table("payments"));
        assert!(!database.has_table("product_reviews"));
        assert_eq!(
            database.value("SELECT count(*) FROM drizzle.__drizzle_migrations"),
            "3"
        );
        assert!(
            database
                .schema_dump()
                .contains("CREATE TABLE public.payments")
        );
    }
}
