//! What a lane plays its rounds on: a server of its own, two poolers before it, and a proxy before each worker.

use crate::harness::{PgBouncer, Proxy, Server, Session};

/// How many workers migrate at once.
pub(crate) const WORKERS: usize = 4;

/// Commit times show whether a worker that ended with 0 has told the truth.
const SERVER: &str = "track_commit_timestamp = on\nmax_connections = 60\n";

/// A server that was down is asked again soon, and its console is open.
const POOLER: &str = "server_login_retry = 1\nadmin_users = postgres\n";

pub(crate) struct Stage {
    pub(crate) server: Server,
    pub(crate) poolers: [PgBouncer; 2],
    /// One before each worker.
    pub(crate) fronts: Vec<Proxy>,
    /// One between each pooler and the server.
    pub(crate) backs: [Proxy; 2],
}

impl Stage {
    pub(crate) fn new() -> Self {
        let server = Server::own_with(SERVER);
        let backs = [Proxy::to(server.port()), Proxy::to(server.port())];
        let poolers = [0, 1]
            .map(|at: usize| PgBouncer::start_with(backs[at].port(), "transaction", 6, POOLER));
        Self {
            fronts: (0..WORKERS).map(|_| Proxy::to(server.port())).collect(),
            server,
            poolers,
            backs,
        }
    }

    /// Puts everything right that a fault may have left wrong.
    pub(crate) fn calm(&self) {
        for proxy in self.fronts.iter().chain(&self.backs) {
            proxy.disarm();
            proxy.resume();
        }
        for pooler in &self.poolers {
            pooler.revive();
            // Refused where nothing was paused.
            let _ = console(pooler).map(|console| console.try_query("RESUME"));
        }
    }
}

/// The pooler's own commands; the simple protocol is all it needs.
pub(crate) fn console(pooler: &PgBouncer) -> Option<Session> {
    let url = format!("postgres://postgres@127.0.0.1:{}/pgbouncer", pooler.port());
    Session::try_connect(&url).ok()
}
