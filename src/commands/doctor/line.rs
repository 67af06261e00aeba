//! The line to the server: address, TLS, login, pooler; and where it broke.

use jiff::Timestamp;

use super::{Asker, text};
use crate::{
    connect::{self, DatabaseLabel, Login, Tls, Verification},
    report::doctor::Section,
};

/// Days before its end that a certificate is told of.
const SOON: i64 = 30;

/// Each try of the last attempt, with the step at which it ended.
pub(super) fn no_session(params: &connect::Params, error: &connect::Error) -> Section {
    let mut section = Section::new("connection");
    if let Some(label) = params.database_label() {
        settings(&mut section, &label);
    }
    for one in error.each() {
        let help = one.help().unwrap_or_default();
        section.problem(one.step(), one.to_string(), &help);
    }
    section
}

/// Of a session.
pub(super) async fn session(asker: &Asker<'_>) -> Section {
    let mut section = Section::new("connection");
    let session = asker.session;
    settings(&mut section, &session.label());
    section.ok("server", session.peer());
    let row = asker
        .row(
            &mut section,
            "session",
            "SELECT pg_catalog.pg_backend_pid(), pg_catalog.current_setting('application_name'), \
             pg_catalog.host(pg_catalog.inet_server_addr()), pg_catalog.inet_server_port(), \
             pg_catalog.host(pg_catalog.inet_client_addr()), \
             (SELECT s.cipher FROM pg_catalog.pg_stat_ssl s WHERE s.pid = pg_catalog.pg_backend_pid())",
        )
        .await;
    let direct = session.wire_pid().map(|pid| pid.to_string()).as_deref() == Some(text(&row, 0));
    tls(
        &mut section,
        session.tls(),
        session.peer(),
        if direct { text(&row, 5) } else { "" },
    );
    login(&mut section, session.login(), session.tls().is_some());
    if direct {
        section.ok("path", format!("direct, server process {}", text(&row, 0)));
    } else {
        section.note(
            "path",
            format!(
                "a pooler or proxy answers for server process {} (at {}:{})",
                text(&row, 0),
                text(&row, 2),
                text(&row, 3)
            ),
            "this works; statements outside a transaction need a second connection, and SCHEMAGATE_ROLE with them a URL \
             to the server itself (SCHEMAGATE_DATABASE_URL)",
        );
    }
    section.ok("seen from the server", {
        let client = text(&row, 4);
        let client = if client.is_empty() {
            "a socket"
        } else {
            client
        };
        format!("client {client}, application_name {}", text(&row, 1))
    });
    section
}

fn settings(section: &mut Section, label: &DatabaseLabel) {
    section.ok(
        "settings",
        format!(
            "database {} as user {} at {}",
            label.database,
            label.user,
            label.hosts.join(", ")
        ),
    );
}

fn tls(section: &mut Section, tls: Option<&Tls>, peer: &str, cipher: &str) {
    let Some(tls) = tls else {
        // The socket's path begins with one.
        if peer.starts_with(['/', '@']) {
            section.ok("tls", "none, on a socket of this machine");
        } else {
            section.note(
                "tls",
                "none: the line can be read and changed on its way",
                "PGSSLMODE=verify-full with PGSSLROOTCERT, or at least require",
            );
        }
        return;
    };
    let cipher = if cipher.is_empty() {
        String::new()
    } else {
        format!(", {cipher}")
    };
    let value = format!("{}{cipher}", tls.version);
    match tls.verification {
        Verification::ChainAndName => {
            section.ok("tls", format!("{value}, certificate and name verified"));
        }
        Verification::Chain => section.note(
            "tls",
            format!("{value}, certificate verified, its name not"),
            "PGSSLMODE=verify-full",
        ),
        Verification::None => section.note(
            "tls",
            format!("{value}, to whomever: the certificate was not verified"),
            "PGSSLMODE=verify-full with PGSSLROOTCERT",
        ),
    }
    certificate(section, tls);
}

fn certificate(section: &mut Section, tls: &Tls) {
    let Some(certificate) = &tls.certificate else {
        section.ok("certificate", format!("SHA-256 {}", tls.fingerprint));
        return;
    };
    let value = format!(
        "{}, signed by {}, good until {}, SHA-256 {}",
        certificate.subject, certificate.issuer, certificate.not_after, tls.fingerprint
    );
    let seconds = certificate
        .not_after
        .parse::<Timestamp>()
        .map(|end| end.as_second().saturating_sub(Timestamp::now().as_second()));
    match seconds {
        Ok(left) if left < 0 => section.note(
            "certificate",
            format!("{value}: it has ended"),
            "reissue it: clients that verify it are refused",
        ),
        Ok(left) if left < SOON * 86_400 => section.note(
            "certificate",
            format!("{value}: {} days are left", left / 86_400),
            "reissue it",
        ),
        _ => section.ok("certificate", value),
    }
}

fn login(section: &mut Section, login: Login, encrypted: bool) {
    match login {
        Login::Nothing => section.note(
            "login",
            "nothing was asked for (trust, the socket's owner, or a client certificate)",
            "",
        ),
        Login::ClearText if encrypted => section.note(
            "login",
            "password in clear text, inside TLS",
            "scram-sha-256 in pg_hba.conf",
        ),
        Login::ClearText => section.note(
            "login",
            "password in clear text, without TLS",
            "turn TLS on, and use scram-sha-256 in pg_hba.conf",
        ),
        Login::Md5 => section.note(
            "login",
            "MD5, which PostgreSQL will drop",
            "password_encryption = 'scram-sha-256', then set the password again",
        ),
        Login::Scram { bound: true } => {
            section.ok("login", "SCRAM-SHA-256 with channel binding");
        }
        Login::Scram { bound: false } => {
            section.ok("login", "SCRAM-SHA-256 without channel binding");
        }
        Login::Other => section.note("login", "another way than a password", ""),
    }
}
