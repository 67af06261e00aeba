//! The words of `--help`.

use std::fmt::Write;

use crate::exit::ExitStatus;

/// One command's help.
pub(super) struct Topic {
    /// The command.
    pub(super) name: &'static str,
    /// What it does.
    pub(super) about: &'static str,
    /// Calls that work, with what they do.
    examples: &'static [(&'static str, &'static str)],
    /// What it can end with, besides 1 and the signals.
    codes: &'static [ExitStatus],
}

pub(super) const ABOUT: &str =
    "Waits for PostgreSQL, lets exactly one of many racing pods migrate, lets the others skip";

/// The commands of this release.
pub(super) const TOPICS: [Topic; 16] = [
    Topic {
        name: "migrate",
        about: "Wait for the database, apply what is pending under the lock, or skip when another pod did",
        examples: &[
            (
                "schemagate migrate",
                "the folder /migrations, the database of DATABASE_URL",
            ),
            (
                "schemagate migrate --dir ./drizzle --wait-timeout 5m",
                "another folder, more patience",
            ),
            (
                "schemagate migrate --target 0007 --phase contract",
                "up to 0007, contract steps too",
            ),
        ],
        codes: &[
            ExitStatus::Done,
            ExitStatus::Usage,
            ExitStatus::Unreachable,
            ExitStatus::Locked,
            ExitStatus::Sql,
            ExitStatus::History,
            ExitStatus::Held,
            ExitStatus::Refused,
            ExitStatus::Deadline,
        ],
    },
    Topic {
        name: "sidecar",
        about: "Serve /readyz, /startupz, /livez, /status, /metrics and a page, and watch the schema",
        examples: &[
            ("schemagate sidecar", "looks only, at [::]:9911"),
            (
                "schemagate sidecar --auto-migrate --watch listen",
                "migrates too, and is told of changes",
            ),
        ],
        codes: &[
            ExitStatus::Done,
            ExitStatus::Usage,
            ExitStatus::Sql,
            ExitStatus::History,
            ExitStatus::Deadline,
        ],
    },
    Topic {
        name: "run",
        about: "Wait for the database, then become the command: same process, its own signals and exit code",
        examples: &[
            (
                "schemagate run -- node server.js",
                "tells what is pending and starts",
            ),
            (
                "schemagate run --auto-migrate -- ./app",
                "migrates before it starts",
            ),
            (
                "schemagate run --require-current -- ./app",
                "does not start while anything is pending",
            ),
        ],
        codes: &[
            ExitStatus::Done,
            ExitStatus::Usage,
            ExitStatus::Unreachable,
            ExitStatus::Locked,
            ExitStatus::Sql,
            ExitStatus::History,
            ExitStatus::Held,
            ExitStatus::Pending,
            ExitStatus::Refused,
            ExitStatus::Deadline,
        ],
    },
    Topic {
        name: "exec",
        about: "Run another migration tool under the wait, the lock and the deadline",
        examples: &[
            (
                "schemagate exec -- alembic upgrade head",
                "one pod at a time, each runs it",
            ),
            (
                "schemagate exec --exec-once 1.4.2 -- rake db:migrate",
                "one pod runs it, the others skip",
            ),
        ],
        codes: &[
            ExitStatus::Done,
            ExitStatus::Usage,
            ExitStatus::Unreachable,
            ExitStatus::Locked,
            ExitStatus::Refused,
            ExitStatus::Deadline,
        ],
    },
    Topic {
        name: "wait",
        about: "Block until the database answers, or until the schema is what this image needs",
        examples: &[
            ("schemagate wait", "at most SCHEMAGATE_WAIT_TIMEOUT"),
            (
                "schemagate wait --for database --wait-timeout 0",
                "without end",
            ),
            (
                "schemagate wait --for schema --wait-timeout 10m",
                "a Job migrates; ends with 8 when it has not by then",
            ),
        ],
        codes: &[
            ExitStatus::Done,
            ExitStatus::Usage,
            ExitStatus::Unreachable,
            ExitStatus::History,
            ExitStatus::Pending,
            ExitStatus::Refused,
            ExitStatus::Deadline,
        ],
    },
    Topic {
        name: "status",
        about: "Print every migration, its state and when it was applied; changes nothing",
        examples: &[
            ("schemagate status", "a table"),
            ("schemagate status --format json", "for scripts"),
            (
                "schemagate status --exit-code",
                "ends with 8 while something is pending",
            ),
            ("schemagate status --history", "who did what, when"),
        ],
        codes: &[
            ExitStatus::Done,
            ExitStatus::Usage,
            ExitStatus::Unreachable,
            ExitStatus::History,
            ExitStatus::Pending,
            ExitStatus::Refused,
            ExitStatus::Deadline,
        ],
    },
    Topic {
        name: "plan",
        about: "Print what would run, statement by statement, with risk and locks; changes nothing",
        examples: &[
            ("schemagate plan", "what a release would do"),
            (
                "schemagate plan --format markdown",
                "for a comment on a pull request",
            ),
            (
                "schemagate plan --trace",
                "runs it on this database, rolls back and reports",
            ),
        ],
        codes: &[
            ExitStatus::Done,
            ExitStatus::Usage,
            ExitStatus::Unreachable,
            ExitStatus::Locked,
            ExitStatus::Sql,
            ExitStatus::History,
            ExitStatus::Pending,
            ExitStatus::Refused,
            ExitStatus::Deadline,
        ],
    },
    Topic {
        name: "lint",
        about: "Check what migrations risk, without a database",
        examples: &[
            (
                "schemagate lint --since 0007 ./drizzle",
                "what comes behind 0007; what it finds before is applied",
            ),
            (
                "schemagate lint ./drizzle/0008_drop_email.sql",
                "the files that a pull request adds, in order",
            ),
            (
                "schemagate lint --fail-on blocking --format github",
                "in a workflow",
            ),
        ],
        codes: &[ExitStatus::Done, ExitStatus::Usage, ExitStatus::Held],
    },
    Topic {
        name: "verify",
        about: "Compare history, schema and your own assertions with what they should be; changes nothing",
        examples: &[
            ("schemagate verify", "in a PostSync Job"),
            (
                "schemagate verify --verify-dir ./assertions --format json",
                "your assertions too",
            ),
        ],
        codes: &[
            ExitStatus::Done,
            ExitStatus::Usage,
            ExitStatus::Unreachable,
            ExitStatus::History,
            ExitStatus::Pending,
            ExitStatus::Refused,
            ExitStatus::Deadline,
        ],
    },
    Topic {
        name: "validate",
        about: "Apply everything from nothing in a throwaway database, for CI",
        examples: &[
            (
                "schemagate validate --dir ./drizzle",
                "on the server of the settings",
            ),
            (
                "schemagate validate --server auto",
                "on a server of its own",
            ),
            (
                "schemagate validate --from-dump schema.sql",
                "from a dump of the schema",
            ),
        ],
        codes: &[
            ExitStatus::Done,
            ExitStatus::Usage,
            ExitStatus::Unreachable,
            ExitStatus::Locked,
            ExitStatus::Sql,
            ExitStatus::History,
            ExitStatus::Refused,
            ExitStatus::Deadline,
        ],
    },
    Topic {
        name: "baseline",
        about: "Mark migrations as applied without running them, to adopt an existing database",
        examples: &[(
            "schemagate baseline --to 0004",
            "everything up to 0004 is there already",
        )],
        codes: &[
            ExitStatus::Done,
            ExitStatus::Usage,
            ExitStatus::Unreachable,
            ExitStatus::Locked,
            ExitStatus::History,
            ExitStatus::Refused,
            ExitStatus::Deadline,
        ],
    },
    Topic {
        name: "repair",
        about: "Put the history right after you have looked at the database",
        examples: &[
            (
                "schemagate repair --clear-dirty 0004",
                "nothing of it is half done, run it again",
            ),
            (
                "schemagate repair --accept-checksum 0004",
                "its file was changed on purpose",
            ),
            ("schemagate repair --forget 0004", "take its row away"),
        ],
        codes: &[
            ExitStatus::Done,
            ExitStatus::Usage,
            ExitStatus::Unreachable,
            ExitStatus::Locked,
            ExitStatus::History,
            ExitStatus::Refused,
            ExitStatus::Deadline,
        ],
    },
    Topic {
        name: "down",
        about: "Undo migrations by their down files",
        examples: &[(
            "schemagate down --to 0004 --yes",
            "everything newer than 0004",
        )],
        codes: &[
            ExitStatus::Done,
            ExitStatus::Usage,
            ExitStatus::Unreachable,
            ExitStatus::Locked,
            ExitStatus::Sql,
            ExitStatus::History,
            ExitStatus::Refused,
            ExitStatus::Deadline,
        ],
    },
    Topic {
        name: "doctor",
        about: "Print what this connection really is: TLS, role, pooler, version, privileges, lock holder",
        examples: &[
            ("schemagate doctor", "at three in the morning"),
            ("schemagate doctor --format json", "for scripts"),
        ],
        codes: &[
            ExitStatus::Done,
            ExitStatus::Usage,
            ExitStatus::Unreachable,
            ExitStatus::Locked,
            ExitStatus::Sql,
            ExitStatus::History,
            ExitStatus::Held,
            ExitStatus::Refused,
            ExitStatus::Deadline,
        ],
    },
    Topic {
        name: "probe",
        about: "Ask the sidecar on this host; ends with 0 or 1",
        examples: &[
            ("schemagate probe", "is the schema ready?"),
            ("schemagate probe --live", "is the sidecar alive?"),
        ],
        codes: &[ExitStatus::Done],
    },
    Topic {
        name: "install",
        about: "Copy this executable, for images that have no cp",
        examples: &[
            ("schemagate install /shared", "to /shared/schemagate"),
            ("schemagate install /shared/bin/gate", "under another name"),
        ],
        codes: &[ExitStatus::Done, ExitStatus::Usage],
    },
];

/// What follows a command's options.
pub(super) fn epilogue(topic: &Topic) -> String {
    let mut text =
        String::from("Every setting is a variable too: --log-format is SCHEMAGATE_LOG_FORMAT.\n");
    if !matches!(topic.name, "install" | "probe" | "lint") {
        text.push_str("The database's address comes from SCHEMAGATE_DATABASE_URL, DATABASE_URL or PGHOST and the like.\n");
    }
    text.push_str("\nExamples:\n");
    let width = topic.examples.iter().map(|(call, _)| call.len()).max();
    for (call, meaning) in topic.examples {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "  {call:width$}  {meaning}",
            width = width.unwrap_or(0)
        );
    }
    if topic.name == "probe" {
        text.push_str(
            "\nExit codes:\n  0    yes\n  1    no, or no answer, or a mistake in the call\n",
        );
        return text;
    }
    let codes = ExitStatus::ALL.into_iter().filter(|status| {
        topic.codes.contains(status)
            || matches!(
                status,
                ExitStatus::Bug | ExitStatus::Interrupted | ExitStatus::Terminated
            )
    });
    push_codes(&mut text, codes);
    if matches!(topic.name, "run" | "exec") {
        text.push_str("  else the command's own once it has started, 128 + n for a signal\n");
    }
    text
}

/// What follows the list of commands.
pub(super) fn root_epilogue() -> String {
    let mut text = String::from(
        "Settings come from the environment; `schemagate migrate --help` lists them as flags, which win.\n\
         \nExamples:\n  schemagate migrate\n  schemagate status --exit-code\n",
    );
    push_codes(&mut text, ExitStatus::ALL);
    text
}

fn push_codes(text: &mut String, codes: impl IntoIterator<Item = ExitStatus>) {
    text.push_str("\nExit codes:\n");
    for status in codes {
        let _ = writeln!(text, "  {:<3}  {}", status.code(), status.meaning());
    }
}
