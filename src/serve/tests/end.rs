//! The end: what is under way is answered, and nobody is waited for without limit.

use super::*;

#[test]
fn the_end_answers_what_is_under_way() {
    let mut served = Served::new(Limits::default(), huge());
    let at = served.at();
    let mut idle = served.connect();
    let mut used = served.connect();
    used.write_all(b"GET /livez HTTP/1.1\r\n\r\n").unwrap();
    read_answer(&mut used);
    let mut reading = served.connect();
    reading.write_all(STATUS).unwrap();
    let mut byte = [0];
    reading.read_exact(&mut byte).unwrap();
    let mut sent = served.connect();
    sent.write_all(b"GET /livez HTTP/1.1\r\n\r\n").unwrap();
    let ends = std::thread::spawn(move || {
        let mut ends = [&mut idle, &mut used, &mut sent].map(read_to_end).to_vec();
        ends.push(read_to_end(&mut reading));
        ends
    });
    let took = served.drain(PATIENCE);
    assert!(took < PATIENCE, "{took:?}");
    let ends = ends.join().unwrap();
    assert_eq!([&*ends[0], &*ends[1]], ["", ""]);
    assert!(ends[2].ends_with("ok\n"), "{}", ends[2]);
    assert!(ends[3].len() > HUGE, "{}", ends[3].len());
    let refused = TcpStream::connect(at).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn the_end_answers_who_knocks() {
    let listener = bind(&Params {
        listen: (Ipv4Addr::LOCALHOST, 0).into(),
        detail_for_all: false,
    });
    let listener = listener.unwrap();
    let at = listener.local_addr();
    let mut knocking: Vec<TcpStream> = (0..50).map(|_| connect(at)).collect();
    for stream in &mut knocking {
        stream.write_all(b"GET /livez HTTP/1.1\r\n\r\n").unwrap();
    }
    let (_sender, receiver) = watch::channel(Arc::new(ready()));
    let server = start(listener, receiver, Metrics::new().unwrap()).unwrap();
    let reading = std::thread::spawn(move || {
        let ends = knocking.iter_mut().map(read_to_end);
        ends.filter(|end| end.ends_with("ok\n")).count()
    });
    server.drain(PATIENCE);
    assert_eq!(reading.join().unwrap(), 50);
}

#[test]
fn the_end_waits_for_nobody_beyond_its_limit() {
    let mut served = Served::new(Limits::default(), huge());
    let mut reading = served.connect();
    reading.write_all(STATUS).unwrap();
    let mut byte = [0];
    reading.read_exact(&mut byte).unwrap();
    let mut half = served.connect();
    half.write_all(b"GET /livez HT").unwrap();
    let took = served.drain(SOON);
    assert!((SOON..PATIENCE).contains(&took), "{took:?}");
    assert!(read_to_end_or(&mut reading, HUGE) < HUGE);
    assert_eq!(read_to_end(&mut half), "");
}

#[test]
fn it_ends_with_its_handle() {
    let served = Served::new(Limits::default(), ready());
    let at = served.at();
    let mut idle = served.connect();
    drop(served);
    assert_eq!(read_to_end(&mut idle), "");
    eventually("the port is free", || TcpStream::connect(at).is_err());
}
