//! A sidecar in each state, as an operator might meet it.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use schemagate::progress::{Noted, Progress, Running, State};
use schemagate::report::status::{Line, Status};

use super::HOSTILE;

pub(super) fn now() -> Timestamp {
    "2026-03-04T03:10:00Z".parse().unwrap()
}

fn before(seconds: i64) -> Timestamp {
    now() - SignedDuration::from_secs(seconds)
}

fn line(version: &str, state: &'static str, duration_ms: Option<i64>) -> Line {
    Line {
        version: version.to_owned(),
        path: format!("{version}.sql"),
        state,
        applied_at: duration_ms.map(|_| "2026-03-01 04:05:06.789+00".to_owned()),
        duration_ms,
        checksum: String::new(),
        note: None,
    }
}

/// A schema of some age, whose newest migrations are in the states given.
fn schema(newest: &[(&str, &'static str)]) -> Status {
    let old = [
        ("0001_init", 1_240),
        ("0002_add_users", 18),
        ("0003_orders_by_customer", 92),
        (
            "0004_index_orders_on_created_at_and_customer_and_state",
            754_000,
        ),
        ("0005_🚀🚀🚀_launch_day_🚀🚀🚀_everything_at_once", 4),
        ("0006_backfill_totals", 203_000),
    ];
    let mut migrations: Vec<_> = old.map(|(name, ms)| line(name, "applied", Some(ms))).into();
    for (name, state) in newest {
        migrations.push(line(name, state, (*state == "applied").then_some(37)));
    }
    Status {
        schema_version: 1,
        state: "ready",
        format: "drizzle",
        history: "drizzle.__drizzle_migrations".to_owned(),
        database: "orders".to_owned(),
        migrations,
        ahead: Vec::new(),
        missing: Vec::new(),
        conflicts: Vec::new(),
        warnings: Vec::new(),
    }
}

fn progress(state: State, schema: Status) -> Progress {
    Progress {
        state,
        since: before(192),
        database_up: true,
        seen_at: Some(before(4)),
        schema: Some(Arc::new(schema)),
        version: Some("0006_backfill_totals".to_owned()),
        ..Progress::new(now())
    }
}

/// One that an operator might meet.
pub(super) fn sample(state: State) -> Progress {
    let texts = |texts: &[&str]| {
        texts
            .iter()
            .map(|&text| text.to_owned())
            .collect::<Vec<_>>()
    };
    let pending = [(HOSTILE, "pending"), ("0008_drop_legacy", "deferred")];
    match state {
        State::Connecting => Progress {
            since: before(41),
            reason: Some("postgres.orders.svc:5432: connection refused".to_owned()),
            errors: [
                Noted {
                    at: before(1),
                    times: 17,
                    text: "postgres.orders.svc:5432: connection refused".to_owned(),
                },
                Noted {
                    at: before(38),
                    times: 3,
                    text: "postgres.orders.svc: name not found".to_owned(),
                },
            ]
            .into(),
            ..Progress::new(now())
        },
        State::Pending => progress(state, schema(&pending)),
        State::WaitingForLock => Progress {
            holder: Some(
                "pid 4711 (schemagate/0.1.0 orders-7d9f8b6c5-x2x7q) since 2026-03-04 03:06:48+00, active, migration \
                 0007_add_currency"
                    .to_owned(),
            ),
            ..progress(state, schema(&pending))
        },
        State::Migrating => Progress {
            running: Some(Running {
                version: HOSTILE.to_owned(),
                path: format!("{HOSTILE}.sql"),
                since: before(72),
            }),
            holder: Some("this process".to_owned()),
            ..progress(state, schema(&pending))
        },
        State::Ready => Progress {
            ready: true,
            started: true,
            since: before(183_600),
            ..progress(state, schema(&[(HOSTILE, "applied")]))
        },
        State::Ahead => {
            let mut schema = schema(&[]);
            schema.ahead = texts(&["0007_add_currency", "0008_drop_legacy"]);
            Progress {
                ready: true,
                started: true,
                stale_since: Some(before(600)),
                database_up: false,
                ..progress(state, schema)
            }
        }
        State::Mismatch => {
            let mut schema = schema(&[(HOSTILE, "pending")]);
            schema.migrations[1].state = "changed";
            schema.migrations[1].note = Some("the file differs from the applied one".to_owned());
            schema.missing = texts(&["0000_experiment"]);
            schema.conflicts = texts(&[
                "0002_add_users.sql has changed since it was applied (checksum then 3f9a1c22ab70, now 81d0e5c2f3aa)",
                "0000_experiment was applied, but there is no file for it",
            ]);
            schema.warnings = texts(&["0003_orders_by_customer.sql differs in its line endings from what was applied"]);
            Progress {
                reason: Some(schema.conflicts[0].clone()),
                next_step: Some(
                    "restore the file and put the change into a new migration; if the database is right as it is, \
                     `schemagate repair --accept-checksum 0002_add_users`, or set SCHEMAGATE_CHECKSUM=warn"
                        .to_owned(),
                ),
                ..progress(state, schema)
            }
        }
        State::Failed => {
            let failure = "line 3, column 14: column \"curency\" does not exist (42703)";
            let mut schema = schema(&[(HOSTILE, "failed"), ("0008_drop_legacy", "pending")]);
            schema.migrations[6].note = Some(failure.to_owned());
            Progress {
                reason: Some(format!("{HOSTILE}.sql, {failure}\n  UPDATE orders SET curency = 'EUR'\n                    ^\nrolled back")),
                next_step: Some("correct the file and deploy it; it is not tried again with the same content".to_owned()),
                errors: [Noted {
                    at: before(61),
                    times: 1,
                    text: format!("{HOSTILE}.sql, {failure}"),
                }]
                .into(),
                ..progress(state, schema)
            }
        }
    }
}
