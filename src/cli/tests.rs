use super::*;

/// Parses a command line under an environment of `NAME=value`; a database is named unless `env` names one.
fn run(args: &str, env: &[&str]) -> Result<Invocation, CliExit> {
    let args = std::iter::once("schemagate").chain(args.split_whitespace());
    let database = ["PGHOST=db", "PGUSER=app"];
    let env = database.iter().chain(env);
    let env = env.filter_map(|pair| pair.split_once('='));
    parse(
        args.map(OsString::from),
        env.map(|(name, value)| (name.into(), value.into())),
    )
}

#[track_caller]
fn refused(args: &str, env: &[&str], texts: &[&str]) {
    let exit = run(args, env).unwrap_err();
    assert_eq!(exit.status, ExitStatus::Usage, "{exit}");
    assert_eq!(exit.stream, Stream::Stderr);
    for text in texts {
        assert!(exit.text.contains(text), "{text:?} is not in\n{exit}");
    }
}

#[test]
fn commands() {
    let table = StatusFormat::Table;
    let json = StatusFormat::Json;
    let database = Command::Wait {
        until: Until::Database,
    };
    for (args, expected) in [
        ("migrate", Command::Migrate),
        ("wait", database.clone()),
        ("wait --for database", database.clone()),
        ("wait --for=database", database),
        (
            "wait --for schema",
            Command::Wait {
                until: Until::Schema,
            },
        ),
        (
            "status --history --format json",
            Command::Journal {
                format: json,
                limit: None,
            },
        ),
        ("sidecar", Command::Sidecar),
        (
            "run --auto-migrate -- app --role x -- -y",
            Command::Run {
                argv: ["app", "--role", "x", "--", "-y"].map(Into::into).into(),
            },
        ),
        (
            "exec --exec-once 1.4 -- alembic upgrade head",
            Command::Exec {
                argv: ["alembic", "upgrade", "head"].map(Into::into).into(),
            },
        ),
        (
            "probe",
            Command::Probe {
                endpoint: Endpoint::Ready,
            },
        ),
        (
            "probe --startup",
            Command::Probe {
                endpoint: Endpoint::Startup,
            },
        ),
        (
            "status",
            Command::Status {
                format: table,
                exit_code: false,
            },
        ),
        (
            "status --format json",
            Command::Status {
                format: json,
                exit_code: false,
            },
        ),
        (
            "status --exit-code --format=table",
            Command::Status {
                format: table,
                exit_code: true,
            },
        ),
        (
            "baseline --to 0004",
            Command::Baseline {
                to: "0004".to_owned(),
            },
        ),
        ("install /x", Command::Install { path: "/x".into() }),
    ] {
        assert_eq!(run(args, &[]).unwrap().command, expected, "{args}");
    }
}

#[test]
fn probe_ends_with_nothing_but_0_and_1() {
    for args in [
        "probe --ready --live",
        "probe x",
        "--log x=y=z probe",
        "probe --listen x",
    ] {
        assert_eq!(
            run(args, &[]).unwrap_err().status,
            ExitStatus::Other(1),
            "{args}"
        );
    }
    refused("run", &[], &["COMMAND"]);
    refused("run -- ", &[], &["COMMAND"]);
    refused("exec alembic", &[], &["unexpected argument"]);
}

#[test]
fn the_two_meanings_of_format() {
    use crate::migration::FormatSetting;
    for (args, expected) in [
        ("status --format json", FormatSetting::Sql),
        (
            "status --format drizzle --format json",
            FormatSetting::Drizzle,
        ),
        (
            "--format drizzle status --format json",
            FormatSetting::Drizzle,
        ),
        ("migrate --format auto", FormatSetting::Auto),
    ] {
        let invocation = run(args, &["SCHEMAGATE_FORMAT=sql"]).unwrap();
        assert_eq!(invocation.config.format, expected, "{args}");
    }
    refused(
        "status --format yaml",
        &[],
        &["--format=\"yaml\"", "drizzle"],
    );
    refused("migrate --format json", &[], &["--format=\"json\""]);
}

#[test]
fn flags_win_wherever_they_stand() {
    for (args, expected) in [
        ("migrate", Some("env")),
        ("migrate --role flag", Some("flag")),
        ("--role root migrate", Some("root")),
        ("--role root migrate --role=flag", Some("flag")),
        ("migrate --role one --role two", Some("two")),
        ("migrate --role=", None),
    ] {
        let invocation = run(args, &["SCHEMAGATE_ROLE=env"]).unwrap();
        assert_eq!(invocation.config.role.as_deref(), expected, "{args}");
    }
}

#[test]
fn booleans_stand_alone_or_take_a_value() {
    for (args, allow_empty, wait) in [
        ("migrate", false, true),
        ("migrate --allow-empty", true, true),
        ("migrate --allow-empty --wait=false", true, false),
        ("migrate --allow-empty=false --wait=true", false, true),
    ] {
        let config = run(args, &[]).unwrap().config;
        assert_eq!(
            (config.allow_empty, config.wait),
            (allow_empty, wait),
            "{args}"
        );
    }
    refused(
        "migrate --wait=no",
        &[],
        &["--wait=\"no\"", "true or false"],
    );
}

#[test]
fn every_command_takes_every_setting_and_shows_its_own() {
    for setting in &SETTINGS {
        for command in ["migrate", "status", "wait", "baseline --to 1", "install /x"] {
            let args = format!("{command} --{}=", setting.flag);
            if setting.name != "SCHEMAGATE_ALLOW" {
                assert!(run(&args, &[]).is_ok(), "{args}");
            }
        }
        for command in ["migrate", "status", "wait", "baseline", "install"] {
            let help = run(&format!("{command} --help"), &[]).unwrap_err().text;
            let shown = help.lines().any(|line| {
                let name = line.trim_start().strip_prefix("--").unwrap_or_default();
                name.split([' ', '[', '=']).next() == Some(setting.flag)
            });
            let own = command == "status" && setting.flag == "format";
            assert_eq!(
                shown,
                setting.works_in(command) || own,
                "{command} --{}",
                setting.flag
            );
        }
    }
}

#[test]
fn the_codes_of_probe_are_two() {
    let help = run("probe --help", &[]).unwrap_err().text;
    let (_, codes) = help.split_once("Exit codes:\n").unwrap();
    assert_eq!(
        codes.trim_end(),
        "  0    yes\n  1    no, or no answer, or a mistake in the call"
    );
}

#[test]
fn help_and_version_are_answers() {
    for args in [
        "--help",
        "-h",
        "help",
        "help migrate",
        "migrate -h",
        "install --help",
        "baseline --help",
    ] {
        let exit = run(args, &[]).unwrap_err();
        assert_eq!(
            (exit.status, exit.stream),
            (ExitStatus::Done, Stream::Stdout),
            "{args}"
        );
        assert!(
            exit.text.contains("Examples:") && exit.text.contains("Exit codes:"),
            "{exit}"
        );
    }
    for args in ["--version", "-V", "migrate --version", "install -V"] {
        let exit = run(args, &[]).unwrap_err();
        assert_eq!(
            (exit.status, exit.stream),
            (ExitStatus::Done, Stream::Stdout),
            "{args}"
        );
        assert_eq!(
            exit.text,
            concat!("schemagate ", env!("CARGO_PKG_VERSION"), "\n")
        );
    }
}

#[test]
fn nothing_asked_is_help_on_stderr() {
    refused("", &[], &["Usage: schemagate", "migrate", "Exit codes:"]);
    refused("--log debug", &[], &["requires a subcommand"]);
}

#[test]
fn mistakes_get_suggestions() {
    refused("migrat", &[], &["migrat", "'migrate'"]);
    refused(
        "migrate --lock-timout 5s",
        &[],
        &["--lock-timout", "--lock-timeout"],
    );
    refused("migrate extra", &[], &["extra"]);
    refused("baseline", &[], &["--to <VERSION>"]);
    refused("baseline --to=", &[], &["--to <VERSION>"]);
    refused("install", &[], &["<PATH>"]);
    refused("wait --for godot", &[], &["godot"]);
}

#[test]
fn what_migrates_may_be_held_by_a_gate() {
    for name in ["migrate", "run", "doctor"] {
        let text = run(&format!("{name} --help"), &[]).unwrap_err().text;
        assert!(text.contains("\n  7    held"), "{text}");
    }
}

#[test]
fn what_comes_later_is_said() {
    for name in LATER_COMMANDS {
        refused(name, &[], &[name, "later release"]);
        refused(&format!("{name} --help"), &[], &["later release"]);
        refused(&format!("{name} -x y -- a b --c"), &[], &["later release"]);
    }
}

#[test]
fn a_connection_string_is_not_repeated() {
    for args in [
        "migrate postgres://u:hunter2@h/d",
        "postgres://u:hunter2@h/d",
        "migrate --database-url postgres://u:hunter2@h/d",
        "migrate --database-url=postgres://u:hunter2@h/d",
        "migrate --dir=/x host=h password=hunter2",
        "migrate --wait=postgres://u:hunter2@h/d --nope",
    ] {
        let exit = run(args, &[]).unwrap_err();
        assert_eq!(exit.status, ExitStatus::Usage);
        assert!(!exit.text.contains("hunter2"), "{args}\n{exit}");
    }
    refused(
        "migrate x://=",
        &[],
        &["unexpected argument '[not shown]' found"],
    );
    refused("migrate --database-url x", &[], &["--database-url-file"]);
}

#[test]
fn every_mistake_at_once() {
    let env = [
        "SCHEMAGATE_LOCK_TIMEOUT=5",
        "SCHEMAGATE_PHASE=shrink",
        "SCHEMAGATE_LOCK_TIMOUT=1s",
        "SCHEMAGATE_DATABSE_URL=postgres://u:hunter2@h/d",
        "SCHEMAGATE_SERVICE_HOST=10.0.0.1",
    ];
    refused(
        "migrate --lock-retries many",
        &env,
        &[
            "5 mistakes",
            "SCHEMAGATE_LOCK_TIMEOUT=\"5\"",
            "5s for seconds",
            "SCHEMAGATE_PHASE=\"shrink\": expand or contract or all",
            "SCHEMAGATE_LOCK_TIMOUT: there is no such setting, did you mean SCHEMAGATE_LOCK_TIMEOUT?",
            "did you mean SCHEMAGATE_DATABASE_URL?",
            "--lock-retries=\"many\"",
            "what to do:",
        ],
    );
    let exit = run("migrate", &env).unwrap_err();
    assert!(
        !exit.text.contains("hunter2") && !exit.text.contains("SERVICE_HOST"),
        "{exit}"
    );
}
