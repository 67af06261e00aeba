//! A TCP proxy that makes a link slow, silent or broken.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// A proxy in front of one address. Its threads end with the connections that they serve.
pub(crate) struct Proxy {
    port: u16,
    link: Arc<Link>,
}

/// When a connection is cut that is about to send what a trap waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// The bytes do not pass.
    Before,
    /// They pass, and the connection is gone before the answer.
    During,
    /// The whole answer comes, and does not pass.
    After,
}

/// For bytes to reach the server, and not for much of an answer.
const IN_PASSING: Duration = Duration::from_millis(3);

/// Waits for bytes from a client.
#[derive(Debug, Clone, Copy)]
struct Trap {
    text: &'static [u8],
    /// So many times they still pass.
    skip: usize,
    moment: Moment,
}

#[derive(Default)]
struct Link {
    /// Where new connections lead.
    target: AtomicU16,
    /// Connections that exist.
    live: AtomicUsize,
    /// Nothing passes for now; it comes later.
    paused: AtomicBool,
    trap: Mutex<Option<Trap>>,
    sprung: AtomicUsize,
    /// One way, in microseconds.
    delay: AtomicU64,
    /// Nothing passes; nobody is told.
    held: AtomicBool,
    /// New connections are closed at once.
    refusing: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

// === impl Proxy ===

impl Proxy {
    /// A proxy to a port of this machine.
    pub(crate) fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let own_port = listener.local_addr().expect("its address").port();
        let link = Arc::new(Link::default());
        link.target.store(port, Ordering::Relaxed);
        let shared = Arc::clone(&link);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if shared.refusing.load(Ordering::Relaxed) {
                    continue;
                }
                if let Ok(server) =
                    TcpStream::connect(("127.0.0.1", shared.target.load(Ordering::Relaxed)))
                {
                    join(client, server, &shared);
                }
            }
        });
        Self {
            port: own_port,
            link,
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Every byte arrives this much later, in each direction; the round trip is twice as long.
    pub(crate) fn delay(&self, one_way: Duration) -> &Self {
        let micros = u64::try_from(one_way.as_micros()).expect("a short delay");
        self.link.delay.store(micros, Ordering::Relaxed);
        self
    }

    /// Nothing passes any more, and neither side is told: a cable that was pulled.
    pub(crate) fn hold(&self) {
        self.link.held.store(true, Ordering::Relaxed);
    }

    /// Closes every connection. New ones work, and what was held back is lost.
    pub(crate) fn cut(&self) {
        self.link.held.store(false, Ordering::Relaxed);
        for stream in self.link.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// New connections lead to another port; the old ones are closed.
    pub(crate) fn lead_to(&self, port: u16) {
        self.link.target.store(port, Ordering::Relaxed);
        self.cut();
    }

    /// How many connections exist.
    pub(crate) fn connections(&self) -> usize {
        self.link.live.load(Ordering::Relaxed)
    }

    /// Nothing passes until [`Proxy::resume`], then everything does: a process that was stopped.
    pub(crate) fn pause(&self) {
        self.link.paused.store(true, Ordering::Relaxed);
    }

    pub(crate) fn resume(&self) {
        self.link.paused.store(false, Ordering::Relaxed);
    }

    /// Cuts a connection once, around the message with this text that a client sends; so many of them pass before.
    pub(crate) fn cut_at(&self, text: &'static str, skip: usize, moment: Moment) {
        *self.link.trap.lock().unwrap() = Some(Trap {
            text: text.as_bytes(),
            skip,
            moment,
        });
    }

    /// How often [`Proxy::cut_at`] has cut a connection until now.
    pub(crate) fn sprung(&self) -> usize {
        self.link.sprung.load(Ordering::Relaxed)
    }

    /// Takes back what [`Proxy::cut_at`] waits for.
    pub(crate) fn disarm(&self) {
        *self.link.trap.lock().unwrap() = None;
    }

    /// Closes every connection and every new one, until [`Proxy::accept_again`].
    pub(crate) fn refuse(&self) {
        self.link.refusing.store(true, Ordering::Relaxed);
        self.cut();
    }

    pub(crate) fn accept_again(&self) {
        self.link.refusing.store(false, Ordering::Relaxed);
    }
}

// === impl Link ===

impl Link {
    /// Whether a connection that sends these bytes is to be cut, and when.
    fn springs(&self, bytes: &[u8]) -> Option<Moment> {
        let mut trap = self.trap.lock().unwrap();
        let armed = trap.as_mut()?;
        contains(bytes, armed.text).then_some(())?;
        if armed.skip > 0 {
            armed.skip -= 1;
            return None;
        }
        let moment = armed.moment;
        *trap = None;
        self.sprung.fetch_add(1, Ordering::Relaxed);
        Some(moment)
    }
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

/// One connection through the proxy.
struct Pair {
    client: TcpStream,
    server: TcpStream,
    link: Arc<Link>,
    /// What comes from the server does not pass, and its last word ends the connection.
    swallows: AtomicBool,
}

impl Pair {
    fn close(&self) {
        for stream in [&self.client, &self.server] {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// What a trap does with bytes of the client; false: they do not pass.
    fn passes(self: &Arc<Self>, bytes: &[u8]) -> bool {
        match self.link.springs(bytes) {
            None => return true,
            Some(Moment::Before) => {
                self.close();
                return false;
            }
            Some(Moment::During) => {
                let pair = Arc::clone(self);
                thread::spawn(move || {
                    thread::sleep(IN_PASSING);
                    pair.close();
                });
            }
            Some(Moment::After) => self.swallows.store(true, Ordering::Relaxed),
        }
        true
    }

    /// The same for bytes of the server: `ReadyForQuery` is its last word.
    fn answers(self: &Arc<Self>, bytes: &[u8]) -> bool {
        let swallows = self.swallows.load(Ordering::Relaxed);
        if swallows && contains(bytes, b"Z\0\0\0\x05") {
            self.close();
        }
        !swallows
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.link.live.fetch_sub(1, Ordering::Relaxed);
    }
}

fn join(client: TcpStream, server: TcpStream, link: &Arc<Link>) {
    for stream in [&client, &server] {
        let _ = stream.set_nodelay(true);
    }
    let clone = |stream: &TcpStream| stream.try_clone().expect("a clone");
    let mut open = link.open.lock().unwrap();
    // What has ended by itself need not be closed any more.
    open.retain(|stream| stream.peer_addr().is_ok());
    open.extend([clone(&client), clone(&server)]);
    link.live.fetch_add(1, Ordering::Relaxed);
    let pair = Arc::new(Pair {
        client: clone(&client),
        server: clone(&server),
        link: Arc::clone(link),
        swallows: AtomicBool::new(false),
    });
    let copies = (clone(&client), clone(&server));
    forward(client, server, &pair, Pair::passes);
    forward(copies.1, copies.0, &pair, Pair::answers);
}

/// Two threads for one direction: one stamps what arrives, the other passes it on in time, so that a delay does not
/// also limit how much is under way.
fn forward(
    from: TcpStream,
    to: TcpStream,
    pair: &Arc<Pair>,
    passes: fn(&Arc<Pair>, &[u8]) -> bool,
) {
    let (sender, receiver) = channel();
    let (reading, writing) = (Arc::clone(pair), Arc::clone(&pair.link));
    thread::spawn(move || read(from, &sender, &reading, passes));
    thread::spawn(move || write(to, &receiver, &writing));
}

fn read(
    mut from: TcpStream,
    sender: &Sender<(Instant, Vec<u8>)>,
    pair: &Arc<Pair>,
    passes: fn(&Arc<Pair>, &[u8]) -> bool,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let bytes = &buffer[..length];
        if !passes(pair, bytes) {
            continue;
        }
        let delay = Duration::from_micros(pair.link.delay.load(Ordering::Relaxed));
        if sender
            .send((Instant::now() + delay, bytes.to_vec()))
            .is_err()
        {
            return;
        }
    }
}

fn write(mut to: TcpStream, receiver: &Receiver<(Instant, Vec<u8>)>, link: &Link) {
    for (due, bytes) in receiver {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        while link.paused.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(5));
        }
        if link.held.load(Ordering::Relaxed) {
            // Swallow what comes, for good: an end of file must not pass either.
            loop {
                thread::park();
            }
        }
        if to.write_all(&bytes).is_err() {
            return;
        }
    }
    if link.held.load(Ordering::Relaxed) {
        return;
    }
    let _ = to.shutdown(Shutdown::Write);
}
