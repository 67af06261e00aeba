//! What only shows in a process of its own: this test binary once more, with one of the ignored functions.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use super::*;

const MEBIBYTE: usize = 1024 * 1024;

/// A process that serves.
struct Process {
    child: Child,
    at: SocketAddr,
}

impl Process {
    /// `limits` are commands of the shell, run before.
    fn start(limits: &str) -> Self {
        let mut child = Command::new("sh")
            .args(["-c", &format!("{limits}\nexec \"$0\" \"$@\"")])
            .arg(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture"])
            .arg("serve::tests::alone::child_that_serves")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let at = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .find_map(|line| line.unwrap().strip_prefix("serves at ")?.parse().ok());
        Self {
            child,
            at: at.unwrap(),
        }
    }

    #[track_caller]
    fn assert_answers(&self) {
        let answer = ask(self.at, b"GET /readyz HTTP/1.0\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.0 200 "), "{answer:?}");
    }

    /// Resident bytes.
    fn memory(&self) -> usize {
        let text = std::fs::read_to_string(format!("/proc/{}/statm", self.child.id())).unwrap();
        text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
    }

    fn descriptors(&self) -> usize {
        let folder = format!("/proc/{}/fd", self.child.id());
        std::fs::read_dir(folder).unwrap().count()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
#[ignore = "the child of others"]
fn child_that_serves() {
    let served = Served::new(Limits::default(), ready());
    println!("\nserves at {}", served.at());
    // Until the parent is gone.
    io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

#[test]
fn a_hundred_thousand_requests_leave_nothing_behind() {
    let process = Process::start("");
    let some = |count: usize| {
        let mut stream = BufReader::new(connect(process.at));
        for _ in 0..count / 100 {
            for path in ["/readyz", "/livez", "/status", "/metrics", "/", "/x"] {
                let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
                let many = if path == "/readyz" { 95 } else { 1 };
                let requests = request.repeat(many);
                stream.get_mut().write_all(requests.as_bytes()).unwrap();
                for _ in 0..many {
                    read_answer(&mut stream);
                }
            }
        }
        for _ in 0..count / 100 {
            process.assert_answers();
        }
    };
    some(5000);
    let (memory, descriptors) = (process.memory(), process.descriptors());
    some(100_000);
    eventually("as many descriptors as before", || {
        process.descriptors() <= descriptors
    });
    let grown = process.memory().saturating_sub(memory);
    assert!(
        grown < MEBIBYTE / 2,
        "{grown} bytes more than the {memory} before"
    );
}

#[test]
fn who_never_reads_costs_little() {
    let process = Process::start("");
    process.assert_answers();
    let before = process.memory();
    let requests = b"HEAD /livez HTTP/1.1\r\n\r\n".repeat(10_000);
    let senders: Vec<TcpStream> = (0..8)
        .map(|_| {
            let mut stream = connect(process.at);
            stream.set_write_timeout(Some(SOON)).unwrap();
            // Until the kernel's buffers are full, and then a while.
            let sent = (0..400)
                .take_while(|_| stream.write_all(&requests).is_ok())
                .count();
            assert!(sent < 400, "whatever is sent is taken");
            stream
        })
        .collect();
    process.assert_answers();
    let grown = process.memory().saturating_sub(before);
    assert!(
        grown < 2 * MEBIBYTE,
        "{grown} bytes for {} senders",
        senders.len()
    );
}

#[test]
fn slow_senders_cost_little() {
    let process = Process::start("");
    process.assert_answers();
    let before = process.memory();
    let head = format!("GET /readyz HTTP/1.1\r\na: {}", "x".repeat(15_000));
    let senders: Vec<TcpStream> = (0..500)
        .map(|_| {
            let mut stream = connect(process.at);
            stream.write_all(head.as_bytes()).unwrap();
            stream
        })
        .collect();
    process.assert_answers();
    // 128 at a time, of 16 KiB each and what belongs to them.
    let grown = process.memory().saturating_sub(before);
    assert!(
        grown < 6 * MEBIBYTE,
        "{grown} bytes for {} senders",
        senders.len()
    );
}

#[test]
fn without_descriptors_the_oldest_make_room() {
    let process = Process::start("ulimit -n 32");
    let idle: Vec<TcpStream> = (0..200).map(|_| connect(process.at)).collect();
    for _ in 0..20 {
        process.assert_answers();
    }
    drop(idle);
    process.assert_answers();
}

#[test]
#[ignore = "the child of others"]
fn child_without_ipv6() {
    let bind_at = |address: &str| {
        bind(&Params {
            listen: address.parse().unwrap(),
            detail_for_all: false,
        })
    };
    for address in ["[::]:0", "0.0.0.0:0", "127.0.0.1:0"] {
        let listener = bind_at(address).unwrap_or_else(|error| panic!("{address}: {error}"));
        TcpStream::connect((Ipv4Addr::LOCALHOST, listener.local_addr().port())).unwrap();
    }
    let error = bind_at("[::1]:0").unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot listen at [::1]:0: ::1 is no address of this host"
    );
}

#[test]
fn with_ipv6_switched_off() {
    let script = "PATH=$PATH:/usr/sbin && ip link set lo up && echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6 && exec \"$0\" \"$@\"";
    let output = Command::new("unshare")
        .args(["--net", "--map-root-user", "sh", "-c", script])
        .arg(std::env::current_exe().unwrap())
        .args([
            "--ignored",
            "--exact",
            "serve::tests::alone::child_without_ipv6",
        ])
        .output()
        .expect("unshare (util-linux) starts; `make setup` installs it");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "network namespaces (root, or unprivileged user namespaces) and ip (`make setup`) are needed: {said}"
    );
}
