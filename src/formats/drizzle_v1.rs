//! Drizzle v1 (1.x): one folder a migration, named after the second in which it was generated.

use std::cmp::Ordering;

/// The file that makes a folder a migration.
pub const MIGRATION_FILE: &str = "migration.sql";
/// The file beside it that Prisma, whose layout is the same, does not write.
pub const SNAPSHOT_FILE: &str = "snapshot.json";

/// The characters of ASCII in the order of their primary weights in CLDR's root collation, capitals left out.
const ORDER: &str = " _-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$0123456789abcdefghijklmnopqrstuvwxyz";
/// The position of `~`, the last general symbol: symbols beyond ASCII stand behind it, before currencies.
const LAST_SYMBOL: u32 = 31;

/// The milliseconds that Drizzle stores in `created_at`: the first 14 characters as a time in UTC.
///
/// As JavaScript's `Date.UTC` does, a month 13 or a second 61 runs over into the next. `None` without 14 digits: there
/// Drizzle runs the file and then fails to write its row.
pub fn folder_millis(name: &str) -> Option<i64> {
    let digits = name
        .get(..14)
        .filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))?;
    let part = |from: usize, to: usize| digits.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (part(0, 4)?, part(4, 6)? - 1, part(6, 8)?);
    // `Date.UTC` takes the years 0 to 99 for 1900 to 1999.
    let year = if year < 100 { year + 1900 } else { year };
    let year = i16::try_from(year + month.div_euclid(12)).ok()?;
    let month = i8::try_from(month.rem_euclid(12) + 1).ok()?;
    let first = jiff::civil::Date::new(year, month, 1).ok()?;
    let first = first.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
    let (hour, minute, second) = (part(8, 10)?, part(10, 12)?, part(12, 14)?);
    let seconds = ((day - 1) * 24 + hour) * 3600 + minute * 60 + second;
    Some(first.as_millisecond() + seconds * 1000)
}

/// The order of two folder names as JavaScript's `localeCompare` gives it.
///
/// Exact for ASCII: punctuation, digits, letters, and only between names that are otherwise equal lower case before
/// upper case. Other letters come behind, other characters between symbols and digits; this matters only between
/// names of the same second.
pub fn collate(a: &str, b: &str) -> Ordering {
    let primary = |text: &str| text.chars().map(weight).collect::<Vec<_>>();
    primary(a)
        .cmp(&primary(b))
        .then_with(|| case(a).cmp(case(b)))
        .then_with(|| a.cmp(b))
}

fn weight(c: char) -> (u32, u32) {
    let lower = c.to_ascii_lowercase();
    match ORDER.chars().position(|known| known == lower) {
        Some(position) => (u32::try_from(position).unwrap_or(u32::MAX), 0),
        None if c.is_alphabetic() => (u32::MAX, u32::from(c)),
        None => (LAST_SYMBOL, 1 + u32::from(c)),
    }
}

fn case(text: &str) -> impl Iterator<Item = bool> + '_ {
    text.chars().map(char::is_uppercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_sorted(names: &[&str]) {
        let mut sorted = names.to_vec();
        sorted.reverse();
        sorted.sort_by(|a, b| collate(a, b));
        assert_eq!(sorted, names);
    }

    #[test]
    fn sorts_as_locale_compare_does() {
        // The vector of Drizzle's own run, then answers of Node.js 20.
        check_sorted(&["1_-", "1_10", "1_9", "1_a", "1_b", "1_B"]);
        check_sorted(&[
            "_", "a", "A", "a_", "a__b", "a_b", "aa", "ab", "aB", "Ab", "AB",
        ]);
        check_sorted(&[
            "a b", "a_b", "a-b", "a!", "a.b", "a(b", "a@b", "a#", "a+b", "a~b", "a$b", "a0", "aa",
        ]);
        check_sorted(&["20231231235959_z", "20240101000000_a"]);
        check_sorted(&["a~", "a🚀", "a$", "a0", "az", "aż"]);
    }

    #[test]
    fn the_table_of_weights_is_whole() {
        let printable = (' '..='~').filter(|c| !c.is_ascii_uppercase());
        assert!(printable.clone().all(|c| ORDER.contains(c)));
        assert_eq!(ORDER.chars().count(), printable.count());
        assert_eq!(ORDER.find('~'), usize::try_from(LAST_SYMBOL).ok());
    }

    #[test]
    fn reads_the_time_of_a_folder() {
        // Answers of Date.UTC in Node.js 20.
        for (name, expected) in [
            ("20231114221320_init", Some(1_700_000_000_000)),
            ("20240101000000_third", Some(1_704_067_200_000)),
            ("20240101000000", Some(1_704_067_200_000)),
            ("20241301000000_x", Some(1_735_689_600_000)),
            ("20240230000000_x", Some(1_709_251_200_000)),
            ("20240101000061_x", Some(1_704_067_261_000)),
            ("20240001000000_x", Some(1_701_388_800_000)),
            ("00240101000000_x", Some(-1_451_692_800_000)),
            ("2024010100000_x", None),
            ("init", None),
            ("é0240101000000", None),
            ("", None),
        ] {
            assert_eq!(folder_millis(name), expected, "{name}");
        }
    }
}
