//! Chaos: folders made from a seed, several workers that migrate them at once, and faults at random moments. Whatever is
//! killed, cut, stopped or restarted, the end is that of an undisturbed run, and no exit code has lied on the way.
//!
//! `README.md` beside this file tells how a failed seed is replayed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "clippy excuses test functions by itself, but not the helpers that they call"
)]

/// What the integration tests stand on, at the path that its macros name.
#[path = "../it"]
mod it {
    #[allow(
        dead_code,
        unused_imports,
        reason = "the other test binary uses the rest"
    )]
    pub(crate) mod harness;
}
use it::harness;

mod choice;
mod fault;
mod folder;
mod found;
mod judge;
mod kept;
mod round;
mod stage;
mod tally;

use std::env;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use harness::Server;
use round::Round;
use stage::Stage;
use tally::Tally;

/// How many rounds run at once, each with a server of its own: most of a round is waiting.
const LANES: usize = 3;
/// Without `CHAOS_FAULTS`: what a test run must have seen.
const FAULTS: usize = 300;
/// Without `CHAOS_SEED`: the same rounds every time, so that a change is not judged by luck.
const SEED: u64 = 20_260_801;

/// Asks the environment for a number.
fn number<T: std::str::FromStr>(name: &str, default: T) -> T {
    match env::var(name) {
        Ok(text) if !text.is_empty() => text
            .parse()
            .unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")),
        _ => default,
    }
}

/// `CHAOS_SEED`: a number, or `random`.
fn first_seed() -> u64 {
    if env::var("CHAOS_SEED").is_ok_and(|word| word == "random") {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        return now.expect("a clock behind 1970").as_secs();
    }
    number("CHAOS_SEED", SEED)
}

/// The rounds of a run: consecutive seeds, taken by whichever lane is free.
struct Run {
    faults: usize,
    next: Mutex<u64>,
    tally: Mutex<Tally>,
    failures: Mutex<Vec<String>>,
}

impl Run {
    /// The seed of another round, while faults are wanted and nothing has failed.
    fn take(&self) -> Option<u64> {
        let enough = self.tally.lock().unwrap().faults() >= self.faults;
        if enough || !self.failures.lock().unwrap().is_empty() {
            return None;
        }
        let mut next = self.next.lock().unwrap();
        *next = next.wrapping_add(1);
        Some(next.wrapping_sub(1))
    }

    fn lane(&self) {
        let stage = Stage::new();
        while let Some(seed) = self.take() {
            match Round::new(seed, &stage).play() {
                Ok(tally) => self.tally.lock().unwrap().add(&tally),
                Err(report) => self.failures.lock().unwrap().push(report),
            }
        }
    }
}

#[test]
fn whatever_is_killed_the_end_is_that_of_an_undisturbed_run() {
    let run = Run {
        faults: number("CHAOS_FAULTS", FAULTS),
        next: Mutex::new(first_seed()),
        tally: Mutex::default(),
        failures: Mutex::default(),
    };
    let first = *run.next.lock().unwrap();
    let started = Instant::now();
    // The undisturbed runs share one server; it starts before the lanes ask for it.
    Server::debian();
    thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| run.lane());
        }
    });
    let tally = run.tally.into_inner().unwrap();
    eprintln!(
        "chaos: seeds from {first}, {} s\n{tally}",
        started.elapsed().as_secs()
    );
    let failures = run.failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    assert!(tally.faults() >= run.faults, "too few faults:\n{tally}");
    // A single round that is replayed need not have seen every kind.
    if run.faults >= FAULTS {
        tally.assert_every_kind();
    }
    assert!(
        started.elapsed() < Duration::from_hours(3),
        "the rounds do not get on"
    );
}
