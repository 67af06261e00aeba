//! The real Pushgateway, and Prometheus' own check of metrics.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use super::eventually::becomes_true;
use super::postgres::free_port;

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
            becomes_true(|| gateway.get("/-/ready").is_some()),
            "the Pushgateway does not start"
        );
        gateway
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// What Prometheus would scrape, of our names.
    pub(crate) fn metrics(&self) -> String {
        let text = self.get("/metrics").expect("the gateway's metrics");
        text.lines()
            .filter(|line| line.contains("schemagate_"))
            .fold(String::new(), |text, line| text + line + "\n")
    }

    /// Version 1.0 of HTTP knows no chunks, in which the gateway would send what is long.
    fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        (head.split(' ').nth(1)? == "200").then(|| body.to_owned())
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
