//! The reason that the endpoints give, in words.

use super::{
    Cause, Ended, Machine, Told,
    observation::{is_failed, is_pending},
};
use crate::{
    plan::Conflict,
    report::status::{Line, Status},
};

/// How many of a list are named in a sentence.
const NAMED: usize = 3;

// === impl Machine ===

impl Machine {
    /// What there is to say of a schema.
    pub(super) fn told_of(&self, status: &Status, conflicts: &[Conflict]) -> Option<Told> {
        let lines = |is: fn(&Line) -> bool| status.migrations.iter().filter(move |line| is(line));
        let versions = |is: fn(&Line) -> bool| lines(is).map(|line| line.version.as_str());
        let mut told = match status.state {
            "ready" => return None,
            "ahead" => Told {
                what: format!(
                    "the history has {}, which this image does not know",
                    some(status.ahead.iter().map(String::as_str), ", ")
                ),
                next: String::new(),
            },
            "mismatch" => Told {
                what: some(status.conflicts.iter().map(String::as_str), "; "),
                next: conflicts.first().map(Conflict::help).unwrap_or_default(),
            },
            "failed" => {
                let failed = lines(is_failed).next();
                let note = failed.and_then(|line| line.note.as_deref());
                Told {
                    what: format!(
                        "{} failed: {}",
                        some(versions(is_failed), ", "),
                        note.unwrap_or("see the journal")
                    ),
                    next: "correct the file and release again".to_owned(),
                }
            }
            _ => {
                let count = lines(is_pending).count();
                Told {
                    what: format!("{count} pending: {}", some(versions(is_pending), ", ")),
                    next: String::new(),
                }
            }
        };
        match &self.ended {
            // The line's note is this text.
            Some(ended) if status.state == "failed" && self.is_of(ended) => {
                told = ended.told.clone();
            }
            Some(Ended {
                cause: Cause::Held,
                told: own,
                ..
            }) if status.state == "pending" => {
                told.what = format!("held: {}", own.what);
                told.next.clone_from(&own.next);
            }
            Some(Ended { told: own, .. }) => {
                told.what = format!("{}; the last run: {}", told.what, own.what);
                told.next.clone_from(&own.next);
            }
            None => {}
        }
        Some(told)
    }

    /// Whether the failure that the schema shows is the end of this process's own run.
    fn is_of(&self, ended: &Ended) -> bool {
        match ended.cause {
            Cause::Migration(_) => true,
            Cause::Transient => self.lacks_privilege,
            Cause::Held | Cause::Surroundings | Cause::History(_) => false,
        }
    }

    /// Puts the reason together.
    pub(super) fn explain(&mut self) {
        let told = [&self.trouble, &self.of_schema];
        let told: Vec<&Told> = told.into_iter().flatten().collect();
        let join = |parts: Vec<&str>, separator: &str| {
            let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
            (!parts.is_empty()).then(|| parts.join(separator))
        };
        let what = told.iter().map(|told| told.what.as_str()).collect();
        self.progress.reason = join(what, "; last seen: ");
        self.progress.next_step = told
            .iter()
            .map(|told| told.next.as_str())
            .find(|next| !next.is_empty())
            .map(str::to_owned);
    }
}

/// The first of a list, and how many more there are.
fn some<'a>(items: impl Iterator<Item = &'a str>, separator: &str) -> String {
    let mut items: Vec<&str> = items.collect();
    let more = items.len().saturating_sub(NAMED);
    items.truncate(NAMED);
    let list = items.join(separator);
    if more == 0 {
        list
    } else {
        format!("{list} and {more} more")
    }
}
