//! The rows of the settings table.

use super::names::{Honour, Kind, Preset, Setting, Unhonoured};

use Kind::{Bool, Hidden, Text};
use Preset::{Unset, Value, Words};

/// Everything that talks to a database.
const CONNECTS: &[&str] = &[
    "migrate", "status", "wait", "baseline", "sidecar", "run", "exec", "plan", "verify",
    "validate", "repair", "down", "doctor",
];
/// Everything that waits for the database for a limited time: the sidecar waits without end.
const WAITS: &[&str] = &[
    "migrate", "status", "wait", "baseline", "run", "exec", "plan", "verify", "validate", "repair",
    "down", "doctor",
];
/// Everything that reads the folder.
const READS: &[&str] = &[
    "migrate", "status", "wait", "baseline", "sidecar", "run", "plan", "lint", "verify",
    "validate", "repair", "down",
];
/// Everything that names a history, be it for the lock and the journal only.
const NAMES_HISTORY: &[&str] = &[
    "migrate", "status", "wait", "baseline", "sidecar", "run", "exec", "plan", "verify",
    "validate", "repair", "down",
];
/// Everything that decides which migrations are to run.
const PLANS: &[&str] = &[
    "migrate", "status", "wait", "sidecar", "run", "plan", "verify",
];
/// Everything that takes the lock.
const LOCKS: &[&str] = &[
    "migrate", "baseline", "sidecar", "run", "exec", "repair", "down",
];
/// Everything that waits for locks of tables.
const LOCKS_TABLES: &[&str] = &["migrate", "baseline", "sidecar", "run", "repair", "down"];
/// Everything that runs migrations.
const APPLIES: &[&str] = &["migrate", "sidecar", "run", "validate", "down"];
/// Everything that writes.
const WRITES: &[&str] = &[
    "migrate", "baseline", "sidecar", "run", "exec", "repair", "down",
];
/// Everything.
const EVERYTHING: &[&str] = &[
    "migrate", "status", "wait", "baseline", "install", "sidecar", "run", "exec", "plan", "lint",
    "verify", "validate", "repair", "down", "doctor",
];
/// Everything that gates hold back.
const GATED: &[&str] = &["migrate", "sidecar", "run", "plan", "lint"];
/// What ends by itself.
const ONE_SHOT: &[&str] = &["migrate", "exec", "verify", "baseline", "down", "wait"];

/// Every setting, in the order of the README.
pub static SETTINGS: [Setting; 43] = [
    row(
        "SCHEMAGATE_DIR",
        "dir",
        Value("/migrations"),
        Text("PATH"),
        READS,
        "the folder with the migrations, or a `.tar.gz` of one",
    ),
    row(
        "SCHEMAGATE_FORMAT",
        "format",
        Value("auto"),
        Text("FORMAT"),
        READS,
        "`auto`, `drizzle` or `sql`",
    ),
    row(
        "SCHEMAGATE_HISTORY_TABLE",
        "history-table",
        Words("the format's own"),
        Text("SCHEMA.TABLE"),
        NAMES_HISTORY,
        "where the history is; a part with capital letters, dots or spaces in double quotes",
    ),
    row(
        "SCHEMAGATE_TARGET",
        "target",
        Words("latest"),
        Text("VERSION"),
        PLANS,
        "no further than this version",
    ),
    row(
        "SCHEMAGATE_PHASE",
        "phase",
        Value("expand"),
        Text("PHASE"),
        PLANS,
        "`expand`: in order, stop before the first pending migration marked `phase=contract`; `contract` or `all`: everything pending",
    ),
    row(
        "SCHEMAGATE_ALLOW_EMPTY",
        "allow-empty",
        Value("false"),
        Bool,
        READS,
        "accept a folder without migrations, which is an error otherwise",
    ),
    row(
        "SCHEMAGATE_WAIT",
        "wait",
        Value("true"),
        Bool,
        WAITS,
        "wait for the database; `false`: one attempt",
    ),
    row(
        "SCHEMAGATE_WAIT_TIMEOUT",
        "wait-timeout",
        Value("2m"),
        Text("DURATION"),
        WAITS,
        "how long to wait for the database; with `wait --for schema`, for the schema",
    ),
    row(
        "SCHEMAGATE_AUTH_GRACE",
        "auth-grace",
        Value("10s"),
        Text("DURATION"),
        WAITS,
        "how long refused credentials are tried again",
    ),
    row(
        "SCHEMAGATE_LOCK_KEY",
        "lock-key",
        Words("derived from database and history table"),
        Text("NUMBER"),
        LOCKS,
        "the advisory lock, a signed 64-bit number; set it to an older script's and the two exclude each other",
    ),
    row(
        "SCHEMAGATE_LOCK_WAIT_TIMEOUT",
        "lock-wait-timeout",
        Value("5m"),
        Text("DURATION|off"),
        LOCKS,
        "how long another holder of the lock may make no progress before giving up; `off`: do not queue",
    ),
    row(
        "SCHEMAGATE_LOCK_TIMEOUT",
        "lock-timeout",
        Value("2s"),
        Text("DURATION"),
        LOCKS_TABLES,
        "PostgreSQL's `lock_timeout` for each lock wait inside a transaction; on expiry the migration rolls back and is tried again",
    ),
    row(
        "SCHEMAGATE_LOCK_RETRIES",
        "lock-retries",
        Value("20"),
        Text("NUMBER"),
        LOCKS_TABLES,
        "how often it is tried again",
    ),
    row(
        "SCHEMAGATE_STATEMENT_TIMEOUT",
        "statement-timeout",
        Value("0"),
        Text("DURATION"),
        APPLIES,
        "PostgreSQL's `statement_timeout`; `0` is set too, overriding defaults of role and database",
    ),
    row(
        "SCHEMAGATE_DEADLINE",
        "deadline",
        Value("0"),
        Text("DURATION"),
        CONNECTS,
        "for the whole command, in a sidecar for each migrating run; on expiry the running statement is cancelled on the server",
    ),
    row(
        "SCHEMAGATE_TRANSACTION",
        "transaction",
        Value("each"),
        Text("MODE"),
        APPLIES,
        "`each`: one transaction a migration; `all`: one for all that is pending",
    ),
    row(
        "SCHEMAGATE_ROLE",
        "role",
        Unset,
        Text("ROLE"),
        NAMES_HISTORY,
        "`SET ROLE` to it, written as in the catalog, so that objects belong to the application's owner",
    ),
    row(
        "SCHEMAGATE_SLOW_THRESHOLD",
        "slow-threshold",
        Value("30s"),
        Text("DURATION"),
        APPLIES,
        "a migration that takes longer is warned of",
    ),
    row(
        "SCHEMAGATE_AHEAD",
        "ahead",
        Value("allow"),
        Text("POLICY"),
        PLANS,
        "history rows that this image does not know: `allow` or `fail`",
    ),
    row(
        "SCHEMAGATE_OUT_OF_ORDER",
        "out-of-order",
        Words("as the tool"),
        Text("POLICY"),
        PLANS,
        "pending, but older than the newest applied: `apply`, `fail` or `ignore`",
    ),
    row(
        "SCHEMAGATE_CHECKSUM",
        "checksum",
        Words("as the tool"),
        Text("POLICY"),
        PLANS,
        "an applied file has changed: `fail`, `warn` or `ignore`",
    ),
    row(
        "SCHEMAGATE_DRY_RUN",
        "dry-run",
        Value("false"),
        Bool,
        WRITES,
        "look and report, write nothing",
    ),
    row(
        "SCHEMAGATE_AUTO_MIGRATE",
        "auto-migrate",
        Value("false"),
        Bool,
        &["sidecar", "run"],
        "migrate, instead of only looking",
    ),
    row(
        "SCHEMAGATE_REQUIRE_CURRENT",
        "require-current",
        Value("false"),
        Bool,
        &["run"],
        "exit 8 instead of starting the command while migrations are pending",
    ),
    row(
        "SCHEMAGATE_EXEC_ONCE",
        "exec-once",
        Unset,
        Text("MARKER"),
        &["exec", "sidecar", "status", "wait", "run"],
        "a marker, say the image's tag: `exec` runs once for it, the others take it as the schema being current",
    ),
    row(
        "SCHEMAGATE_LISTEN",
        "listen",
        Value("[::]:9911"),
        Text("ADDRESS"),
        &["sidecar", "probe"],
        "where the endpoints are served, and where `probe` asks",
    ),
    row(
        "SCHEMAGATE_DETAIL",
        "detail",
        Value("loopback"),
        Text("loopback|all"),
        &["sidecar"],
        "who sees details on `/` and `/status`: `loopback` (a port-forward comes from there) or `all`; others see state and version",
    ),
    row(
        "SCHEMAGATE_POLL_INTERVAL",
        "poll-interval",
        Words("`1s` doubling to `15s`, `30s` once ready"),
        Text("DURATION"),
        &["sidecar", "wait"],
        "how often the schema is looked at, at most; each pause is anything up to it",
    ),
    row(
        "SCHEMAGATE_WATCH",
        "watch",
        Value("poll"),
        Text("poll|listen"),
        &["sidecar"],
        "`poll`: look again and again, holding no connection; `listen`: keep one a pod and be told by whoever migrates",
    ),
    row(
        "SCHEMAGATE_ON_FAILURE",
        "on-failure",
        Value("serve"),
        Text("serve|exit"),
        &["sidecar"],
        "what a migrating sidecar does after it failed for good: `serve` the reason, or `exit` with the code",
    ),
    row(
        "SCHEMAGATE_PUSHGATEWAY_URL",
        "pushgateway-url",
        Unset,
        Hidden("URL"),
        ONE_SHOT,
        "where a one-shot command pushes its metrics",
    ),
    row(
        "SCHEMAGATE_QUIT_URL",
        "quit-url",
        Unset,
        Hidden("URL"),
        ONE_SHOT,
        "what a one-shot command POSTs at its end, for mesh proxies",
    ),
    row(
        "SCHEMAGATE_LOG_FORMAT",
        "log-format",
        Value("auto"),
        Text("FORMAT"),
        EVERYTHING,
        "`json`, `text`, or `auto`: `json` where stderr is no terminal",
    ),
    row(
        "SCHEMAGATE_LOG",
        "log",
        Value("info"),
        Text("FILTER"),
        EVERYTHING,
        "a level (`off`, `error`, `warn`, `info`, `debug`, `trace`), or a list such as `info,tokio=debug`",
    ),
    with_empty(later(
        "SCHEMAGATE_ALLOW",
        "allow",
        Value("blocking,rewrite"),
        Text("CLASSES"),
        GATED,
        "risk classes that need no approval: `blocking`, `rewrite`, `destructive`, or `all`; empty holds all three",
        allow,
    )),
    later(
        "SCHEMAGATE_APPROVE",
        "approve",
        Unset,
        Text("VERSIONS"),
        GATED,
        "approved migrations: `0004`, or `0004@3f9a…` for one content only",
        |_| Unhonoured::Harmless,
    ),
    later(
        "SCHEMAGATE_WINDOW",
        "window",
        Unset,
        Text("WINDOW"),
        GATED,
        "when risky migrations may run, e.g. `Sat 02:00-04:00 Europe/Berlin`",
        |_| Unhonoured::Refused,
    ),
    later(
        "SCHEMAGATE_APP_VERSION",
        "app-version",
        Unset,
        Text("VERSION"),
        GATED,
        "compared with a file's `requires-app`",
        |_| Unhonoured::Harmless,
    ),
    later(
        "SCHEMAGATE_REQUIRE_GONE",
        "require-gone",
        Unset,
        Text("APPS"),
        GATED,
        "contract steps wait until no such `application_name` is connected, e.g. `myapp/<2.0`",
        |_| Unhonoured::Refused,
    ),
    later(
        "SCHEMAGATE_REQUIRE_BACKUP",
        "require-backup",
        Unset,
        Text("DURATION"),
        GATED,
        "destructive steps need a backup no older than this",
        |_| Unhonoured::Refused,
    ),
    later(
        "SCHEMAGATE_RESTORE_POINT",
        "restore-point",
        Value("auto"),
        Text("auto|true|false"),
        GATED,
        "create a named restore point before a destructive step",
        |value| {
            if value == "true" {
                Unhonoured::Refused
            } else {
                Unhonoured::Harmless
            }
        },
    ),
    later(
        "SCHEMAGATE_VERIFY_DIR",
        "verify-dir",
        Unset,
        Text("PATH"),
        &["verify"],
        "your own assertions",
        told,
    ),
    later(
        "SCHEMAGATE_DRIFT_IGNORE",
        "drift-ignore",
        Unset,
        Text("PATTERNS"),
        &["verify"],
        "objects that drift may leave out",
        told,
    ),
];

const fn row(
    name: &'static str,
    flag: &'static str,
    default: Preset,
    kind: Kind,
    commands: &'static [&'static str],
    meaning: &'static str,
) -> Setting {
    Setting {
        name,
        flag,
        default,
        kind,
        commands,
        meaning,
        empty_counts: false,
        honour: Honour::Yes,
    }
}

const fn later(
    name: &'static str,
    flag: &'static str,
    default: Preset,
    kind: Kind,
    commands: &'static [&'static str],
    meaning: &'static str,
    verdict: fn(&str) -> Unhonoured,
) -> Setting {
    Setting {
        honour: Honour::Later(verdict),
        ..row(name, flag, default, kind, commands, meaning)
    }
}

const fn with_empty(setting: Setting) -> Setting {
    Setting {
        empty_counts: true,
        ..setting
    }
}

/// Where nothing would be protected that is not protected anyway, but the user would be surprised.
fn told(_: &str) -> Unhonoured {
    Unhonoured::Told
}

/// Only a list that names every class asks for nothing. The default is told rather than refused: charts spell
/// defaults out.
fn allow(value: &str) -> Unhonoured {
    let mut classes: Vec<&str> = value.split(',').map(str::trim).collect();
    classes.sort_unstable();
    classes.dedup();
    match classes[..] {
        ["all"] | ["blocking", "destructive", "rewrite"] => Unhonoured::Harmless,
        ["blocking", "rewrite"] => Unhonoured::Told,
        _ => Unhonoured::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allow_is_refused_where_it_asks_for_protection() {
        for (value, expected) in [
            ("all", Unhonoured::Harmless),
            ("blocking,rewrite,destructive", Unhonoured::Harmless),
            ("rewrite, blocking", Unhonoured::Told),
            ("blocking,rewrite", Unhonoured::Told),
            ("blocking", Unhonoured::Refused),
            ("", Unhonoured::Refused),
        ] {
            assert_eq!(allow(value), expected, "{value:?}");
        }
    }
}
