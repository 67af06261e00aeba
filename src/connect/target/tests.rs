use super::*;

fn target(vars: &[(&str, &str)]) -> Result<Target, Vec<Problem>> {
    let settings = Settings::from_variables(&|name| {
        vars.iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| (*value).to_owned())
    });
    Target::new(&settings, "schemagate/1 pod", Some("/home/x"))
}

#[track_caller]
fn good(vars: &[(&str, &str)]) -> Target {
    let mut vars = vars.to_vec();
    vars.push(("PGUSER", "u"));
    target(&vars).unwrap()
}

#[track_caller]
fn hosts(vars: &[(&str, &str)], expected: &str) {
    let endpoints = good(vars).endpoints;
    let shown: Vec<String> = endpoints.iter().map(ToString::to_string).collect();
    assert_eq!(shown.join(" "), expected);
}

#[track_caller]
fn bad(vars: &[(&str, &str)], expected: &str) {
    let mut vars = vars.to_vec();
    vars.push(("PGUSER", "u"));
    let problems = target(&vars).unwrap_err();
    let shown: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(shown.join("\n"), expected);
}

#[test]
fn host_lists() {
    hosts(&[], "localhost:5432");
    hosts(&[("PGHOST", "a,b"), ("PGPORT", "7")], "a:7 b:7");
    hosts(
        &[("PGHOST", "a,b,::1"), ("PGPORT", "7,,9")],
        "a:7 b:5432 [::1]:9",
    );
    hosts(
        &[("PGHOST", "/run/x,@abstract")],
        "/run/x/.s.PGSQL.5432 @abstract/.s.PGSQL.5432",
    );
    hosts(
        &[("PGHOSTADDR", "10.0.0.1,::1")],
        "10.0.0.1:5432 [::1]:5432",
    );
    hosts(
        &[("PGHOST", "a,b"), ("PGHOSTADDR", "10.0.0.1,")],
        "a:5432 b:5432",
    );
    bad(
        &[("PGHOST", "a,b"), ("PGHOSTADDR", "10.0.0.1")],
        "PGHOSTADDR=\"10.0.0.1\": there must be as many addresses as hosts, 2",
    );
    bad(
        &[("PGHOSTADDR", "db")],
        "PGHOSTADDR=\"db\": expected IP addresses, separated by commas",
    );
    bad(
        &[("PGHOST", "a,b,c"), ("PGPORT", "1,2")],
        "PGPORT=\"1,2\": one port, or as many as hosts, 3",
    );
    bad(
        &[("PGPORT", "70000")],
        "PGPORT=\"70000\": expected a number from 1 to 65535, or several separated by commas",
    );
}

#[test]
fn defaults() {
    let target = good(&[]);
    assert_eq!(target.database, "u");
    assert_eq!(target.application_name, "schemagate/1 pod");
    assert_eq!(target.connect_timeout, Some(Duration::from_secs(10)));
    assert_eq!(target.passfile, Some("/home/x/.pgpass".into()));
    assert_eq!(target.options, None);
    assert_eq!(target.session, SessionAttrs::Any);
    assert!(target.socket.keepalives);
    assert_eq!(target.socket.idle, Some(Duration::from_secs(5)));
    assert_eq!(target.socket.count, Some(3));
    assert_eq!(target.socket.user_timeout, Some(Duration::from_secs(20)));
}

#[test]
fn values_given() {
    assert_eq!(good(&[("PGCONNECT_TIMEOUT", "0")]).connect_timeout, None);
    assert_eq!(good(&[("PGCONNECT_TIMEOUT", "-1")]).connect_timeout, None);
    assert_eq!(
        good(&[("PGCONNECT_TIMEOUT", "1")]).connect_timeout,
        Some(Duration::from_secs(2))
    );
    assert_eq!(good(&[("PGAPPNAME", "mine")]).application_name, "mine");
    assert_eq!(
        good(&[("PGTARGETSESSIONATTRS", "prefer-standby")]).session,
        SessionAttrs::PreferStandby
    );
    assert_eq!(
        good(&[
            ("PGOPTIONS", "-c a=b"),
            ("PGTZ", "Europe/Berlin"),
            ("PGDATESTYLE", "ISO, DMY")
        ])
        .options,
        Some("-c a=b -c DateStyle=ISO,\\ DMY -c TimeZone=Europe/Berlin".to_owned())
    );
}

#[test]
fn what_cannot_be_honoured_is_refused_unless_it_asks_for_nothing() {
    good(&[
        ("PGGSSENCMODE", "prefer"),
        ("PGCLIENTENCODING", "UTF8"),
        ("PGKRBSRVNAME", "postgres"),
    ]);
    bad(
        &[("PGGSSENCMODE", "require")],
        "PGGSSENCMODE=\"require\": GSSAPI is not built in: use disable, with TLS for secrecy",
    );
    bad(
        &[("PGREQUIREAUTH", "scram")],
        "PGREQUIREAUTH=\"scram\": expected some of none, password, md5, gss, sspi, scram-sha-256, oauth",
    );
    bad(
        &[("PGCHANNELBINDING", "required")],
        "PGCHANNELBINDING=\"required\": expected one of disable, prefer, require",
    );
}

#[test]
fn all_mistakes_at_once_and_no_user() {
    let problems = target(&[("PGPORT", "x"), ("PGSSLMODE", "y")]).unwrap_err();
    let names: Vec<&str> = problems
        .iter()
        .map(|problem| problem.variable.as_str())
        .collect();
    assert_eq!(names, ["PGUSER", "PGPORT", "PGSSLMODE"]);
}
