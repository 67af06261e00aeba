//! Who may migrate: the advisory lock's keys, how long a waiter is patient, and who holds the lock.
//!
//! Two keys fence every migration. The *main* key is what other tools and older scripts may share. The *second* is
//! derived from it and always taken at transaction level: behind a transaction pooler the main key is held by a second
//! connection while a statement runs outside a transaction, so our own first connection could not take it again
//! (advisory locks are re-entrant within one session only). Nobody ever blocks in `pg_advisory_lock`: a blocked
//! session holds a snapshot, and a concurrent index build in the pod that works would wait for it for ever.

use std::time::Duration;

pub mod holder;
pub mod key;

pub use holder::{Holder, Patience, STALL_LIMIT, Stall, command_label, label};
pub use key::LockKeys;

/// The server ends a session that holds the lock idly after this time without a sign of life.
pub const IDLE_LIMIT: Duration = Duration::from_secs(20);

/// How often such a session gives one.
pub const HEARTBEAT: Duration = Duration::from_secs(5);
