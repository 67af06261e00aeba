//! schemagate waits for PostgreSQL, lets exactly one of many racing pods migrate and lets the others skip.

pub mod cli;
pub mod commands;
pub mod config;
pub mod exit;
pub mod migration;
pub mod problem;
pub mod shutdown;
pub mod telemetry;
