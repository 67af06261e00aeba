//! The process that takes the command of `exec` down with us, as the binary has it.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdin, Command, Stdio};

const SCHEMAGATE: &str = env!("CARGO_BIN_EXE_schemagate");
const ARGUMENT: &str = "--end-this-process-group-at-eof";

/// Ends with the test, also with one that fails.
struct Member(Child);

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A guard, the pipe to it, and another process in its group.
fn start() -> (Child, ChildStdin, Member) {
    let mut guard = Command::new(SCHEMAGATE)
        .arg(ARGUMENT)
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(guard.stdout.take().unwrap());
    assert!(said.lines().any(|line| line.unwrap() == "ready"));
    let member = Command::new("sleep")
        .arg("1000")
        .stdout(Stdio::null())
        .process_group(guard.id().try_into().unwrap())
        .spawn()
        .unwrap();
    let pipe = guard.stdin.take().unwrap();
    (guard, pipe, Member(member))
}

#[test]
fn it_ends_with_its_group_when_the_pipe_closes() {
    let (mut guard, pipe, mut member) = start();
    drop(pipe);
    assert_eq!(member.0.wait().unwrap().signal(), Some(9));
    assert_eq!(guard.wait().unwrap().signal(), Some(9));
}

#[test]
fn it_can_be_sent_away() {
    let (mut guard, mut pipe, mut member) = start();
    pipe.write_all(&[u8::MAX]).unwrap();
    assert_eq!(guard.wait().unwrap().code(), Some(0));
    assert_eq!(member.0.try_wait().unwrap(), None);
}

/// In tenths of a second: who vouches no more stands still.
#[test]
fn it_ends_with_its_group_when_its_time_is_over() {
    let (mut guard, mut pipe, mut member) = start();
    pipe.write_all(&[2]).unwrap();
    assert_eq!(member.0.wait().unwrap().signal(), Some(9));
    assert_eq!(guard.wait().unwrap().signal(), Some(9));
    drop(pipe);
}

#[test]
fn by_hand_it_ends_nobody() {
    let line = "\"$0\" \"$1\" </dev/null; echo $?";
    let output = Command::new("sh")
        .args(["-c", line])
        .args([SCHEMAGATE, ARGUMENT])
        .process_group(0)
        .output()
        .unwrap();
    assert_eq!(output.stdout, b"2\n");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("schemagate exec"), "{stderr}");
}
