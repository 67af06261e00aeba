//! schemagate waits for PostgreSQL, lets exactly one of many racing pods migrate and lets the others skip.

pub mod exit;
pub mod migration;
pub mod problem;
pub mod sql;
