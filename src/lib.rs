//! schemagate waits for PostgreSQL, lets exactly one of many racing pods migrate and lets the others skip.

pub mod apply;
pub mod bootstrap;
pub mod cli;
pub mod commands;
pub mod config;
pub mod connect;
pub mod error;
pub mod exit;
pub mod formats;
pub mod history;
pub mod lock;
pub mod migration;
pub mod plan;
pub mod problem;
pub mod report;
pub mod runner;
pub mod shutdown;
pub mod source;
pub mod sql;
pub mod stop;
pub mod telemetry;
pub mod wire;
