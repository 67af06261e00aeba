//! What a child says, passed on line by line.
//!
//! Each of the two streams has a thread of its own that reads, cuts and writes. Not the runtime: our standard output may
//! be a pipe that nobody reads for a while, and a write that blocks must not keep the lock's heartbeat from being sent.
//! A child whose reader is slow is slowed down, as without us; one whose reader has gone is not ended by that.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::mem;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::process::{ChildStderr, ChildStdout};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use tokio::sync::watch;
use tokio::time;

/// How long the beginning of a line waits for its end: a prompt or a progress bar has none.
const PAUSE: Duration = Duration::from_millis(150);
/// How much is read at once, and how long the beginning of a line may get before it is passed on.
const PIECE: usize = 64 * 1024;
/// How long output may still come once the child has ended: the last words of a `tee` behind it. Another process that
/// keeps the pipe open does not hold us for longer.
const GRACE: Duration = Duration::from_secs(2);
/// How long a reader of ours may stand still, after the grace, before the rest is given up.
const STILL: Duration = Duration::from_secs(2);
/// The most that is read after the grace: as much as a pipe can hold (pipe(7), `pipe-max-size`).
const REST: usize = 1024 * 1024;
/// The stack of a thread that only copies.
const STACK: usize = 128 * 1024;

/// Where a child's two streams go.
#[derive(Debug)]
pub struct Output {
    stdout: Sink,
    stderr: Sink,
}

#[derive(Debug)]
struct Sink {
    file: File,
    /// Our own log goes to the same place: its lines and the child's take turns.
    beside_log: bool,
    /// The last that was written is the beginning of a line.
    in_line: bool,
}

/// The two threads, until both have seen the end.
#[derive(Debug)]
pub(super) struct Pumps {
    /// Dropped to tell them to come to an end.
    stop: Option<PipeWriter>,
    /// Counts the bytes that were passed on; closed when both are done.
    passed: watch::Receiver<u64>,
    /// When the grace ends; set once the child has.
    until: Option<time::Instant>,
}

/// Cuts a stream into pieces that are each written at once.
#[derive(Debug, Default)]
struct Lines {
    /// The beginning of a line.
    held: Vec<u8>,
}

// === impl Output ===

impl Output {
    /// To our own standard output and standard error.
    pub fn own() -> io::Result<Self> {
        let stdout = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        let stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
        Ok(Self {
            stdout: Sink {
                beside_log: is_same(&stdout, &stderr),
                file: stdout,
                in_line: false,
            },
            stderr: Sink {
                beside_log: true,
                file: stderr,
                in_line: false,
            },
        })
    }

    /// Starts to pass on.
    pub(super) fn pump(self, stdout: ChildStdout, stderr: ChildStderr) -> io::Result<Pumps> {
        let (stopped, stop) = io::pipe()?;
        let stopped = Arc::new(stopped);
        let (sender, passed) = watch::channel(0);
        for (from, sink) in [
            (OwnedFd::from(stdout), self.stdout),
            (OwnedFd::from(stderr), self.stderr),
        ] {
            let pump = Pump {
                from: File::from(from),
                sink,
                stopped: Arc::clone(&stopped),
                passed: sender.clone(),
            };
            thread::Builder::new()
                .name("output".to_owned())
                .stack_size(STACK)
                .spawn(move || pump.run())?;
        }
        Ok(Pumps {
            stop: Some(stop),
            passed,
            until: None,
        })
    }
}

/// `2>&1`, or one terminal.
fn is_same(one: &File, other: &File) -> bool {
    let key = |file: &File| file.metadata().map(|found| (found.dev(), found.ino()));
    matches!((key(one), key(other)), (Ok(one), Ok(other)) if one == other)
}

// === impl Sink ===

impl Sink {
    /// Writes all of it. What cannot be written is dropped: a reader that went away must not end a migration half way.
    fn pass(&mut self, bytes: &[u8]) {
        let _log = self.beside_log.then(|| io::stderr().lock());
        self.in_line = bytes.last().is_some_and(|byte| *byte != b'\n');
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.file.write(rest) {
                Ok(0) => return,
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Whoever shares the stream with us has made it non-blocking.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let _ = poll(&mut [PollFd::new(&self.file, PollFlags::OUT)], None);
                }
                Err(_) => return,
            }
        }
    }

    /// Our next line, which may be the sum of the run, shall be one of its own. What only the child writes is left as
    /// it is.
    fn end_line(&mut self) {
        if self.beside_log && self.in_line {
            self.pass(b"\n");
        }
    }
}

// === impl Pumps ===

impl Pumps {
    /// Waits until all has been passed on, once the child has ended. May be dropped and called again.
    pub(super) async fn finish(&mut self) {
        let until = *self
            .until
            .get_or_insert_with(|| time::Instant::now() + GRACE);
        if self.stop.is_some() {
            let end = async { while self.passed.changed().await.is_ok() {} };
            if time::timeout_at(until, end).await.is_ok() {
                return;
            }
            self.stop = None;
        }
        // What is left is in the pipe or in our hands; it goes as fast as our reader takes it.
        while let Ok(Ok(())) = time::timeout(STILL, self.passed.changed()).await {}
    }
}

// === impl Lines ===

impl Lines {
    /// Adds what was read, and writes what can be written: whole lines, as many as there are at once, or the beginning
    /// of a line that has become too long to hold.
    fn add(&mut self, read: &[u8], mut write: impl FnMut(&[u8])) {
        let (whole, beginning) = match read.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => read.split_at(end + 1),
            None => (&[][..], read),
        };
        if self.held.is_empty() && !whole.is_empty() {
            write(whole);
        } else if !whole.is_empty() {
            self.held.extend_from_slice(whole);
            write(&mem::take(&mut self.held));
        }
        self.held.extend_from_slice(beginning);
        if self.held.len() >= PIECE {
            self.flush(write);
        }
    }

    /// Writes the beginning of a line.
    fn flush(&mut self, mut write: impl FnMut(&[u8])) {
        if !self.held.is_empty() {
            write(&mem::take(&mut self.held));
        }
    }
}

/// One stream.
struct Pump {
    from: File,
    sink: Sink,
    stopped: Arc<PipeReader>,
    passed: watch::Sender<u64>,
}

/// What there is to do.
struct Ready {
    read: bool,
    stop: bool,
}

// === impl Pump ===

impl Pump {
    fn run(mut self) {
        let mut lines = Lines::default();
        let mut buffer = vec![0; PIECE];
        // Since when the beginning of a line has been held.
        let mut since = None::<Instant>;
        let mut rest = REST;
        loop {
            let patience = since.map(|since| PAUSE.saturating_sub(since.elapsed()));
            let ready = self.wait(patience);
            if ready.read {
                let Some(read) = self.read(&mut buffer) else {
                    break;
                };
                if ready.stop {
                    rest = rest.saturating_sub(read.len());
                }
                let had = lines.held.len();
                lines.add(read, |piece| pass(&mut self.sink, &self.passed, piece));
                // Fewer than were there and came: what is held now has begun with this piece.
                if lines.held.len() < had + read.len() {
                    since = None;
                }
            }
            // Then only what the pipe still holds.
            if ready.stop && (!ready.read || rest == 0) {
                break;
            }
            // Not while the rest of the line is there to be read.
            if !ready.read && since.is_some_and(|since| since.elapsed() >= PAUSE) {
                lines.flush(|piece| pass(&mut self.sink, &self.passed, piece));
            }
            since = if lines.held.is_empty() {
                None
            } else {
                since.or_else(|| Some(Instant::now()))
            };
        }
        lines.flush(|piece| pass(&mut self.sink, &self.passed, piece));
        self.sink.end_line();
    }

    /// Waits for something to do, no longer than `patience`.
    fn wait(&self, patience: Option<Duration>) -> Ready {
        let patience = patience.and_then(|time| Timespec::try_from(time).ok());
        let mut watched = [
            PollFd::new(&self.from, PollFlags::IN),
            PollFd::new(&*self.stopped, PollFlags::IN),
        ];
        match poll(&mut watched, patience.as_ref()) {
            Ok(_) => {
                let [from, stopped] = watched.map(|fd| !fd.revents().is_empty());
                Ready {
                    read: from,
                    stop: stopped,
                }
            }
            Err(Errno::INTR) => Ready {
                read: false,
                stop: false,
            },
            // No memory: reading blocks, which is the same without the pause.
            Err(_) => Ready {
                read: true,
                stop: false,
            },
        }
    }

    /// `None` at the end.
    fn read<'a>(&mut self, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
        loop {
            match self.from.read(buffer) {
                Ok(0) => return None,
                Ok(read) => return buffer.get(..read),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
    }
}

fn pass(sink: &mut Sink, passed: &watch::Sender<u64>, piece: &[u8]) {
    sink.pass(piece);
    let length = u64::try_from(piece.len()).unwrap_or(u64::MAX);
    passed.send_modify(|passed| *passed = passed.saturating_add(length));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pieces that come of what is read, in order; an empty read stands for the pause.
    fn check(reads: &[&str], pieces: &[&str]) {
        let (mut lines, mut written) = (Lines::default(), Vec::new());
        for read in reads {
            let write = |piece: &[u8]| written.push(String::from_utf8(piece.to_vec()).unwrap());
            if read.is_empty() {
                lines.flush(write);
            } else {
                lines.add(read.as_bytes(), write);
            }
        }
        assert_eq!(written, pieces, "{reads:?}");
    }

    #[test]
    fn lines_are_written_whole() {
        check(&["one\n"], &["one\n"]);
        check(&["one\ntwo\nthr", "ee\n"], &["one\ntwo\n", "three\n"]);
        check(&["o", "n", "e"], &[]);
        check(&["o", "n", "e", "\n"], &["one\n"]);
        check(&["\n\n"], &["\n\n"]);
        check(
            &["one", "", ", two\nthree", ""],
            &["one", ", two\n", "three"],
        );
        check(&["one\n", ""], &["one\n"]);
        check(&["10%\r", "20%\r", "", "done\n"], &["10%\r20%\r", "done\n"]);
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let (half, most) = ("x".repeat(PIECE / 2), "x".repeat(PIECE));
        check(&[&half], &[]);
        check(&[&half, &half, "end\n"], &[&most, "end\n"]);
        let tail = format!("{half}x");
        check(
            &[&format!("one\n{half}"), &tail, ""],
            &["one\n", &format!("{most}x")],
        );
    }

    #[test]
    fn nothing_is_lost_or_changed() {
        let bytes: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
        for size in [1, 7, 4096, PIECE, bytes.len()] {
            let (mut lines, mut written) = (Lines::default(), Vec::new());
            for read in bytes.chunks(size) {
                lines.add(read, |piece| written.extend_from_slice(piece));
            }
            lines.flush(|piece| written.extend_from_slice(piece));
            assert!(written == bytes, "reads of {size}");
        }
    }
}
