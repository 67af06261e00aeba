//! What the journal knows of a marker, in the form that the endpoints show.

use crate::{
    history::marker::{Marker, MarkerState},
    progress::Seen,
    report::status::{Line, SCHEMA_VERSION, Status},
};

/// One line stands for the whole schema.
pub(super) fn seen(marker: &Marker, found: MarkerState, database: String) -> Seen {
    let mut line = Line {
        version: marker.name.clone(),
        path: String::new(),
        state: "pending",
        applied_at: None,
        duration_ms: None,
        checksum: String::new(),
        note: None,
    };
    let done = found.is_done();
    match found {
        MarkerState::Absent => {}
        MarkerState::Done { at } => {
            line.state = "applied";
            line.applied_at = Some(at);
        }
        MarkerState::Failed { message, .. } => {
            line.state = "failed";
            line.note = Some(message);
        }
    }
    let mut status = Status {
        schema_version: SCHEMA_VERSION,
        state: "",
        format: "exec",
        history: marker.history.clone(),
        database,
        migrations: vec![line],
        ahead: Vec::new(),
        missing: Vec::new(),
        conflicts: Vec::new(),
        warnings: Vec::new(),
    };
    status.judge();
    Seen {
        version: done.then(|| marker.name.clone()),
        applied: vec![done],
        conflicts: Vec::new(),
        fingerprint: u64::from(done),
        repaired: 0,
        holder: None,
        lacks_privilege: false,
        status,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_the_schema() {
        let check = |found: MarkerState, state: &str, version: Option<&str>| {
            let seen = seen(&Marker::new("1.4.2", None), found, "app".to_owned());
            assert_eq!(seen.status.state, state);
            assert_eq!(seen.version.as_deref(), version);
        };
        let at = || "2026-01-01 00:00:00+00".to_owned();
        check(MarkerState::Absent, "pending", None);
        check(MarkerState::Done { at: at() }, "ready", Some("1.4.2"));
        let failed = MarkerState::Failed {
            message: "exit 3".to_owned(),
            at: at(),
        };
        check(failed, "failed", None);
    }
}
