//! Parameters of a connection URL that libpq does not know: those of other clients.
//!
//! Teams hand one URL to several programs, so what belongs to another client must not stop this one. What is neither
//! libpq's nor on the list is a mistake: a misspelt `sslmode` must not silently drop it.

use super::settings::keyword;

/// What becomes of a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meaning {
    /// It sets this keyword to this value.
    Set(&'static str, String),
    /// It belongs to another client, or says what holds anyway.
    Ignored,
    /// Nobody's; what to write instead, if something is near.
    Unknown(Option<&'static str>),
    /// Known, but this value is not.
    Refused(&'static str),
}

/// Other spellings of libpq's keywords.
const ALIASES: &[(&str, &str)] = &[
    // JDBC
    ("ApplicationName", "application_name"),
    ("connectTimeout", "connect_timeout"),
    // sqlx, MySQL clients
    ("ssl-mode", "sslmode"),
    ("ssl-root-cert", "sslrootcert"),
    ("ssl-ca", "sslrootcert"),
    ("ssl-cert", "sslcert"),
    ("ssl-key", "sslkey"),
    // pgx, Npgsql, Rails
    ("database", "dbname"),
    ("username", "user"),
];

/// Parameters of other clients without a meaning here. A name that ends with `*` is a prefix.
const FOREIGN: &[&str] = &[
    // Prisma
    "schema",
    "pgbouncer",
    "connection_limit",
    "pool_timeout",
    "socket_timeout",
    "statement_cache_size",
    "sslaccept",
    "sslidentity",
    "single_use_connections",
    // JDBC
    "adaptiveFetch*",
    "assumeMinServerVersion",
    "autosave",
    "binaryTransfer*",
    "cancelSignalTimeout",
    "cleanupSavepoints",
    "currentSchema",
    "databaseMetadataCacheFields*",
    "defaultRowFetchSize",
    "disableColumnSanitiser",
    "escapeSyntaxCallMode",
    "gssEncMode",
    "hostRecheckSeconds",
    "jaas*",
    "loadBalanceHosts",
    "logServerErrorDetail",
    "logUnclosedConnections",
    "loggerFile",
    "loggerLevel",
    "loginTimeout",
    "preferQueryMode",
    "prepareThreshold",
    "preparedStatementCache*",
    "protocolVersion",
    "quoteReturningIdentifiers",
    "readOnly*",
    "receiveBufferSize",
    "reWriteBatchedInserts",
    "sendBufferSize",
    "socketFactory*",
    "socketTimeout",
    "sslfactory*",
    "sslhostnameverifier",
    "sslpasswordcallback",
    "sslResponseTimeout",
    "stringtype",
    "tcpKeepAlive",
    "tcpNoDelay",
    "unknownLength",
    "useSpnego",
    "xmlFactoryFactory",
    // asyncpg, psycopg, SQLAlchemy, Django
    "async_fallback",
    "command_timeout",
    "conn_health_checks",
    "conn_max_age",
    "max_cacheable_statement_size",
    "max_cached_statement_lifetime",
    "prepare_threshold",
    "prepared_statement_cache_size",
    "prepared_statement_name_func",
    "server_settings",
    // Go: lib/pq, pgx, golang-migrate, GORM
    "binary_parameters",
    "default_query_exec_mode",
    "description_cache_capacity",
    "disable_prepared_binary_result",
    "min_read_buffer_size",
    "pool_*",
    "search_path",
    "statement_cache_capacity",
    "statement_cache_mode",
    "timezone",
    "x-*",
    // Node: pg, postgres.js, Knex, TypeORM, Drizzle
    "allowExitOnIdle",
    "backoff",
    "connectionTimeoutMillis",
    "encoding",
    "fetch_types",
    "idleTimeoutMillis",
    "idle_timeout",
    "keepAlive",
    "max",
    "max_lifetime",
    "min",
    "prepare",
    "query_timeout",
    "transform",
    "uselibpqcompat",
    // Rails, Sequel
    "adapter",
    "advisory_locks",
    "checkout_timeout",
    "max_connections",
    "min_messages",
    "pool",
    "prepared_statements",
    "reaping_frequency",
    "schema_search_path",
    "timeout",
    // sqlx, SeaORM
    "statement-cache-capacity",
    // Poolers and platforms
    "supa",
    "workaround",
];

/// What a parameter means, by its name as it stands in the URL.
pub(super) fn meaning(name: &str, value: &str) -> Meaning {
    match name {
        "ssl" => ssl(value),
        "sslmode" | "ssl-mode" if value.eq_ignore_ascii_case("no-verify") => {
            set("sslmode", "require")
        }
        "targetServerType" => target_server_type(value),
        _ => match keyword(name).or_else(|| alias(name)) {
            Some(keyword) => set(keyword, value),
            None if is_foreign(name) => Meaning::Ignored,
            None => Meaning::Unknown(nearest(name)),
        },
    }
}

fn set(keyword: &'static str, value: &str) -> Meaning {
    Meaning::Set(keyword, value.to_owned())
}

fn alias(name: &str) -> Option<&'static str> {
    ALIASES
        .iter()
        .find(|(alias, _)| *alias == name)
        .map(|(_, keyword)| *keyword)
}

fn is_foreign(name: &str) -> bool {
    FOREIGN.iter().any(|known| match known.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => *known == name,
    })
}

/// JDBC's, node-postgres' and asyncpg's `ssl`; libpq itself reads `ssl=true` in a URL as `sslmode=require`.
fn ssl(value: &str) -> Meaning {
    match value.to_ascii_lowercase().as_str() {
        "true" | "1" | "on" | "yes" | "no-verify" => set("sslmode", "require"),
        // "not asked for", which is not the same as forbidden
        "false" | "0" | "off" | "no" | "" => Meaning::Ignored,
        mode @ ("disable" | "allow" | "prefer" | "require" | "verify-ca" | "verify-full") => {
            set("sslmode", mode)
        }
        _ => Meaning::Refused("true, false or a word of sslmode"),
    }
}

/// JDBC's name for `target_session_attrs`.
fn target_server_type(value: &str) -> Meaning {
    let attrs = match value {
        "any" | "preferPrimary" => "any",
        "primary" | "master" => "primary",
        "secondary" | "slave" => "standby",
        "preferSecondary" | "preferSlave" => "prefer-standby",
        _ => return Meaning::Refused("any, primary, secondary, preferPrimary or preferSecondary"),
    };
    set("target_session_attrs", attrs)
}

/// The known name that a typing mistake was meant to be.
fn nearest(name: &str) -> Option<&'static str> {
    let lower = name.to_ascii_lowercase().replace('-', "_");
    super::settings::KEYWORDS
        .iter()
        .filter_map(|(known, _)| keyword(known))
        .map(|known| (strsim::damerau_levenshtein(&lower, known), known))
        .filter(|(distance, known)| *distance <= 1 + known.len() / 5)
        .min()
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meanings() {
        let cases = [
            ("sslmode", "verify-full", set("sslmode", "verify-full")),
            ("sslmode", "no-verify", set("sslmode", "require")),
            ("ssl", "true", set("sslmode", "require")),
            ("ssl", "verify-ca", set("sslmode", "verify-ca")),
            ("ssl", "false", Meaning::Ignored),
            (
                "ssl",
                "maybe",
                Meaning::Refused("true, false or a word of sslmode"),
            ),
            ("ssl-root-cert", "/x", set("sslrootcert", "/x")),
            ("ApplicationName", "a", set("application_name", "a")),
            (
                "targetServerType",
                "primary",
                set("target_session_attrs", "primary"),
            ),
            ("schema", "public", Meaning::Ignored),
            ("pgbouncer", "true", Meaning::Ignored),
            ("connection_limit", "1", Meaning::Ignored),
            ("pool_max_conns", "1", Meaning::Ignored),
            ("x-migrations-table", "m", Meaning::Ignored),
            ("sslmod", "require", Meaning::Unknown(Some("sslmode"))),
            ("SSLMODE", "require", Meaning::Unknown(Some("sslmode"))),
            (
                "chanel_binding",
                "require",
                Meaning::Unknown(Some("channel_binding")),
            ),
            ("frobnicate", "1", Meaning::Unknown(None)),
            ("TimeZone", "UTC", Meaning::Unknown(None)),
        ];
        for (name, value, expected) in cases {
            assert_eq!(meaning(name, value), expected, "{name}={value}");
        }
    }
}
