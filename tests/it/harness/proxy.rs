//! A TCP proxy that makes a link slow, silent or broken.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// A proxy in front of one address. Its threads end with the connections that they serve.
pub(crate) struct Proxy {
    port: u16,
    link: Arc<Link>,
}

#[derive(Default)]
struct Link {
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
        let shared = Arc::clone(&link);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if shared.refusing.load(Ordering::Relaxed) {
                    continue;
                }
                if let Ok(server) = TcpStream::connect(("127.0.0.1", port)) {
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

    /// Closes every connection and every new one, until [`Proxy::accept_again`].
    pub(crate) fn refuse(&self) {
        self.link.refusing.store(true, Ordering::Relaxed);
        self.cut();
    }

    pub(crate) fn accept_again(&self) {
        self.link.refusing.store(false, Ordering::Relaxed);
    }
}

fn join(client: TcpStream, server: TcpStream, link: &Arc<Link>) {
    for stream in [&client, &server] {
        let _ = stream.set_nodelay(true);
    }
    let copies = (
        client.try_clone().expect("a clone"),
        server.try_clone().expect("a clone"),
    );
    link.open.lock().unwrap().extend([
        client.try_clone().expect("a clone"),
        server.try_clone().expect("a clone"),
    ]);
    forward(client, server, link);
    forward(copies.1, copies.0, link);
}

/// Two threads for one direction: one stamps what arrives, the other passes it on in time, so that a delay does not
/// also limit how much is under way.
fn forward(from: TcpStream, to: TcpStream, link: &Arc<Link>) {
    let (sender, receiver) = channel();
    let (reading, writing) = (Arc::clone(link), Arc::clone(link));
    thread::spawn(move || read(from, &sender, &reading));
    thread::spawn(move || write(to, &receiver, &writing));
}

fn read(mut from: TcpStream, sender: &Sender<(Instant, Vec<u8>)>, link: &Link) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let delay = Duration::from_micros(link.delay.load(Ordering::Relaxed));
        if sender
            .send((Instant::now() + delay, buffer[..length].to_vec()))
            .is_err()
        {
            return;
        }
    }
}

fn write(mut to: TcpStream, receiver: &Receiver<(Instant, Vec<u8>)>, link: &Link) {
    for (due, bytes) in receiver {
        thread::sleep(due.saturating_duration_since(Instant::now()));
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
