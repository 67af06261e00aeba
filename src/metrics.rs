//! What `/metrics` shows and a one-shot command pushes: counters that live as long as the process, and gauges filled in
//! from [`Facts`] when they are asked for.
//!
//! Text format 0.0.4: <https://prometheus.io/docs/instrumenting/exposition_formats/>

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, IntCounter, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use crate::{connect, progress::State, runner::Event};

/// Upper bounds of the histogram of durations, in seconds: from a new column to an index over hours.
const BUCKETS: [f64; 12] = [
    0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0,
];

/// The content type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What is true now, as opposed to what has happened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts<'a> {
    /// Whether the database answered when it was last asked.
    pub database_up: bool,
    /// Whether the schema is what this image needs.
    pub ready: bool,
    /// The state of the contract.
    pub state: Option<State>,
    /// How many migrations are in which state, as `status` calls it.
    pub migrations: Vec<(&'a str, usize)>,
    /// The newest applied migration.
    pub version: Option<&'a str>,
}

/// The process's metrics. Clones share them.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    database_up: IntGauge,
    ready: IntGauge,
    state: IntGaugeVec,
    migrations: IntGaugeVec,
    schema_version: GaugeVec,
    applied: IntCounter,
    failed: IntCounter,
    durations: Histogram,
    slow: IntCounter,
    lock_wait: Gauge,
    lock_retries: IntCounter,
    last_success: Gauge,
    last_run: Gauge,
    connect_attempts: IntCounter,
    /// Since when the lock is elsewhere.
    waiting: Mutex<Option<Instant>>,
    /// Gauges of one answer must not meet those of another.
    rendering: Mutex<()>,
}

// === impl Metrics ===

impl Metrics {
    /// Everything at nothing.
    ///
    /// # Errors
    ///
    /// A name or label that Prometheus does not take, which only a bug gives.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let build = GaugeVec::new(
            Opts::new("schemagate_build_info", "The release, always 1."),
            &["version"],
        )?;
        registry.register(Box::new(build.clone()))?;
        build
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1.0);
        let inner = Inner {
            database_up: int_gauge(
                &registry,
                "schemagate_database_up",
                "Whether the database answered when it was last asked (1) or not (0).",
            )?,
            ready: int_gauge(
                &registry,
                "schemagate_ready",
                "Whether the schema is what this image needs (1) or not (0).",
            )?,
            state: int_gauges(
                &registry,
                "schemagate_state",
                "The state that the schema is in: 1 for that one, 0 for the others.",
                "state",
            )?,
            migrations: int_gauges(
                &registry,
                "schemagate_migrations",
                "Number of migrations by status, when the history was last seen.",
                "status",
            )?,
            schema_version: {
                let gauge = GaugeVec::new(
                    Opts::new(
                        "schemagate_schema_version_info",
                        "The newest applied migration of this image, always 1.",
                    ),
                    &["version"],
                )?;
                registry.register(Box::new(gauge.clone()))?;
                gauge
            },
            applied: counter(
                &registry,
                "schemagate_migrations_applied_total",
                "Migrations that this process has applied.",
            )?,
            failed: counter(
                &registry,
                "schemagate_migrations_failed_total",
                "Runs of this process that ended because a migration failed.",
            )?,
            durations: {
                let histogram = Histogram::with_opts(
                    HistogramOpts::new(
                        "schemagate_migration_duration_seconds",
                        "How long each applied migration took, in seconds.",
                    )
                    .buckets(BUCKETS.to_vec()),
                )?;
                registry.register(Box::new(histogram.clone()))?;
                histogram
            },
            slow: counter(
                &registry,
                "schemagate_slow_migrations_total",
                "Migrations that took longer than SCHEMAGATE_SLOW_THRESHOLD.",
            )?,
            lock_wait: gauge(
                &registry,
                "schemagate_lock_wait_seconds",
                "How long this process has waited for the lock of others, in seconds.",
            )?,
            lock_retries: counter(
                &registry,
                "schemagate_lock_retries_total",
                "Migrations that were rolled back and tried again because a table's lock was not obtained.",
            )?,
            last_success: gauge(
                &registry,
                "schemagate_last_success_timestamp_seconds",
                "When a run of this process last ended well, in seconds since 1970; 0 before.",
            )?,
            last_run: gauge(
                &registry,
                "schemagate_last_run_duration_seconds",
                "How long the last run of this process took, in seconds.",
            )?,
            connect_attempts: counter(
                &registry,
                "schemagate_connect_attempts_total",
                "Attempts of this process to reach the database.",
            )?,
            waiting: Mutex::default(),
            rendering: Mutex::default(),
            registry,
        };
        Ok(Self(Arc::new(inner)))
    }

    /// Counts what happens during a run. `slow` is `SCHEMAGATE_SLOW_THRESHOLD`.
    pub fn event(&self, event: &Event<'_>, slow: Option<Duration>) {
        let inner = &*self.0;
        match event {
            Event::Connect(connect::Event::Failed { .. } | connect::Event::Connected { .. }) => {
                self.connect_attempt();
            }
            Event::LockElsewhere { .. } => {
                let mut waiting = lock(&inner.waiting);
                let since = waiting.get_or_insert_with(Instant::now);
                let waited = since.elapsed().as_secs_f64();
                *since = Instant::now();
                inner.lock_wait.add(waited);
            }
            Event::LockTaken { .. } | Event::RunStarted { .. } => self.waited(),
            Event::Applied { elapsed, .. } => {
                inner.applied.inc();
                inner.durations.observe(elapsed.as_secs_f64());
                if slow.is_some_and(|slow| *elapsed > slow) {
                    inner.slow.inc();
                }
            }
            Event::Retry { .. } => inner.lock_retries.inc(),
            _ => {}
        }
    }

    /// An attempt to reach the database outside of a run.
    pub fn connect_attempt(&self) {
        self.0.connect_attempts.inc();
    }

    /// The end of a run that took `elapsed`.
    pub fn run_ended(&self, outcome: RunEnd, elapsed: Duration) {
        self.waited();
        self.0.last_run.set(elapsed.as_secs_f64());
        match outcome {
            RunEnd::Well => {
                let now = jiff::Timestamp::now().as_millisecond();
                #[expect(clippy::cast_precision_loss, reason = "exact until the year 287396")]
                self.0.last_success.set(now as f64 / 1000.0);
            }
            RunEnd::MigrationFailed => self.0.failed.inc(),
            RunEnd::Otherwise => {}
        }
    }

    /// The text that Prometheus reads.
    pub fn render(&self, facts: &Facts<'_>) -> String {
        let inner = &*self.0;
        let _alone = lock(&inner.rendering);
        inner.database_up.set(facts.database_up.into());
        inner.ready.set(facts.ready.into());
        for state in State::ALL {
            let gauge = inner.state.with_label_values(&[state.word()]);
            gauge.set((facts.state == Some(state)).into());
        }
        inner.migrations.reset();
        for (status, count) in &facts.migrations {
            let gauge = inner.migrations.with_label_values(&[status]);
            gauge.set(i64::try_from(*count).unwrap_or(i64::MAX));
        }
        inner.schema_version.reset();
        if let Some(version) = facts.version {
            inner.schema_version.with_label_values(&[version]).set(1.0);
        }
        let mut text = String::new();
        // Writing to a string cannot fail; a family without a value is left out.
        let _ = TextEncoder::new().encode_utf8(&inner.registry.gather(), &mut text);
        text
    }

    /// The lock is no longer waited for.
    fn waited(&self) {
        if let Some(since) = lock(&self.0.waiting).take() {
            self.0.lock_wait.add(since.elapsed().as_secs_f64());
        }
    }
}

/// How a run ended, as far as metrics tell it apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunEnd {
    /// Done, or nothing to do.
    Well,
    /// A migration failed in SQL.
    MigrationFailed,
    /// Anything else.
    Otherwise,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn int_gauge(registry: &Registry, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
    let gauge = IntGauge::new(name, help)?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

fn int_gauges(
    registry: &Registry,
    name: &str,
    help: &str,
    label: &str,
) -> Result<IntGaugeVec, prometheus::Error> {
    let gauge = IntGaugeVec::new(Opts::new(name, help), &[label])?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

fn gauge(registry: &Registry, name: &str, help: &str) -> Result<Gauge, prometheus::Error> {
    let gauge = Gauge::new(name, help)?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

fn counter(registry: &Registry, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
    let counter = IntCounter::new(name, help)?;
    registry.register(Box::new(counter.clone()))?;
    Ok(counter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_the_contract_is_there() {
        let metrics = Metrics::new().unwrap();
        metrics.run_ended(RunEnd::MigrationFailed, Duration::from_millis(1500));
        let text = metrics.render(&Facts {
            database_up: true,
            ready: false,
            state: Some(State::Failed),
            migrations: vec![("applied", 3), ("failed", 1)],
            version: Some("0003_\"x\"\n"),
        });
        for line in [
            concat!(
                "schemagate_build_info{version=\"",
                env!("CARGO_PKG_VERSION"),
                "\"} 1"
            ),
            "schemagate_database_up 1",
            "schemagate_ready 0",
            "schemagate_state{state=\"failed\"} 1",
            "schemagate_state{state=\"ready\"} 0",
            "schemagate_migrations{status=\"applied\"} 3",
            "schemagate_schema_version_info{version=\"0003_\\\"x\\\"\\n\"} 1",
            "schemagate_migrations_applied_total 0",
            "schemagate_migrations_failed_total 1",
            "schemagate_migration_duration_seconds_count 0",
            "schemagate_slow_migrations_total 0",
            "schemagate_lock_wait_seconds 0",
            "schemagate_lock_retries_total 0",
            "schemagate_last_success_timestamp_seconds 0",
            "schemagate_last_run_duration_seconds 1.5",
            "schemagate_connect_attempts_total 0",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "{line} is not in\n{text}"
            );
        }
    }

    #[test]
    fn what_is_no_longer_true_is_gone() {
        let metrics = Metrics::new().unwrap();
        metrics.render(&Facts {
            migrations: vec![("pending", 2)],
            version: Some("0001"),
            ..Facts::default()
        });
        let text = metrics.render(&Facts::default());
        assert!(
            !text.contains("0001") && !text.contains("pending\"} 2"),
            "{text}"
        );
    }
}
