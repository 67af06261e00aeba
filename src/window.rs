//! Maintenance windows: when migrations may run, by the wall clock of a time zone. Pure: the time is passed in.
//!
//! ```text
//! Sat 02:00-04:00 Europe/Berlin
//! Mon-Fri,Sun 22:00-04:00 UTC
//! Sat 02:00-04:00, Sun 01:00-05:00 Europe/Berlin; daily 12:00-12:30 America/New_York
//! ```
//!
//! Days, then times, then a zone of the IANA database; spaces, commas and semicolons separate alike. Without days (or
//! with `daily`) a window is that of every day. A zone is that of all windows since the zone before it, and none is
//! assumed. A window that ends at or before the time it begins goes over midnight and belongs to the day on which it
//! begins.
//!
//! A window is open while the clock on a wall of that zone shows a time in it, its end excluded. So a time that a change of
//! daylight saving time leaves out is never shown, and one that comes twice is open twice.

use std::fmt;

use jiff::{Span, Timestamp, civil::Weekday, tz::TimeZone};

/// One or several windows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Windows {
    /// As written.
    text: String,
    windows: Vec<Window>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Window {
    /// A bit for each day on which it begins, Monday lowest.
    days: u8,
    /// Minutes since midnight.
    start: i16,
    /// The same; at most `start` where it goes over midnight.
    end: i16,
    zone: TimeZone,
}

const EVERY_DAY: u8 = 0b111_1111;
const MIDNIGHT: i16 = 24 * 60;

/// How far ahead the next opening is looked for: a weekly one that a change of the clock leaves out comes a week later.
const AHEAD_DAYS: i64 = 15;

/// What is accepted, for messages.
const ACCEPTED: &str =
    "windows such as Sat 02:00-04:00 Europe/Berlin, or Mon-Fri,Sun 22:00-04:00 UTC, are accepted";

// === impl Windows ===

impl Windows {
    /// Reads windows.
    ///
    /// # Errors
    ///
    /// What is wrong, and what is accepted.
    pub fn parse(text: &str) -> Result<Self, String> {
        let windows = Parser::default()
            .parse(text)
            .map_err(|wrong| format!("{wrong}; {ACCEPTED}"))?;
        Ok(Self {
            text: text.trim().to_owned(),
            windows,
        })
    }

    /// Whether one of them is open.
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.windows.iter().any(|window| window.is_open(now))
    }

    /// When the next one opens after `now`, at which none is open: RFC 3339 with the offset of its zone.
    pub fn next_opening(&self, now: Timestamp) -> Option<String> {
        let openings = self.windows.iter().flat_map(|window| {
            let openings = window.candidates(now).into_iter();
            openings.map(move |at| (at, &window.zone))
        });
        let (at, zone) = openings
            .filter(|(at, _)| *at > now && self.is_open(*at))
            .min_by_key(|(at, _)| *at)?;
        let at = at.to_zoned(zone.clone());
        Some(at.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string())
    }
}

impl fmt::Display for Windows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

// === impl Window ===

impl Window {
    fn is_open(&self, now: Timestamp) -> bool {
        let shown = self.zone.to_datetime(now);
        let minute = i16::from(shown.hour()) * 60 + i16::from(shown.minute());
        let today = shown.weekday();
        if self.start < self.end {
            return self.begins_on(today) && (self.start..self.end).contains(&minute);
        }
        (self.begins_on(today) && minute >= self.start)
            || (self.begins_on(today.previous()) && minute < self.end)
    }

    fn begins_on(&self, day: Weekday) -> bool {
        self.days & bit(day) != 0
    }

    /// Every moment at which it may open: its beginning on each day, where the clock is set back both times; and every
    /// change of the clock, which may jump into it.
    fn candidates(&self, now: Timestamp) -> Vec<Timestamp> {
        let today = self.zone.to_datetime(now).date();
        let mut found = Vec::new();
        for day in 0..AHEAD_DAYS {
            let Ok(date) = today.checked_add(Span::new().days(day)) else {
                break;
            };
            let begin = date
                .to_datetime(jiff::civil::Time::midnight())
                .checked_add(Span::new().minutes(i64::from(self.start)));
            let Ok(begin) = begin else { break };
            let begin = self.zone.to_ambiguous_timestamp(begin);
            found.extend([begin.earlier(), begin.later()].into_iter().flatten());
        }
        let last = now.checked_add(Span::new().hours(AHEAD_DAYS * 24));
        let changes = self.zone.following(now).map(|change| change.timestamp());
        found.extend(changes.take_while(|at| last.as_ref().is_ok_and(|last| at <= last)));
        found
    }
}

fn bit(day: Weekday) -> u8 {
    1 << day.to_monday_zero_offset()
}

/// What was read and has no zone yet.
#[derive(Default)]
struct Parser {
    /// The days of the windows that follow; `None` is every day.
    days: Option<u8>,
    /// Whether a time has followed the days.
    timed: bool,
    /// Windows without a zone.
    open: Vec<(u8, i16, i16)>,
    windows: Vec<Window>,
}

// === impl Parser ===

impl Parser {
    fn parse(mut self, text: &str) -> Result<Vec<Window>, String> {
        let separators = |c: char| c.is_whitespace() || c == ',' || c == ';';
        for word in text.split(separators).filter(|word| !word.is_empty()) {
            if let Some(days) = days(word) {
                if self.timed {
                    (self.days, self.timed) = (None, false);
                }
                self.days = Some(self.days.unwrap_or_default() | days);
            } else if word.starts_with(|c: char| c.is_ascii_digit()) {
                let (start, end) = times(word)?;
                self.timed = true;
                let days = self.days.unwrap_or(EVERY_DAY);
                self.open.push((days, start, end));
            } else {
                self.zone(word)?;
            }
        }
        if self.days.is_some() && !self.timed {
            return Err("days without a time".to_owned());
        }
        if !self.open.is_empty() {
            return Err("the time zone is missing behind the last time".to_owned());
        }
        if self.windows.is_empty() {
            return Err("no window is given".to_owned());
        }
        Ok(self.windows)
    }

    fn zone(&mut self, word: &str) -> Result<(), String> {
        let zone = TimeZone::get(word)
            .map_err(|_| format!("{word} is no day and no time zone of the IANA database"))?;
        if !self.timed {
            return Err(format!("no time before the time zone {word}"));
        }
        let open = std::mem::take(&mut self.open).into_iter();
        let windows = open.map(|(days, start, end)| Window {
            days,
            start,
            end,
            zone: zone.clone(),
        });
        self.windows.extend(windows);
        (self.days, self.timed) = (None, false);
        Ok(())
    }
}

/// `Sat`, `Saturday`, `Mon-Fri`, `Sat-Mon`, `daily`.
fn days(word: &str) -> Option<u8> {
    if word.eq_ignore_ascii_case("daily") {
        return Some(EVERY_DAY);
    }
    let Some((first, last)) = word.split_once('-') else {
        return day(word).map(bit);
    };
    let (first, last) = (day(first)?, day(last)?);
    let mut days = bit(last);
    let mut at = first;
    while at != last {
        days |= bit(at);
        at = at.next();
    }
    Some(days)
}

fn day(word: &str) -> Option<Weekday> {
    const NAMES: [&str; 7] = [
        "monday",
        "tuesday",
        "wednesday",
        "thursday",
        "friday",
        "saturday",
        "sunday",
    ];
    let word = word.to_ascii_lowercase();
    let fits = |name: &&str| word == **name || (word.len() == 3 && name.starts_with(&word));
    let place = NAMES.iter().position(fits)?;
    Weekday::from_monday_zero_offset(i8::try_from(place).ok()?).ok()
}

/// `02:00-04:00`.
fn times(word: &str) -> Result<(i16, i16), String> {
    let wrong = || format!("{word} is no time such as 02:00-04:00");
    let (start, end) = word.split_once('-').ok_or_else(wrong)?;
    let (start, end) = minute(start).zip(minute(end)).ok_or_else(wrong)?;
    if start == MIDNIGHT {
        return Err(format!(
            "{word} begins at 24:00; write 00:00 of the day behind it"
        ));
    }
    if start == end {
        return Err(format!("{word} has no length; a whole day is 00:00-24:00"));
    }
    Ok((start, end))
}

/// `2:05`, `24:00`.
fn minute(text: &str) -> Option<i16> {
    let (hours, minutes) = text.split_once(':')?;
    let is_number = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if !(1..=2).contains(&hours.len())
        || minutes.len() != 2
        || !is_number(hours)
        || !is_number(minutes)
    {
        return None;
    }
    let (hours, minutes): (i16, i16) = (hours.parse().ok()?, minutes.parse().ok()?);
    let minute = hours * 60 + minutes;
    (minutes < 60 && minute <= MIDNIGHT).then_some(minute)
}

#[cfg(test)]
mod tests;
