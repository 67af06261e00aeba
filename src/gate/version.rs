//! Versions of applications as people write them.

use semver::Version;

/// A semantic version; a `v` before it is no part of it.
pub(super) fn parse(text: &str) -> Option<Version> {
    let text = text.trim();
    let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
    Version::parse(text).ok()
}

/// The same for what names itself in passing: `1.4` is `1.4.0`, `2` is `2.0.0`.
pub(super) fn parse_short(text: &str) -> Option<Version> {
    parse(text).or_else(|| {
        let is_plain = !text.contains(['-', '+']);
        let missing = 2_usize.checked_sub(text.matches('.').count());
        missing
            .filter(|_| is_plain)
            .and_then(|missing| parse(&format!("{text}{}", ".0".repeat(missing))))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for (text, whole, short) in [
            ("1.4.2", Some("1.4.2"), Some("1.4.2")),
            ("v1.4.2-rc.1+b", Some("1.4.2-rc.1+b"), Some("1.4.2-rc.1+b")),
            ("1.4", None, Some("1.4.0")),
            ("v2", None, Some("2.0.0")),
            ("1.4-rc.1", None, None),
            ("", None, None),
            ("latest", None, None),
            ("1.4.2.9", None, None),
            ("2026-05-01", None, None),
            ("1.04.2", None, None),
        ] {
            let print = |version: Option<Version>| version.map(|version| version.to_string());
            assert_eq!(print(parse(text)).as_deref(), whole, "{text}");
            assert_eq!(print(parse_short(text)).as_deref(), short, "{text}");
        }
    }
}
