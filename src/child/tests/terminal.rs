//! On a terminal of its own, made by `script` of util-linux.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};

use super::host::{Host, Scenario};

/// Starts a shell line on a terminal. `$HOST` in it is a host that waits for `command`.
fn script(line: &str, command: &str) -> Child {
    let host = Host::new(Scenario::Wait, &["sh", "-c", command]).command();
    let mut words = vec![host.get_program().to_str().unwrap()];
    words.extend(host.get_args().map(|word| word.to_str().unwrap()));
    let mut script = Command::new("script");
    for (name, value) in host.get_envs() {
        script.env(name, value.unwrap());
    }
    script
        .args(["--quiet", "--return", "--command", line, "/dev/null"])
        .env("HOST", words.join(" "))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script starts: run `make setup`")
}

#[track_caller]
fn expect(script: &mut Child, text: &str) -> String {
    let stdout = script.stdout.as_mut().unwrap();
    let (mut read, mut byte) = (Vec::new(), [0]);
    while !read.ends_with(text.as_bytes()) {
        let end = stdout.read(&mut byte).unwrap() == 0;
        assert!(!end, "no {text:?} in {:?}", String::from_utf8_lossy(&read));
        read.push(byte[0]);
    }
    String::from_utf8_lossy(&read).into_owned()
}

fn say(script: &mut Child, text: &str) {
    let stdin = script.stdin.as_mut().unwrap();
    stdin.write_all(text.as_bytes()).unwrap();
}

/// Of `/proc/PID/stat`: the group, and the group in the foreground of the terminal.
const GROUPS: &str = "read -r a b c d group f g front rest </proc/$$/stat";

#[test]
fn it_is_lent_and_given_back() {
    let command = format!("{GROUPS}; [ $group = $front ] && echo lent; read line; echo got $line");
    let line = format!("$HOST; {GROUPS}; [ $group = $front ] && echo given back; exit 3");
    let mut script = script(&line, &command);
    expect(&mut script, "lent\r\n");
    say(&mut script, "elephant\n");
    expect(&mut script, "got elephant\r\n");
    expect(&mut script, "given back\r\n");
    assert_eq!(script.wait().unwrap().code(), Some(3));
}

#[test]
fn the_interrupt_key_reaches_the_command() {
    let mut script = script(
        "exec $HOST",
        "trap 'exit 9' INT; echo ready; while :; do sleep 0.05; done",
    );
    expect(&mut script, "ready\r\n");
    say(&mut script, "\u{3}");
    expect(&mut script, "ended: exit code 9\r\n");
    assert_eq!(script.wait().unwrap().code(), Some(9));
}

#[test]
fn the_suspend_key_is_undone() {
    let mut script = script("exec $HOST", "echo ready; read line; exit 4");
    expect(&mut script, "ready\r\n");
    say(&mut script, "\u{1a}");
    say(&mut script, "line\n");
    expect(&mut script, "ended: exit code 4\r\n");
    assert_eq!(script.wait().unwrap().code(), Some(4));
}

/// In a pipeline the terminal stays with the others; the command would stand still if it read from it.
#[test]
fn in_a_pipeline_it_is_not_lent() {
    let command =
        format!("{GROUPS}; [ $group != $front ] && echo behind; read line || echo nothing to read");
    let mut script = script("$HOST | cat", &command);
    expect(&mut script, "behind\r\n");
    expect(&mut script, "nothing to read\r\n");
    assert!(script.wait().unwrap().success());
}
