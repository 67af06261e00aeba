use super::*;

const HOLDER: &str = "DATABASE_URL";

fn shown((settings, _): &Parsed) -> String {
    [
        "user",
        "password",
        "host",
        "port",
        "dbname",
        "sslmode",
        "options",
        "application_name",
    ]
    .iter()
    .filter_map(|keyword| Some(format!("{keyword}={}", settings.value(keyword)?)))
    .collect::<Vec<_>>()
    .join(" ")
}

#[track_caller]
fn check(text: &str, expected: &str) {
    match parse(HOLDER, text) {
        Ok(parsed) => assert_eq!(shown(&parsed), expected, "{text}"),
        Err(problems) => panic!("{text}: {problems:?}"),
    }
}

/// Every one of the problems holds `expected`, and none of them the word `secret`.
#[track_caller]
fn refuse(text: &str, expected: &str) {
    let problems = parse(HOLDER, text).expect_err(text);
    for problem in &problems {
        let shown = problem.to_string();
        assert!(shown.contains(expected), "{text}: {shown}");
        assert!(!shown.contains("secret"), "{text}: {shown}");
        assert!(shown.starts_with(HOLDER), "{shown}");
    }
}

#[test]
fn the_forms_of_libpq() {
    check("postgres://", "");
    check("postgresql://localhost", "host=localhost");
    check("postgresql://localhost:5433", "host=localhost port=5433");
    check("postgres://localhost/mydb", "host=localhost dbname=mydb");
    check("postgres://user@localhost", "user=user host=localhost");
    check(
        "postgres://user:secret@localhost",
        "user=user password=secret host=localhost",
    );
    check(
        "postgres://other@localhost/otherdb?connect_timeout=10&application_name=myapp",
        "user=other host=localhost dbname=otherdb application_name=myapp",
    );
    check("postgres://h1:1,h2:2/db", "host=h1,h2 port=1,2 dbname=db");
    check(
        "postgres://h1,h2:2,h3/db",
        "host=h1,h2,h3 port=,2, dbname=db",
    );
    check(
        "postgres:///mydb?host=localhost&port=5433",
        "host=localhost port=5433 dbname=mydb",
    );
    check(
        "postgres://[2001:db8::1234]/database",
        "host=2001:db8::1234 dbname=database",
    );
    check(
        "postgres://u@[::1]:5,[::2]/d",
        "user=u host=::1,::2 port=5, dbname=d",
    );
    check(
        "postgres:///dbname?host=/run/x",
        "host=/run/x dbname=dbname",
    );
    check("postgres://%2Frun%2Fx/dbname", "host=/run/x dbname=dbname");
    check(
        "postgres://%2frun%2fx:7/dbname",
        "host=/run/x port=7 dbname=dbname",
    );
    check("POSTGRES://u@h", "user=u host=h");
    check("postgres://h?sslmode=require", "host=h sslmode=require");
    check("postgres://h/?sslmode=require&", "host=h sslmode=require");
    check(
        "postgres://h?options=-c%20geqo%3Doff",
        "host=h options=-c geqo=off",
    );
    check("  postgres://u@h/d\n", "user=u host=h dbname=d");
    check("postgres://@h", "host=h");
    check("postgres://:@h:/", "host=h");
    check("host=h user=u password='a b'", "user=u password=a b host=h");
    check("dbname = d", "dbname=d");
}

#[test]
fn the_forms_of_other_clients() {
    check(
        "postgresql+asyncpg://u:p@h/d",
        "user=u password=p host=h dbname=d",
    );
    check("postgres+psycopg2://u@h/d", "user=u host=h dbname=d");
    check(
        "jdbc:postgresql://h:1/d?user=u&password=p+w%2B&ssl=true",
        "user=u password=p w+ host=h port=1 dbname=d sslmode=require",
    );
    check("jdbc:postgresql:d?user=u", "user=u host=localhost dbname=d");
    check("jdbc:postgresql:///d", "dbname=d");
    check(
        "postgres://u@h/d?ssl=true",
        "user=u host=h dbname=d sslmode=require",
    );
    check(
        "postgres://u@h/d?sslmode=no-verify",
        "user=u host=h dbname=d sslmode=require",
    );
    check(
        "postgres://h/d?ApplicationName=a",
        "host=h dbname=d application_name=a",
    );
    // "+" is a plus sign for libpq
    check("postgres://u:a+b@h", "user=u password=a+b host=h");
}

#[test]
fn foreign_parameters_give_one_warning() {
    let url = "postgres://u@h/d?schema=public&pgbouncer=true&connection_limit=5&prepareThreshold=0";
    let (_, warnings) = parse(HOLDER, url).unwrap();
    assert_eq!(
        warnings,
        ["DATABASE_URL: parameters of other clients are ignored: \
          schema, pgbouncer, connection_limit, prepareThreshold"]
    );
    assert!(parse(HOLDER, "postgres://u@h/d").unwrap().1.is_empty());
}

#[test]
fn passwords_that_nobody_encoded() {
    check(
        "postgres://u:p@ss@h/d",
        "user=u password=p@ss host=h dbname=d",
    );
    check(
        "postgres://u:p:s@h/d",
        "user=u password=p:s host=h dbname=d",
    );
    check(
        "postgres://u:p#s@h/d",
        "user=u password=p#s host=h dbname=d",
    );
    check(
        "postgres://u:p/s@h/d",
        "user=u password=p/s host=h dbname=d",
    );
    check(
        "postgres://u:p?s@h/d",
        "user=u password=p?s host=h dbname=d",
    );
    check(
        "postgres://u:p?s=t@h/d",
        "user=u password=p?s=t host=h dbname=d",
    );
    check(
        "postgres://u:p&s@h/d",
        "user=u password=p&s host=h dbname=d",
    );
    check(
        "postgres://u:p%s@h/d",
        "user=u password=p%s host=h dbname=d",
    );
    check("postgres://u:p%@h/d", "user=u password=p% host=h dbname=d");
    check(
        "postgres://u:p/q@r@h:5/d",
        "user=u password=p/q@r host=h port=5 dbname=d",
    );
    check(
        "postgres://u@srv:pw@h/d",
        "user=u@srv password=pw host=h dbname=d",
    );
    check(
        "postgres://h/d?user=me@corp",
        "user=me@corp host=h dbname=d",
    );
    check(
        "postgres://u:p@h/d?application_name=a@b",
        "user=u password=p host=h dbname=d application_name=a@b",
    );
    check(
        "postgres://u:%2F%40@h/d",
        "user=u password=/@ host=h dbname=d",
    );
    check("postgres://h/a@b", "host=h dbname=a@b");
}

#[test]
fn two_readings_are_refused() {
    refuse("postgres://u:p@secret/word@h/d", "two ways");
    refuse("postgres://u:12/secret@h/d", "two ways");
    refuse("postgres://u:12?secret=word@h/d", "two ways");
}

/// Encoded, every printable character gets through; unencoded, those that mean nothing else do.
#[test]
fn every_printable_character_in_a_password() {
    for c in ' '..='~' {
        let password = format!("a{c}b{c}{c}9");
        let encoded = percent_encoding::percent_encode(
            password.as_bytes(),
            percent_encoding::NON_ALPHANUMERIC,
        );
        let found = parse(HOLDER, &format!("postgres://u:{encoded}@h:1/d")).unwrap();
        assert_eq!(found.0.value("password"), Some(password.as_str()));

        let found = parse(HOLDER, &format!("postgres://u:{password}@h:1/d")).unwrap();
        assert_eq!(found.0.value("password"), Some(password.as_str()), "{c:?}");
        assert_eq!(found.0.value("host"), Some("h"));

        let quoted = password.replace('\\', "\\\\").replace('\'', "\\'");
        let found = parse(HOLDER, &format!("host=h password='{quoted}'")).unwrap();
        assert_eq!(found.0.value("password"), Some(password.as_str()));
    }
}

#[test]
fn other_databases_and_no_url_at_all() {
    refuse("sqlite:secret.db", "PostgreSQL only, not sqlite");
    refuse("file:./secret.db", "PostgreSQL only, not file");
    refuse("mysql://root:secret@h/d", "PostgreSQL only, not mysql");
    refuse("mongodb+srv://secret@h", "PostgreSQL only, not mongodb");
    refuse("jdbc:mysql://h/d?password=secret", "PostgreSQL only");
    refuse("prisma://accelerate/?api_key=secret", "proxy");
    refuse("prisma+postgres://accelerate/?api_key=secret", "proxy");
    refuse(
        "pgx5://u:secret@h/d",
        "pgx5:// is not known: write postgres://",
    );
    refuse("localhost:5432/secret", "must begin with postgres://");
    refuse("u:secret@h/d", "must begin with postgres://");
    refuse("secret", "must begin with postgres://");
    refuse("", "must begin with postgres://");
    refuse("postgres:u:secret@h", "\"//\" is missing");
    refuse("\"postgres://u:secret@h\"", "quotes");
}

#[test]
fn mistakes() {
    refuse("postgres://u:secret@h:port/d", "no port number");
    refuse("postgres://u:secret@[::1/d", "not closed");
    refuse("postgres://u:secret@[::1]x/d", "between");
    refuse("postgres://u:secret@h o/d", "character that none can have");
    refuse(
        "postgres://u:secret@h/d?sslmod=require",
        "did you mean \"sslmode\"?",
    );
    refuse(
        "postgres://u:secret@h/d?frob=1",
        "unknown parameter \"frob\"",
    );
    refuse("postgres://u:secret@h/d?flag", "no \"=\"");
    refuse("postgres://u:%00secret@h/d", "NUL");
    refuse("postgres://u:%FFsecret@h/d", "UTF-8");
    refuse(
        "postgres://u:secret@h/d?ssl=perhaps",
        "expected true, false",
    );
    refuse("host=h password='secret", "not closed");
    // All of them at once.
    assert_eq!(parse(HOLDER, "postgres://h?a=1&b=2").unwrap_err().len(), 2);
}

#[test]
fn sections_of_a_service_file() {
    let text = "[s]\nhost=h\nsslmode=require\n";
    let settings = from_service("/f", "s", text).unwrap().unwrap();
    assert_eq!(settings.value("host"), Some("h"));
    assert_eq!(from_service("/f", "t", text).unwrap(), None);
    assert!(from_service("/f", "s", "[s]\nfrob=1\n").is_err());
}

/// No text makes it panic, and what it says never holds the password.
#[test]
fn nothing_panics() {
    const PIECES: &[&str] = &[
        "postgres://",
        "jdbc:postgresql:",
        "//",
        "/",
        "@",
        ":",
        "?",
        "&",
        "=",
        "#",
        "%",
        "%2",
        "%40",
        "%ff",
        "[",
        "]",
        "::1",
        ",",
        "'",
        "\\",
        " ",
        "é",
        "\u{0}",
        "host",
        "5432",
        "user",
        "sslmode",
        "require",
        "s3cr3t",
        "+",
        "",
    ];
    let mut state = 1_u64;
    let mut random = move |bound: usize| {
        // Knuth's MMIX generator
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % bound
    };
    for _ in 0..20_000 {
        let mut text = if random(2) == 0 { "postgres://" } else { "" }.to_owned();
        for _ in 0..random(10) {
            text.push_str(PIECES[random(PIECES.len())]);
        }
        if let Err(problems) = parse(HOLDER, &text) {
            assert!(!problems.is_empty(), "{text:?}");
        }
        let text = format!("postgres://u:s3cr3t{text}");
        if let Err(problems) = parse(HOLDER, &text) {
            let shown = format!("{problems:?}");
            assert!(
                !shown.contains("s3cr3t") || text.matches("s3cr3t").count() > 1,
                "{text:?}: {shown}"
            );
        }
    }
}
