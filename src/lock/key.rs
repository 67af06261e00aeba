//! The keys of the advisory lock.

use sha2::{Digest, Sha256};

use crate::migration::TableName;

/// The two keys of a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockKeys {
    /// Configured, the tool's own, or derived.
    pub main: i64,
    /// Derived from `main`, so that everyone who shares `main` shares it.
    pub second: i64,
}

// === impl LockKeys ===

impl LockKeys {
    /// The keys of a history table that has no tool's key: the first 8 bytes, big-endian, of SHA-256 of
    /// `schemagate\0DATABASE\0SCHEMA.TABLE`.
    pub fn derive(database: &str, table: &TableName) -> Self {
        Self::of_history(database, &table.to_string())
    }

    /// The same for a history by its name as text: what the tool of `exec` keeps has no table that we would know.
    pub fn of_history(database: &str, history: &str) -> Self {
        Self::with_main(digest(&["schemagate", database, history]))
    }

    /// The keys that belong to a given main key.
    pub fn with_main(main: i64) -> Self {
        Self {
            main,
            second: digest(&["schemagate", "second", &main.to_string()]),
        }
    }

    /// An SQL expression that tries both keys at transaction level, always in this order.
    pub fn try_both(&self) -> String {
        format!(
            "pg_catalog.pg_try_advisory_xact_lock({}) AND pg_catalog.pg_try_advisory_xact_lock({})",
            self.main, self.second
        )
    }

    /// An SQL expression that tries the second key alone, for a run whose other connection holds the main one.
    pub fn try_second(&self) -> String {
        format!("pg_catalog.pg_try_advisory_xact_lock({})", self.second)
    }
}

fn digest(parts: &[&str]) -> i64 {
    let hash = Sha256::digest(parts.join("\0").as_bytes());
    let mut first = [0_u8; 8];
    first.copy_from_slice(&hash[..8]);
    i64::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with `printf 'schemagate\0app\0drizzle.__drizzle_migrations' | sha256sum`.
    #[test]
    fn derived_key_is_the_documented_one() {
        let keys = LockKeys::derive("app", &TableName::new("drizzle", "__drizzle_migrations"));
        assert_eq!(keys.main, EXPECTED_APP);
    }

    /// Computed with `printf 'schemagate\0app\0exec' | sha256sum`.
    #[test]
    fn the_key_of_exec_is_the_documented_one() {
        assert_eq!(LockKeys::of_history("app", "exec").main, EXPECTED_EXEC);
    }

    #[test]
    fn second_key_depends_on_the_main_key_only() {
        assert_eq!(
            LockKeys::with_main(123_456_789),
            LockKeys::with_main(123_456_789)
        );
        assert_ne!(LockKeys::with_main(1).second, LockKeys::with_main(2).second);
    }

    const EXPECTED_EXEC: i64 = -7_088_056_604_045_760_325;
    const EXPECTED_APP: i64 = 7_465_595_685_370_232_873;
}
