use super::*;
use crate::config::names::SETTINGS;

fn config(env: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    let vars = Vars::new(env.iter().map(|(name, value)| (name.into(), value.into())));
    Config::from_vars(&vars).map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

#[test]
fn defaults_are_those_of_the_contract() {
    let config = config(&[]).unwrap();
    assert_eq!(config.dir, PathBuf::from("/migrations"));
    assert_eq!(config.format, FormatSetting::Auto);
    assert_eq!(config.history_table, None);
    assert_eq!(config.phase, Phase::Expand);
    assert_eq!(
        (config.wait, config.allow_empty, config.dry_run),
        (true, false, false)
    );
    assert_eq!(config.wait_timeout, Some(Duration::from_mins(2)));
    assert_eq!(config.auth_grace, Some(Duration::from_secs(10)));
    assert_eq!(
        config.lock_wait,
        LockWait::For(Some(Duration::from_mins(5)))
    );
    assert_eq!(config.lock_timeout, Some(Duration::from_secs(2)));
    assert_eq!(config.lock_retries, 20);
    assert_eq!((config.statement_timeout, config.deadline), (None, None));
    assert_eq!(config.transaction, TransactionMode::Each);
    assert_eq!(config.slow_threshold, Some(Duration::from_secs(30)));
    assert_eq!(config.ahead, AheadPolicy::Allow);
    assert_eq!(
        (config.out_of_order, config.checksum, config.lock_key),
        (None, None, None)
    );
    assert_eq!(
        config.serving,
        Serving {
            listen: "[::]:9911".parse().unwrap(),
            detail_for_all: false,
            poll_interval: None,
            watch: Watch::Poll,
            on_failure: OnFailure::Serve,
        }
    );
    assert_eq!(
        (config.auto_migrate, config.require_current),
        (false, false)
    );
    assert_eq!(config.exec_once, None);
    assert_eq!((config.pushgateway_url, config.quit_url), (None, None));
}

#[test]
fn a_url_that_may_hold_a_password_is_not_repeated() {
    for name in ["SCHEMAGATE_PUSHGATEWAY_URL", "SCHEMAGATE_QUIT_URL"] {
        let told = config(&[(name, "ftp://u:hunter2@h")]).unwrap_err();
        assert!(
            told[0].starts_with(name) && !told[0].contains("hunter2"),
            "{told:?}"
        );
    }
}

#[test]
fn values_are_typed() {
    let config = config(&[
        ("SCHEMAGATE_DIR", " ./drizzle\n"),
        ("SCHEMAGATE_HISTORY_TABLE", "audit.\"Rows\""),
        ("SCHEMAGATE_LOCK_KEY", "-9223372036854775808"),
        ("SCHEMAGATE_LOCK_WAIT_TIMEOUT", "off"),
        ("SCHEMAGATE_LOCK_TIMEOUT", "0"),
        ("SCHEMAGATE_DEADLINE", "1h30m"),
        ("SCHEMAGATE_OUT_OF_ORDER", "ignore"),
        ("SCHEMAGATE_CHECKSUM", "warn"),
        ("SCHEMAGATE_APP_VERSION", "1.2.3"),
        ("HOSTNAME", "api-7f9c-ü"),
    ])
    .unwrap();
    assert_eq!(config.dir, PathBuf::from("./drizzle"));
    assert_eq!(config.history_table, Some(TableName::new("audit", "Rows")));
    assert_eq!(config.lock_key, Some(i64::MIN));
    assert_eq!(config.lock_wait, LockWait::Off);
    assert_eq!(config.lock_timeout, None);
    assert_eq!(config.deadline, Some(Duration::from_mins(90)));
    assert_eq!(config.out_of_order, Some(OutOfOrder::Ignore));
    assert_eq!(config.checksum, Some(ChecksumPolicy::Warn));
    assert_eq!(config.app_version.as_deref(), Some("1.2.3"));
    let expected = concat!("schemagate/", env!("CARGO_PKG_VERSION"), " api-7f9c-?");
    assert_eq!(config.application_name, expected);
}

#[test]
fn a_long_pod_name_is_cut() {
    let config = config(&[("HOSTNAME", &"x".repeat(100))]).unwrap();
    assert_eq!(config.application_name.len(), 63);
}

#[test]
fn empty_is_the_default() {
    for setting in SETTINGS.iter().filter(|s| !s.empty_counts) {
        let config = config(&[(setting.name, "")]);
        assert!(config.is_ok(), "{}: {config:?}", setting.name);
    }
}

#[test]
fn bad_values_are_told() {
    for (name, value, accepted) in [
        ("FORMAT", "goose", "later release"),
        ("HISTORY_TABLE", "Migrations", "double quotes"),
        ("HISTORY_TABLE", "migrations", "schema.table"),
        ("ALLOW_EMPTY", "yes", "true or false"),
        ("WAIT_TIMEOUT", "120", "120s for seconds"),
        ("LOCK_KEY", "9223372036854775808", "64-bit"),
        ("LOCK_WAIT_TIMEOUT", "never", "or off"),
        ("LOCK_TIMEOUT", "1000h", "PostgreSQL takes at most"),
        ("LOCK_RETRIES", "-1", "number"),
        ("TRANSACTION", "none", "each or all"),
        ("ROLE", "none", "not a role"),
        ("AHEAD", "warn", "allow or fail"),
        ("OUT_OF_ORDER", "warn", "apply or fail or ignore"),
        ("CHECKSUM", "apply", "fail or warn or ignore"),
        ("LOG_FORMAT", "xml", "auto or json or text"),
        ("LOG", "inof", "info"),
        ("ALLOW", "safe", "destructive"),
        ("APPROVE", "0004@1", "hexadecimal"),
        ("WINDOW", "Sat 02:00-04:00", "time zone is missing"),
        ("REQUIRE_GONE", "myapp/new", "myapp/<2.0"),
        ("REQUIRE_BACKUP", "1d", "duration"),
        ("POLL_INTERVAL", "soon", "duration"),
        ("POLL_INTERVAL", "0", "above 0"),
        ("LISTEN", "localhost:9911", "[::]:9911"),
        ("WATCH", "look", "poll or listen"),
        ("ON_FAILURE", "crash", "serve or exit"),
        ("DETAIL", "none", "loopback or all"),
        ("RESTORE_POINT", "maybe", "auto or true or false"),
    ] {
        let name = format!("SCHEMAGATE_{name}");
        let told = config(&[(&name, value)]).unwrap_err();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(
            told[0].starts_with(&format!("{name}={value:?}: ")),
            "{told:?}"
        );
        assert!(told[0].contains(accepted), "{told:?}");
    }
}

#[test]
fn what_holds_migrations_back() {
    use crate::sql::risk::Risk;
    let gate = |vars: &[(&str, &str)]| config(vars).unwrap().gate;
    let usual = gate(&[]);
    assert_eq!(usual.allow, [Risk::Blocking, Risk::Rewrite]);
    assert!(usual.window.is_none() && usual.require_backup.is_none());
    assert!(gate(&[("SCHEMAGATE_ALLOW", "")]).allow.is_empty());
    let gate = gate(&[
        ("SCHEMAGATE_ALLOW", "all"),
        ("SCHEMAGATE_APPROVE", "0004"),
        ("SCHEMAGATE_WINDOW", "Sat 02:00-04:00 Europe/Berlin"),
        ("SCHEMAGATE_APP_VERSION", "1.4.0"),
        ("SCHEMAGATE_REQUIRE_GONE", "myapp/<2.0"),
        ("SCHEMAGATE_REQUIRE_BACKUP", "24h"),
    ]);
    assert_eq!(gate.allow.len(), 3);
    assert_eq!(gate.approve[0].version, "0004");
    assert!(gate.window.is_some());
    assert_eq!(gate.app_version.as_deref(), Some("1.4.0"));
    assert_eq!(gate.require_gone[0].to_string(), "myapp/<2.0");
    assert_eq!(gate.require_backup, Some(Duration::from_hours(24)));
}
