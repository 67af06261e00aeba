//! The page for people, in a real browser: what it reads like, that nothing on it runs, and how it fits a phone.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use jiff::{SignedDuration, Timestamp};
use schemagate::progress::{Noted, Progress, Running, State};
use schemagate::report::status::{Line, Status};
use schemagate::serve::page::{CONTENT_SECURITY_POLICY, page};

use crate::harness::{Browser, View, eventually};

const HOSTILE: &str = "<script>alert(1)</script>";

/// Serves pages by their path, and remembers what was asked for.
struct Site {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

// === impl Site ===

impl Site {
    fn new(policy: &str, pages: impl IntoIterator<Item = (String, String)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let pages: BTreeMap<_, _> = pages.into_iter().collect();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (policy, seen) = (policy.to_owned(), Arc::clone(&asked));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = BufReader::new(stream.unwrap());
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n")
                    && stream.read_line(&mut head).is_ok_and(|n| n > 0)
                {}
                let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                let body = pages.get(&path).map_or("", String::as_str);
                let status = if body.is_empty() {
                    "404 Not Found"
                } else {
                    "200 OK"
                };
                // A browser opens connections that it may never use.
                let _ = write!(
                    stream.get_mut(),
                    "HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Security-Policy: {policy}\r\n\
                     Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
                    body.len()
                );
                seen.lock().unwrap().push(path);
            }
        });
        Self { port, asked }
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    fn asked(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        asked
            .iter()
            .filter(|path| !path.is_empty())
            .cloned()
            .collect()
    }
}

fn now() -> Timestamp {
    "2026-03-04T03:10:00Z".parse().unwrap()
}

fn before(seconds: i64) -> Timestamp {
    now() - SignedDuration::from_secs(seconds)
}

fn line(version: &str, state: &'static str, duration_ms: Option<i64>) -> Line {
    Line {
        version: version.to_owned(),
        path: format!("{version}.sql"),
        state,
        applied_at: duration_ms.map(|_| "2026-03-01 04:05:06.789+00".to_owned()),
        duration_ms,
        checksum: String::new(),
        note: None,
    }
}

/// A schema of some age, whose newest migrations are in the states given.
fn schema(newest: &[(&str, &'static str)]) -> Status {
    let old = [
        ("0001_init", 1_240),
        ("0002_add_users", 18),
        ("0003_orders_by_customer", 92),
        (
            "0004_index_orders_on_created_at_and_customer_and_state",
            754_000,
        ),
        ("0005_🚀🚀🚀_launch_day_🚀🚀🚀_everything_at_once", 4),
        ("0006_backfill_totals", 203_000),
    ];
    let mut migrations: Vec<_> = old.map(|(name, ms)| line(name, "applied", Some(ms))).into();
    for (name, state) in newest {
        migrations.push(line(name, state, (*state == "applied").then_some(37)));
    }
    Status {
        schema_version: 1,
        state: "ready",
        format: "drizzle",
        history: "drizzle.__drizzle_migrations".to_owned(),
        database: "orders".to_owned(),
        migrations,
        ahead: Vec::new(),
        missing: Vec::new(),
        conflicts: Vec::new(),
        warnings: Vec::new(),
    }
}

fn progress(state: State, schema: Status) -> Progress {
    Progress {
        state,
        since: before(192),
        database_up: true,
        seen_at: Some(before(4)),
        schema: Some(Arc::new(schema)),
        version: Some("0006_backfill_totals".to_owned()),
        ..Progress::new(now())
    }
}

/// One that an operator might meet.
fn sample(state: State) -> Progress {
    let texts = |texts: &[&str]| {
        texts
            .iter()
            .map(|&text| text.to_owned())
            .collect::<Vec<_>>()
    };
    let pending = [(HOSTILE, "pending"), ("0008_drop_legacy", "deferred")];
    match state {
        State::Connecting => Progress {
            since: before(41),
            reason: Some("postgres.orders.svc:5432: connection refused".to_owned()),
            errors: [
                Noted {
                    at: before(1),
                    times: 17,
                    text: "postgres.orders.svc:5432: connection refused".to_owned(),
                },
                Noted {
                    at: before(38),
                    times: 3,
                    text: "postgres.orders.svc: name not found".to_owned(),
                },
            ]
            .into(),
            ..Progress::new(now())
        },
        State::Pending => progress(state, schema(&pending)),
        State::WaitingForLock => Progress {
            holder: Some(
                "pid 4711 (schemagate/0.1.0 orders-7d9f8b6c5-x2x7q) since 2026-03-04 03:06:48+00, active, migration \
                 0007_add_currency"
                    .to_owned(),
            ),
            ..progress(state, schema(&pending))
        },
        State::Migrating => Progress {
            running: Some(Running {
                version: HOSTILE.to_owned(),
                path: format!("{HOSTILE}.sql"),
                since: before(72),
            }),
            holder: Some("this process".to_owned()),
            ..progress(state, schema(&pending))
        },
        State::Ready => Progress {
            ready: true,
            started: true,
            since: before(183_600),
            ..progress(state, schema(&[(HOSTILE, "applied")]))
        },
        State::Ahead => {
            let mut schema = schema(&[]);
            schema.ahead = texts(&["0007_add_currency", "0008_drop_legacy"]);
            Progress {
                ready: true,
                started: true,
                stale_since: Some(before(600)),
                database_up: false,
                ..progress(state, schema)
            }
        }
        State::Mismatch => {
            let mut schema = schema(&[(HOSTILE, "pending")]);
            schema.migrations[1].state = "changed";
            schema.migrations[1].note = Some("the file differs from the applied one".to_owned());
            schema.missing = texts(&["0000_experiment"]);
            schema.conflicts = texts(&[
                "0002_add_users.sql has changed since it was applied (checksum then 3f9a1c22ab70, now 81d0e5c2f3aa)",
                "0000_experiment was applied, but there is no file for it",
            ]);
            schema.warnings = texts(&["0003_orders_by_customer.sql differs in its line endings from what was applied"]);
            Progress {
                reason: Some(schema.conflicts[0].clone()),
                next_step: Some(
                    "restore the file and put the change into a new migration; if the database is right as it is, \
                     `schemagate repair --accept-checksum 0002_add_users`, or set SCHEMAGATE_CHECKSUM=warn"
                        .to_owned(),
                ),
                ..progress(state, schema)
            }
        }
        State::Failed => {
            let failure = "line 3, column 14: column \"curency\" does not exist (42703)";
            let mut schema = schema(&[(HOSTILE, "failed"), ("0008_drop_legacy", "pending")]);
            schema.migrations[6].note = Some(failure.to_owned());
            Progress {
                reason: Some(format!("{HOSTILE}.sql, {failure}\n  UPDATE orders SET curency = 'EUR'\n                    ^\nrolled back")),
                next_step: Some("correct the file and deploy it; it is not tried again with the same content".to_owned()),
                errors: [Noted {
                    at: before(61),
                    times: 1,
                    text: format!("{HOSTILE}.sql, {failure}"),
                }]
                .into(),
                ..progress(state, schema)
            }
        }
    }
}

/// Every state with details by its word, and the one without behind `/brief/`.
fn samples() -> Vec<(String, String)> {
    let pages = State::ALL.into_iter().flat_map(|state| {
        let progress = sample(state);
        [("/", true), ("/brief/", false)].map(|(path, detail)| {
            (
                format!("{path}{}", state.word()),
                page(&progress, now(), detail),
            )
        })
    });
    pages.collect()
}

#[test]
fn reads_well_in_a_browser() {
    let site = Site::new(CONTENT_SECURITY_POLICY, samples());
    let mut browser = Browser::start();
    for (state, words) in [
        (
            State::Ready,
            [
                "✓ ready",
                "Every migration that this image needs is applied.",
                "0006_backfill_totals",
            ],
        ),
        (
            State::Migrating,
            [
                "► migrating",
                "This process is applying migrations.",
                "► running",
            ],
        ),
        (
            State::Failed,
            [
                "✕ failed",
                "A migration that this image needs has failed.",
                "rolled back",
            ],
        ),
    ] {
        let url = site.url(&format!("/{}", state.word()));
        let text = browser.dump(&url);
        for word in words.into_iter().chain([HOSTILE]) {
            assert!(text.contains(word), "no {word:?} in\n{text}");
        }
        let mut visit = browser.visit(&url, View::DESKTOP);
        assert_eq!(
            visit.evaluate("document.getElementsByTagName('script').length"),
            0
        );
        assert!(
            visit
                .html()
                .contains("&lt;script&gt;alert(1)&lt;/script&gt;")
        );
        assert_eq!(visit.requests, [url.as_str()]);
        assert_eq!(visit.complaints, [""; 0]);
        let title = visit.string("document.title");
        assert!(
            title.ends_with(" · orders") && title.contains(state.word()),
            "{title}"
        );
    }
}

/// The other tests prove nothing if the browser would not run a script, or would not tell.
#[test]
fn a_script_would_run_and_is_stopped_by_the_policy_alone() {
    let hole =
        format!("<!DOCTYPE html><title>x</title><body>{HOSTILE}<b style='color:red'>y</b></body>");
    let mut browser = Browser::start();
    let open = Site::new("", [("/".to_owned(), hole.clone())]);
    let visit = browser.visit(&open.url("/"), View::DESKTOP);
    // Behind it may come the browser's own wish for a picture.
    assert_eq!(visit.complaints[0], "a dialog: \"1\"");
    drop(visit);

    let strict = Site::new(CONTENT_SECURITY_POLICY, [("/".to_owned(), hole)]);
    let mut visit = browser.visit(&strict.url("/"), View::DESKTOP);
    assert_eq!(visit.evaluate("document.scripts.length"), 1);
    assert_eq!(visit.complaints.len(), 2, "{:?}", visit.complaints);
    for complaint in &visit.complaints {
        assert!(complaint.contains("Content Security Policy"), "{complaint}");
    }
}

/// The pictures lie in `target/tmp/page`, to be looked at.
#[test]
fn fits_a_phone_and_a_desktop_in_light_and_dark() {
    let site = Site::new(CONTENT_SECURITY_POLICY, samples());
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).join("page");
    fs::create_dir_all(&pictures).unwrap();
    let mut browser = Browser::start();
    for state in State::ALL {
        let mut papers = Vec::new();
        for (name, path, view) in [
            ("phone", "/", View::PHONE),
            ("desktop", "/", View::DESKTOP),
            ("desktop-dark", "/", View::DESKTOP.dark()),
            ("phone-dark", "/", View::PHONE.dark()),
            ("brief", "/brief/", View::PHONE),
        ] {
            let url = site.url(&format!("{path}{}", state.word()));
            let file = pictures.join(format!("{}-{name}.png", state.word()));
            let mut visit = browser.visit(&url, view);
            visit.screenshot(&file);
            let width = visit.evaluate("document.documentElement.scrollWidth");
            assert_eq!(width, view.width, "{}", file.display());
            // Nothing is cut off or laid over its neighbour either.
            let wide = "[...document.querySelectorAll('*')].filter(e => e.clientWidth && e.scrollWidth > \
                        e.clientWidth + 1).map(e => e.outerHTML).join('\\n')";
            assert_eq!(visit.string(wide), "", "{}", file.display());
            papers.push(visit.string("getComputedStyle(document.documentElement).backgroundColor"));
        }
        let [light, dark] = ["rgb(252, 252, 250)", "rgb(20, 22, 25)"];
        assert_eq!(papers, [light, light, dark, dark, light]);
    }
}

#[test]
fn is_a_table_to_a_screen_reader() {
    let site = Site::new(CONTENT_SECURITY_POLICY, samples());
    let mut browser = Browser::start();
    let mut visit = browser.visit(&site.url("/failed"), View::PHONE);
    let tree = visit.accessibility();
    let names = |role: &str| {
        let nodes = tree.iter().filter(|(other, _)| other == role);
        nodes.map(|(_, name)| name.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(names("heading")[0], "failed");
    assert_eq!(names("columnheader"), ["Migration", "State", "Took"]);
    assert_eq!(names("table").len(), 1);
    assert!(
        names("rowheader").contains(&"<script>alert(1)</script>"),
        "{tree:?}"
    );
    assert!(
        names("cell").iter().any(|name| name.contains("applied")),
        "{tree:?}"
    );
}

#[test]
fn asks_again_by_itself() {
    let site = Site::new(CONTENT_SECURITY_POLICY, samples());
    let mut browser = Browser::start();
    let _page = browser.open(&site.url("/migrating"), View::DESKTOP);
    eventually!(site.asked().len() >= 3, "asked for {:?}", site.asked());
    // Not for a picture of the tab either.
    assert!(
        site.asked().iter().all(|path| path == "/migrating"),
        "{:?}",
        site.asked()
    );
}
