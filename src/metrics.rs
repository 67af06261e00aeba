//! What `/metrics` shows and a one-shot command pushes: counters that live as long as the process, and gauges filled in
//! from [`Facts`] when they are asked for.
//!
//! Text format 0.0.4: <https://prometheus.io/docs/instrumenting/exposition_formats/>

mod waiting;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, IntCounter, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder, proto::MetricFamily,
};

use waiting::Waiting;

use crate::{connect, progress::State, runner::Event};

/// Upper bounds of the histogram of durations, in seconds: from a new column to an index over hours.
const BUCKETS: [f64; 12] = [
    0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0,
];

/// The content type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The values of the label `status`: the states of a migration as `status` calls them, with `_` for a blank, then the
/// rows that no migration of this image has.
pub const STATUSES: [&str; 9] = [
    "applied",
    "changed",
    "pending",
    "deferred",
    "out_of_order",
    "ignored",
    "failed",
    "ahead",
    "missing",
];

/// What a command that never asked for the schema does not know.
const OF_THE_SCHEMA: [&str; 4] = [READY, STATE, MIGRATIONS, SCHEMA_VERSION];

const READY: &str = "schemagate_ready";
const STATE: &str = "schemagate_state";
const MIGRATIONS: &str = "schemagate_migrations";
const SCHEMA_VERSION: &str = "schemagate_schema_version_info";
const LAST_SUCCESS: &str = "schemagate_last_success_timestamp_seconds";

/// What is true now, as opposed to what has happened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts<'a> {
    /// Whether the database answered when it was last asked.
    pub database_up: bool,
    /// Whether the schema is what this image needs.
    pub ready: bool,
    /// The state of the contract.
    pub state: Option<State>,
    /// How many migrations are in which state, as `status` calls it or as in [`STATUSES`]. Where it holds any, those that
    /// it leaves out are shown as 0, so that an alert sees the difference between none and unknown.
    pub migrations: Vec<(&'a str, usize)>,
    /// The newest applied migration.
    pub version: Option<&'a str>,
}

/// The process's metrics. Clones share them.
///
/// A process that nobody asks and that pushes nowhere has none: building the registry costs about as much as reading
/// the history.
#[derive(Clone)]
pub struct Metrics(Option<Arc<Inner>>);

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
    /// For `lock_wait`, which is filled in when it is asked for: a wait that goes on counts too.
    waiting: Mutex<Waiting>,
    /// Whether the last attempt to reach the database succeeded.
    answered: AtomicBool,
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
                READY,
                "Whether the schema is what this image needs (1) or not (0).",
            )?,
            state: int_gauges(
                &registry,
                STATE,
                "The state that the schema is in: 1 for that one, 0 for the others.",
                "state",
            )?,
            migrations: int_gauges(
                &registry,
                MIGRATIONS,
                "Number of migrations by status, as the history was last seen; ahead and missing are rows without a file.",
                "status",
            )?,
            schema_version: {
                let gauge = GaugeVec::new(
                    Opts::new(
                        SCHEMA_VERSION,
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
                "Migrations that failed in this process; each ends its run.",
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
                "How long this process has waited in all while another held the lock, in seconds.",
            )?,
            lock_retries: counter(
                &registry,
                "schemagate_lock_retries_total",
                "Migrations that were rolled back and tried again because a table's lock was not obtained.",
            )?,
            last_success: gauge(
                &registry,
                LAST_SUCCESS,
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
                "Attempts of this process to reach the database, those that succeeded included.",
            )?,
            waiting: Mutex::default(),
            answered: AtomicBool::default(),
            rendering: Mutex::default(),
            registry,
        };
        Ok(Self(Some(Arc::new(inner))))
    }

    /// Nothing is counted, because nobody would see it.
    pub const fn none() -> Self {
        Self(None)
    }

    /// Counts what happens during a run. `slow` is `SCHEMAGATE_SLOW_THRESHOLD`.
    pub fn event(&self, event: &Event<'_>, slow: Option<Duration>) {
        let Some(inner) = &self.0 else {
            return;
        };
        match event {
            Event::Connect(connect::Event::Connected { .. }) => {
                self.connect_attempt();
                inner.answered.store(true, Ordering::Relaxed);
            }
            Event::Connect(connect::Event::Failed { .. }) => {
                self.connect_attempt();
                self.lost();
            }
            Event::Lost { .. } => self.lost(),
            Event::LockElsewhere { .. } => lock(&inner.waiting).begin(Instant::now()),
            Event::LockTaken { .. } | Event::RunStarted { .. } => self.waited(Duration::ZERO),
            Event::Applied { elapsed, .. } => {
                // Behind a pooler the lock is taken by the message that applies, which tells nothing before its end.
                self.waited(*elapsed);
                inner.applied.inc();
                inner.durations.observe(elapsed.as_secs_f64());
                if slow.is_some_and(|slow| *elapsed > slow) {
                    inner.slow.inc();
                }
            }
            Event::Retry { .. } => {
                self.waited(Duration::ZERO);
                inner.lock_retries.inc();
            }
            _ => {}
        }
    }

    /// An attempt to reach the database that no event tells: outside of a run, or the last one, which ends it.
    pub fn connect_attempt(&self) {
        if let Some(inner) = &self.0 {
            inner.connect_attempts.inc();
        }
    }

    /// Whether the database answered when a run last tried to reach it.
    pub fn database_answered(&self) -> bool {
        let inner = self.0.as_ref();
        inner.is_some_and(|inner| inner.answered.load(Ordering::Relaxed))
    }

    /// The end of a run that took `elapsed`.
    pub fn run_ended(&self, outcome: RunEnd, elapsed: Duration) {
        let Some(inner) = &self.0 else {
            return;
        };
        self.waited(Duration::ZERO);
        inner.last_run.set(elapsed.as_secs_f64());
        match outcome {
            RunEnd::Well => {
                let now = jiff::Timestamp::now().as_millisecond();
                #[expect(clippy::cast_precision_loss, reason = "exact until the year 287396")]
                inner.last_success.set(now as f64 / 1000.0);
            }
            RunEnd::MigrationFailed => inner.failed.inc(),
            RunEnd::Otherwise => {}
        }
    }

    /// The text that Prometheus reads.
    pub fn render(&self, facts: &Facts<'_>) -> String {
        encode(&self.gather(facts))
    }

    /// The text that a one-shot command leaves behind at a Pushgateway, where others read it long after.
    ///
    /// `facts` is `None` for a command that does not ask for the schema; then nothing is said of it. A run that did not end
    /// well says nothing of the last success, so that the gateway goes on showing the one before.
    pub fn render_for_push(&self, facts: Option<&Facts<'_>>) -> String {
        let unknown = Facts {
            database_up: self.database_answered(),
            ..Facts::default()
        };
        let inner = self.0.as_ref();
        let succeeded = inner.is_some_and(|inner| inner.last_success.get() > 0.0);
        let mut families = self.gather(facts.unwrap_or(&unknown));
        families.retain(|family| match family.name() {
            LAST_SUCCESS => succeeded,
            name => facts.is_some() || !OF_THE_SCHEMA.contains(&name),
        });
        encode(&families)
    }

    fn gather(&self, facts: &Facts<'_>) -> Vec<MetricFamily> {
        let Some(inner) = &self.0 else {
            return Vec::new();
        };
        let _alone = lock(&inner.rendering);
        inner.database_up.set(facts.database_up.into());
        inner.ready.set(facts.ready.into());
        for state in State::ALL {
            let gauge = inner.state.with_label_values(&[state.word()]);
            gauge.set((facts.state == Some(state)).into());
        }
        inner.migrations.reset();
        if !facts.migrations.is_empty() {
            for status in STATUSES {
                inner.migrations.with_label_values(&[status]).set(0);
            }
        }
        for (status, count) in &facts.migrations {
            let gauge = inner
                .migrations
                .with_label_values(&[&status.replace(' ', "_")]);
            gauge.set(i64::try_from(*count).unwrap_or(i64::MAX));
        }
        inner.schema_version.reset();
        if let Some(version) = facts.version {
            inner.schema_version.with_label_values(&[version]).set(1.0);
        }
        let waited = lock(&inner.waiting).total(Instant::now());
        inner.lock_wait.set(waited.as_secs_f64());
        inner.registry.gather()
    }

    /// The lock is no longer waited for, since so long.
    fn waited(&self, since: Duration) {
        let Some(inner) = &self.0 else {
            return;
        };
        let now = Instant::now();
        lock(&inner.waiting).end(now.checked_sub(since).unwrap_or(now));
    }

    /// The database does not answer: it is waited for, and no longer the lock.
    fn lost(&self) {
        if let Some(inner) = &self.0 {
            inner.answered.store(false, Ordering::Relaxed);
        }
        self.waited(Duration::ZERO);
    }
}

/// Text format 0.0.4; a family without a value is left out.
fn encode(families: &[MetricFamily]) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = TextEncoder::new().encode_utf8(families, &mut text);
    text
}

/// How a run ended, as far as metrics tell it apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunEnd {
    /// Done, or nothing to do.
    Well,
    /// A migration failed, or the tool under `exec`.
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
mod tests;
