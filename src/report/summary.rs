//! The one JSON line that sums up a run.

use std::time::Duration;

use serde::Serialize;

use crate::{error::Error, exit::ExitStatus, report::log::millis, runner::Done};

/// What a run has done, filled in on the way so that a failed run tells it too.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Summary {
    /// The command.
    pub command: &'static str,
    /// What the process ends with.
    pub exit_code: u8,
    /// The format of the folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<&'static str>,
    /// The history table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<String>,
    /// With `SCHEMAGATE_DRY_RUN`: nothing was written.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// What this run applied, in order.
    pub applied: Vec<AppliedLine>,
    /// What is left to run.
    pub pending: Vec<String>,
    /// How many are behind the target or a contract migration.
    pub deferred: usize,
    /// How many rows this image does not know.
    pub ahead: usize,
    /// The whole run.
    pub duration_ms: u64,
    /// What happened, where the end is not 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A migration that was applied.
#[derive(Debug, Clone, Serialize)]
pub struct AppliedLine {
    /// Which.
    pub version: String,
    /// From sending to the answer.
    pub duration_ms: u64,
}

// === impl Summary ===

impl Summary {
    /// Notes what was applied; it is no longer pending.
    pub fn done(&mut self, done: &[Done]) {
        self.applied = done
            .iter()
            .map(|done| AppliedLine {
                version: done.version.clone(),
                duration_ms: millis(done.elapsed),
            })
            .collect();
        self.pending
            .retain(|version| !done.iter().any(|done| done.version == *version));
    }

    /// Notes the end.
    pub fn ended(&mut self, outcome: &Result<(), Error>, elapsed: Duration) -> ExitStatus {
        let status = match outcome {
            Ok(()) => ExitStatus::Done,
            Err(error) => {
                self.error = Some(error.what());
                self.next = Some(error.next_step());
                error.exit_status()
            }
        };
        self.exit_code = status.code();
        self.duration_ms = millis(elapsed);
        status
    }

    /// The line, without its line break.
    pub fn line(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_run_tells_what_it_has_done() {
        let mut summary = Summary {
            command: "migrate",
            pending: vec!["1".into(), "2".into()],
            ..Summary::default()
        };
        summary.done(&[Done {
            version: "1".into(),
            elapsed: Duration::from_millis(3),
        }]);
        let refused = Err(Error::Refused {
            what: "what".into(),
            next: "next".into(),
        });
        assert_eq!(
            summary.ended(&refused, Duration::from_millis(5)),
            ExitStatus::Usage
        );
        assert_eq!(
            summary.line(),
            r#"{"command":"migrate","exit_code":2,"applied":[{"version":"1","duration_ms":3}],"pending":["2"],"#
                .to_owned()
                + r#""deferred":0,"ahead":0,"duration_ms":5,"error":"what","next":"next"}"#
        );
    }
}
