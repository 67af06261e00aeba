//! One round: a folder, four workers, faults, and then peace until every worker has ended with 0.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::choice::Choice;
use crate::fault::Undo;
use crate::folder::{self, Link, Made};
use crate::harness::{Database, Outcome, Running, Schemagate, Server};
use crate::judge::{self, Picture};
use crate::kept::Kept;
use crate::stage::{Stage, WORKERS};
use crate::tally::Tally;

/// How long the workers may take behind the last fault. Their pauses grow to ten seconds, and a stopped one is given 20.
const PEACE: Duration = Duration::from_mins(4);
/// How long a worker waits for a server that a fault has stopped.
const WAIT: &str = "20s";

pub(crate) struct Round<'a> {
    seed: u64,
    pub(crate) choice: Choice,
    pub(crate) stage: &'a Stage,
    pub(crate) link: Link,
    made: Made,
    pub(crate) database: Database<'a>,
    pub(crate) workers: Vec<Worker>,
    /// Where the pooled workers are led.
    pub(crate) pooler: usize,
    /// What will be put right, and when.
    pub(crate) later: Vec<(Instant, Undo)>,
    pub(crate) tally: Tally,
    pub(crate) kept: Kept,
    wrong: Vec<String>,
}

pub(crate) struct Worker {
    call: Schemagate,
    pub(crate) pooled: bool,
    running: Option<Running>,
    started: SystemTime,
    killed: bool,
    again: Instant,
    /// When it ended with 0.
    done: Option<SystemTime>,
}

impl Worker {
    pub(crate) fn signal(&mut self, name: &str) {
        if let Some(running) = &mut self.running
            && running.is_running()
        {
            running.signal(name);
        }
    }

    pub(crate) fn kill(&mut self) {
        self.killed = true;
        self.signal("KILL");
    }
}

impl<'a> Round<'a> {
    pub(crate) fn new(seed: u64, stage: &'a Stage) -> Self {
        let mut choice = Choice::new(seed);
        // How many of the workers go through a pooler.
        let pooled = *choice.one(&[0, 0, 1, 2, WORKERS]);
        let link = if pooled == 0 {
            Link::Direct
        } else {
            Link::Pooled
        };
        // The folder of a seed stays the same when faults are chosen in another way.
        let made = folder::make(&mut choice.fork(), link);
        stage.calm();
        let database = stage.server.database();
        let workers = (0..WORKERS)
            .map(|at| {
                let port = if at < pooled {
                    stage.poolers[0].port()
                } else {
                    stage.server.port()
                };
                stage.fronts[at].lead_to(port);
                Worker {
                    call: worker(&database.url_at(stage.fronts[at].port()), &made, at),
                    pooled: at < pooled,
                    running: None,
                    started: SystemTime::now(),
                    killed: false,
                    again: Instant::now(),
                    done: None,
                }
            })
            .collect();
        Self {
            seed,
            choice,
            stage,
            link,
            made,
            database,
            workers,
            pooler: 0,
            later: Vec::new(),
            tally: Tally::default(),
            kept: Kept::new(),
            wrong: Vec::new(),
        }
    }

    /// Plays it. The error is a report for a person.
    pub(crate) fn play(mut self) -> Result<Tally, String> {
        let reference = Server::debian().database();
        let calm = Schemagate::migrate(&reference, &self.made.folder).run();
        if calm.code() != 0 {
            return Err(format!("seed {}: without any fault\n{calm}", self.seed));
        }
        let calm = judge::picture(&reference);
        self.storm();
        if self.wrong.is_empty() {
            self.conclude(&calm);
        }
        if self.wrong.is_empty() {
            self.tally.round(self.made.versions.len());
            if std::env::var_os("CHAOS_KEEP").is_some() {
                self.keep();
            }
            return Ok(self.tally);
        }
        Err(self.report())
    }

    /// Faults while the workers work, then peace.
    fn storm(&mut self) {
        let mut faults = self.choice.number(8..=16);
        // A fault that finds nothing to strike does not count; a folder that is applied ends the round.
        let mut attempts = faults * 4;
        let mut next = Instant::now() + self.choice.millis(50..=300);
        let mut last = Instant::now();
        while self.workers.iter().any(|worker| worker.done.is_none()) {
            self.undo(false);
            self.look_after_poolers();
            self.look_after_workers();
            if !self.wrong.is_empty() {
                break;
            }
            if faults > 0 && attempts > 0 && Instant::now() >= next {
                attempts -= 1;
                if self.disturb() {
                    faults -= 1;
                }
                next = Instant::now() + self.choice.millis(20..=350);
                last = Instant::now();
            }
            if last.elapsed() > PEACE {
                self.wrong.push(format!(
                    "the workers are not done {PEACE:?} after the last fault"
                ));
                break;
            }
            thread::sleep(Duration::from_millis(3));
        }
        self.undo(true);
    }

    fn look_after_workers(&mut self) {
        for at in 0..WORKERS {
            let worker = &mut self.workers[at];
            if let Some(running) = &mut worker.running {
                if running.is_running() {
                    continue;
                }
                let now = SystemTime::now();
                let outcome = worker.running.take().expect("a worker").wait();
                self.ended(at, &outcome, now);
            } else if worker.done.is_none() && Instant::now() >= worker.again {
                worker.killed = false;
                worker.started = SystemTime::now();
                worker.running = Some(worker.call.spawn());
                self.kept.event(&format!("worker {at} starts"));
            }
        }
    }

    /// Whether the code tells the truth. That of 0 is seen at the end, when all that was committed has a time.
    fn ended(&mut self, at: usize, outcome: &Outcome, now: SystemTime) {
        let code = outcome.code();
        self.kept.event(&format!("worker {at} ends with {code}"));
        let seconds = self.kept.elapsed().as_secs_f64();
        self.kept
            .log(format!("worker {at}, ended at {seconds:.3}\n{outcome}"));
        self.tally.ended(code);
        let pause = self.choice.millis(0..=200);
        let worker = &mut self.workers[at];
        worker.again = Instant::now() + pause;
        let killed = worker.killed;
        if code == 0 {
            worker.done = Some(now);
        }
        let lie = match code {
            137 => !killed,
            // Not reached in time, no lock in time, lost for good: the next worker tries again.
            0 | 3 | 4 | 10 => false,
            6 => !self.clear_dirty(outcome),
            _ => true,
        } || outcome.stderr.contains("panicked");
        if lie {
            self.wrong.push(format!(
                "worker {at} ended with {code}, which is not true\n{outcome}"
            ));
        }
    }

    /// Does what a person does after code 6. False: the code was not true.
    fn clear_dirty(&mut self, outcome: &Outcome) -> bool {
        let named = |version: &&String| outcome.stderr.contains(&format!("{version} is dirty"));
        let Some(version) = self.made.may_be_dirty.iter().find(named).cloned() else {
            return false;
        };
        if !judge::was_dirty(&self.database, &version) {
            return false;
        }
        let repair = Schemagate::new(&["repair", "--clear-dirty", &version])
            .url(&self.database.url())
            .folder(&self.made.folder)
            .run();
        self.kept
            .event(&format!("repair of {version} ends with {}", repair.code()));
        self.kept.log(repair.to_string());
        match repair.code() {
            0 => self.tally.repaired(),
            // Another worker's 6 has been answered before, and the migration is applied by now.
            2 if repair.stderr.contains("is applied") => {}
            _ => return false,
        }
        true
    }

    /// Looks at the end.
    fn conclude(&mut self, calm: &Picture) {
        let last = judge::last_commit(&self.database, &self.made);
        for (at, worker) in self.workers.iter().enumerate() {
            if let Some(done) = worker.done
                && done < last
            {
                self.wrong.push(format!(
                    "worker {at} ended with 0 while migrations were pending: {done:?}, the last commit was at {last:?}"
                ));
            }
        }
        // What a killed worker's backend still holds goes within its checks.
        let end = Instant::now() + Duration::from_secs(30);
        while !self.database.has_no_advisory_lock() && Instant::now() < end {
            thread::sleep(Duration::from_millis(50));
        }
        let wrong = judge::faults_of(&self.database, &self.made, calm);
        self.wrong.extend(wrong);
        let again = Schemagate::migrate(&self.database, &self.made.folder).run();
        if again.code() != 0 || again.stderr.contains("\"applied\":[{") {
            self.wrong
                .push(format!("another run finds something to do\n{again}"));
        }
    }

    /// A worker that has neither ended nor been stopped.
    pub(crate) fn some_worker(&mut self) -> Option<usize> {
        let stopped = |at: usize| {
            self.later
                .iter()
                .any(|(_, undo)| matches!(undo, Undo::Continue(worker) if *worker == at))
        };
        let running: Vec<usize> = (0..WORKERS)
            .filter(|&at| !stopped(at))
            .filter(|&at| self.workers[at].running.is_some())
            .collect();
        let at = *running.get(self.choice.number(0..=WORKERS - 1) % running.len().max(1))?;
        let running = self.workers[at].running.as_mut()?;
        running.is_running().then_some(at)
    }

    fn report(mut self) -> String {
        let dir = self.keep();
        format!(
            "seed {0} failed; replay it with `make chaos CHAOS_SEED={0} CHAOS_FAULTS=10`; folder, logs and what happened \
             are kept in {1}\n{2}",
            self.seed,
            dir.display(),
            self.wrong.join("\n\n")
        )
    }

    fn keep(&mut self) -> PathBuf {
        for at in 0..WORKERS {
            if let Some(running) = self.workers[at].running.take() {
                running.signal("KILL");
                self.kept
                    .log(format!("worker {at}, not ended\n{}", running.wait()));
            }
        }
        let journal = self.database.session().try_query(
            "SELECT id, at, left(run::text, 8), event, version, statement, detail FROM schemagate.journal ORDER BY id",
        );
        let journal = journal.unwrap_or_default();
        let journal = journal.iter().map(|row| row.join("  ") + "\n").collect();
        let files = [
            ("wrong", self.wrong.join("\n\n")),
            ("journal", journal),
            ("server", self.stage.server.log()),
            ("pooler-0", self.stage.poolers[0].log()),
            ("pooler-1", self.stage.poolers[1].log()),
        ];
        self.kept.write(self.seed, self.made.folder.path(), &files)
    }
}

fn worker(url: &str, made: &Made, at: usize) -> Schemagate {
    Schemagate::new(&["migrate"])
        .url(url)
        .folder(&made.folder)
        .env("HOSTNAME", format!("worker{at}"))
        .env("SCHEMAGATE_WAIT_TIMEOUT", WAIT)
        .timeout(PEACE)
}
