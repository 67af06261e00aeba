//! A process that has a child: this test binary once more. And small things about processes.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::ExitStatusExt;
use std::process::{self, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::child::{Child, Ended, Env, Error, Output, Program};
use crate::shutdown::Shutdown;

/// What a host does with its child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scenario {
    /// Waits for it.
    Wait,
    /// Waits for it and writes lines of `L` to standard error meanwhile.
    WaitLogging,
    /// Ends it at a signal.
    Serve,
    /// Passes the signal on.
    Forward,
    /// Drops it at a signal, and lives on.
    Drop,
    /// Becomes it.
    Replace,
}

/// How long a child may take to end at a signal.
pub(super) const GRACE: Duration = Duration::from_millis(500);
/// Longer than any case takes.
const LIMIT: Duration = Duration::from_mins(1);
/// Behind it, standard output is the child's: the test harness has said something before.
const MARKER: &[u8] = b"\n@@@\n";
/// Between the words of the command.
const SEPARATOR: u8 = 0x1f;

// === The host's side ===

#[test]
#[ignore = "the child of others"]
fn host() {
    let argv = env::var_os("HOST_ARGV").unwrap().into_vec();
    let words = argv.split(|byte| *byte == SEPARATOR);
    let argv: Vec<OsString> = words
        .map(|word| OsString::from_vec(word.to_vec()))
        .collect();
    let mut stdout = std::io::stdout();
    stdout.write_all(MARKER).unwrap();
    stdout.flush().unwrap();
    let scenario = env::var("HOST_SCENARIO").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let code = runtime.unwrap().block_on(async {
        let run = run(&scenario, &argv);
        match tokio::time::timeout(LIMIT, run).await {
            Ok(Ok(ended)) => ended.exit_code(),
            Ok(Err(error)) => {
                say(&format!("error: {error}\nwhat to do: {}\n", error.help()));
                error.exit_status().code()
            }
            Err(_) => 99,
        }
    });
    process::exit(code.into());
}

async fn run(scenario: &str, argv: &[OsString]) -> Result<Ended, Error> {
    let program = Program::find(argv, env::var_os("PATH").as_deref())?;
    let mut env = Env {
        remove: ["GONE", "BOTH", "HOST_ARGV", "HOST_SCENARIO"]
            .map(OsString::from)
            .into(),
        set: [("SET", "set"), ("BOTH", "set")]
            .map(|(name, value)| (name.into(), value.into()))
            .into(),
    };
    if env::var_os("HOST_LONG").is_some() {
        // More than one word may have (execve(2), MAX_ARG_STRLEN).
        env.set.push(("LONG".into(), "x".repeat(200_000).into()));
    }
    let shutdown = Shutdown::install().unwrap();
    // What could leak.
    let _socket = TcpListener::bind("127.0.0.1:0").unwrap();
    if scenario == "Replace" {
        return Err(program.replace(&env));
    }
    let mut child = Child::spawn(&program, &env, Output::own().unwrap())?;
    let ended = match scenario {
        "Wait" => child.wait().await,
        "WaitLogging" => {
            thread::spawn(|| {
                loop {
                    say(&("L".repeat(6000) + "\n"));
                }
            });
            child.wait().await
        }
        scenario => {
            let signal = tokio::select! {
                ended = child.wait() => return Ok(ended),
                signal = shutdown.recv() => signal,
            };
            match scenario {
                "Serve" => child.end(signal, GRACE).await.unwrap(),
                "Forward" => {
                    child.forward(signal);
                    child.wait().await
                }
                "Drop" => {
                    drop(child);
                    return std::future::pending().await;
                }
                other => unreachable!("{other}"),
            }
        }
    };
    if child.remaining() > 0 {
        say(&format!("remaining: {}\n", child.remaining()));
    }
    say(&format!("ended: {ended}\n"));
    Ok(ended)
}

/// As the log does: one write, and nobody may have to listen.
fn say(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

// === The test's side ===

/// A host that is to be started.
pub(super) struct Host(Command);

/// A running host. It is killed when dropped, and its child with it.
pub(super) struct Running {
    process: process::Child,
    stdin: Option<ChildStdin>,
    pub(super) stdout: BufReader<Box<dyn Read>>,
    pub(super) stderr: BufReader<ChildStderr>,
}

#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) code: i32,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

impl Host {
    pub(super) fn new(scenario: Scenario, argv: &[impl AsRef<OsStr>]) -> Self {
        let words: Vec<&[u8]> = argv.iter().map(|word| word.as_ref().as_bytes()).collect();
        let mut command = Command::new(env::current_exe().unwrap());
        command
            .args([
                "--ignored",
                "--exact",
                "--nocapture",
                "child::tests::host::host",
            ])
            .env("HOST_SCENARIO", format!("{scenario:?}"))
            .env("HOST_ARGV", OsStr::from_bytes(&words.join(&SEPARATOR)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Self(command)
    }

    pub(super) fn env(&mut self, name: &str, value: &str) -> &mut Self {
        self.0.env(name, value);
        self
    }

    pub(super) fn command(self) -> Command {
        self.0
    }

    #[track_caller]
    pub(super) fn output(&mut self) -> Outcome {
        let output = self.0.output().unwrap();
        Outcome {
            code: output.status.code().expect("the host was killed"),
            stdout: after_marker(&output.stdout).to_vec(),
            stderr: output.stderr,
        }
    }

    pub(super) fn start(mut self) -> Running {
        let mut process = self.0.stdin(Stdio::piped()).spawn().unwrap();
        let stdout: ChildStdout = process.stdout.take().unwrap();
        let mut running = Running {
            stdin: process.stdin.take(),
            stderr: BufReader::new(process.stderr.take().unwrap()),
            stdout: BufReader::new(Box::new(stdout)),
            process,
        };
        running.expect(str::from_utf8(MARKER).unwrap());
        running
    }
}

impl Running {
    pub(super) fn id(&self) -> u32 {
        self.process.id()
    }

    #[track_caller]
    pub(super) fn expect(&mut self, text: &str) {
        read_until(&mut self.stdout, text);
    }

    #[track_caller]
    pub(super) fn expect_stderr(&mut self, text: &str) {
        read_until(&mut self.stderr, text);
    }

    /// A line of standard output with the number of a process.
    #[track_caller]
    pub(super) fn pid_said(&mut self) -> u32 {
        let said = read_until(&mut self.stdout, "\n");
        String::from_utf8(said).unwrap().trim().parse().unwrap()
    }

    pub(super) fn say(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(text.as_bytes()).unwrap();
    }

    pub(super) fn close_stdout(&mut self) {
        self.stdout = BufReader::new(Box::new(std::io::empty()));
    }

    pub(super) fn signal(&self, name: &str) {
        kill(self.id(), name);
    }

    pub(super) fn memory_kib(&self, key: &str) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).ok()?;
        let line = status.lines().find(|line| line.starts_with(key))?;
        line.split_whitespace().nth(1)?.parse().ok()
    }

    #[track_caller]
    pub(super) fn code(&mut self) -> i32 {
        self.status().code().expect("the host was killed")
    }

    pub(super) fn signal_that_ended(&mut self) -> Option<i32> {
        self.status().signal()
    }

    fn status(&mut self) -> ExitStatus {
        self.process.wait().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Reads up to the end of `text`, and answers all of it.
#[track_caller]
fn read_until(from: &mut impl Read, text: &str) -> Vec<u8> {
    let (mut read, mut byte) = (Vec::new(), [0]);
    while !read.ends_with(text.as_bytes()) {
        let end = from.read(&mut byte).unwrap() == 0;
        assert!(!end, "no {text:?} in {:?}", String::from_utf8_lossy(&read));
        read.push(byte[0]);
    }
    read
}

pub(super) fn after_marker(bytes: &[u8]) -> &[u8] {
    let mut windows = bytes.windows(MARKER.len());
    let at = windows
        .position(|window| window == MARKER)
        .expect("the marker");
    &bytes[at + MARKER.len()..]
}

pub(super) fn kill(pid: u32, signal: &str) {
    let line = format!("kill -s {signal} {pid}");
    let status = Command::new("sh").args(["-c", &line]).status();
    assert!(status.unwrap().success(), "{line}");
}

/// The parent's number and the letter of the state, from `/proc/PID/stat`.
pub(super) fn parent_and_state(pid: u32) -> Option<(u32, char)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?.chars().next()?;
    Some((fields.next()?.parse().ok()?, state))
}

/// Whether it is there and is no zombie.
pub(super) fn is_alive(pid: u32) -> bool {
    parent_and_state(pid).is_some_and(|(_, state)| state != 'Z')
}

/// The children of a process with their states.
pub(super) fn children(of: u32) -> Vec<(u32, char)> {
    let all = fs::read_dir("/proc").unwrap().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| {
        let (parent, state) = parent_and_state(pid)?;
        (parent == of).then_some((pid, state))
    })
    .collect()
}

/// A signal mask of `/proc/PID/status`; bit 0 is signal 1.
pub(super) fn mask(status: &[u8], key: &str) -> u64 {
    let status = String::from_utf8_lossy(status);
    let line = status
        .lines()
        .find(|line| line.starts_with(key))
        .expect("the mask");
    let digits = line.split_whitespace().nth(1).unwrap();
    u64::from_str_radix(digits, 16).unwrap()
}

/// Asks until it is so, for half a minute at most.
#[track_caller]
pub(super) fn eventually(mut holds: impl FnMut() -> bool, what: &str) {
    let end = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < end, "not within 30 s: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}
