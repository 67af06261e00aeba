//! `/status`: what is known, as JSON.

use jiff::Timestamp;
use serde::Serialize;

use crate::{progress::Progress, report::status::Line};

/// The version of the JSON form; additions do not change it.
const SCHEMA_VERSION: u32 = 1;

/// What everybody may see.
#[derive(Serialize)]
struct Public<'a> {
    schema_version: u32,
    state: &'static str,
    ready: bool,
    started: bool,
    draining: bool,
    version: Option<&'a str>,
    release: &'static str,
    /// Who sees more, where this is all.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'static str>,
}

/// What a local peer may see.
#[derive(Serialize)]
struct Detailed<'a> {
    #[serde(flatten)]
    public: Public<'a>,
    since: String,
    reason: Option<&'a str>,
    next_step: Option<&'a str>,
    database_up: bool,
    stale_since: Option<String>,
    seen_at: Option<String>,
    running: Option<Running<'a>>,
    holder: Option<&'a str>,
    format: Option<&'static str>,
    history: Option<&'a str>,
    database: Option<&'a str>,
    /// As `status --format json` has them.
    migrations: &'a [Line],
    ahead: &'a [String],
    missing: &'a [String],
    conflicts: &'a [String],
    warnings: &'a [String],
    errors: Vec<Noted<'a>>,
}

#[derive(Serialize)]
struct Running<'a> {
    version: &'a str,
    path: &'a str,
    since: String,
}

#[derive(Serialize)]
struct Noted<'a> {
    at: String,
    times: u64,
    text: &'a str,
}

/// The document.
pub(super) fn json(progress: &Progress, detail: bool) -> String {
    let public = Public {
        schema_version: SCHEMA_VERSION,
        state: progress.state.word(),
        ready: progress.is_ready(),
        started: progress.started,
        draining: progress.draining,
        version: progress.version.as_deref(),
        release: env!("CARGO_PKG_VERSION"),
        detail: (!detail).then_some(super::route::HINT),
    };
    let written = if detail {
        serde_json::to_string_pretty(&detailed(public, progress))
    } else {
        serde_json::to_string_pretty(&public)
    };
    // Strings and numbers can always be written.
    written.unwrap_or_default() + "\n"
}

fn detailed<'a>(public: Public<'a>, progress: &'a Progress) -> Detailed<'a> {
    let schema = progress.schema.as_deref();
    Detailed {
        public,
        since: time(progress.since),
        reason: progress.reason.as_deref(),
        next_step: progress.next_step.as_deref(),
        database_up: progress.database_up,
        stale_since: progress.stale_since.map(time),
        seen_at: progress.seen_at.map(time),
        running: progress.running.as_ref().map(|running| Running {
            version: &running.version,
            path: &running.path,
            since: time(running.since),
        }),
        holder: progress.holder.as_deref(),
        format: schema.map(|schema| schema.format),
        history: schema.map(|schema| schema.history.as_str()),
        database: schema.map(|schema| schema.database.as_str()),
        migrations: schema.map_or(&[], |schema| &schema.migrations),
        ahead: schema.map_or(&[], |schema| &schema.ahead),
        missing: schema.map_or(&[], |schema| &schema.missing),
        conflicts: schema.map_or(&[], |schema| &schema.conflicts),
        warnings: schema.map_or(&[], |schema| &schema.warnings),
        errors: progress
            .errors
            .iter()
            .map(|noted| Noted {
                at: time(noted.at),
                times: noted.times,
                text: &noted.text,
            })
            .collect(),
    }
}

/// RFC 3339, in UTC, to the millisecond.
pub(super) fn time(at: Timestamp) -> String {
    format!("{at:.3}")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::serve::route::tests::progress;

    fn parsed(progress: &Progress, detail: bool) -> Value {
        serde_json::from_str(&json(progress, detail)).unwrap()
    }

    fn keys(value: &Value) -> Vec<&str> {
        value
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect()
    }

    #[test]
    fn everything_for_a_local_peer() {
        let found = parsed(&progress(), true);
        assert_eq!(
            found,
            json!({
                "schema_version": 1,
                "state": "failed",
                "ready": false,
                "started": true,
                "draining": false,
                "version": "0001",
                "release": env!("CARGO_PKG_VERSION"),
                "since": "2026-01-02T03:04:05.600Z",
                "reason": "0002 failed: <b>",
                "next_step": "repair 0002",
                "database_up": true,
                "stale_since": null,
                "seen_at": "2026-01-02T03:04:05.600Z",
                "running": {
                    "version": "0002",
                    "path": "0002_b.sql",
                    "since": "2026-01-02T03:04:05.600Z",
                },
                "holder": "pid 7",
                "format": "sql",
                "history": "schemagate.history",
                "database": "shop",
                "migrations": [
                    {
                        "version": "0001",
                        "path": "0001_a.sql",
                        "state": "applied",
                        "applied_at": "2026-01-01 00:00:00+00",
                        "duration_ms": 12,
                        "checksum": "c",
                        "note": null,
                    },
                    {
                        "version": "0002",
                        "path": "0002_b.sql",
                        "state": "failed",
                        "applied_at": null,
                        "duration_ms": null,
                        "checksum": "c",
                        "note": "syntax error",
                    },
                ],
                "ahead": ["0009"],
                "missing": [],
                "conflicts": [],
                "warnings": ["w"],
                "errors": [
                    { "at": "2026-01-02T03:04:05.600Z", "times": 3, "text": "syntax error" },
                ],
            })
        );
    }

    #[test]
    fn states_and_versions_for_others() {
        let found = parsed(&progress(), false);
        assert_eq!(
            keys(&found),
            [
                "detail",
                "draining",
                "ready",
                "release",
                "schema_version",
                "started",
                "state",
                "version",
            ]
        );
        assert_eq!(found["version"], "0001");
        assert!(
            found["detail"]
                .as_str()
                .unwrap()
                .contains("SCHEMAGATE_DETAIL=all")
        );
    }

    #[test]
    fn the_same_keys_before_anything_was_seen() {
        let nothing = parsed(&Progress::new(Timestamp::UNIX_EPOCH), true);
        assert_eq!(keys(&nothing), keys(&parsed(&progress(), true)));
        assert_eq!(nothing["state"], "connecting");
        assert_eq!(nothing["migrations"], json!([]));
    }
}
