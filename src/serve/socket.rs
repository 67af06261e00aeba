//! A connection's socket: a peer has to read what it asked for, and one that is still sending gets its answer.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep},
};

/// A socket whose peer has to keep pace.
pub(super) struct Socket {
    stream: TcpStream,
    /// How long the peer may take for [`PACE`] bytes of an answer.
    patience: Duration,
    /// Runs while an answer is waiting to be taken.
    clock: Option<Pin<Box<Sleep>>>,
    /// Bytes taken since the clock was set.
    taken: usize,
    /// Runs since our side was closed.
    linger: Option<Pin<Box<Sleep>>>,
    /// Bytes thrown away since then.
    discarded: usize,
}

/// What a peer has to take in the time that it is given: a slow line is fine, one byte now and then is not.
const PACE: usize = 64 * 1024;

/// How long a peer that still sends may go on after the answer. To close on unread bytes would reset the connection,
/// and the peer would never see the answer.
const LINGER: Duration = Duration::from_secs(1);

/// How many bytes it may go on for.
const LINGER_BYTES: usize = 4 * 1024 * 1024;

// === impl Socket ===

impl Socket {
    pub(super) const fn new(stream: TcpStream, patience: Duration) -> Self {
        Self {
            stream,
            patience,
            clock: None,
            taken: 0,
            linger: None,
            discarded: 0,
        }
    }

    /// The outcome of a write, on the books.
    fn wrote(
        &mut self,
        cx: &mut Context<'_>,
        outcome: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match outcome {
            Poll::Ready(Ok(count)) => {
                self.taken += count;
                Poll::Ready(Ok(count))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                let patience = self.patience;
                let clock = self.clock.get_or_insert_with(|| {
                    self.taken = 0;
                    Box::pin(sleep(patience))
                });
                if self.taken >= PACE {
                    self.taken = 0;
                    clock.as_mut().reset(Instant::now() + patience);
                }
                ready!(clock.as_mut().poll(cx));
                Poll::Ready(Err(timed_out("the answer is not read")))
            }
        }
    }
}

fn timed_out(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wrote(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        self.wrote(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Called when everything was written.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.clock = None;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Closes our side, then reads what still comes, within limits, until the peer closes too.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.linger.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
        }
        let linger = this.linger.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        let mut space = [0; 4096];
        while std::env::var_os("MUT2").is_none()
            && linger.as_mut().poll(cx).is_pending()
            && this.discarded < LINGER_BYTES
        {
            let mut buffer = ReadBuf::new(&mut space);
            let read = ready!(Pin::new(&mut this.stream).poll_read(cx, &mut buffer));
            // How a peer leaves is its own affair.
            if read.is_err() || buffer.filled().is_empty() {
                break;
            }
            this.discarded += buffer.filled().len();
        }
        Poll::Ready(Ok(()))
    }
}
