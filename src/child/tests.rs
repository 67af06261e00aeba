//! Real programs below a real process. The reaper takes every child of its process, so each case has a process of its
//! own: the [`host`].

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use host::{Host, Scenario, eventually, is_alive};

use super::Ended;

mod host;
mod terminal;

/// The exit code of a shell line that runs below a host, and what came out.
#[track_caller]
fn sh(line: &str) -> (i32, String, String) {
    let outcome = Host::new(Scenario::Wait, &["sh", "-c", line]).output();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (outcome.code, text(&outcome.stdout), text(&outcome.stderr))
}

fn executable(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, bytes).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn ends_are_told_as_a_shell_tells_them() {
    for (ended, code, text) in [
        (Ended::Code(0), 0, "exit code 0"),
        (Ended::Code(255), 255, "exit code 255"),
        (Ended::Signal(9), 137, "signal 9 (SIGKILL)"),
        (Ended::Signal(40), 168, "signal 40"),
        (Ended::Signal(200), 255, "signal 200"),
    ] {
        assert_eq!(ended.exit_code(), code);
        assert_eq!(ended.to_string(), text);
    }
}

#[test]
fn the_end_is_the_programs_own() {
    for (line, code, told) in [
        ("exit 0", 0, "exit code 0"),
        ("exit 3", 3, "exit code 3"),
        ("exit 255", 255, "exit code 255"),
        ("kill -KILL $$", 137, "signal 9 (SIGKILL)"),
        ("kill -SEGV $$", 139, "signal 11 (SIGSEGV)"),
        ("kill -40 $$", 168, "signal 40"),
        // The whole group is told, and the guard stays.
        ("kill 0", 143, "signal 15 (SIGTERM)"),
        ("trap '' TERM; kill 0; exit 5", 5, "exit code 5"),
        // Ctrl-Z is undone.
        ("kill -TSTP $$; exit 6", 6, "exit code 6"),
        ("exec >&- 2>&-; sleep 0.3; exit 7", 7, "exit code 7"),
        ("exec setsid sh -c 'exit 8'", 8, "exit code 8"),
    ] {
        let (ended, _, stderr) = sh(line);
        assert_eq!(ended, code, "{line}: {stderr}");
        assert!(stderr.ends_with(&format!("ended: {told}\n")), "{stderr}");
    }
}

#[test]
fn output_is_passed_untouched() {
    let folder = tempfile::tempdir().unwrap();
    // No UTF-8, long lines, no line break at the end.
    let mut bytes: Vec<u8> = (0..250_000_u32)
        .flat_map(|n| n.wrapping_mul(n).to_be_bytes())
        .collect();
    bytes.resize(bytes.len() + 300_000, b'x');
    let file = folder.path().join("bytes");
    fs::write(&file, &bytes).unwrap();
    let line = format!("cat {0}; cat {0} >&2", file.display());
    let outcome = Host::new(Scenario::Wait, &["sh", "-c", &line]).output();
    assert!(outcome.stdout == bytes);
    // The log goes there too, and its next line is one of its own.
    assert!(outcome.stderr == [&bytes[..], b"\nended: exit code 0\n"].concat());
}

#[test]
fn a_hundred_megabytes_need_little_memory() {
    let mut host = Host::new(
        Scenario::Wait,
        &["sh", "-c", "yes 0123456789abcde | head -c 100000000"],
    )
    .start();
    let (mut total, mut peak) = (0, 0);
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = host.stdout.read(&mut buffer).unwrap();
        if read == 0 {
            break;
        }
        total += read;
        peak = peak.max(host.memory_kib("VmHWM").unwrap_or(0));
    }
    assert_eq!(total, 100_000_000);
    assert!(0 < peak && peak < 64 * 1024, "{peak} KiB");
    assert_eq!(host.code(), 0);
}

#[test]
fn lines_of_several_writers_do_not_mix() {
    // Longer than what a pipe takes as one (PIPE_BUF).
    let line = "line() { printf '%6000s' | tr ' ' \"$1\"; }
        A=$(line A); B=$(line B)
        many() { i=0; while [ $i -lt 500 ]; do echo \"$1\"; i=$((i+1)); done; }
        many $A & many $B >&2; wait";
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut command = Host::new(Scenario::WaitLogging, &["sh", "-c", line]).command();
    command.stdout(writer.try_clone().unwrap()).stderr(writer);
    let mut process = command.spawn().unwrap();
    drop(command);
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    process.wait().unwrap();
    let mut seen = [0; 3];
    // The host may end in the middle of its own last line.
    let lines = host::after_marker(&bytes).split_inclusive(|byte| *byte == b'\n');
    for line in lines.filter_map(|line| line.strip_suffix(b"\n")) {
        let Some(kind) = b"ABL".iter().position(|kind| line.first() == Some(kind)) else {
            continue;
        };
        let whole = line.len() == 6000 && line.iter().all(|byte| byte == &line[0]);
        assert!(whole, "{}", String::from_utf8_lossy(line));
        seen[kind] += 1;
    }
    assert!(seen[0] == 500 && seen[1] == 500 && seen[2] > 0, "{seen:?}");
}

#[test]
fn a_prompt_is_seen_and_answered() {
    let line =
        "printf 'name: '; read name; printf '10%%\\r20%%\\r' >&2; read more; echo $name $more";
    let mut host = Host::new(Scenario::Wait, &["sh", "-c", line]).start();
    host.expect("name: ");
    host.say("elephant\n");
    host.expect_stderr("10%\r20%\r");
    host.say("grey\n");
    host.expect("elephant grey\n");
    assert_eq!(host.code(), 0);
}

#[test]
fn progress_is_seen_while_it_is_rewritten() {
    let line = "while :; do printf '\\r%%'; sleep 0.02; done";
    let mut host = Host::new(Scenario::Serve, &["sh", "-c", line]).start();
    host.expect(&"\r%".repeat(20));
    host.signal("TERM");
    assert_eq!(host.code(), 143);
}

#[test]
fn a_reader_that_has_gone_ends_nothing() {
    let line = "head -c 10000000 /dev/zero; echo done >&2; exit 7";
    let mut host = Host::new(Scenario::Wait, &["sh", "-c", line]).start();
    host.close_stdout();
    host.expect_stderr("done\n");
    assert_eq!(host.code(), 7);
}

#[test]
fn a_slow_reader_gets_everything() {
    // As much as a pipe can be made to hold, taken when the grace is over.
    let line = "fcntl(STDOUT, 1031, 1 << 20) or die $!; print 'x' x 900_000; close STDOUT; print STDERR \"said\\n\"";
    let mut host = Host::new(Scenario::Wait, &["perl", "-e", line]).start();
    host.expect_stderr("said\n");
    thread::sleep(Duration::from_millis(2500));
    let mut bytes = Vec::new();
    host.stdout.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len(), 900_000);
    assert_eq!(host.code(), 0);
}

#[test]
fn a_stream_that_somebody_made_non_blocking_loses_nothing() {
    use rustix::fs::{OFlags, fcntl_setfl};
    let (mut reader, writer) = std::io::pipe().unwrap();
    fcntl_setfl(&writer, OFlags::NONBLOCK).unwrap();
    let argv = ["head", "-c", "1000000", "/dev/zero"];
    let mut command = Host::new(Scenario::Wait, &argv).command();
    let mut process = command
        .stdout(writer)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    drop(command);
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    assert_eq!(host::after_marker(&bytes).len(), 1_000_000);
    assert_eq!(process.wait().unwrap().code(), Some(0));
}

#[test]
fn a_reader_that_stands_still_holds_nobody_for_ever() {
    let mut host = Host::new(Scenario::Wait, &["head", "-c", "120000", "/dev/zero"]).start();
    host.expect_stderr("ended: exit code 0\n");
    assert_eq!(host.code(), 0);
}

#[test]
fn what_is_left_running_does_not_hold_us() {
    let mut host = Host::new(
        Scenario::Wait,
        &["sh", "-c", "sleep 1000 & echo $!; exit 3"],
    )
    .start();
    let left = host.pid_said();
    host.expect_stderr("remaining: 1\nended: exit code 3\n");
    assert_eq!(host.code(), 3);
    // Left as it was: nobody asked for its end.
    assert!(is_alive(left));
    host::kill(left, "KILL");
    // One that writes for ever ends at its broken pipe.
    let mut host = Host::new(Scenario::Wait, &["sh", "-c", "yes & echo $! >&2; exit 3"]).start();
    let mut line = String::new();
    host.stderr.read_line(&mut line).unwrap();
    std::io::copy(&mut host.stdout, &mut std::io::sink()).unwrap();
    assert_eq!(host.code(), 3);
    let left = line.trim().parse().unwrap();
    eventually(|| !is_alive(left), "the writer ends");
}

#[test]
fn the_last_words_behind_the_end_are_passed_on() {
    let (code, stdout, _) = sh("(sleep 0.5; printf last) & exit 0");
    assert_eq!((code, stdout.as_str()), (0, "last"));
}

#[test]
fn orphans_come_to_us_and_are_reaped() {
    let line = "(sleep 1000 & echo $!)
        for i in $(seq 1000); do (true &) ; done; echo done; read line";
    let mut host = Host::new(Scenario::Wait, &["sh", "-c", line]).start();
    let orphan = host.pid_said();
    host.expect("done\n");
    assert_eq!(host::parent_and_state(orphan).unwrap().0, host.id());
    // The guard, the shell and the sleeping orphan; a zombie would be a fourth.
    let children = || host::children(host.id()).len();
    eventually(|| children() == 3, "no zombie below us");
    host.say("\n");
    host.expect_stderr("remaining: 1\nended: exit code 0\n");
    assert_eq!(host.code(), 0);
    host::kill(orphan, "KILL");
}

#[test]
fn a_signal_reaches_the_whole_group() {
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        // A child in the background of a shell ignores SIGINT; one in the foreground does not.
        let line = "echo $$; sleep 1000; echo never";
        let mut host = Host::new(Scenario::Serve, &["sh", "-c", line]).start();
        let shell = host.pid_said();
        eventually(|| !host::children(shell).is_empty(), "it sleeps");
        let sleep = host::children(shell)[0].0;
        host.signal(signal);
        assert_eq!(host.code(), code);
        assert!(!is_alive(shell) && !is_alive(sleep));
    }
}

#[test]
fn a_signal_can_be_answered() {
    for (signal, code) in [("TERM", 9), ("INT", 10)] {
        let line = "trap 'echo told; exit 9' TERM; trap 'echo told; exit 10' INT
            echo ready; while :; do sleep 0.05; done";
        let mut host = Host::new(Scenario::Forward, &["sh", "-c", line]).start();
        host.expect("ready\n");
        host.signal(signal);
        host.expect("told\n");
        assert_eq!(host.code(), code);
    }
}

#[test]
fn a_stopped_command_is_told_too() {
    let line = "trap 'exit 9' TERM; echo $$; while :; do sleep 0.05; done";
    let mut host = Host::new(Scenario::Forward, &["sh", "-c", line]).start();
    let shell = host.pid_said();
    host::kill(shell, "STOP");
    eventually(
        || host::parent_and_state(shell).unwrap().1 == 'T',
        "it stops",
    );
    host.signal("TERM");
    assert_eq!(host.code(), 9);
}

#[test]
fn who_does_not_listen_is_killed_with_all_below() {
    let line = "trap '' TERM; setsid sh -c 'echo $$; while :; do sleep 1; done' &
        echo $$; while :; do sleep 1; done";
    let mut host = Host::new(Scenario::Serve, &["sh", "-c", line]).start();
    let (one, other) = (host.pid_said(), host.pid_said());
    let began = Instant::now();
    host.signal("TERM");
    host.expect_stderr("ended: signal 9 (SIGKILL)\n");
    assert!(began.elapsed() >= host::GRACE);
    assert_eq!(host.code(), 137);
    assert!(!is_alive(one) && !is_alive(other));
}

#[test]
fn the_grace_is_for_all_below() {
    // The command itself ends at once; what it started needs a moment to roll back.
    let line = "(trap 'sleep 0.1; echo rolled back; exit' TERM; echo ready; while :; do sleep 0.01; done) & wait";
    let mut host = Host::new(Scenario::Serve, &["sh", "-c", line]).start();
    host.expect("ready\n");
    host.signal("TERM");
    host.expect("rolled back\n");
    assert_eq!(host.code(), 143);
}

#[test]
fn when_we_are_killed_the_group_is() {
    let line = "sleep 1000 & echo $!; echo $$; wait";
    let mut host = Host::new(Scenario::Wait, &["sh", "-c", line]).start();
    let (sleep, shell) = (host.pid_said(), host.pid_said());
    assert!(is_alive(sleep) && is_alive(shell));
    host.signal("KILL");
    eventually(|| !is_alive(sleep) && !is_alive(shell), "both end");
}

#[test]
fn a_dropped_child_is_killed() {
    let line = "sleep 1000 & echo $!; echo $$; wait";
    let mut host = Host::new(Scenario::Drop, &["sh", "-c", line]).start();
    let (sleep, shell) = (host.pid_said(), host.pid_said());
    host.signal("TERM");
    eventually(|| !is_alive(sleep) && !is_alive(shell), "both end");
    assert!(is_alive(host.id()));
}

#[test]
fn words_arrive_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let body = b"printf '%s|' \"$0\" \"$@\"; exit 4\n";
    for (name, head) in [
        ("two words \u{1f418}", &b"#!/bin/sh\n"[..]),
        ("no head", b""),
    ] {
        let path = executable(folder.path(), name, &[head, body].concat());
        let words = [b"a b", &b"\xff\xfe"[..], b"", b"*", "\u{1f418}".as_bytes()];
        let mut argv = vec![path.as_os_str()];
        argv.extend(words.map(<OsStr as std::os::unix::ffi::OsStrExt>::from_bytes));
        let mut expected = [path.as_os_str().as_encoded_bytes(), b"|"].concat();
        for word in words {
            expected.extend_from_slice(word);
            expected.push(b'|');
        }
        for scenario in [Scenario::Wait, Scenario::Replace] {
            let outcome = Host::new(scenario, &argv).output();
            assert_eq!(outcome.stdout, expected, "{name}, {scenario:?}");
            assert_eq!(outcome.code, 4);
        }
    }
}

#[test]
fn the_name_is_the_one_that_was_typed() {
    for scenario in [Scenario::Wait, Scenario::Replace] {
        let line = "tr '\\0' ' ' </proc/$$/cmdline; exit 0";
        let outcome = Host::new(scenario, &["sh", "-c", line]).output();
        assert!(outcome.stdout.starts_with(b"sh -c "), "{outcome:?}");
    }
}

#[test]
fn the_environment_is_ours_with_the_changes() {
    for scenario in [Scenario::Wait, Scenario::Replace] {
        let line = "echo ${KEPT-none} ${GONE-none} ${SET-none} ${BOTH-none}";
        let mut host = Host::new(scenario, &["sh", "-c", line]);
        host.env("KEPT", "kept").env("GONE", "x").env("BOTH", "x");
        let outcome = host.output();
        assert_eq!(outcome.stdout, b"kept none set set\n", "{outcome:?}");
    }
}

/// With a listening socket, a runtime and our handlers in place, the program finds what it would find without us.
#[test]
fn the_program_inherits_nothing_of_ours() {
    let status = ["cat", "/proc/self/status"];
    let files = ["sh", "-c", "ls /proc/$$/fd"];
    let plain = |argv: &[&str]| {
        let mut command = std::process::Command::new(argv[0]);
        let output = command.args(&argv[1..]).stdin(Stdio::null()).output();
        output.unwrap().stdout
    };
    for scenario in [Scenario::Wait, Scenario::Replace] {
        let run = |argv: &[&str]| Host::new(scenario, argv).output().stdout;
        let (with, without) = (run(&status), plain(&status));
        for key in ["SigBlk", "SigCgt"] {
            assert_eq!(host::mask(&with, key), host::mask(&without, key), "{key}");
        }
        // What our parent ignores is passed on, and nothing more: SIGPIPE is not.
        let ignored = host::mask(&with, "SigIgn");
        assert_eq!(ignored & !host::mask(&without, "SigIgn"), 0, "{scenario:?}");
        assert_eq!(ignored & (1 << 12), 0, "SIGPIPE");
        assert_eq!(run(&files), plain(&files), "{scenario:?}");
    }
}

#[test]
fn replacing_keeps_the_process() {
    let mut host = Host::new(
        Scenario::Replace,
        &["sh", "-c", "echo $$; read line; kill -TERM $$"],
    )
    .start();
    assert_eq!(host.pid_said(), host.id());
    host.say("\n");
    assert_eq!(host.signal_that_ended(), Some(15));
}

#[test]
fn what_the_kernel_refuses_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let elf = executable(folder.path(), "elf", &elf_for_a_missing_loader());
    for scenario in [Scenario::Wait, Scenario::Replace] {
        let outcome = Host::new(scenario, &[elf.as_os_str()]).output();
        let stderr = String::from_utf8(outcome.stderr).unwrap();
        assert_eq!(outcome.code, 2, "{stderr}");
        let expected = format!("cannot run {}: No such file", elf.display());
        assert!(
            stderr.contains(&expected) && stderr.contains("glibc or musl"),
            "{stderr}"
        );
        let outcome = Host::new(scenario, &["sh", "-c", "exit 0"])
            .env("HOST_LONG", "yes")
            .output();
        let stderr = String::from_utf8(outcome.stderr).unwrap();
        assert_eq!(outcome.code, 2, "{stderr}");
        assert!(stderr.contains("too long"), "{stderr}");
    }
}

/// A program for this machine whose loader is not there: what a build for glibc is on Alpine.
fn elf_for_a_missing_loader() -> Vec<u8> {
    const LOADER: &[u8] = b"/no/such/ld.so\0";
    let own = fs::read("/proc/self/exe").unwrap();
    let mut elf = own[..64].to_vec();
    // Elf64_Ehdr: e_phoff at 32, e_phnum at 56. Elf64_Phdr: PT_INTERP is 3.
    elf[32..40].copy_from_slice(&64_u64.to_le_bytes());
    elf[56..58].copy_from_slice(&1_u16.to_le_bytes());
    let (offset, length) = (120_u64, LOADER.len() as u64);
    elf.extend(3_u32.to_le_bytes());
    elf.extend(4_u32.to_le_bytes());
    for field in [offset, offset, offset, length, length, 1] {
        elf.extend(field.to_le_bytes());
    }
    elf.extend(LOADER);
    elf
}
