//! Comments at the head of a file that look like directives, and the words in them.
#![no_main]

use jiff::Timestamp;
use libfuzzer_sys::{Corpus, fuzz_target};
use schemagate::{duration, migration::Directives, sql::directive, window::Windows};

fuzz_target!(|data: &[u8]| -> Corpus {
    let Ok(text) = std::str::from_utf8(data) else {
        return Corpus::Reject;
    };
    match directive::parse(text) {
        Ok(directives) => {
            if !text.to_lowercase().contains("schemagate") {
                assert_eq!(directives, Directives::default());
            }
        }
        Err(issues) => {
            assert!(!issues.is_empty());
            for issue in issues {
                assert!(
                    issue.line as usize <= text.lines().count().max(1),
                    "{issue}"
                );
                assert!(!issue.message.is_empty());
            }
        }
    }
    let line = text.lines().next().unwrap_or_default();
    if let Ok(read) = duration::parse(line) {
        assert_eq!(duration::parse(&duration::print(read)), Ok(read), "{line}");
    }
    if let Ok(windows) = Windows::parse(line) {
        for seconds in [0, 951_782_400, 1_785_542_400, 4_102_444_800] {
            let now = Timestamp::from_second(seconds).expect("a time");
            let open = windows.is_open(now);
            let next = windows.next_opening(now);
            assert!(!open || next.is_none() || !next.unwrap_or_default().is_empty());
        }
    }
    Corpus::Keep
});
