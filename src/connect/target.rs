//! Settings to what one attempt needs, in types. Pure.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::ahead::Ahead;
use super::auth::Methods;
use super::once::Once;
use super::read::Reader;
use super::secret::Secret;
use super::settings::Settings;
use super::tls::TlsSettings;
use crate::problem::Problem;

/// How long one address may take to give a session, where nobody says: a black hole must not eat the whole wait.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Everything that one attempt needs.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) load_balance: bool,
    pub(super) user: String,
    pub(super) database: String,
    /// What the password file is asked for, where that is another.
    pub(super) password_database: Option<String>,
    /// From the URL, the service or `PGPASSWORD`; without one the password files are asked.
    pub(super) password: Option<Secret>,
    pub(super) passfile: Option<PathBuf>,
    pub(super) application_name: String,
    pub(super) options: Option<String>,
    pub(super) channel_binding: ChannelBinding,
    pub(super) require_auth: Option<Methods>,
    pub(super) session: SessionAttrs,
    pub(super) tls: TlsSettings,
    /// For each address, from the first packet to the session. `None`: no limit.
    pub(super) connect_timeout: Option<Duration>,
    pub(super) socket: SocketSettings,
    pub(super) once: Once,
    pub(super) ahead: Ahead,
}

/// One entry of the host list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) host: Host,
    /// The number given as `hostaddr`, which saves the look-up of the name.
    pub(super) address: Option<IpAddr>,
    pub(super) port: u16,
}

/// What a host is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Host {
    /// Nothing was said: a socket in a usual folder, else this machine.
    Default,
    /// A folder with a Unix socket; with `@` before it, a name in the abstract namespace.
    Unix(String),
    /// A name or an address.
    Name(String),
}

/// `channel_binding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChannelBinding {
    Disable,
    Prefer,
    Require,
}

/// `target_session_attrs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SessionAttrs {
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
    PreferStandby,
}

/// What the socket is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SocketSettings {
    pub(super) keepalives: bool,
    pub(super) idle: Option<Duration>,
    pub(super) interval: Option<Duration>,
    pub(super) count: Option<u32>,
    pub(super) user_timeout: Option<Duration>,
}

/// Known keywords that cannot be honoured, with the values that ask for nothing and what to say about the others.
const CANNOT: &[(&str, &[&str], &str)] = &[
    (
        "gssencmode",
        &["disable", "prefer"],
        "GSSAPI is not built in: use disable, with TLS for secrecy",
    ),
    (
        "requirepeer",
        &[],
        "a socket's owner cannot be checked: there are no user names in an image from scratch",
    ),
    (
        "replication",
        &["0", "off", "no", "false"],
        "a replication connection cannot run migrations",
    ),
    ("sslkeylogfile", &[], "TLS secrets are not written anywhere"),
    ("scram_client_key", &[], "not supported: give the password"),
    ("scram_server_key", &[], "not supported: give the password"),
    ("oauth_issuer", &[], "OAuth is not supported"),
    ("oauth_client_id", &[], "OAuth is not supported"),
    (
        "client_encoding",
        &[
            "utf8", "UTF8", "utf-8", "UTF-8", "unicode", "UNICODE", "auto",
        ],
        "the session is always UTF8, as the migrations are",
    ),
    ("min_protocol_version", &["3.0"], "protocol 3.0 is spoken"),
    (
        "max_protocol_version",
        &["3.0", "3.2", "latest"],
        "protocol 3.0 is spoken",
    ),
];

// === impl Target ===

impl Target {
    /// All mistakes at once.
    pub(super) fn new(
        settings: &Settings,
        application_name: &str,
        home: Option<&str>,
    ) -> Result<Self, Vec<Problem>> {
        let mut reader = Reader::new(settings);
        refuse_what_cannot_be_honoured(&mut reader);
        let user = user(&mut reader);
        let target = Self {
            endpoints: endpoints(&mut reader),
            load_balance: reader.word(
                "load_balance_hosts",
                &[("disable", false), ("random", true)],
                false,
            ),
            database: reader.text("dbname").unwrap_or_else(|| user.clone()),
            password_database: None,
            user,
            password: reader.text("password").map(Secret::new),
            passfile: passfile(&reader, home),
            application_name: reader
                .text("application_name")
                .or_else(|| reader.text("fallback_application_name"))
                .unwrap_or_else(|| application_name.to_owned()),
            options: options(&reader),
            channel_binding: reader.word(
                "channel_binding",
                CHANNEL_BINDING,
                ChannelBinding::Prefer,
            ),
            require_auth: require_auth(&mut reader),
            session: reader.word(
                "target_session_attrs",
                SessionAttrs::WORDS,
                SessionAttrs::Any,
            ),
            tls: TlsSettings::new(&mut reader, home),
            connect_timeout: connect_timeout(&mut reader),
            socket: socket(&mut reader),
            once: Once::default(),
            ahead: Ahead::default(),
        };
        reader.finish(target)
    }
}

const CHANNEL_BINDING: &[(&str, ChannelBinding)] = &[
    ("disable", ChannelBinding::Disable),
    ("prefer", ChannelBinding::Prefer),
    ("require", ChannelBinding::Require),
];

// === impl SessionAttrs ===

impl SessionAttrs {
    pub(super) const WORDS: &'static [(&'static str, Self)] = &[
        ("any", Self::Any),
        ("read-write", Self::ReadWrite),
        ("read-only", Self::ReadOnly),
        ("primary", Self::Primary),
        ("standby", Self::Standby),
        ("prefer-standby", Self::PreferStandby),
    ];

    pub(super) fn word(self) -> &'static str {
        Self::WORDS
            .iter()
            .find(|(_, attrs)| *attrs == self)
            .map_or("any", |(word, _)| word)
    }
}

fn refuse_what_cannot_be_honoured(reader: &mut Reader<'_>) {
    for (keyword, harmless, why) in CANNOT {
        match reader.value(keyword) {
            Some(value) if !harmless.contains(&value) => reader.problem(keyword, why),
            _ => {}
        }
    }
}

/// libpq falls back to the name of the operating system's user, which an image from scratch does not have.
fn user(reader: &mut Reader<'_>) -> String {
    let user = reader.text("user");
    if user.is_none() {
        reader.add(Problem::new(
            "PGUSER",
            "no database user is named: set PGUSER, or write postgres://USER@…",
        ));
    }
    user.unwrap_or_default()
}

/// `PGPASSFILE`, else `~/.pgpass`.
fn passfile(reader: &Reader<'_>, home: Option<&str>) -> Option<PathBuf> {
    match reader.text("passfile") {
        Some(path) => Some(path.into()),
        None => home.map(|home| PathBuf::from(home).join(".pgpass")),
    }
}

/// `options`, and what libpq sends besides for `PGTZ`, `PGDATESTYLE` and `PGGEQO`.
fn options(reader: &Reader<'_>) -> Option<String> {
    let mut options: Vec<String> = reader.text("options").into_iter().collect();
    for name in ["DateStyle", "TimeZone", "geqo"] {
        if let Some(value) = reader.value(name) {
            let escaped = value.replace('\\', "\\\\").replace(' ', "\\ ");
            options.push(format!("-c {name}={escaped}"));
        }
    }
    (!options.is_empty()).then(|| options.join(" "))
}

fn require_auth(reader: &mut Reader<'_>) -> Option<Methods> {
    let methods = Methods::parse(reader.value("require_auth")?);
    if let Err(why) = &methods {
        reader.problem("require_auth", why);
    }
    methods.ok()
}

/// libpq: whole seconds, at least two, and none or a negative number for no limit.
fn connect_timeout(reader: &mut Reader<'_>) -> Option<Duration> {
    match reader.number::<i64>("connect_timeout", "a number of seconds, 0 for no limit") {
        None => Some(CONNECT_TIMEOUT),
        Some(seconds) => u64::try_from(seconds)
            .ok()
            .filter(|seconds| *seconds > 0)
            .map(|seconds| Duration::from_secs(seconds.max(2))),
    }
}

/// libpq's names, with defaults of our own: a dead peer is noticed after some 20 seconds instead of two hours.
fn socket(reader: &mut Reader<'_>) -> SocketSettings {
    const SECONDS: &str = "a number of seconds, 0 for the system's default";
    // Keepalives rest while sent data is not acknowledged.
    const UNACKNOWLEDGED: Duration = Duration::from_secs(20);
    let mut seconds = |keyword| match reader.number::<u32>(keyword, SECONDS) {
        None => Some(Duration::from_secs(5)),
        Some(0) => None,
        Some(seconds) => Some(Duration::from_secs(seconds.into())),
    };
    SocketSettings {
        idle: seconds("keepalives_idle"),
        interval: seconds("keepalives_interval"),
        keepalives: reader.number::<i32>("keepalives", "1 or 0") != Some(0),
        count: match reader
            .number::<u32>("keepalives_count", "a number, 0 for the system's default")
        {
            None => Some(3),
            Some(0) => None,
            some => some,
        },
        user_timeout: match reader.number::<u64>(
            "tcp_user_timeout",
            "a number of milliseconds, 0 for the system's default",
        ) {
            None => Some(UNACKNOWLEDGED),
            Some(0) => None,
            Some(milliseconds) => Some(Duration::from_millis(milliseconds)),
        },
    }
}

/// The host list, as libpq puts it together from `host`, `hostaddr` and `port`.
fn endpoints(reader: &mut Reader<'_>) -> Vec<Endpoint> {
    let list = |text: Option<&str>| -> Vec<String> {
        text.map(|text| text.split(',').map(|part| part.trim().to_owned()).collect())
            .unwrap_or_default()
    };
    let names = list(reader.value("host"));
    let addresses = list(reader.value("hostaddr"));
    let count = names.len().max(addresses.len()).max(1);
    if !addresses.is_empty() && !names.is_empty() && addresses.len() != names.len() {
        reader.problem(
            "hostaddr",
            &format!("there must be as many addresses as hosts, {}", names.len()),
        );
    }
    let ports = ports(reader, count);
    (0..count)
        .map(|index| Endpoint {
            host: host(names.get(index).map_or("", String::as_str)),
            address: addresses.get(index).and_then(|text| address(reader, text)),
            port: ports.get(index).copied().unwrap_or(5432),
        })
        .collect()
}

fn host(text: &str) -> Host {
    match text {
        "" => Host::Default,
        folder if folder.starts_with(['/', '@']) => Host::Unix(folder.to_owned()),
        name => Host::Name(name.to_owned()),
    }
}

fn address(reader: &mut Reader<'_>, text: &str) -> Option<IpAddr> {
    if text.is_empty() {
        return None;
    }
    let address = text.parse().ok();
    if address.is_none() {
        reader.problem("hostaddr", "expected IP addresses, separated by commas");
    }
    address
}

fn ports(reader: &mut Reader<'_>, count: usize) -> Vec<u16> {
    let Some(text) = reader.text("port") else {
        return Vec::new();
    };
    let port = |part: &str| match part.trim() {
        "" => Some(5432),
        digits => digits.parse::<u16>().ok().filter(|port| *port > 0),
    };
    let ports: Option<Vec<u16>> = text.split(',').map(port).collect();
    match ports {
        Some(ports) if ports.len() == 1 => vec![ports[0]; count],
        Some(ports) if ports.len() == count => ports,
        Some(_) => {
            reader.problem("port", &format!("one port, or as many as hosts, {count}"));
            Vec::new()
        }
        None => {
            reader.problem(
                "port",
                "expected a number from 1 to 65535, or several separated by commas",
            );
            Vec::new()
        }
    }
}

// === impl Endpoint ===

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let port = self.port;
        match (&self.host, self.address) {
            (Host::Unix(folder), _) => write!(f, "{folder}/.s.PGSQL.{port}"),
            (Host::Default, None) => write!(f, "localhost:{port}"),
            (Host::Default, Some(IpAddr::V6(address))) => write!(f, "[{address}]:{port}"),
            (Host::Default, Some(address)) => write!(f, "{address}:{port}"),
            (Host::Name(name), _) if name.contains(':') => write!(f, "[{name}]:{port}"),
            (Host::Name(name), _) => write!(f, "{name}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests;
