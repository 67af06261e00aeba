//! `require_auth`: which ways of authentication the client puts up with.
//!
//! The client library answers whatever the server asks for, so the question is read on its way in (see `wire`) and the
//! session is given up before a password leaves this process.
//! <https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNECT-REQUIRE-AUTH>

/// A set of methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Methods(u8);

/// libpq's names and the bit of each.
const NAMES: &[(&str, u8)] = &[
    ("none", 1),
    ("password", 2),
    ("md5", 4),
    ("gss", 8),
    ("sspi", 16),
    ("scram-sha-256", 32),
    ("oauth", 64),
];
const EVERY: u8 = 127;

// === impl Methods ===

impl Methods {
    /// `a,b` allows these, `!a,!b` all but these.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(',').map(str::trim).collect();
        let negated = parts.iter().filter(|part| part.starts_with('!')).count();
        if negated != 0 && negated != parts.len() {
            return Err("either all methods or none are written with \"!\"".to_owned());
        }
        let mut bits = 0;
        for part in parts {
            let name = part.strip_prefix('!').unwrap_or(part);
            let found = NAMES.iter().find(|(known, _)| *known == name);
            let (_, bit) = found.ok_or_else(|| {
                let names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
                format!("expected some of {}", names.join(", "))
            })?;
            bits |= bit;
        }
        Ok(Self(if negated == 0 { bits } else { EVERY & !bits }))
    }

    fn holds(self, name: &str) -> bool {
        NAMES
            .iter()
            .any(|(known, bit)| *known == name && self.0 & bit != 0)
    }

    /// May the server do this? `request` is the number in its authentication message, `asked` whether it asked for
    /// anything before.
    pub(super) fn allow(self, request: i32, asked: bool) -> Result<(), String> {
        let name = match method(request) {
            // "ok" after a question was answered
            Some("none") if asked => return Ok(()),
            Some(name) => name,
            // The server's next turns of a conversation, or what the client library refuses anyway.
            None => return Ok(()),
        };
        if self.holds(name) {
            return Ok(());
        }
        let did = if name == "none" {
            "let the session in without any authentication".to_owned()
        } else {
            format!("asked for {name} authentication")
        };
        Err(format!(
            "the server {did}, which require_auth does not allow"
        ))
    }
}

/// The method that an authentication request begins.
/// <https://www.postgresql.org/docs/current/protocol-message-formats.html>
fn method(request: i32) -> Option<&'static str> {
    match request {
        0 => Some("none"),
        3 => Some("password"),
        5 => Some("md5"),
        7 => Some("gss"),
        9 => Some("sspi"),
        10 => Some("scram-sha-256"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets() {
        let scram = Methods::parse("scram-sha-256").unwrap();
        assert!(scram.allow(10, false).is_ok());
        assert!(scram.allow(0, true).is_ok());
        assert!(scram.allow(0, false).unwrap_err().contains("without any"));
        assert!(
            scram
                .allow(3, false)
                .unwrap_err()
                .contains("asked for password")
        );
        let no_clear_text = Methods::parse("!password, !md5").unwrap();
        assert!(no_clear_text.allow(3, false).is_err());
        assert!(no_clear_text.allow(5, false).is_err());
        assert!(no_clear_text.allow(10, false).is_ok());
        assert!(no_clear_text.allow(0, false).is_ok());
        assert!(Methods::parse("md5,!password").is_err());
        assert!(
            Methods::parse("scram")
                .unwrap_err()
                .contains("scram-sha-256")
        );
    }
}
