//! Leaving metrics at a Pushgateway, where Prometheus finds them long after a one-shot command has ended.
//!
//! <https://github.com/prometheus/pushgateway#url>

use std::{fmt, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hyper::body::Bytes;

use crate::{
    http::{self, Body, Method, Target},
    metrics::CONTENT_TYPE,
};

/// The job that everything is filed under, unless the URL names one.
const JOB: &str = "schemagate";

/// Labels that tell one group of metrics from another, in their order. A run replaces what an earlier one with the same
/// labels has left, so that they are taken from the settings alone: what only a run that gets far enough learns would
/// leave two groups for one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group<'a> {
    /// The command.
    pub command: &'a str,
    /// The database.
    pub database: Option<&'a str>,
    /// The history table, where it was named: two applications may share a database.
    pub history: Option<&'a str>,
}

/// What becomes of what is there in the group already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// It goes.
    Replaced,
    /// A metric that is not pushed stays.
    Kept,
}

/// Why nothing was pushed.
#[derive(Debug)]
pub enum Error {
    /// There was no answer.
    Http(http::Error),
    /// The gateway refuses, and says so.
    Refused(String),
}

/// Pushes `text`, a whole exposition, to the gateway at `url`.
pub async fn push(
    url: &Target,
    group: Group<'_>,
    before: Before,
    text: String,
    limit: Duration,
) -> Result<(), Error> {
    let target = url.with_path(path(url.path(), group));
    let method = match before {
        Before::Replaced => Method::PUT,
        Before::Kept => Method::POST,
    };
    let body = Body {
        content_type: Some(CONTENT_TYPE),
        bytes: Bytes::from(text),
    };
    let sending = http::send(&target, method, body, limit);
    let response = sending.await.map_err(Error::Http)?;
    if response.status.is_success() {
        Ok(())
    } else {
        Err(Error::Refused(response.reason()))
    }
}

/// The path that names a group. A URL that names a job has the whole key: that is how two releases, or two namespaces,
/// keep apart at one gateway.
fn path(base: &str, group: Group<'_>) -> String {
    let base = base.trim_end_matches('/');
    if base.contains("/metrics/job/") || base.contains("/metrics/job@base64/") {
        return base.to_owned();
    }
    let base = base.strip_suffix("/metrics").unwrap_or(base);
    let mut path = format!("{base}/metrics");
    let labels = [
        ("job", Some(JOB)),
        ("command", Some(group.command)),
        ("database", group.database),
        ("history", group.history),
    ];
    for (name, value) in labels {
        if let Some(value) = value {
            path.push_str(&label(name, value));
        }
    }
    path
}

/// `/name/value`, or in base64 what a path cannot carry: a slash, nothing at all, dots alone, other alphabets.
fn label(name: &str, value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~');
    if value.chars().all(plain) && value.chars().any(|c| c != '.') {
        format!("/{name}/{value}")
    } else if value.is_empty() {
        // The form that the gateway gives to an empty value.
        format!("/{name}@base64/=")
    } else {
        format!("/{name}@base64/{}", URL_SAFE_NO_PAD.encode(value))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(error) => error.fmt(f),
            Self::Refused(reason) => write!(f, "it answered {reason}"),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: Group<'_> = Group {
        command: "migrate",
        database: Some("app"),
        history: None,
    };

    #[test]
    fn the_key_of_a_group() {
        for (base, expected) in [
            ("/", "/metrics/job/schemagate/command/migrate/database/app"),
            (
                "/metrics/",
                "/metrics/job/schemagate/command/migrate/database/app",
            ),
            (
                "/push/",
                "/push/metrics/job/schemagate/command/migrate/database/app",
            ),
            ("/metrics/job/shop", "/metrics/job/shop"),
            (
                "/x/metrics/job/shop/namespace/a/",
                "/x/metrics/job/shop/namespace/a",
            ),
            ("/metrics/job@base64/c2hvcA", "/metrics/job@base64/c2hvcA"),
        ] {
            assert_eq!(path(base, GROUP), expected, "{base}");
        }
        let none = Group {
            database: None,
            history: Some("tools.history"),
            ..GROUP
        };
        assert_eq!(
            path("/", none),
            "/metrics/job/schemagate/command/migrate/history/tools.history"
        );
    }

    #[test]
    fn values_of_labels() {
        for (value, expected) in [
            ("app", "/l/app"),
            ("my-app_1.x~", "/l/my-app_1.x~"),
            ("a/b", "/l@base64/YS9i"),
            ("a b", "/l@base64/YSBi"),
            ("?>", "/l@base64/Pz4"),
            ("zz?", "/l@base64/eno_"),
            ("ü", "/l@base64/w7w"),
            (".", "/l@base64/Lg"),
            ("..", "/l@base64/Li4"),
            ("", "/l@base64/="),
        ] {
            assert_eq!(label("l", value), expected, "{value:?}");
        }
    }
}
