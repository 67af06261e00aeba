//! Times and durations as a tired person reads them.

use jiff::{SignedDuration, Timestamp};

/// What lies between two moments, in the two largest units: `3 minutes 12 seconds`. Never negative: clocks differ.
pub(super) fn between(earlier: Timestamp, later: Timestamp) -> String {
    elapsed(later.duration_since(earlier), 2)
}

/// How long ago a moment was, in its largest unit: `3 minutes ago`.
pub(super) fn ago(moment: Timestamp, now: Timestamp) -> String {
    let since = now.duration_since(moment);
    if since < SignedDuration::from_secs(1) {
        return "just now".to_owned();
    }
    elapsed(since, 1) + " ago"
}

fn elapsed(duration: SignedDuration, units: usize) -> String {
    let seconds = duration.as_secs().max(0);
    let parts = [
        (seconds / 86_400, "day"),
        (seconds / 3_600 % 24, "hour"),
        (seconds / 60 % 60, "minute"),
        (seconds % 60, "second"),
    ];
    let words = parts
        .iter()
        .skip_while(|(count, _)| *count == 0)
        .take(units)
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count} {unit}{}", if *count == 1 { "" } else { "s" }));
    let words = words.collect::<Vec<_>>().join(" ");
    if words.is_empty() {
        "less than a second".to_owned()
    } else {
        words
    }
}

/// How long a migration took, short enough for a column: `12 ms`, `1.5 s`, `2m 3s`, `1h 30m`.
pub(super) fn took(milliseconds: u64) -> String {
    let seconds = milliseconds / 1_000;
    let (minutes, hours) = (seconds / 60, seconds / 3_600);
    match milliseconds {
        0 => "< 1 ms".to_owned(),
        1..1_000 => format!("{milliseconds} ms"),
        1_000..60_000 => format!("{seconds}.{} s", milliseconds % 1_000 / 100),
        60_000..3_600_000 => format!("{minutes}m {}s", seconds % 60),
        _ => format!("{hours}h {}m", minutes % 60),
    }
}

/// A moment for `datetime`: RFC 3339 in UTC, to the second.
pub(super) fn exact(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A moment of today by its time alone, another with its day.
pub(super) fn clock(moment: Timestamp, now: Timestamp) -> String {
    let day = |moment: Timestamp| moment.strftime("%Y-%m-%d").to_string();
    let format = if day(moment) == day(now) {
        "%H:%M:%S UTC"
    } else {
        "%Y-%m-%d %H:%M UTC"
    };
    moment.strftime(format).to_string()
}

/// A moment for a column whose times are of many days.
pub(super) fn minute(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%d %H:%M").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn elapsed_in_words() {
        let start = at("2026-01-02T03:04:05Z");
        for (seconds, long, short) in [
            (-5, "less than a second", "just now"),
            (0, "less than a second", "just now"),
            (1, "1 second", "1 second ago"),
            (59, "59 seconds", "59 seconds ago"),
            (60, "1 minute", "1 minute ago"),
            (192, "3 minutes 12 seconds", "3 minutes ago"),
            (3_600, "1 hour", "1 hour ago"),
            (3_605, "1 hour", "1 hour ago"),
            (3_900, "1 hour 5 minutes", "1 hour ago"),
            (86_399, "23 hours 59 minutes", "23 hours ago"),
            (183_600, "2 days 3 hours", "2 days ago"),
            (172_860, "2 days", "2 days ago"),
        ] {
            let now = start + SignedDuration::from_secs(seconds);
            assert_eq!(between(start, now), long, "{seconds}");
            assert_eq!(ago(start, now), short, "{seconds}");
        }
    }

    #[test]
    fn columns_of_durations() {
        for (milliseconds, expected) in [
            (0, "< 1 ms"),
            (1, "1 ms"),
            (999, "999 ms"),
            (1_000, "1.0 s"),
            (1_560, "1.5 s"),
            (59_999, "59.9 s"),
            (60_000, "1m 0s"),
            (123_000, "2m 3s"),
            (3_599_999, "59m 59s"),
            (5_400_000, "1h 30m"),
            (360_000_000, "100h 0m"),
        ] {
            assert_eq!(took(milliseconds), expected);
        }
        assert_eq!(took(u64::MAX), "5124095576030h 25m");
    }

    #[test]
    fn moments() {
        let moment = at("2026-01-02T03:04:05.678Z");
        assert_eq!(exact(moment), "2026-01-02T03:04:05Z");
        assert_eq!(clock(moment, at("2026-01-02T23:00:00Z")), "03:04:05 UTC");
        assert_eq!(
            clock(moment, at("2026-01-03T00:00:00Z")),
            "2026-01-02 03:04 UTC"
        );
        assert_eq!(minute(moment), "2026-01-02 03:04");
    }
}
