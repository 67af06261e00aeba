//! The page for people, in a real browser: what it reads like, that nothing on it runs, and how it fits a phone.

mod samples;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use schemagate::progress::State;
use schemagate::serve::page::{CONTENT_SECURITY_POLICY, page};

use self::samples::{now, sample};
use crate::harness::{Browser, Database, Folder, Schemagate, Server, Sidecar, View, eventually};

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

/// Where pictures lie, to be looked at: `page` in Cargo's folder for what tests leave behind.
fn pictures() -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("page");
    fs::create_dir_all(&dir).unwrap();
    dir
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

#[test]
fn fits_a_phone_and_a_desktop_in_light_and_dark() {
    let site = Site::new(CONTENT_SECURITY_POLICY, samples());
    let pictures = pictures();
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

/// Classic Drizzle takes any tag; the slash in this one makes a folder of what stands before it.
fn hostile(text: &str) -> Folder {
    Folder::classic(&[
        ("0000_init", 1_700_000_000_000, "CREATE TABLE a (id int);"),
        (HOSTILE, 1_700_000_001_000, text),
    ])
}

fn migrating(database: &Database<'_>, folder: &Folder) -> Sidecar {
    let call = Schemagate::sidecar(database, folder).env("SCHEMAGATE_AUTO_MIGRATE", "true");
    Sidecar::start(&call)
}

/// What the browser makes of a sidecar's page: the text, after a look at what must never be.
#[track_caller]
fn page_of(sidecar: &Sidecar, browser: &mut Browser) -> String {
    let mut visit = browser.visit(&sidecar.url(), View::DESKTOP);
    visit.screenshot(&pictures().join(format!("sidecar-{}.png", sidecar.state())));
    assert_eq!(visit.evaluate("document.scripts.length"), 0);
    assert_eq!(visit.requests, [sidecar.url()]);
    assert_eq!(visit.complaints, [""; 0]);
    visit.text()
}

#[track_caller]
fn assert_reads(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "no {word:?} in\n{text}");
    }
}

#[test]
fn of_a_sidecar_that_is_ready() {
    let database = Server::debian().database();
    let folder = hostile("CREATE TABLE b (id int);");
    Schemagate::migrate(&database, &folder).run().assert_code(0);
    let sidecar = Sidecar::start(&Schemagate::sidecar(&database, &folder));
    sidecar.becomes("ready", true);
    let text = page_of(&sidecar, &mut Browser::start());
    assert_reads(
        &text,
        &[
            "✓ ready",
            "Every migration that this image needs is applied.",
            "yes, /readyz answers 200",
            "2 applied. Times are UTC.",
            "<script>alert(1)</script>\t✓ applied 20",
            "0000_init\t✓ applied 20",
            "format drizzle, history in drizzle.__drizzle_migrations",
            " ms",
        ],
    );
    sidecar.stop().assert_code(0);
}

#[test]
fn of_a_sidecar_that_migrates() {
    let database = Server::debian().database();
    let sidecar = migrating(&database, &hostile("SELECT pg_sleep(60);"));
    database.schemagate_runs("pg_sleep");
    sidecar.becomes("migrating", false);
    let text = page_of(&sidecar, &mut Browser::start());
    assert_reads(
        &text,
        &[
            "► migrating",
            "This process is applying migrations.",
            "no, /readyz answers 503",
            "Running now\n<script>alert(1)</script>.sql for ",
            "Lock held by\nthis process",
            "1 applied, 1 running, of 2.",
            "<script>alert(1)</script>\t► running\t",
        ],
    );
}

#[test]
fn of_a_sidecar_whose_migration_failed() {
    let database = Server::debian().database();
    let sidecar = migrating(&database, &hostile("CREATE TABLE b (id nonsense);"));
    sidecar.becomes("failed", false);
    let text = page_of(&sidecar, &mut Browser::start());
    assert_reads(
        &text,
        &[
            "✕ failed",
            "A migration that this image needs has failed.",
            "<script>alert(1)</script>.sql",
            "type \"nonsense\" does not exist",
            "What to do\n",
            "Last errors",
            "1 applied, 1 failed, of 2.",
            "<script>alert(1)</script>\t✕ failed",
        ],
    );
}
