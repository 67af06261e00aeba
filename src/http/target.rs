//! Where a request goes, read from a URL.

use std::{
    fmt::{self, Write as _},
    net::{IpAddr, SocketAddr},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hyper::header::HeaderValue;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

/// Characters that stand in URLs all the same, though none may.
const ODD: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// A server and a path on it.
///
/// `Display` and `Debug` show scheme, host and port. What else is in the URL may be a secret: a password, a token in
/// the query, a path that nobody should guess.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    https: bool,
    host: Host,
    port: u16,
    path: String,
    /// With its `?`.
    query: String,
    /// What `Authorization` says; marked as sensitive.
    authorization: Option<HeaderValue>,
}

#[derive(Clone, PartialEq, Eq)]
enum Host {
    Name(String),
    /// With the port, and the scope of a link-local one.
    Address(SocketAddr),
}

// === impl Target ===

impl Target {
    /// Reads `http://user:password@host:port/path?query`, or `https://`. The error says what is wrong, or what is
    /// accepted, without a part of the text.
    pub fn parse(url: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str = "http://host:port/path or https://host:port/path is accepted";
        if url.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(EXPECTED);
        }
        let (scheme, rest) = url.split_once("://").ok_or(EXPECTED)?;
        let https = if scheme.eq_ignore_ascii_case("https") {
            true
        } else if scheme.eq_ignore_ascii_case("http") {
            false
        } else {
            return Err(EXPECTED);
        };
        let (rest, _fragment) = rest.split_once('#').unwrap_or((rest, ""));
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        let (path, query) = match rest.find('?') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let (userinfo, address) = match authority.rsplit_once('@') {
            Some((userinfo, address)) => (Some(userinfo), address),
            None => (None, authority),
        };
        let (host, port) = host_and_port(address)?;
        let port = port_number(port)?.unwrap_or(default_port(https));
        Ok(Self {
            https,
            host: name_or_address(host, port)?,
            port,
            path: match path {
                "" => "/".to_owned(),
                path => encoded(path),
            },
            query: encoded(query),
            authorization: match userinfo {
                Some("") | None => None,
                Some(userinfo) => Some(basic(userinfo)?),
            },
        })
    }

    /// Plain HTTP to an address; `path` may end with a query.
    pub fn at(address: SocketAddr, path: &str) -> Self {
        let (path, query) = path.split_at(path.find('?').unwrap_or(path.len()));
        Self {
            https: false,
            host: Host::Address(address),
            port: address.port(),
            path: path.to_owned(),
            query: query.to_owned(),
            authorization: None,
        }
    }

    /// The same server, credentials and query with another path.
    #[must_use]
    pub fn with_path(&self, path: String) -> Self {
        Self {
            path,
            ..self.clone()
        }
    }

    /// The path, percent-encoded as it was given.
    pub fn path(&self) -> &str {
        &self.path
    }

    pub(super) const fn is_https(&self) -> bool {
        self.https
    }

    /// What a certificate must name: the name that is looked up, or the address.
    pub(super) fn host(&self) -> String {
        match &self.host {
            Host::Name(name) => name.clone(),
            Host::Address(address) => address.ip().to_string(),
        }
    }

    /// Where no name has to be looked up.
    pub(super) const fn address(&self) -> Option<SocketAddr> {
        match self.host {
            Host::Name(_) => None,
            Host::Address(address) => Some(address),
        }
    }

    pub(super) const fn port(&self) -> u16 {
        self.port
    }

    /// Path and query, for the request's first line.
    pub(super) fn uri(&self) -> String {
        format!("{}{}", self.path, self.query)
    }

    /// What the header `Host` says: the port only where it is not the scheme's own.
    pub(super) fn authority(&self) -> String {
        let mut text = match &self.host {
            Host::Address(SocketAddr::V6(address)) => format!("[{}]", address.ip()),
            _ => self.host(),
        };
        if self.port != default_port(self.https) {
            // Writing to a string cannot fail.
            let _ = write!(text, ":{}", self.port);
        }
        text
    }

    pub(super) const fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority())
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

const fn default_port(https: bool) -> u16 {
    if https { 443 } else { 80 }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, ODD).to_string()
}

/// A host, brackets included, and what follows its colon.
fn host_and_port(text: &str) -> Result<(&str, &str), &'static str> {
    if !text.starts_with('[') {
        return Ok(text.split_once(':').unwrap_or((text, "")));
    }
    let end = text
        .find(']')
        .ok_or("the \"[\" of an IPv6 address is not closed")?;
    let (host, after) = text.split_at(end + 1);
    match after.strip_prefix(':') {
        Some(port) => Ok((host, port)),
        None if after.is_empty() => Ok((host, "")),
        None => Err("something stands between \"]\" and the port"),
    }
}

/// `None` where nothing is written.
fn port_number(text: &str) -> Result<Option<u16>, &'static str> {
    if text.is_empty() {
        return Ok(None);
    }
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(port) if digits && port != 0 => Ok(Some(port)),
        _ => Err("the part behind the host's \":\" is no port number from 1 to 65535"),
    }
}

fn name_or_address(host: &str, port: u16) -> Result<Host, &'static str> {
    let inner = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let address = match inner {
        Some(inner) => Some(IpAddr::V6(
            inner
                .parse()
                .map_err(|_| "what stands in brackets is no IPv6 address")?,
        )),
        None => host.parse().ok(),
    };
    if let Some(address) = address {
        return Ok(Host::Address(SocketAddr::new(address, port)));
    }
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if host.is_empty() {
        Err("no host is named")
    } else if host.chars().all(known) {
        Ok(Host::Name(host.to_owned()))
    } else {
        Err(
            "the host's name holds a character that none can have (in a password write \"@\" as %40, \"/\" as %2F, \
             \":\" as %3A)",
        )
    }
}

/// <https://datatracker.ietf.org/doc/html/rfc7617>
fn basic(userinfo: &str) -> Result<HeaderValue, &'static str> {
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    let mut credentials: Vec<u8> = percent_decode_str(user).collect();
    if credentials.contains(&b':') {
        return Err("a user with \":\" cannot be sent");
    }
    credentials.push(b':');
    credentials.extend(percent_decode_str(password));
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(credentials)))
        .map_err(|_| "the credentials cannot be sent")?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, shown: &str, host: &str, port: u16, uri: &str, credentials: Option<&str>) {
        let target = Target::parse(url).unwrap();
        assert_eq!(target.to_string(), shown, "{url}");
        assert_eq!(target.host(), host, "{url}");
        assert_eq!(target.port(), port, "{url}");
        assert_eq!(target.uri(), uri, "{url}");
        let expected = credentials.map(|text| format!("Basic {}", STANDARD.encode(text)));
        let found = target.authorization();
        assert_eq!(
            found.map(HeaderValue::as_bytes),
            expected.as_deref().map(str::as_bytes),
            "{url}"
        );
        assert!(found.is_none_or(HeaderValue::is_sensitive));
    }

    #[test]
    fn urls() {
        check("http://gw", "http://gw", "gw", 80, "/", None);
        check(
            "HTTP://Gw.example:9091/",
            "http://Gw.example:9091",
            "Gw.example",
            9091,
            "/",
            None,
        );
        check(
            "https://gw:/x/y?a=b",
            "https://gw",
            "gw",
            443,
            "/x/y?a=b",
            None,
        );
        check("https://gw:443?a", "https://gw", "gw", 443, "/?a", None);
        check("http://gw:443/#top", "http://gw:443", "gw", 443, "/", None);
        check(
            "http://127.0.0.1:15020/quitquitquit",
            "http://127.0.0.1:15020",
            "127.0.0.1",
            15020,
            "/quitquitquit",
            None,
        );
        check(
            "http://[::1]:4191/shutdown",
            "http://[::1]:4191",
            "::1",
            4191,
            "/shutdown",
            None,
        );
        check(
            "http://[fd00::1]",
            "http://[fd00::1]",
            "fd00::1",
            80,
            "/",
            None,
        );
        check("http://u@gw/", "http://gw", "gw", 80, "/", Some("u:"));
        check("http://@gw/", "http://gw", "gw", 80, "/", None);
        check(
            "http://a%40b:p%2Fw:d%C3%BC@gw:1/p",
            "http://gw:1",
            "gw",
            1,
            "/p",
            Some("a@b:p/w:dü"),
        );
        check(
            "http://u:p@ss@gw/",
            "http://gw",
            "gw",
            80,
            "/",
            Some("u:p@ss"),
        );
        check(
            "http://gw/a%20b/{ü}?q=|",
            "http://gw",
            "gw",
            80,
            "/a%20b/%7B%C3%BC%7D?q=%7C",
            None,
        );
    }

    #[test]
    fn what_is_no_url_is_told_without_it() {
        for (url, expected) in [
            ("", "accepted"),
            ("gw:9091", "accepted"),
            ("ftp://hunter2", "accepted"),
            ("http://gw/a b", "accepted"),
            ("http://gw/\u{7}", "accepted"),
            ("http://", "no host"),
            ("http:///hunter2", "no host"),
            ("http://u:hunter2@/x", "no host"),
            ("http://:80/", "no host"),
            ("http://gw:0/", "no port number"),
            ("http://gw:65536/", "no port number"),
            ("http://gw:+1/", "no port number"),
            ("http://u:hunter2/x@gw/", "no port number"),
            ("http://[::1]:hunter2/", "no port number"),
            ("http://[::1/", "not closed"),
            ("http://[::1]80/", "between"),
            ("http://[hunter2]/", "no IPv6 address"),
            ("http://hünter2/", "character"),
            ("http://a%3Ab:hunter2@gw/", "user with"),
        ] {
            let error = Target::parse(url).unwrap_err();
            assert!(error.contains(expected), "{url:?}: {error}");
            assert!(!error.contains("hunter2"));
        }
    }

    #[test]
    fn nothing_but_the_server_is_shown() {
        let target = Target::parse("https://u:hunter2@gw/hunter2?token=hunter2").unwrap();
        assert_eq!(format!("{target} {target:?}"), "https://gw https://gw");
    }

    #[test]
    fn another_path_keeps_the_rest() {
        let target = Target::parse("http://u:p@gw:9091/base?token=1").unwrap();
        assert_eq!(target.path(), "/base");
        let other = target.with_path("/metrics/job/x".to_owned());
        assert_eq!(other.uri(), "/metrics/job/x?token=1");
        assert_eq!(other.authorization(), target.authorization());
        let at = Target::at("[::1]:9911".parse().unwrap(), "/readyz?verbose");
        assert_eq!(
            (at.path(), at.uri().as_str(), at.authority().as_str()),
            ("/readyz", "/readyz?verbose", "[::1]:9911")
        );
    }
}
