//! What a run has seen.

use std::collections::BTreeMap;
use std::fmt;

/// Faults and exit codes, counted.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    faults: BTreeMap<&'static str, usize>,
    codes: BTreeMap<i32, usize>,
    rounds: usize,
    migrations: usize,
    repairs: usize,
}

/// Every kind of fault that a run must have seen.
const KINDS: [&str; 15] = [
    "SIGKILL",
    "pg_terminate_backend",
    "restart, fast",
    "restart, immediate",
    "cut",
    "cut before COMMIT",
    "cut during COMMIT",
    "cut after COMMIT",
    "SIGSTOP",
    "proxy stopped",
    "pooler cut from the server",
    "pooler RECONNECT",
    "pooler PAUSE",
    "other pooler",
    "pooler killed",
];

impl Tally {
    pub(crate) fn fault(&mut self, kind: &'static str) {
        *self.faults.entry(kind).or_default() += 1;
    }

    pub(crate) fn ended(&mut self, code: i32) {
        *self.codes.entry(code).or_default() += 1;
    }

    pub(crate) fn repaired(&mut self) {
        self.repairs += 1;
    }

    pub(crate) fn round(&mut self, migrations: usize) {
        self.rounds += 1;
        self.migrations += migrations;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (kind, count) in &other.faults {
            *self.faults.entry(kind).or_default() += count;
        }
        for (code, count) in &other.codes {
            *self.codes.entry(*code).or_default() += count;
        }
        self.rounds += other.rounds;
        self.migrations += other.migrations;
        self.repairs += other.repairs;
    }

    pub(crate) fn faults(&self) -> usize {
        self.faults.values().sum()
    }

    /// A kind that never comes about is not tested, however many others do.
    #[track_caller]
    pub(crate) fn assert_every_kind(&self) {
        for kind in KINDS {
            assert!(
                self.faults.contains_key(kind),
                "no fault of the kind {kind}\n{self}"
            );
        }
        for kind in self.faults.keys() {
            assert!(KINDS.contains(kind), "{kind} is not listed");
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} faults in {} rounds with {} migrations, {} of them repaired after they were dirty",
            self.faults(),
            self.rounds,
            self.migrations,
            self.repairs
        )?;
        for (kind, count) in &self.faults {
            writeln!(f, "{count:6}  {kind}")?;
        }
        for (code, count) in &self.codes {
            writeln!(f, "{count:6}  workers ended with {code}")?;
        }
        Ok(())
    }
}
