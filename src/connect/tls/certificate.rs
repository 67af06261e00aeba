//! Whom a certificate names and until when it is good: the few fields of X.509 that a person asks for. It is read for
//! display only; what is trusted is rustls' matter.
//!
//! <https://www.rfc-editor.org/rfc/rfc5280#section-4.1>

/// What a certificate says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Whose it is: `CN=db.example.org, O=Example`.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// When it ends, in UTC: `2027-01-31T12:00:00Z`.
    pub not_after: String,
}

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// The version, which version 1 leaves out.
const VERSION: u8 = 0xa0;

/// Attributes of names below 2.5.4, by their last number.
const ATTRIBUTES: [(u8, &str); 6] = [
    (3, "CN"),
    (6, "C"),
    (7, "L"),
    (8, "ST"),
    (10, "O"),
    (11, "OU"),
];

/// Reads one in DER; `None` where it is none.
pub(super) fn read(der: &[u8]) -> Option<Certificate> {
    let (certificate, _) = expect(der, SEQUENCE)?;
    let (mut rest, _) = expect(certificate, SEQUENCE)?;
    if rest.first() == Some(&VERSION) {
        rest = element(rest)?.2;
    }
    // Serial number, algorithm.
    let rest = element(rest)?.2;
    let rest = element(rest)?.2;
    let (issuer, rest) = expect(rest, SEQUENCE)?;
    let (validity, rest) = expect(rest, SEQUENCE)?;
    let (subject, _) = expect(rest, SEQUENCE)?;
    let (_, _, not_after) = element(validity)?;
    let (kind, not_after, _) = element(not_after)?;
    Some(Certificate {
        subject: name(subject),
        issuer: name(issuer),
        not_after: time(kind, not_after)?,
    })
}

/// Tag, content, and what follows.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let mut length = usize::from(first);
    if first & 0x80 != 0 {
        let count = usize::from(first & 0x7f);
        let (digits, behind) = rest.split_at_checked(count)?;
        if count > 4 {
            return None;
        }
        length = digits
            .iter()
            .fold(0, |sum, digit| sum << 8 | usize::from(*digit));
        rest = behind;
    }
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// The content of an element with this tag, and what follows.
fn expect(bytes: &[u8], wanted: u8) -> Option<(&[u8], &[u8])> {
    let (tag, content, rest) = element(bytes)?;
    (tag == wanted).then_some((content, rest))
}

fn name(mut parts: &[u8]) -> String {
    let mut shown = Vec::new();
    while let Some((set, rest)) = expect(parts, SET) {
        shown.extend(attribute(set));
        parts = rest;
    }
    shown.join(", ")
}

fn attribute(set: &[u8]) -> Option<String> {
    let (pair, _) = expect(set, SEQUENCE)?;
    let (oid, value) = expect(pair, OID)?;
    let (_, value, _) = element(value)?;
    let [0x55, 0x04, last] = oid else {
        return None;
    };
    let (_, word) = ATTRIBUTES.iter().find(|(number, _)| number == last)?;
    // Whoever made it may have put anything there.
    let text: String = String::from_utf8_lossy(value)
        .chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    Some(format!("{word}={text}"))
}

fn time(kind: u8, digits: &[u8]) -> Option<String> {
    let digits = std::str::from_utf8(digits).ok()?;
    let digits = match kind {
        // Two digits of the year, from 1950 on.
        UTC_TIME if digits < "50" => format!("20{digits}"),
        UTC_TIME => format!("19{digits}"),
        GENERALIZED_TIME => digits.to_owned(),
        _ => return None,
    };
    let part = |range: std::ops::Range<usize>| digits.get(range);
    Some(format!(
        "{}-{}-{}T{}:{}:{}Z",
        part(0..4)?,
        part(4..6)?,
        part(6..8)?,
        part(8..10)?,
        part(10..12)?,
        part(12..14)?
    ))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};

    use super::*;

    fn made() -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["db".to_owned()]).unwrap();
        params.distinguished_name.remove(DnType::CommonName);
        params
            .distinguished_name
            .push(DnType::OrganizationName, "Bei\nspiel ✓");
        params
            .distinguished_name
            .push(DnType::CommonName, "db.example.org");
        params.not_after = date_time_ymd(2060, 2, 3);
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn names_and_end() {
        let read = read(&made()).unwrap();
        assert_eq!(read.subject, "O=Bei\u{fffd}spiel ✓, CN=db.example.org");
        assert_eq!(read.issuer, read.subject);
        assert_eq!(read.not_after, "2060-02-03T00:00:00Z");
        assert_eq!(
            time(UTC_TIME, b"270131120000Z").as_deref(),
            Some("2027-01-31T12:00:00Z")
        );
        assert_eq!(
            time(UTC_TIME, b"990131120000Z").as_deref(),
            Some("1999-01-31T12:00:00Z")
        );
    }

    #[test]
    fn nonsense_is_no_certificate() {
        let whole = made();
        for end in 0..whole.len() {
            let _ = read(&whole[..end]);
        }
        for at in 0..whole.len() {
            let mut broken = whole.clone();
            broken[at] ^= 0xff;
            let _ = read(&broken);
        }
        assert_eq!(read(b""), None);
        assert_eq!(read(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }
}
