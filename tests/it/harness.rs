//! What the integration tests stand on: real servers, the real pooler, the real other tools, and the built binary.
//!
//! Nothing here skips. A missing part fails the test and names `make setup`.

pub(crate) mod binary;
pub(crate) mod browser;
pub(crate) mod eventually;
pub(crate) mod folder;
pub(crate) mod http;
pub(crate) mod mount;
pub(crate) mod peers;
pub(crate) mod pgbouncer;
pub(crate) mod postgres;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod pushgateway;
pub(crate) mod receiver;
pub(crate) mod scratch;
pub(crate) mod session;
pub(crate) mod sidecar;

pub(crate) use binary::{Outcome, Running, Schemagate};
pub(crate) use browser::{Browser, View};
pub(crate) use eventually::eventually;
pub(crate) use folder::{Folder, fixture};
pub(crate) use mount::Mount;
pub(crate) use peers::Drizzle;
pub(crate) use pgbouncer::PgBouncer;
pub(crate) use postgres::{Database, Server, Stop};
pub(crate) use proxy::Proxy;
pub(crate) use pushgateway::{Pushgateway, assert_promtool_accepts};
pub(crate) use receiver::{Receiver, Reply};
pub(crate) use session::Session;
pub(crate) use sidecar::Sidecar;
