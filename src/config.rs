//! Settings: from variables and flags, passed in, to typed values; every mistake at once.
//!
//! What a setting is called, what it defaults to and who uses it stands in one table, [`names::SETTINGS`]. Nothing
//! here reads the process's environment or a file.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::drift::Patterns;
use crate::gate;
use crate::http;
use crate::migration::{
    AheadPolicy, ChecksumPolicy, FormatSetting, OutOfOrder, Phase, RestorePoint, TableName,
    TransactionMode,
};
use crate::problem::Problem;
use crate::telemetry;
use crate::window::Windows;

mod env;
pub mod names;
pub mod secret;
mod table;
mod values;
mod vars;

pub use vars::Vars;

use names::Kind;

/// The settings of one command, typed. In durations `None` is no limit.
#[derive(Debug, Clone)]
pub struct Config {
    /// `SCHEMAGATE_DIR`.
    pub dir: PathBuf,
    /// `SCHEMAGATE_FORMAT`.
    pub format: FormatSetting,
    /// `SCHEMAGATE_HISTORY_TABLE`; `None` is the format's own.
    pub history_table: Option<TableName>,
    /// `SCHEMAGATE_TARGET`; `None` is the latest.
    pub target: Option<String>,
    /// `SCHEMAGATE_PHASE`.
    pub phase: Phase,
    /// `SCHEMAGATE_ALLOW_EMPTY`.
    pub allow_empty: bool,
    /// `SCHEMAGATE_WAIT`: `false` is one attempt.
    pub wait: bool,
    /// `SCHEMAGATE_WAIT_TIMEOUT`.
    pub wait_timeout: Option<Duration>,
    /// `SCHEMAGATE_AUTH_GRACE`.
    pub auth_grace: Option<Duration>,
    /// `SCHEMAGATE_LOCK_KEY`; `None` is the tool's own or a derived one.
    pub lock_key: Option<i64>,
    /// `SCHEMAGATE_LOCK_WAIT_TIMEOUT`.
    pub lock_wait: LockWait,
    /// `SCHEMAGATE_LOCK_TIMEOUT`, whole milliseconds that fit in an `i32`.
    pub lock_timeout: Option<Duration>,
    /// `SCHEMAGATE_LOCK_RETRIES`.
    pub lock_retries: u32,
    /// `SCHEMAGATE_STATEMENT_TIMEOUT`, whole milliseconds that fit in an `i32`.
    pub statement_timeout: Option<Duration>,
    /// `SCHEMAGATE_DEADLINE`.
    pub deadline: Option<Duration>,
    /// `SCHEMAGATE_TRANSACTION`.
    pub transaction: TransactionMode,
    /// `SCHEMAGATE_ROLE`, as it stands in the catalog (to be quoted for SQL).
    pub role: Option<String>,
    /// `SCHEMAGATE_SLOW_THRESHOLD`.
    pub slow_threshold: Option<Duration>,
    /// `SCHEMAGATE_AHEAD`.
    pub ahead: AheadPolicy,
    /// `SCHEMAGATE_OUT_OF_ORDER`; `None` is as the tool.
    pub out_of_order: Option<OutOfOrder>,
    /// `SCHEMAGATE_CHECKSUM`; `None` is as the tool.
    pub checksum: Option<ChecksumPolicy>,
    /// What holds migrations back.
    pub gate: gate::Settings,
    /// `SCHEMAGATE_RESTORE_POINT`.
    pub restore_point: RestorePoint,
    /// `SCHEMAGATE_DRY_RUN`.
    pub dry_run: bool,
    /// `SCHEMAGATE_APP_VERSION`, for the journal.
    pub app_version: Option<String>,
    /// `SCHEMAGATE_AUTO_MIGRATE`.
    pub auto_migrate: bool,
    /// `SCHEMAGATE_REQUIRE_CURRENT`.
    pub require_current: bool,
    /// `SCHEMAGATE_EXEC_ONCE`.
    pub exec_once: Option<String>,
    /// `SCHEMAGATE_VERIFY_DIR`.
    pub verify_dir: Option<PathBuf>,
    /// `SCHEMAGATE_DRIFT_IGNORE`.
    pub drift_ignore: Patterns,
    /// What the sidecar and who asks it need.
    pub serving: Serving,
    /// `SCHEMAGATE_PUSHGATEWAY_URL`.
    pub pushgateway_url: Option<http::Target>,
    /// `SCHEMAGATE_QUIT_URL`.
    pub quit_url: Option<http::Target>,
    /// `schemagate/VERSION POD`, at most 63 bytes; the pod is `HOSTNAME`, where that is set.
    pub application_name: String,
    /// `SCHEMAGATE_LOG_FORMAT`, `SCHEMAGATE_LOG`.
    pub log: telemetry::Params,
}

/// `SCHEMAGATE_LOCK_WAIT_TIMEOUT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockWait {
    /// Do not queue: exit 4 when another holds the lock.
    Off,
    /// Give up after this time without progress of the holder; `None` waits without limit.
    For(Option<Duration>),
}

/// The settings of the endpoints and of watching.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Serving {
    /// `SCHEMAGATE_LISTEN`.
    pub listen: SocketAddr,
    /// `SCHEMAGATE_DETAIL`: whether others than this host see details.
    pub detail_for_all: bool,
    /// `SCHEMAGATE_POLL_INTERVAL`; `None` is the schedule of the contract.
    pub poll_interval: Option<Duration>,
    /// `SCHEMAGATE_WATCH`.
    pub watch: Watch,
    /// `SCHEMAGATE_ON_FAILURE`.
    pub on_failure: OnFailure,
}

/// `SCHEMAGATE_WATCH`: how a sidecar learns of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// Look again and again, without a connection in between.
    Poll,
    /// Keep a connection and be told by whoever migrates.
    Listen,
}

/// `SCHEMAGATE_ON_FAILURE`: what a migrating sidecar does that has failed for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// Stay and serve the reason.
    Serve,
    /// End with the code.
    Exit,
}

/// What holds where `SCHEMAGATE_LISTEN` cannot be read.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0);

// === impl Config ===

impl Config {
    /// Reads the settings, or tells every mistake.
    pub fn from_vars(vars: &Vars) -> Result<Self, Vec<Problem>> {
        let mut reader = Reader {
            vars,
            problems: vars.problems(),
        };
        let config = reader.config();
        if reader.problems.is_empty() {
            Ok(config)
        } else {
            Err(reader.problems)
        }
    }
}

/// Reads values and collects what is wrong with them.
struct Reader<'a> {
    vars: &'a Vars,
    problems: Vec<Problem>,
}

// === impl Reader ===

impl Reader<'_> {
    /// Where a value is wrong a fallback stands in for it; the caller throws the whole away when there is a problem.
    fn config(&mut self) -> Config {
        let raw = env::raw(self.vars).unwrap_or_else(|problem| {
            self.problems.push(problem);
            env::RawSettings::default()
        });
        let serving = self.serving(&raw);
        let gate = self.gate(&raw);
        Config {
            dir: raw.dir.map(PathBuf::from).unwrap_or_default(),
            format: self
                .read("FORMAT", raw.format, values::format)
                .unwrap_or(FormatSetting::Auto),
            history_table: self.read("HISTORY_TABLE", raw.history_table, values::table),
            target: raw.target,
            phase: self
                .read("PHASE", raw.phase, values::word(Phase::ALL))
                .unwrap_or(Phase::Expand),
            allow_empty: self.boolean("ALLOW_EMPTY", raw.allow_empty),
            wait: self.boolean("WAIT", raw.wait),
            wait_timeout: self.limit("WAIT_TIMEOUT", raw.wait_timeout),
            auth_grace: self.limit("AUTH_GRACE", raw.auth_grace),
            lock_key: self.read(
                "LOCK_KEY",
                raw.lock_key,
                values::number("a signed 64-bit number"),
            ),
            lock_wait: self
                .read("LOCK_WAIT_TIMEOUT", raw.lock_wait_timeout, lock_wait)
                .unwrap_or(LockWait::Off),
            lock_timeout: self
                .read("LOCK_TIMEOUT", raw.lock_timeout, values::server_limit)
                .flatten(),
            lock_retries: self
                .read(
                    "LOCK_RETRIES",
                    raw.lock_retries,
                    values::number("a number from 0 on"),
                )
                .unwrap_or_default(),
            statement_timeout: self
                .read(
                    "STATEMENT_TIMEOUT",
                    raw.statement_timeout,
                    values::server_limit,
                )
                .flatten(),
            deadline: self.limit("DEADLINE", raw.deadline),
            transaction: self
                .read(
                    "TRANSACTION",
                    raw.transaction,
                    values::word(TransactionMode::ALL),
                )
                .unwrap_or(TransactionMode::Each),
            role: self.read("ROLE", raw.role, values::role),
            slow_threshold: self.limit("SLOW_THRESHOLD", raw.slow_threshold),
            ahead: self
                .read("AHEAD", raw.ahead, values::word(AheadPolicy::ALL))
                .unwrap_or(AheadPolicy::Allow),
            out_of_order: self.read(
                "OUT_OF_ORDER",
                raw.out_of_order,
                values::word(OutOfOrder::ALL),
            ),
            checksum: self.read("CHECKSUM", raw.checksum, values::word(ChecksumPolicy::ALL)),
            gate,
            restore_point: self.restore_point(raw.restore_point),
            dry_run: self.boolean("DRY_RUN", raw.dry_run),
            app_version: raw.app_version,
            auto_migrate: self.boolean("AUTO_MIGRATE", raw.auto_migrate),
            require_current: self.boolean("REQUIRE_CURRENT", raw.require_current),
            exec_once: raw.exec_once,
            verify_dir: raw.verify_dir.map(PathBuf::from),
            drift_ignore: self
                .read("DRIFT_IGNORE", raw.drift_ignore, Patterns::parse)
                .unwrap_or_default(),
            serving,
            pushgateway_url: self.read("PUSHGATEWAY_URL", raw.pushgateway_url, values::http_url),
            quit_url: self.read("QUIT_URL", raw.quit_url, values::http_url),
            application_name: application_name(self.vars),
            log: telemetry::Params {
                format: self
                    .read(
                        "LOG_FORMAT",
                        raw.log_format,
                        values::word(telemetry::Format::ALL),
                    )
                    .unwrap_or_default(),
                filter: self
                    .read("LOG", raw.log, telemetry::Filter::parse)
                    .unwrap_or_default(),
                no_color: self.vars.get("NO_COLOR").is_some(),
            },
        }
    }

    fn restore_point(&mut self, raw: Option<String>) -> RestorePoint {
        self.read("RESTORE_POINT", raw, values::word(RestorePoint::ALL))
            .unwrap_or(RestorePoint::Auto)
    }

    fn serving(&mut self, raw: &env::RawSettings) -> Serving {
        Serving {
            listen: self
                .read("LISTEN", raw.listen.clone(), values::listen)
                .unwrap_or(NOWHERE),
            detail_for_all: self
                .read(
                    "DETAIL",
                    raw.detail.clone(),
                    values::word(&[("loopback", false), ("all", true)]),
                )
                .unwrap_or_default(),
            poll_interval: self.read("POLL_INTERVAL", raw.poll_interval.clone(), values::interval),
            watch: self
                .read("WATCH", raw.watch.clone(), values::word(Watch::ALL))
                .unwrap_or(Watch::Poll),
            on_failure: self
                .read(
                    "ON_FAILURE",
                    raw.on_failure.clone(),
                    values::word(OnFailure::ALL),
                )
                .unwrap_or(OnFailure::Serve),
        }
    }

    fn gate(&mut self, raw: &env::RawSettings) -> gate::Settings {
        gate::Settings {
            off: false,
            allow: self
                .read("ALLOW", raw.allow.clone(), gate::classes)
                .unwrap_or_default(),
            approve: self
                .read("APPROVE", raw.approve.clone(), gate::Given::parse_list)
                .unwrap_or_default(),
            window: self.read("WINDOW", raw.window.clone(), Windows::parse),
            app_version: raw.app_version.clone(),
            require_gone: self
                .read(
                    "REQUIRE_GONE",
                    raw.require_gone.clone(),
                    gate::Gone::parse_list,
                )
                .unwrap_or_default(),
            require_backup: self.limit("REQUIRE_BACKUP", raw.require_backup.clone()),
        }
    }

    fn boolean(&mut self, name: &str, raw: Option<String>) -> bool {
        self.read(name, raw, values::boolean).unwrap_or_default()
    }

    fn limit(&mut self, name: &str, raw: Option<String>) -> Option<Duration> {
        self.read(name, raw, values::limit).flatten()
    }

    /// `name` is without the prefix.
    fn read<T>(
        &mut self,
        name: &str,
        raw: Option<String>,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let raw = raw?;
        match parse(&raw) {
            Ok(value) => Some(value),
            Err(expected) => {
                self.problem(&format!("{}{name}", names::PREFIX), raw, expected);
                None
            }
        }
    }

    fn problem(&mut self, name: &str, value: String, expected: String) {
        let said = self.vars.said(name);
        let hidden =
            names::find(name).is_none_or(|setting| matches!(setting.kind, Kind::Hidden(_)));
        self.problems.push(if hidden {
            Problem::new(said, expected)
        } else {
            Problem::with_value(said, value, expected)
        });
    }
}

// === impl Watch ===

impl Watch {
    /// The words of the setting.
    pub const ALL: &[(&str, Self)] = &[("poll", Self::Poll), ("listen", Self::Listen)];
}

// === impl OnFailure ===

impl OnFailure {
    /// The words of the setting.
    pub const ALL: &[(&str, Self)] = &[("serve", Self::Serve), ("exit", Self::Exit)];
}

fn lock_wait(text: &str) -> Result<LockWait, String> {
    if text == "off" {
        return Ok(LockWait::Off);
    }
    values::limit(text)
        .map(LockWait::For)
        .map_err(|expected| format!("{expected}, or off to not queue at all"))
}

/// PostgreSQL cuts it to 63 bytes and replaces what is not printable ASCII; done here, so that what is looked for
/// in `pg_stat_activity` is what was sent.
///
/// <https://www.postgresql.org/docs/current/runtime-config-logging.html#GUC-APPLICATION-NAME>
fn application_name(vars: &Vars) -> String {
    let mut name = concat!("schemagate/", env!("CARGO_PKG_VERSION")).to_owned();
    if let Some(pod) = vars.get("HOSTNAME") {
        name.push(' ');
        name.extend(
            pod.chars()
                .map(|c| if matches!(c, ' '..='~') { c } else { '?' }),
        );
    }
    name.truncate(63);
    name
}

#[cfg(test)]
mod tests;
