use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Whether `windows` are open at a time, and when they open next where they are not.
#[track_caller]
fn check(windows: &str, now: &str, expected: Result<(), &str>) {
    let parsed = Windows::parse(windows).unwrap();
    let found = if parsed.is_open(at(now)) {
        Ok(())
    } else {
        Err(parsed.next_opening(at(now)).unwrap_or_default())
    };
    assert_eq!(
        found.as_ref().map_err(String::as_str),
        expected.as_ref().map_err(|next| *next),
        "{windows} at {now}"
    );
}

/// The minutes of a time range at which `windows` are open, as spans `HH:MM-HH:MM` in UTC.
#[track_caller]
fn open_between(windows: &str, from: &str, to: &str, expected: &[&str]) {
    let windows = Windows::parse(windows).unwrap();
    let (mut now, to) = (at(from), at(to));
    let mut found: Vec<(Timestamp, Timestamp)> = Vec::new();
    while now < to {
        let next = now + Span::new().minutes(1);
        if windows.is_open(now) {
            match found.last_mut() {
                Some(last) if last.1 == now => last.1 = next,
                _ => found.push((now, next)),
            }
        }
        now = next;
    }
    let short = |at: Timestamp| at.strftime("%H:%M").to_string();
    let found: Vec<String> = found
        .iter()
        .map(|(from, to)| format!("{}-{}", short(*from), short(*to)))
        .collect();
    assert_eq!(found, expected, "{windows}");
}

#[test]
fn edges() {
    // Saturday; Berlin is an hour ahead in winter, two in summer.
    let window = "Sat 02:00-04:00 Europe/Berlin";
    check(
        window,
        "2026-01-10T00:59:59.999Z",
        Err("2026-01-10T02:00:00+01:00"),
    );
    check(window, "2026-01-10T01:00:00Z", Ok(()));
    check(window, "2026-01-10T02:59:59.999Z", Ok(()));
    check(
        window,
        "2026-01-10T03:00:00Z",
        Err("2026-01-17T02:00:00+01:00"),
    );
    check(window, "2026-07-11T00:00:00Z", Ok(()));
    check(
        window,
        "2026-07-10T01:00:00Z",
        Err("2026-07-11T02:00:00+02:00"),
    );
}

#[test]
fn over_midnight() {
    // The night that begins on Friday.
    let window = "Fri 22:00-04:00 UTC";
    check(
        window,
        "2026-01-09T21:59:59Z",
        Err("2026-01-09T22:00:00+00:00"),
    );
    check(window, "2026-01-09T22:00:00Z", Ok(()));
    check(window, "2026-01-09T23:59:59Z", Ok(()));
    check(window, "2026-01-10T00:00:00Z", Ok(()));
    check(window, "2026-01-10T03:59:00Z", Ok(()));
    check(
        window,
        "2026-01-10T04:00:00Z",
        Err("2026-01-16T22:00:00+00:00"),
    );
    check(
        window,
        "2026-01-09T03:00:00Z",
        Err("2026-01-09T22:00:00+00:00"),
    );
    // The night from Sunday belongs to Sunday.
    check("Sun 23:00-01:00 UTC", "2026-01-12T00:30:00Z", Ok(()));
    check(
        "Mon 23:00-01:00 UTC",
        "2026-01-12T00:30:00Z",
        Err("2026-01-12T23:00:00+00:00"),
    );
    for end in ["24:00", "00:00"] {
        let window = format!("Fri 22:00-{end} UTC");
        check(&window, "2026-01-09T23:59:59Z", Ok(()));
        check(
            &window,
            "2026-01-10T00:00:00Z",
            Err("2026-01-16T22:00:00+00:00"),
        );
    }
}

#[test]
fn when_the_clock_is_set_forward() {
    // Berlin, 2026-03-29: 02:00 is 03:00, at 01:00Z. The wall never shows 02:00 to 03:00.
    let night = |windows: &str, expected: &[&str]| {
        open_between(
            windows,
            "2026-03-28T23:00:00Z",
            "2026-03-29T06:00:00Z",
            expected,
        );
    };
    night("Sun 02:00-04:00 Europe/Berlin", &["01:00-02:00"]);
    night("Sun 02:30-03:30 Europe/Berlin", &["01:00-01:30"]);
    night("Sun 01:30-02:30 Europe/Berlin", &["00:30-01:00"]);
    night("Sun 02:15-02:45 Europe/Berlin", &[]);
    night("Sat 23:00-05:00 Europe/Berlin", &["23:00-03:00"]);
    let before = "2026-03-29T00:30:00Z";
    check(
        "Sun 02:30-03:30 Europe/Berlin",
        before,
        Err("2026-03-29T03:00:00+02:00"),
    );
    check(
        "Sun 02:15-02:45 Europe/Berlin",
        before,
        Err("2026-04-05T02:15:00+02:00"),
    );
}

#[test]
fn when_the_clock_is_set_back() {
    // Berlin, 2026-10-25: 03:00 is 02:00, at 01:00Z. The wall shows 02:00 to 03:00 twice.
    let night = |windows: &str, expected: &[&str]| {
        open_between(
            windows,
            "2026-10-24T22:00:00Z",
            "2026-10-25T06:00:00Z",
            expected,
        );
    };
    night("Sun 02:00-04:00 Europe/Berlin", &["00:00-03:00"]);
    night(
        "Sun 02:15-02:45 Europe/Berlin",
        &["00:15-00:45", "01:15-01:45"],
    );
    night(
        "Sun 01:30-02:30 Europe/Berlin",
        &["23:30-00:30", "01:00-01:30"],
    );
    night(
        "Sun 02:30-03:30 Europe/Berlin",
        &["00:30-01:00", "01:30-02:30"],
    );
    let between = "2026-10-25T00:50:00Z";
    check(
        "Sun 02:15-02:45 Europe/Berlin",
        between,
        Err("2026-10-25T02:15:00+01:00"),
    );
    check(
        "Sun 01:30-02:30 Europe/Berlin",
        between,
        Err("2026-10-25T02:00:00+01:00"),
    );
}

#[test]
fn several() {
    let windows =
        "Mon-Fri 22:00-23:00,04:00-05:00 Sun 12:00-13:00 UTC; daily 9:00-9:30 America/New_York";
    // 2026-01-12 is a Monday.
    check(windows, "2026-01-12T22:30:00Z", Ok(()));
    check(windows, "2026-01-12T04:30:00Z", Ok(()));
    check(windows, "2026-01-11T12:30:00Z", Ok(()));
    check(
        windows,
        "2026-01-11T22:30:00Z",
        Err("2026-01-12T04:00:00+00:00"),
    );
    check(windows, "2026-01-10T14:15:00Z", Ok(()));
    check(
        windows,
        "2026-01-10T13:00:00Z",
        Err("2026-01-10T09:00:00-05:00"),
    );
    check(
        "Fri-Mon 00:00-24:00 UTC",
        "2026-01-13T00:00:00Z",
        Err("2026-01-16T00:00:00+00:00"),
    );
    check("sat,SUNDAY 1:00-2:00 utc", "2026-01-11T01:00:00Z", Ok(()));
    check("00:00-24:00 Asia/Kathmandu", "2026-01-13T07:00:00Z", Ok(()));
}

#[test]
fn mistakes() {
    for (text, part) in [
        ("", "no window"),
        (" ;, ", "no window"),
        ("Sat 02:00-04:00", "time zone is missing"),
        ("Sat Europe/Berlin", "no time before"),
        ("Europe/Berlin", "no time before"),
        ("02:00-04:00 UTC Sat", "days without a time"),
        ("Sat 02:00-04:00 Europe/Berln", "Europe/Berln is no day"),
        ("Sut 02:00-04:00 UTC", "Sut is no day"),
        ("Sat 02:00 UTC", "02:00 is no time"),
        ("Sat 02:00-25:00 UTC", "is no time"),
        ("Sat 02:60-04:00 UTC", "is no time"),
        ("Sat 02:00-24:01 UTC", "is no time"),
        ("Sat 2-4 UTC", "is no time"),
        ("Sat 02:0-04:00 UTC", "is no time"),
        ("Sat +2:00-04:00 UTC", "is no day"),
        ("Sat 24:00-02:00 UTC", "begins at 24:00"),
        ("Sat 02:00-02:00 UTC", "no length"),
        ("Sat 02:00 - 04:00 UTC", "02:00 is no time"),
        ("Mon-Fru 02:00-04:00 UTC", "Mon-Fru is no day"),
    ] {
        let wrong = Windows::parse(text).unwrap_err();
        assert!(wrong.contains(part), "{text:?}: {wrong}");
        assert!(wrong.contains("Europe/Berlin, or"), "{wrong}");
    }
}
