//! Every path in every condition.

use std::sync::Arc;

use super::*;
use crate::{
    progress::{Noted, Running, State},
    report::status::{Line, Status},
};

/// Something in every field.
pub(in crate::serve) fn progress() -> Progress {
    let at: Timestamp = "2026-01-02T03:04:05.6Z".parse().unwrap();
    let line = |version: &str, path: &str, state| Line {
        version: version.to_owned(),
        path: path.to_owned(),
        state,
        applied_at: None,
        duration_ms: None,
        checksum: "c".to_owned(),
        note: None,
    };
    let schema = Status {
        schema_version: 1,
        state: "failed",
        format: "sql",
        history: "schemagate.history".to_owned(),
        database: "shop".to_owned(),
        migrations: vec![
            Line {
                applied_at: Some("2026-01-01 00:00:00+00".to_owned()),
                duration_ms: Some(12),
                ..line("0001", "0001_a.sql", "applied")
            },
            Line {
                note: Some("syntax error".to_owned()),
                ..line("0002", "0002_b.sql", "failed")
            },
        ],
        ahead: vec!["0009".to_owned()],
        missing: Vec::new(),
        conflicts: Vec::new(),
        warnings: vec!["w".to_owned()],
    };
    Progress {
        state: State::Failed,
        reason: Some("0002 failed: <b>".to_owned()),
        next_step: Some("repair 0002".to_owned()),
        started: true,
        database_up: true,
        seen_at: Some(at),
        schema: Some(Arc::new(schema)),
        version: Some("0001".to_owned()),
        running: Some(Running {
            version: "0002".to_owned(),
            path: "0002_b.sql".to_owned(),
            since: at,
        }),
        holder: Some("pid 7".to_owned()),
        errors: [Noted {
            at,
            times: 3,
            text: "syntax error".to_owned(),
        }]
        .into(),
        ..Progress::new(at)
    }
}

struct Case {
    progress: Progress,
    metrics: Metrics,
    alive: bool,
    detail: bool,
}

fn case(progress: Progress) -> Case {
    Case {
        progress,
        metrics: Metrics::new().unwrap(),
        alive: true,
        detail: true,
    }
}

impl Case {
    fn ask(&self, method: &Method, target: &str) -> Answer {
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        respond(
            method,
            path,
            query,
            &Seen {
                progress: &self.progress,
                metrics: &self.metrics,
                alive: self.alive,
                detail: self.detail,
                now: Timestamp::UNIX_EPOCH,
            },
        )
    }

    fn get(&self, target: &str) -> Answer {
        self.ask(&Method::GET, target)
    }
}

#[test]
fn every_path_in_every_condition() {
    for state in State::ALL {
        for bits in 0..16 {
            let [ready, started, draining, alive] = [1, 2, 4, 8].map(|bit| bits & bit != 0);
            let case = Case {
                alive,
                ..case(Progress {
                    state,
                    ready,
                    started,
                    draining,
                    ..progress()
                })
            };
            let word = state.word();
            let readyz = match (draining, ready) {
                (true, _) => (503, "not ready: told to end".to_owned()),
                (false, false) => (503, format!("not ready: {word}")),
                (false, true) => (200, "ok".to_owned()),
            };
            let startupz = if started {
                (200, "ok".to_owned())
            } else {
                (503, format!("not started: {word}"))
            };
            let livez = if alive {
                (200, "ok".to_owned())
            } else {
                (503, "not alive: the work loop has ended".to_owned())
            };
            for (path, (status, line)) in [
                ("/livez", livez),
                ("/startupz", startupz),
                ("/readyz", readyz),
            ] {
                let answer = case.get(path);
                let context = format!("{path} {word} {bits:04b}");
                assert_eq!(answer.status.as_u16(), status, "{context}");
                assert_eq!(answer.body, line.clone() + "\n", "{context}");
                let verbose = case.get(&format!("{path}?verbose"));
                assert_eq!(verbose.status, answer.status, "{context}");
                let mut lines = verbose.body.lines();
                assert_eq!(lines.next(), Some(line.as_str()), "{context}");
                assert_eq!(lines.next(), Some(&*format!("state: {word}")), "{context}");
                assert_eq!(case.ask(&Method::HEAD, path), answer, "{context}");
            }
            for path in ["/status", "/metrics", "/"] {
                let answer = case.get(path);
                assert_eq!(answer.status, StatusCode::OK);
                assert!(answer.body.contains(word), "{path} {word}");
            }
            let ready = format!("schemagate_ready {}", u8::from(ready && !draining));
            let metrics = case.get("/metrics").body;
            assert!(
                metrics.lines().any(|line| line == ready),
                "{ready}\n{metrics}"
            );
        }
    }
}

#[test]
fn content_types() {
    let case = case(progress());
    for (path, expected) in [
        ("/livez", "text/plain; charset=utf-8"),
        ("/nowhere", "text/plain; charset=utf-8"),
        ("/status", "application/json"),
        ("/metrics", "text/plain; version=0.0.4; charset=utf-8"),
        ("/", "text/html; charset=utf-8"),
    ] {
        assert_eq!(case.get(path).content_type, expected, "{path}");
    }
    let page = case.get("/");
    let policy = page
        .headers
        .iter()
        .find(|(name, _)| name == CONTENT_SECURITY_POLICY);
    assert!(policy.unwrap().1.starts_with("default-src 'none'"));
}

#[test]
fn other_methods_and_other_paths() {
    let case = case(progress());
    for path in ["/livez", "/startupz", "/readyz", "/status", "/metrics", "/"] {
        for method in [
            "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "get", "BREW",
        ] {
            let answer = case.ask(&method.parse().unwrap(), path);
            assert_eq!(
                answer.status,
                StatusCode::METHOD_NOT_ALLOWED,
                "{method} {path}"
            );
            assert_eq!(answer.headers, [(ALLOW, "GET, HEAD")], "{method} {path}");
        }
    }
    for path in [
        "",
        "*",
        "//",
        "//readyz",
        "/readyz/",
        "/%72eadyz",
        "/Readyz",
        "/readyz%00",
        "/readyz;x",
        "/./readyz",
        "/../readyz",
        "/healthz",
        "/favicon.ico",
    ] {
        assert_eq!(case.get(path).status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(
            case.ask(&Method::POST, path).status,
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
}

#[test]
fn the_reason_is_asked_for_by_its_word() {
    for (query, expected) in [
        ("verbose", true),
        ("verbose=1", true),
        ("x=1&verbose", true),
        ("verbose&x", true),
        ("", false),
        ("verbos", false),
        ("x=verbose", false),
        ("verboser", false),
    ] {
        assert_eq!(asks_for_reason(query), expected, "{query}");
    }
}

#[test]
fn the_reason_in_text() {
    let mut case = case(progress());
    assert_eq!(
        case.get("/readyz?verbose").body,
        "not ready: failed\n\
         state: failed\n\
         version: 0001\n\
         since: 2026-01-02T03:04:05.600Z\n\
         reason: 0002 failed: <b>\n\
         next step: repair 0002\n\
         running: 0002_b.sql since 2026-01-02T03:04:05.600Z\n\
         lock held by: pid 7\n"
    );
    case.detail = false;
    assert_eq!(
        case.get("/readyz?verbose").body,
        format!("not ready: failed\nstate: failed\nversion: 0001\nreason: {HINT}\n")
    );
}

#[test]
fn details_are_not_for_everybody() {
    let case = Case {
        detail: false,
        ..case(progress())
    };
    for target in [
        "/status",
        "/",
        "/readyz?verbose",
        "/livez?verbose",
        "/metrics",
    ] {
        let body = case.get(target).body;
        for secret in ["syntax error", "0002", "pid 7", "shop", "0009"] {
            assert!(!body.contains(secret), "{target} tells {secret}:\n{body}");
        }
    }
}

#[test]
fn metrics_count_what_was_seen() {
    let case = case(progress());
    let text = case.get("/metrics").body;
    for line in [
        "schemagate_migrations{status=\"applied\"} 1",
        "schemagate_migrations{status=\"failed\"} 1",
        "schemagate_migrations{status=\"pending\"} 0",
        "schemagate_migrations{status=\"deferred\"} 0",
        "schemagate_migrations{status=\"ahead\"} 1",
        "schemagate_migrations{status=\"missing\"} 0",
        "schemagate_database_up 1",
        "schemagate_state{state=\"failed\"} 1",
        "schemagate_schema_version_info{version=\"0001\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    let nothing = self::case(Progress::new(Timestamp::UNIX_EPOCH))
        .get("/metrics")
        .body;
    assert!(!nothing.contains("schemagate_migrations{"), "{nothing}");
}

#[test]
fn who_is_local() {
    for (peer, expected) in [
        ("127.0.0.1", true),
        ("127.9.9.9", true),
        ("::1", true),
        ("::ffff:127.0.0.1", true),
        ("127.0.0.6", false),
        ("::ffff:127.0.0.6", false),
        ("10.0.0.1", false),
        ("::ffff:10.0.0.1", false),
        ("::", false),
        ("0.0.0.0", false),
        ("fe80::1", false),
    ] {
        assert_eq!(
            is_local(peer.parse().unwrap(), &HeaderMap::new()),
            expected,
            "{peer}"
        );
    }
    for (name, expected) in [
        ("user-agent", true),
        ("x-forwarded-for", false),
        ("x-forwarded-client-cert", false),
        ("x-envoy-attempt-count", false),
        ("l5d-client-id", false),
        ("via", false),
        ("forwarded", false),
    ] {
        let name = HeaderName::from_static(name);
        let headers = HeaderMap::from_iter([(name.clone(), "x".parse().unwrap())]);
        assert_eq!(
            is_local("127.0.0.1".parse().unwrap(), &headers),
            expected,
            "{name}"
        );
    }
}
