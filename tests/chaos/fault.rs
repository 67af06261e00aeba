//! What goes wrong in a round, and how it is put right again.

use std::thread;
use std::time::{Duration, Instant};

use crate::folder::Link;
use crate::harness::proxy::Moment;
use crate::harness::{Proxy, Session, Stop};
use crate::round::Round;
use crate::stage::{WORKERS, console};

/// What ends every transaction of schemagate's own making.
const COMMIT: &str = "NOTIFY schemagate;COMMIT";
/// How long a trap waits for a commit.
const TRAP: Duration = Duration::from_millis(1500);

/// What can go wrong.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Kill,
    Terminate,
    Restart(Stop),
    Cut,
    CutAt(Moment),
    StopWorker,
    StopProxy,
    CutPooler,
    Reconnect,
    Pause,
    OtherPooler,
    KillPooler,
}

/// How often each comes, in a round with poolers.
const MIX: [(Fault, usize); 15] = [
    (Fault::Kill, 4),
    (Fault::Terminate, 4),
    (Fault::Restart(Stop::Fast), 1),
    (Fault::Restart(Stop::Immediate), 2),
    (Fault::Cut, 3),
    (Fault::CutAt(Moment::Before), 2),
    (Fault::CutAt(Moment::During), 3),
    (Fault::CutAt(Moment::After), 3),
    (Fault::StopWorker, 2),
    (Fault::StopProxy, 2),
    (Fault::CutPooler, 2),
    (Fault::Reconnect, 2),
    (Fault::Pause, 2),
    (Fault::OtherPooler, 3),
    (Fault::KillPooler, 1),
];

/// What puts an end to a fault.
#[derive(Debug)]
pub(crate) enum Undo {
    /// A worker goes on.
    Continue(usize),
    /// A proxy lets pass again.
    Resume(usize),
    /// A pooler gives out connections again.
    ResumePooler(usize),
    /// A pooler starts again.
    RevivePooler(usize),
    /// A trap is taken back; it counts if it has cut more often than this.
    Disarm {
        proxy: usize,
        moment: Moment,
        sprung: usize,
    },
}

impl Round<'_> {
    /// Does something terrible. False: there was nothing to do it to.
    pub(crate) fn disturb(&mut self) -> bool {
        let kinds: Vec<Fault> = MIX
            .into_iter()
            .filter(|(fault, _)| self.link == Link::Pooled || !fault.needs_a_pooler())
            .flat_map(|(fault, weight)| std::iter::repeat_n(fault, weight))
            .collect();
        let fault = *self.choice.one(&kinds);
        if self.choice.chance(60) {
            self.await_work(Duration::from_millis(400));
        }
        match fault {
            Fault::Kill => self.kill(),
            Fault::Terminate => self.terminate(),
            Fault::Restart(how) => self.restart(how),
            Fault::Cut => self.cut(),
            Fault::CutAt(moment) => self.trap(moment),
            Fault::StopWorker => self.stop_worker(),
            Fault::StopProxy => self.stop_proxy(),
            Fault::CutPooler => self.cut_pooler(),
            Fault::Reconnect => self.reconnect(),
            Fault::Pause => self.pause_pooler(),
            Fault::OtherPooler => self.other_pooler(),
            Fault::KillPooler => self.kill_pooler(),
        }
    }

    /// Waits for a moment in which somebody works: then a fault meets more than a pause.
    fn await_work(&self, limit: Duration) {
        let end = Instant::now() + limit;
        let active =
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND state = 'active'
                      AND application_name LIKE 'schemagate/%'";
        while Instant::now() < end {
            let session = self.session();
            let rows = session.and_then(|session| session.try_query(active).ok());
            if rows.is_some_and(|rows| !rows.is_empty()) {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn session(&self) -> Option<Session> {
        Session::try_connect(&self.database.url()).ok()
    }

    fn kill(&mut self) -> bool {
        let Some(worker) = self.some_worker() else {
            return false;
        };
        self.workers[worker].kill();
        self.count("SIGKILL", &format!("worker {worker}"));
        true
    }

    fn terminate(&mut self) -> bool {
        let backends = "SELECT pid, application_name, left(regexp_replace(query, '\\s+', ' ', 'g'), 60)
                        FROM pg_stat_activity WHERE datname = current_database()
                        AND application_name LIKE 'schemagate/%' ORDER BY state = 'active' DESC, pid";
        let session = self.session();
        let Some(rows) = session.as_ref().and_then(|s| s.try_query(backends).ok()) else {
            return false;
        };
        let Some(row) = rows.first() else {
            return false;
        };
        let sql = format!("SELECT pg_terminate_backend({})", row[0]);
        let ended = session.and_then(|session| session.try_query(&sql).ok());
        if ended.is_none_or(|rows| rows[0][0] != "t") {
            return false;
        }
        self.count("pg_terminate_backend", &row.join(", "));
        true
    }

    fn restart(&mut self, how: Stop) -> bool {
        let down = self.choice.millis(0..=400);
        self.stage.server.stop(how);
        self.count(
            match how {
                Stop::Fast => "restart, fast",
                Stop::Immediate => "restart, immediate",
            },
            &format!("down for {down:?}"),
        );
        thread::sleep(down);
        self.stage.server.start();
        self.kept.event("the server answers again");
        true
    }

    fn cut(&mut self) -> bool {
        let linked: Vec<usize> = (0..WORKERS)
            .filter(|&at| self.stage.fronts[at].connections() > 0)
            .collect();
        if linked.is_empty() {
            return false;
        }
        let worker = *self.choice.one(&linked);
        self.stage.fronts[worker].cut();
        self.count("cut", &format!("worker {worker}"));
        true
    }

    /// The fate of a commit: see [`Moment`]. It counts when it has happened.
    fn trap(&mut self, moment: Moment) -> bool {
        let proxies = match self.link {
            Link::Direct => WORKERS,
            Link::Pooled => WORKERS + self.stage.backs.len(),
        };
        let proxy = self.choice.number(0..=proxies - 1);
        if self.is_trapped(proxy) {
            return false;
        }
        let skip = self.choice.number(0..=2);
        let sprung = self.proxy(proxy).sprung();
        self.proxy(proxy).cut_at(COMMIT, skip, moment);
        let undo = Undo::Disarm {
            proxy,
            moment,
            sprung,
        };
        self.later.push((Instant::now() + TRAP, undo));
        false
    }

    fn is_trapped(&self, at: usize) -> bool {
        self.later
            .iter()
            .any(|(_, undo)| matches!(undo, Undo::Disarm { proxy, .. } if *proxy == at))
    }

    fn proxy(&self, at: usize) -> &Proxy {
        match at.checked_sub(WORKERS) {
            None => &self.stage.fronts[at],
            Some(back) => &self.stage.backs[back],
        }
    }

    fn stop_worker(&mut self) -> bool {
        let Some(worker) = self.some_worker() else {
            return false;
        };
        let pause = self.choice.millis(100..=900);
        self.workers[worker].signal("STOP");
        self.count("SIGSTOP", &format!("worker {worker} for {pause:?}"));
        self.later
            .push((Instant::now() + pause, Undo::Continue(worker)));
        true
    }

    fn stop_proxy(&mut self) -> bool {
        let proxy = self.choice.number(0..=WORKERS - 1);
        if self.stage.fronts[proxy].connections() == 0 {
            return false;
        }
        let pause = self.choice.millis(100..=900);
        self.stage.fronts[proxy].pause();
        self.count("proxy stopped", &format!("worker {proxy} for {pause:?}"));
        self.later
            .push((Instant::now() + pause, Undo::Resume(proxy)));
        true
    }

    fn some_pooler(&mut self) -> usize {
        self.choice.number(0..=self.stage.poolers.len() - 1)
    }

    fn cut_pooler(&mut self) -> bool {
        let pooler = self.some_pooler();
        if self.stage.backs[pooler].connections() == 0 {
            return false;
        }
        self.stage.backs[pooler].cut();
        self.count("pooler cut from the server", &format!("pooler {pooler}"));
        true
    }

    /// The pooler changes its server connections when each is free; with KILL at once.
    fn reconnect(&mut self) -> bool {
        let pooler = self.some_pooler();
        let kill = self.choice.chance(50);
        let sql = if kill {
            format!("KILL {}", self.database.name)
        } else {
            "RECONNECT".to_owned()
        };
        let console = console(&self.stage.poolers[pooler]);
        if console.is_none_or(|console| console.try_query(&sql).is_err()) {
            return false;
        }
        self.count("pooler RECONNECT", &format!("pooler {pooler}, {sql}"));
        if kill {
            self.later.push((
                Instant::now() + Duration::from_millis(100),
                Undo::ResumePooler(pooler),
            ));
        }
        true
    }

    /// Nobody gets a server connection for a while, as in a switch-over of the server behind it.
    fn pause_pooler(&mut self) -> bool {
        let pooler = self.some_pooler();
        let pause = self.choice.millis(100..=900);
        let Some(console) = console(&self.stage.poolers[pooler]) else {
            return false;
        };
        // It answers when the last transaction has ended; until then it is pausing.
        if console.try_query_within("PAUSE", pause) == Some(false) {
            return false;
        }
        self.count("pooler PAUSE", &format!("pooler {pooler} for {pause:?}"));
        self.later
            .push((Instant::now() + pause, Undo::ResumePooler(pooler)));
        true
    }

    /// All pooled workers find themselves at the other pooler.
    fn other_pooler(&mut self) -> bool {
        self.pooler = 1 - self.pooler;
        let port = self.stage.poolers[self.pooler].port();
        let mut open = 0;
        for (worker, front) in self.workers.iter().zip(&self.stage.fronts) {
            if worker.pooled {
                open += front.connections();
                front.lead_to(port);
            }
        }
        if open > 0 {
            self.count("other pooler", &format!("pooler {} now", self.pooler));
        }
        open > 0
    }

    fn kill_pooler(&mut self) -> bool {
        let pooler = self.some_pooler();
        self.stage.poolers[pooler].kill();
        self.count("pooler killed", &format!("pooler {pooler}"));
        let pause = self.choice.millis(0..=300);
        self.later
            .push((Instant::now() + pause, Undo::RevivePooler(pooler)));
        true
    }

    /// Starts a pooler again that has ended without our doing: PgBouncer 1.18 gives up ("bad client state") when it
    /// loses client and server during a cancel request.
    pub(crate) fn look_after_poolers(&mut self) {
        for (at, pooler) in self.stage.poolers.iter().enumerate() {
            let killed = |(_, undo): &(Instant, Undo)| matches!(undo, Undo::RevivePooler(killed) if *killed == at);
            if !self.later.iter().any(killed) && pooler.revive() {
                self.kept.event(&format!("pooler {at} had ended by itself"));
            }
        }
    }

    /// Puts right what is due.
    pub(crate) fn undo(&mut self, all: bool) {
        let now = Instant::now();
        let (due, later): (Vec<_>, Vec<_>) = std::mem::take(&mut self.later)
            .into_iter()
            .partition(|(when, undo)| all || *when <= now || self.has_sprung(undo));
        self.later = later;
        for (_, undo) in due {
            match undo {
                Undo::Continue(worker) => self.workers[worker].signal("CONT"),
                Undo::Resume(proxy) => self.stage.fronts[proxy].resume(),
                Undo::RevivePooler(pooler) => {
                    self.stage.poolers[pooler].revive();
                }
                Undo::ResumePooler(pooler) => {
                    // KILL stops one database, PAUSE all; the other command is refused.
                    if let Some(console) = console(&self.stage.poolers[pooler]) {
                        let _ = console.try_query("RESUME");
                        let _ = console.try_query(&format!("RESUME {}", self.database.name));
                    }
                }
                Undo::Disarm { proxy, moment, .. } => {
                    self.proxy(proxy).disarm();
                    if self.has_sprung(&undo) {
                        let kind = match moment {
                            Moment::Before => "cut before COMMIT",
                            Moment::During => "cut during COMMIT",
                            Moment::After => "cut after COMMIT",
                        };
                        self.count(kind, &format!("proxy {proxy}"));
                    }
                }
            }
        }
    }

    fn has_sprung(&self, undo: &Undo) -> bool {
        matches!(undo, Undo::Disarm { proxy, sprung, .. } if self.proxy(*proxy).sprung() > *sprung)
    }

    fn count(&mut self, kind: &'static str, what: &str) {
        self.tally.fault(kind);
        self.kept.event(&format!("FAULT {kind}: {what}"));
    }
}

impl Fault {
    const fn needs_a_pooler(self) -> bool {
        matches!(
            self,
            Self::CutPooler | Self::Reconnect | Self::Pause | Self::OtherPooler | Self::KillPooler
        )
    }
}
