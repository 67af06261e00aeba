//! The real Pushgateway, and Prometheus' own check of metrics.

use std::io::Write;
use std::process::{Child, Command, Stdio};

use super::eventually::becomes_true;
use super::postgres::free_port;
use super::receiver::{get, try_get};

/// A throwaway Pushgateway that keeps everything in memory.
pub(crate) struct Pushgateway {
    child: Child,
    port: u16,
}

// === impl Pushgateway ===

impl Pushgateway {
    pub(crate) fn start() -> Self {
        let port = free_port();
        let child = Command::new("prometheus-pushgateway")
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("no Pushgateway: run `make setup`");
        let gateway = Self { child, port };
        assert!(
            becomes_true(|| try_get(port, "/-/ready").is_some_and(|(status, _)| status == 200)),
            "the Pushgateway does not start"
        );
        gateway
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// What Prometheus would scrape, of our names.
    pub(crate) fn metrics(&self) -> String {
        let (status, text) = get(self.port, "/metrics");
        assert_eq!(status, 200, "{text}");
        text.lines()
            .filter(|line| line.contains("schemagate_"))
            .fold(String::new(), |text, line| text + line + "\n")
    }
}

impl Drop for Pushgateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `promtool check metrics` has nothing to say: neither an error nor a lint.
#[track_caller]
pub(crate) fn assert_promtool_accepts(text: &str) {
    let mut child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("no promtool: run `make setup`");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(text.as_bytes()).expect("promtool reads");
    drop(stdin);
    let output = child.wait_with_output().expect("promtool ends");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success() && said.is_empty(), "{said}\n{text}");
}
