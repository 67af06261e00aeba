//! schemagate waits for PostgreSQL, lets exactly one of many racing pods migrate and lets the others skip.

pub mod exit;
pub mod formats;
pub mod migration;
pub mod plan;
pub mod problem;
pub mod source;
