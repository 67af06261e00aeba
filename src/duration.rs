//! Durations as people write them in manifests: `500ms`, `30s`, `5m`, `1h30m`, `0`.

use std::time::Duration;

use jiff::SignedDuration;
use jiff::fmt::friendly::{Spacing, SpanParser, SpanPrinter};

/// What is accepted, for messages.
pub const EXPECTED: &str = "a duration such as 500ms, 30s, 5m or 1h30m is accepted, 0 for no limit";

/// Ten years. Far above any use, and far below what would overflow a clock.
const LONGEST: Duration = Duration::from_hours(87_600);

static PARSER: SpanParser = SpanParser::new();
static PRINTER: SpanPrinter = SpanPrinter::new().spacing(Spacing::None);

/// Reads a duration; `0` (with or without a unit) is zero.
///
/// The error says what is accepted. A bare number is not guessed at: the error names the units.
pub fn parse(text: &str) -> Result<Duration, String> {
    if !text.is_empty() && text.bytes().all(|byte| byte == b'0') {
        return Ok(Duration::ZERO);
    }
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!(
            "a number needs a unit, say {text}s for seconds or {text}ms for milliseconds"
        ));
    }
    if !units_are_ours(text) {
        return Err(EXPECTED.to_owned());
    }
    let signed = PARSER
        .parse_duration(text)
        .map_err(|_| format!("{EXPECTED}, the larger unit first"))?;
    let duration = Duration::try_from(signed).map_err(|_| EXPECTED.to_owned())?;
    if duration > LONGEST {
        return Err("longer than ten years; 0 is no limit".to_owned());
    }
    Ok(duration)
}

/// Prints a duration as [`parse`] reads it, cut to milliseconds.
pub fn print(duration: Duration) -> String {
    let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    if millis == 0 {
        return "0".to_owned();
    }
    PRINTER.duration_to_string(&SignedDuration::from_millis(millis))
}

/// The library also reads `1 hour`, `2 days ago` and fractions; here only digits, each with `h`, `m`, `s` or `ms`.
fn units_are_ours(text: &str) -> bool {
    let mut rest = text;
    while !rest.is_empty() {
        let unit = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        let digits = rest.len() - unit.len();
        let next = unit.trim_start_matches(|c: char| c.is_ascii_alphabetic());
        let word = &unit[..unit.len() - next.len()];
        if digits == 0 || !matches!(word, "h" | "m" | "s" | "ms") {
            return false;
        }
        rest = next;
    }
    !text.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_prints_back() {
        for (text, millis) in [
            ("0", 0),
            ("500ms", 500),
            ("30s", 30_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("1s500ms", 1_500),
            ("100h", 360_000_000),
        ] {
            let duration = parse(text).unwrap();
            assert_eq!(duration, Duration::from_millis(millis), "{text}");
            assert_eq!(print(duration), text);
        }
    }

    #[test]
    fn reads_other_spellings() {
        for (text, millis, printed) in [
            ("0s", 0, "0"),
            ("000", 0, "0"),
            ("90m", 5_400_000, "1h30m"),
            ("1h0m1s", 3_601_000, "1h1s"),
            ("2500ms", 2_500, "2s500ms"),
        ] {
            let duration = parse(text).unwrap();
            assert_eq!(duration, Duration::from_millis(millis), "{text}");
            assert_eq!(print(duration), printed);
        }
    }

    #[test]
    fn refuses() {
        for text in [
            "",
            " ",
            "s",
            "5",
            "-5s",
            "5 s",
            "1.5h",
            "5 minutes",
            "1d",
            "30m1h",
            "1h1h",
            "5M",
            "5s ago",
            "99999999999999999999s",
            "87601h",
            "٥s",
            "P1D",
            "PT5S",
            "1h30",
            "∞",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_bare_number_is_told_its_units() {
        assert!(parse("5").unwrap_err().contains("5s for seconds"));
    }
}
