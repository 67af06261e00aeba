//! PostgreSQL in a container of its own, which others in the same network find by the name `db`.

use crate::bases;
use crate::container::{Container, Network, Run};
use crate::engine::{docker, text};
use crate::harness::eventually;
use crate::harness::process::must;

pub(crate) const URL: &str = "postgres://postgres:s3cret-of-the-db@db/postgres";
pub(crate) const PASSWORD: &str = "s3cret-of-the-db";

pub(crate) struct Postgres {
    container: Container,
    pub(crate) network: Network,
}

impl Postgres {
    pub(crate) fn start() -> Self {
        Self::start_in(Network::new())
    }

    pub(crate) fn start_in(network: Network) -> Self {
        let container = Run::new(bases::postgres())
            .network(&network, "db")
            .env("POSTGRES_PASSWORD", PASSWORD)
            .start();
        Self { container, network }
    }

    /// schemagate beside it, locked down.
    pub(crate) fn run(&self, image: &str, words: &[&str]) -> Run {
        Run::locked_down(image)
            .network(&self.network, "schemagate")
            .env("DATABASE_URL", URL)
            .words(words)
    }

    pub(crate) fn answers(&self) -> bool {
        let output = self.psql("select 1").output();
        output.is_ok_and(|output| output.status.success())
    }

    /// Waits until it answers, and gives it the statement.
    #[track_caller]
    pub(crate) fn query(&self, sql: &str) -> String {
        eventually!(self.answers(), "{}", self.container.logs());
        text(&must(&mut self.psql(sql)).stdout)
            .trim_end()
            .to_owned()
    }

    pub(crate) fn psql(&self, sql: &str) -> std::process::Command {
        let mut psql = docker(&["exec", &self.container.name]);
        psql.args(["psql", "--host=/tmp", "--username=postgres", "--no-psqlrc"]);
        psql.args(["--tuples-only", "--no-align", "--command", sql]);
        psql
    }
}
