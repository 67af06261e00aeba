//! Debian's Chromium, headless: what a page looks like and how it reads to whoever opens it.
//!
//! Driven over its debugging pipe (file descriptors 3 and 4, messages in JSON that end with a zero byte), so that a
//! test asks the browser itself: its text is the rendered text, and its complaints are the ones of its console.
//! <https://chromedevtools.github.io/devtools-protocol/>

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::{Value, json};

use super::scratch;

/// How long a visit may take; whatever waits for the browser then fails, and the browser is ended.
const LIMIT: Duration = Duration::from_mins(1);

/// The shell gives the browser its pipe: standard input and output become 3 and 4.
const START: &str = r#"exec /usr/bin/chromium "$@" 3<&0 4>&1 </dev/null >/dev/null"#;

/// `--no-sandbox` because root has none, `--disable-dev-shm-usage` because a container's is small; the others keep it
/// from speaking to anybody.
const FLAGS: [&str; 11] = [
    "--headless",
    "--remote-debugging-pipe",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
];

/// A browser with a profile of its own. It ends with the value.
pub(crate) struct Browser {
    child: Child,
    input: ChildStdin,
    messages: Receiver<Value>,
    dir: PathBuf,
    end: Instant,
    next_id: u64,
}

/// How a page is looked at.
#[derive(Clone, Copy)]
pub(crate) struct View {
    /// CSS pixels.
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// `prefers-color-scheme`.
    pub(crate) dark: bool,
}

/// A page that has been loaded.
pub(crate) struct Visit<'a> {
    browser: &'a mut Browser,
    target: Value,
    session: String,
    /// The loads that have come to their end.
    loaded: Vec<Value>,
    /// The URLs that were asked for, first the page's own.
    pub(crate) requests: Vec<String>,
    /// What the browser's console and log say, such as violations of the page's policy.
    pub(crate) complaints: Vec<String>,
}

// === impl Browser ===

impl Browser {
    /// Starts one.
    pub(crate) fn start() -> Self {
        let dir = scratch::new_dir("browser");
        let log = fs::File::create(dir.join("log")).expect("the browser's log");
        assert!(
            Path::new("/usr/bin/chromium").exists(),
            "no /usr/bin/chromium: run `make setup`"
        );
        let mut child = Command::new("sh")
            .args(["-c", START, "chromium"])
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", dir.join("profile").display()))
            .env("HOME", &dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("sh starts");
        let input = child.stdin.take().expect("a pipe");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let (sender, messages) = channel();
        thread::spawn(move || {
            for message in output.split(0).map_while(Result::ok) {
                let message = serde_json::from_slice(&message).expect("JSON from the browser");
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            input,
            messages,
            dir,
            end: Instant::now() + LIMIT,
            next_id: 1,
        }
    }

    /// The rendered text of a page, as one would select and copy it.
    pub(crate) fn dump(&mut self, url: &str) -> String {
        self.visit(url, View::DESKTOP).text()
    }

    /// Opens a page, waits until it is loaded, and keeps it as it is.
    pub(crate) fn visit(&mut self, url: &str, view: View) -> Visit<'_> {
        let mut visit = self.open(url, view);
        // Also ends the page's wish to be loaded again.
        visit.call("Page.stopLoading", &json!({}));
        visit
    }

    /// Opens a page and waits until it is loaded.
    pub(crate) fn open(&mut self, url: &str, view: View) -> Visit<'_> {
        self.end = Instant::now() + LIMIT;
        let target = self.call("Target.createTarget", &json!({"url": "about:blank"}));
        let target = target["targetId"].clone();
        let attach = json!({"targetId": target, "flatten": true});
        let session = self.call("Target.attachToTarget", &attach);
        let session = session["sessionId"].as_str().expect("a session").to_owned();
        let mut visit = Visit {
            browser: self,
            target,
            session,
            loaded: Vec::new(),
            requests: Vec::new(),
            complaints: Vec::new(),
        };
        for domain in ["Page", "Network", "Log", "Runtime"] {
            visit.call(&format!("{domain}.enable"), &json!({}));
        }
        visit.call("Page.setLifecycleEventsEnabled", &json!({"enabled": true}));
        let View {
            width,
            height,
            dark,
        } = view;
        // A phone's browser, unlike a narrow window, lays a page out wider than the screen if it does not say otherwise.
        let metrics = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600,
        });
        visit.call("Emulation.setDeviceMetricsOverride", &metrics);
        let scheme = if dark { "dark" } else { "light" };
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        visit.call("Emulation.setEmulatedMedia", &media);
        let opened = visit.call("Page.navigate", &json!({"url": url}));
        assert!(opened["errorText"].is_null(), "{url}: {opened}");
        while !visit.loaded.contains(&opened["loaderId"]) {
            visit.next();
        }
        visit
    }

    /// Sends a command and gives its answer. What comes in between is dropped.
    fn call(&mut self, method: &str, params: &Value) -> Value {
        let id = self.send(None, method, params);
        loop {
            let message = self.receive();
            if message["id"] == id {
                return result(method, message);
            }
        }
    }

    fn send(&mut self, session: Option<&str>, method: &str, params: &Value) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let mut message = json!({"id": id, "method": method, "params": params});
        if let Some(session) = session {
            message["sessionId"] = session.into();
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        if let Err(error) = self.input.write_all(&bytes) {
            panic!("{method}: {error}\n{}", self.log());
        }
        id
    }

    fn receive(&mut self) -> Value {
        let left = self.end.saturating_duration_since(Instant::now());
        match self.messages.recv_timeout(left) {
            Ok(message) => message,
            Err(error) => panic!("the browser: {error}\n{}", self.log()),
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Its other processes end with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn result(method: &str, mut message: Value) -> Value {
    assert!(message["error"].is_null(), "{method}: {message}");
    message["result"].take()
}

// === impl View ===

impl View {
    pub(crate) const DESKTOP: Self = Self {
        width: 1200,
        height: 800,
        dark: false,
    };
    /// The narrowest phone that is still about.
    pub(crate) const PHONE: Self = Self {
        width: 360,
        height: 640,
        dark: false,
    };

    pub(crate) fn dark(self) -> Self {
        Self { dark: true, ..self }
    }
}

// === impl Visit ===

impl Visit<'_> {
    /// The rendered text.
    pub(crate) fn text(&mut self) -> String {
        self.string("document.documentElement.innerText")
    }

    /// The document as the browser has understood it.
    pub(crate) fn html(&mut self) -> String {
        self.string("document.documentElement.outerHTML")
    }

    /// The value of an expression that is a text.
    #[track_caller]
    pub(crate) fn string(&mut self, expression: &str) -> String {
        let value = self.evaluate(expression);
        let text = value.as_str().map(str::to_owned);
        text.unwrap_or_else(|| panic!("{expression}: {value}"))
    }

    /// The value of an expression, asked from outside: no policy of the page forbids that.
    #[track_caller]
    pub(crate) fn evaluate(&mut self, expression: &str) -> Value {
        let params = json!({"expression": expression, "returnByValue": true});
        let mut answer = self.call("Runtime.evaluate", &params);
        assert!(
            answer["exceptionDetails"].is_null(),
            "{expression}: {answer}"
        );
        answer["result"]["value"].take()
    }

    /// What a screen reader is told: role and name of every node, in order.
    pub(crate) fn accessibility(&mut self) -> Vec<(String, String)> {
        let tree = self.call("Accessibility.getFullAXTree", &json!({}));
        let text = |value: &Value| value["value"].as_str().unwrap_or_default().to_owned();
        let nodes = tree["nodes"].as_array().expect("nodes");
        let seen = nodes.iter().filter(|node| node["ignored"] == false);
        seen.map(|node| (text(&node["role"]), text(&node["name"])))
            .collect()
    }

    /// A picture of all of it.
    pub(crate) fn screenshot(&mut self, file: &Path) {
        let params = json!({"format": "png", "captureBeyondViewport": true});
        let picture = self.call("Page.captureScreenshot", &params);
        let data = picture["data"].as_str().expect("a picture");
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(data)
            .expect("base64");
        fs::write(file, bytes).expect("a file for the picture");
    }

    fn call(&mut self, method: &str, params: &Value) -> Value {
        let id = self.browser.send(Some(&self.session), method, params);
        loop {
            let message = self.next();
            if message["id"] == id {
                return result(method, message);
            }
        }
    }

    /// The next message; what it tells of the page is kept.
    fn next(&mut self) -> Value {
        let message = self.browser.receive();
        if message["sessionId"] != self.session.as_str() {
            return message;
        }
        let params = &message["params"];
        match message["method"].as_str() {
            Some("Network.requestWillBeSent") => {
                let url = params["request"]["url"].as_str().unwrap_or_default();
                self.requests.push(url.to_owned());
            }
            Some("Page.lifecycleEvent") if params["name"] == "load" => {
                self.loaded.push(params["loaderId"].clone());
            }
            Some("Log.entryAdded") => self.complaints.push(params["entry"]["text"].to_string()),
            Some("Runtime.consoleAPICalled" | "Runtime.exceptionThrown") => {
                self.complaints.push(params.to_string());
            }
            Some("Page.javascriptDialogOpening") => {
                self.complaints
                    .push(format!("a dialog: {}", params["message"]));
                // Nothing goes on behind an open one.
                let session = Some(self.session.as_str());
                let accept = json!({"accept": true});
                self.browser
                    .send(session, "Page.handleJavaScriptDialog", &accept);
            }
            _ => {}
        }
        message
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        // Else it would go on refreshing itself behind the next one.
        if !thread::panicking() {
            let target = json!({"targetId": self.target});
            self.browser.send(None, "Target.closeTarget", &target);
        }
    }
}
