use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn params(vars: &[(&str, &str)]) -> Result<(Params, Vec<String>), Vec<Problem>> {
    let var = |name: &str| {
        vars.iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| (*value).to_owned())
    };
    Params::from_vars(&var, "schemagate/1 pod")
}

#[track_caller]
fn label(vars: &[(&str, &str)], expected: &str) {
    let (params, _) = params(vars).unwrap();
    let label = params.database_label().map(|label| label.to_string());
    assert_eq!(label.as_deref(), Some(expected));
}

#[track_caller]
fn bad(vars: &[(&str, &str)], expected: &str) {
    let problems = params(vars).map(|_| ()).unwrap_err();
    let shown: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(shown.join("\n"), expected);
}

#[test]
fn the_first_url_wins_and_variables_fill_its_gaps() {
    let both = [
        ("SCHEMAGATE_DATABASE_URL", "postgres://migrator@db/app"),
        ("DATABASE_URL", "postgres://app@other:1/x"),
        ("PGHOST", "third"),
        ("PGPORT", "7"),
    ];
    label(&both, "database \"app\" at db:7 as \"migrator\"");
    label(&both[1..], "database \"x\" at other:1 as \"app\"");
    label(
        &[("PGHOST", "h"), ("PGUSER", "u")],
        "database \"u\" at h:5432 as \"u\"",
    );
    label(
        &[
            ("DATABASE_URL", ""),
            ("PGHOST", "a,b"),
            ("PGUSER", "u"),
            ("PGDATABASE", "d"),
        ],
        "database \"d\" at a:5432,b:5432 as \"u\"",
    );
}

#[test]
fn nothing_at_all() {
    bad(
        &[("PGSSLMODE", "require"), ("PGHOST", "")],
        "SCHEMAGATE_DATABASE_URL: no database is named: set it, DATABASE_URL, or PGHOST and the other variables of libpq\n\
         PGUSER: no database user is named: set PGUSER, or write postgres://USER@…"
            .split_once('\n')
            .unwrap()
            .0,
    );
    assert!(!Params::is_configured(&|_| None));
    assert!(!Params::is_configured(&|_| Some(String::new())));
    assert!(Params::is_configured(
        &|name| (name == "DATABASE_URL_FILE").then(|| "/x".to_owned())
    ));
}

#[test]
fn two_sources_of_one_thing() {
    bad(
        &[
            ("DATABASE_URL", "postgres://u@h"),
            ("DATABASE_URL_FILE", "/x"),
        ],
        "DATABASE_URL: set either this or DATABASE_URL_FILE",
    );
    bad(
        &[
            ("DATABASE_URL", "postgres://u@h"),
            ("PGPASSWORD", "a"),
            ("PGPASSWORD_FILE", "/x"),
        ],
        "PGPASSWORD: set either this or PGPASSWORD_FILE",
    );
}

#[test]
fn problems_name_where_the_value_stands() {
    bad(
        &[
            ("DATABASE_URL", "postgres://u:secret@h/d?sslmode=on"),
            ("PGPORT", "x"),
        ],
        "PGPORT=\"x\": expected a number from 1 to 65535, or several separated by commas\n\
         DATABASE_URL: sslmode=\"on\": expected one of disable, allow, prefer, require, verify-ca, verify-full",
    );
}

#[test]
fn no_password_in_debug() {
    let (params, _) = params(&[
        ("DATABASE_URL", "postgres://u:hunter2@h/d"),
        ("PGPASSWORD", "hunter2"),
    ])
    .unwrap();
    assert!(!format!("{params:?}").contains("hunter2"));
    assert!(!format!("{:?}", params.resolve().unwrap()).contains("hunter2"));
}

#[test]
fn a_primary_is_asked_for() {
    let wanted = |word: &str| {
        let (mut params, _) = params(&[
            ("PGHOST", "h"),
            ("PGUSER", "u"),
            ("PGTARGETSESSIONATTRS", word),
        ])
        .unwrap();
        params
            .require_primary()
            .map(|()| params.resolve().unwrap().session)
    };
    assert_eq!(wanted("any"), Ok(SessionAttrs::Primary));
    assert_eq!(wanted("prefer-standby"), Ok(SessionAttrs::Primary));
    assert_eq!(wanted("read-write"), Ok(SessionAttrs::ReadWrite));
    assert_eq!(wanted("primary"), Ok(SessionAttrs::Primary));
    let problem = wanted("standby").unwrap_err();
    assert!(
        problem
            .to_string()
            .starts_with("PGTARGETSESSIONATTRS=\"standby\": this command writes")
    );
    assert!(wanted("read-only").is_err());
}

#[test]
fn files_are_read_at_every_attempt() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let (url, password) = (file("url"), file("password"));
    let vars = [
        ("DATABASE_URL_FILE", url.as_str()),
        ("PGPASSWORD_FILE", password.as_str()),
    ];
    let (params, _) = params(&vars).unwrap();
    assert_eq!(params.database_label(), None);
    assert!(
        params
            .resolve()
            .unwrap_err()
            .to_string()
            .starts_with("file with the URL")
    );

    write("url", "postgres://u@h/one\n");
    assert!(
        params
            .resolve()
            .unwrap_err()
            .to_string()
            .starts_with("password file")
    );
    write("password", "first\n");
    let target = params.resolve().unwrap();
    assert_eq!(
        (target.database.as_str(), target.password.clone()),
        ("one", Some(Secret::new("first")))
    );

    write("url", "postgres://u@h/two");
    write("password", "second");
    let target = params.resolve().unwrap();
    assert_eq!(
        (target.database.as_str(), target.password.clone()),
        ("two", Some(Secret::new("second")))
    );

    // The URL's own password wins, and its mistakes name the variable and the file.
    write("url", "postgres://u:own@h/two");
    assert_eq!(params.resolve().unwrap().password, Some(Secret::new("own")));
    write("url", "mysql://u:own@h/two");
    let error = params.resolve().unwrap_err().to_string();
    assert!(
        error.starts_with("DATABASE_URL_FILE (") && !error.contains("own@"),
        "{error}"
    );
}

/// As libpq has it: URL, service, variables.
#[test]
fn a_service_stands_between_url_and_variables() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("services");
    std::fs::write(
        &path,
        "[s]\nhost=from-service\nport=1\ndbname=from-service\n",
    )
    .unwrap();
    let path = path.display().to_string();
    let base = [
        ("PGSERVICEFILE", path.as_str()),
        ("PGHOST", "from-variable"),
        ("PGUSER", "u"),
    ];
    let resolve = |more: &[(&str, &str)]| {
        let vars: Vec<_> = base.iter().chain(more).copied().collect();
        params(&vars).unwrap().0.resolve()
    };
    let shown = |more| DatabaseLabel::of(&resolve(more).unwrap()).to_string();
    assert_eq!(
        shown(&[("PGSERVICE", "s")]),
        "database \"from-service\" at from-service:1 as \"u\""
    );
    assert_eq!(
        shown(&[("DATABASE_URL", "postgres://from-url?service=s")]),
        "database \"from-service\" at from-url:1 as \"u\""
    );
    assert_eq!(shown(&[]), "database \"u\" at from-variable:5432 as \"u\"");
    let error = resolve(&[("PGSERVICE", "t")]).unwrap_err().to_string();
    assert!(
        error.ends_with("no definition of service \"t\" was found"),
        "{error}"
    );
}

#[test]
fn a_password_file_of_any_permissions() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("password");
    std::fs::write(&path, "pw\n").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let path = path.display().to_string();
    let (params, _) =
        params(&[("PGHOST", "h"), ("PGUSER", "u"), ("PGPASSWORD_FILE", &path)]).unwrap();
    assert_eq!(params.resolve().unwrap().password, Some(Secret::new("pw")));
}
