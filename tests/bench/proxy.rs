//! A slow link: a TCP proxy on the loopback that delivers every byte later.
//!
//!     proxy TARGET_PORT ONE_WAY_MICROSECONDS
//!
//! Prints the port that it listens on, and ends when its standard input does.
//!
//! What arrives is stamped by one thread and delivered by another, so the delay does not limit how much is under way,
//! as on a real link. A sleep always lasts a little longer than asked: by how much is measured at the start and taken
//! off, so that the round trip is what was asked for without a thread that spins.

use std::env;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

type Parcel = (Instant, Vec<u8>);

fn main() -> io::Result<()> {
    let mut numbers = env::args().skip(1).filter_map(|word| word.parse::<u64>().ok());
    let (Some(port), Some(micros)) = (numbers.next().and_then(|port| u16::try_from(port).ok()), numbers.next()) else {
        eprintln!("usage: proxy TARGET_PORT ONE_WAY_MICROSECONDS");
        process::exit(2);
    };
    let one_way = Duration::from_micros(micros);
    let delay = one_way.saturating_sub(overshoot(one_way));
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?.port());
    thread::spawn(end_with_input);
    for client in listener.incoming() {
        join(client?, port, delay)?;
    }
    Ok(())
}

/// How much longer than asked a sleep lasts here: the median of some.
fn overshoot(sleep: Duration) -> Duration {
    let mut found: Vec<Duration> = (0..101)
        .map(|_| {
            let began = Instant::now();
            thread::sleep(sleep);
            began.elapsed().saturating_sub(sleep)
        })
        .collect();
    found.sort();
    found[found.len() / 2]
}

fn end_with_input() {
    let _ = io::stdin().read_to_end(&mut Vec::new());
    process::exit(0);
}

fn join(client: TcpStream, port: u16, delay: Duration) -> io::Result<()> {
    let server = TcpStream::connect(("127.0.0.1", port))?;
    for stream in [&client, &server] {
        stream.set_nodelay(true)?;
    }
    forward(client.try_clone()?, server.try_clone()?, delay);
    forward(server, client, delay);
    Ok(())
}

fn forward(from: TcpStream, to: TcpStream, delay: Duration) {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || read(from, &sender, delay));
    thread::spawn(move || write(to, &receiver));
}

fn read(mut from: TcpStream, sender: &Sender<Parcel>, delay: Duration) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if sender.send((Instant::now() + delay, buffer[..length].to_vec())).is_err() {
            return;
        }
    }
}

fn write(mut to: TcpStream, receiver: &Receiver<Parcel>) {
    for (due, bytes) in receiver {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if to.write_all(&bytes).is_err() {
            return;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
