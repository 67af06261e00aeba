//! schemagate waits for PostgreSQL, lets exactly one of many racing pods migrate and lets the others skip.
//!
//! # The way of a run
//!
//! [`cli`] and [`config`] turn arguments and environment into a configuration, with every mistake told at once.
//! [`commands`] knows the order of steps. [`source`] reads the folder, before anything is waited for. [`connect`] waits
//! for the database. [`history`] takes one look, [`formats`] says which row belongs to which file, and [`plan`] decides
//! what would run. If something would, [`runner`] takes the lock, looks again, lays the ground ([`bootstrap`]) and lets
//! [`apply`] run it; when the lock is elsewhere, a table is busy or the connection is lost it starts from the first look.
//! [`report`] tells people and machines.
//!
//! # What may import what
//!
//! Data flows down this list, and imports only go up it; nothing below [`commands`] sees the whole configuration.
//!
//! | module | owns | pure |
//! | --- | --- | --- |
//! | [`exit`] | the exit codes | yes |
//! | [`problem`], [`duration`], [`window`] | the vocabulary: mistakes, lengths of time, maintenance windows | yes |
//! | [`migration`] | the vocabulary: migrations | yes |
//! | [`sql`] | statements, directives, places of errors | yes |
//! | [`formats`] | a room for each tool: its files, its table, its rows, as text and data | yes |
//! | [`drift`] | what a schema is, and how two differ | yes |
//! | [`plan`] | what would run, or every conflict | yes |
//! | [`gate`] | what holds a pending migration back | yes |
//! | [`mend`] | what `repair` does about a migration, or why it refuses | yes |
//! | [`wire`] | one simple-query message and its answer | no |
//! | [`lock`] | the keys, who holds them, how long a waiter is patient | yes |
//! | [`connect`] | dialling, TLS, waiting, cancelling; the only module that connects to databases | no |
//! | [`http`] | one request and its answer; the only module that connects to anything else | no |
//! | [`source`] | the folder; the only module that opens migration files | no |
//! | [`history`] | reading the history table; the journal's SQL | no |
//! | [`catalog`] | facts of relations | no |
//! | [`hold`] | holding the lock idly, and its heartbeat | no |
//! | [`shutdown`], [`stop`] | signals and the deadline | no |
//! | [`observe`] | looking at a long statement from a second connection | no |
//! | [`apply`] | running a plan on one session | no |
//! | [`trace`] | running a plan in a transaction that is rolled back | no |
//! | [`preflight`] | what is known to fail before anything is written | no |
//! | [`undo`] | what `down` takes back, and in which order | yes |
//! | [`bootstrap`] | what must stand before the first migration | no |
//! | [`runner`] | the life of a run | no |
//! | [`throwaway`] | a database made and dropped, a server started and removed | no |
//! | [`child`] | another program: found, run below us, or run in our place | no |
//! | [`wrap`] | the life of a run of another tool | no |
//! | [`metrics`], [`push`] | what a process counts, and leaving it at a Pushgateway | no |
//! | [`install`] | copying the executable | no |
//! | [`config`], [`cli`], [`telemetry`] | settings, flags, the log | no |
//! | [`error`], [`report`] | what ended a command, in words | no |
//! | [`progress`] | what a sidecar knows, and the table by which one state follows from another | yes |
//! | [`metrics`] | what is counted | yes |
//! | [`serve`] | the sidecar's endpoints, on a thread of their own; no database client | no |
//! | [`watch`] | the sidecar's work: looking again and again, migrating | no |
//! | [`commands`] | the order of steps | no |
//!
//! # What always holds
//!
//! - A migration that runs in a transaction commits together with its history row, behind the lock, after a look at the
//!   history in a statement younger than the lock ([`apply::frame`]).
//! - Behind a transaction pooler no session-level lock is ever taken: it would stay on the pooled server.
//! - A lost session is never silently replaced: the run starts again from the first look.
//! - Nobody blocks in `pg_advisory_lock`: a blocked session holds a snapshot.
//! - After a file everything it may have set is undone, in the file's own transaction; our SQL names every object with
//!   its schema.
//! - Only `main` reads the process's environment; a secret has no `Display`; DETAIL of the server goes to the log only.

pub mod apply;
pub mod bootstrap;
pub mod catalog;
pub mod child;
pub mod cli;
pub mod commands;
pub mod config;
pub mod connect;
pub mod drift;
pub mod duration;
pub mod error;
pub mod exit;
pub mod formats;
pub mod gate;
pub mod history;
pub mod hold;
pub mod http;
pub mod install;
pub mod lock;
pub mod mend;
pub mod metrics;
pub mod migration;
pub mod observe;
pub mod plan;
pub mod preflight;
pub mod problem;
pub mod progress;
pub mod push;
pub mod report;
pub mod runner;
pub mod serve;
pub mod shutdown;
pub mod source;
pub mod sql;
pub mod stop;
pub mod telemetry;
pub mod throwaway;
pub mod trace;
pub mod undo;
pub mod watch;
pub mod window;
pub mod wire;
pub mod wrap;
