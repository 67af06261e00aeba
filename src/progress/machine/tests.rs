//! The table of the contract, as steps from one observation to the next.

mod again;
mod shown;

use super::*;
use crate::plan;

/// What a step brings.
enum Step {
    /// A look: one word for each migration, as `status` calls them, then `+` with rows that this image does not know.
    Look(&'static str),
    /// The same while another session holds the lock.
    Locked(&'static str),
    /// A look with conflicts: the word of each.
    Wrong(&'static str, &'static [&'static str]),
    Unreachable,
    Unreadable,
    NoHistory,
    Unchanged,
    /// A run of this process.
    Waits,
    Writes,
    Starts(&'static str),
    Applies(&'static str),
    Done,
    Fails(Cause),
    Drains,
}

use Step::*;

fn line(index: usize, state: &'static str) -> Line {
    Line {
        version: format!("{:04}", index + 1),
        path: format!("{:04}_x.sql", index + 1),
        state,
        applied_at: None,
        duration_ms: None,
        checksum: "aa".to_owned(),
        note: (state == "failed").then(|| "syntax error".to_owned()),
    }
}

fn conflict(word: &str) -> Conflict {
    let (kind, version) = word.split_once(' ').unwrap();
    match kind {
        "changed" => Conflict::Changed {
            version: version.to_owned(),
            path: String::new(),
            applied: "aa".to_owned(),
            found: "bb".to_owned(),
        },
        "ahead" => Conflict::Ahead {
            row: version.to_owned(),
        },
        "missing" => Conflict::Missing {
            row: version.to_owned(),
        },
        "old" => Conflict::OutOfOrder {
            version: version.to_owned(),
            path: String::new(),
            skipped_by_tool: false,
        },
        _ => panic!("{word}"),
    }
}

fn seen(words: &'static str, conflicts: &[&str], holder: Option<&str>) -> Observation<'static> {
    let (words, ahead) = words
        .split_once('+')
        .map_or((words, None), |(words, ahead)| (words, Some(ahead)));
    let words: Vec<&str> = words.split_whitespace().collect();
    let migrations: Vec<Line> = words
        .iter()
        .enumerate()
        .map(|(index, word)| line(index, word))
        .collect();
    let applied: Vec<bool> = words
        .iter()
        .map(|word| matches!(*word, "applied" | "changed"))
        .collect();
    let conflicts: Vec<Conflict> = conflicts.iter().map(|word| conflict(word)).collect();
    let mut status = Status {
        schema_version: 1,
        state: "",
        format: "sql",
        history: "schemagate.history".to_owned(),
        database: "app".to_owned(),
        migrations,
        ahead: ahead
            .into_iter()
            .flat_map(str::split_whitespace)
            .map(str::to_owned)
            .collect(),
        missing: Vec::new(),
        conflicts: conflicts.iter().map(ToString::to_string).collect(),
        warnings: Vec::new(),
    };
    status.judge();
    Observation::Seen(Box::new(Seen {
        version: None,
        fingerprint: applied.iter().filter(|applied| **applied).count() as u64,
        applied,
        conflicts,
        repaired: 0,
        holder: holder.map(str::to_owned),
        lacks_privilege: false,
        status,
    }))
}

fn told(what: &str) -> Told {
    Told {
        what: what.to_owned(),
        next: "do this".to_owned(),
    }
}

fn observation(step: Step) -> Observation<'static> {
    match step {
        Look(words) => seen(words, &[], None),
        Locked(words) => seen(words, &[], Some("pid 7")),
        Wrong(words, conflicts) => seen(words, conflicts, None),
        Unreachable => Observation::Unreachable(told("refused")),
        Unreadable => Observation::Unreadable(told("permission denied")),
        NoHistory => Observation::NoHistory(told("not a history table")),
        Unchanged => Observation::Unchanged,
        Waits => Observation::LockElsewhere(Some("pid 8".to_owned())),
        Writes => Observation::Writing,
        Starts(version) => Observation::Starting {
            version,
            path: "x.sql",
        },
        Applies(version) => Observation::Applied {
            version,
            elapsed: Duration::from_millis(5),
        },
        Done => Observation::Done,
        Fails(cause) => Observation::Failed(cause, told("the run failed")),
        Drains => Observation::Draining,
    }
}

fn second(number: i64) -> Timestamp {
    Timestamp::from_second(number).unwrap()
}

/// Each step is a second later than the one before.
fn after(steps: impl IntoIterator<Item = Step>) -> Machine {
    let mut machine = Machine::new(second(0));
    for (number, step) in (1..).zip(steps) {
        machine.observe(observation(step), second(number));
    }
    machine
}

/// The state after the steps, `/readyz`, and whether a migrating sidecar would begin a run.
#[track_caller]
fn check(steps: impl IntoIterator<Item = Step>, state: State, ready: bool, wants_run: bool) {
    let machine = after(steps);
    let progress = machine.progress();
    assert_eq!(
        (progress.state, progress.is_ready(), machine.wants_run()),
        (state, ready, wants_run),
        "{progress:?}"
    );
}

#[test]
fn the_table() {
    check([], State::Connecting, false, false);
    check([Unreachable], State::Connecting, false, false);
    check([Unreadable], State::Connecting, false, false);
    check([Look("pending pending")], State::Pending, false, true);
    check([Look("applied pending")], State::Pending, false, true);
    check([Look("applied applied")], State::Ready, true, false);
    check([Look("applied deferred")], State::Ready, true, false);
    check([Look("applied ignored")], State::Ready, true, false);
    check([Look("")], State::Ready, true, false);
    check([Look("applied + 0002 0003")], State::Ahead, true, false);
    check([Look("pending + 0002")], State::Pending, false, true);
    check([Look("applied failed")], State::Failed, false, false);
    check(
        [Locked("applied pending")],
        State::WaitingForLock,
        false,
        true,
    );
    check([Locked("applied failed")], State::Failed, false, false);
    check([Locked("applied applied")], State::Ready, true, false);
    check([NoHistory], State::Mismatch, false, false);
    for wrong in ["changed 0001", "ahead 0002", "missing 0000", "old 0002"] {
        let conflicts: &'static [&'static str] = Box::leak(Box::new([wrong]));
        check([Wrong("applied", conflicts)], State::Mismatch, false, false);
    }
}

#[test]
fn a_database_that_cannot_be_asked_changes_no_state() {
    for trouble in [|| Unreachable, || Unreadable] {
        check([Look("pending"), trouble()], State::Pending, false, false);
        check(
            [Locked("pending"), trouble()],
            State::WaitingForLock,
            false,
            false,
        );
        check([Look("applied"), trouble()], State::Ready, true, false);
        check(
            [Look("applied + 0002"), trouble()],
            State::Ahead,
            true,
            false,
        );
        check([Look("failed"), trouble()], State::Failed, false, false);
        check([NoHistory, trouble()], State::Mismatch, false, false);
    }
    check(
        [Look("pending"), Unreachable, Look("pending")],
        State::Pending,
        false,
        true,
    );
    check(
        [Unreachable, Unreachable, Look("applied")],
        State::Ready,
        true,
        false,
    );
}

#[test]
fn what_is_stale_is_told() {
    let stale = |steps: Vec<Step>| {
        let machine = after(steps);
        let progress = machine.progress();
        (
            progress.database_up,
            progress.stale_since.map(Timestamp::as_second),
            progress.seen_at.map(Timestamp::as_second),
        )
    };
    assert_eq!(stale(vec![]), (false, None, None));
    assert_eq!(stale(vec![Unreachable]), (false, None, None));
    assert_eq!(stale(vec![Unreadable]), (true, None, None));
    assert_eq!(stale(vec![Look("applied")]), (true, None, Some(1)));
    let lost = vec![Look("applied"), Unreachable, Unreachable];
    assert_eq!(stale(lost), (false, Some(2), Some(1)));
    let back = vec![Look("applied"), Unreachable, Unchanged];
    assert_eq!(stale(back), (true, None, Some(3)));
    assert_eq!(
        stale(vec![Look("applied"), Unreadable]),
        (true, Some(2), Some(1))
    );
}

#[test]
fn what_takes_readiness_away() {
    let lost =
        |first, then, state| check([Look(first), then], state, false, state == State::Pending);
    // One of its own left the history.
    lost("applied applied", Look("applied pending"), State::Pending);
    lost("applied applied", Look("pending pending"), State::Pending);
    lost(
        "applied applied",
        Wrong("pending applied", &["old 0001"]),
        State::Mismatch,
    );
    lost("applied applied", NoHistory, State::Mismatch);
    lost("applied + 0002", Look("pending"), State::Pending);
    // Its checksum changed there, and that is refused.
    lost(
        "applied",
        Wrong("changed", &["changed 0001"]),
        State::Mismatch,
    );
    // Rows that it does not know are refused.
    lost(
        "applied",
        Wrong("applied + 0002", &["ahead 0002"]),
        State::Mismatch,
    );
}

#[test]
fn what_does_not() {
    let kept = |steps: Vec<Step>, state, wants_run| check(steps, state, true, wants_run);
    // A checksum that nobody compares.
    kept(vec![Look("applied"), Look("changed")], State::Ready, false);
    // A step that was not needed before is needed now, and more than that is wrong with it.
    kept(
        vec![Look("applied deferred"), Look("applied pending")],
        State::Ready,
        true,
    );
    kept(
        vec![Look("applied deferred"), Look("applied failed")],
        State::Ready,
        false,
    );
    kept(
        vec![Look("applied deferred"), Locked("applied pending")],
        State::Ready,
        true,
    );
    let behind = Wrong("applied old", &["old 0002"]);
    kept(vec![Look("applied deferred"), behind], State::Ready, false);
    let changed = Wrong("applied changed", &["changed 0002"]);
    kept(vec![Look("applied deferred"), changed], State::Ready, false);
    let missing = Wrong("applied", &["missing 0000"]);
    kept(vec![Look("applied + 0002"), missing], State::Ahead, false);
    // A contract step that was applied, and is not any more, while nothing needed is pending.
    kept(
        vec![Look("applied applied"), Look("applied deferred")],
        State::Ready,
        false,
    );
    kept(
        vec![Look("applied"), Look("applied + 0002")],
        State::Ahead,
        false,
    );
    // A run of its own while it is ready.
    let more = || vec![Look("applied deferred"), Look("applied pending")];
    let with = |step| more().into_iter().chain([step]).collect();
    kept(with(Waits), State::WaitingForLock, true);
    kept(with(Writes), State::Migrating, true);
    kept(
        with(Fails(Cause::Migration("0002".into()))),
        State::Ready,
        false,
    );
    kept(with(Fails(Cause::Transient)), State::Ready, true);
}

#[test]
fn lost_readiness_is_an_ordinary_beginning() {
    let restored = || [Look("applied applied"), Look("applied pending")];
    let then = |step: Step| restored().into_iter().chain([step]);
    check(then(Look("applied applied")), State::Ready, true, false);
    check(
        then(Wrong("old", &["old 0001"])),
        State::Mismatch,
        false,
        false,
    );
    check(
        then(Locked("applied pending")),
        State::WaitingForLock,
        false,
        true,
    );
    let machine = after(restored());
    assert!(machine.progress().started, "/startupz stays");
    assert_eq!(machine.progress().since, second(2));
}

#[test]
fn a_run_of_its_own() {
    let run = |steps: Vec<Step>| [Look("pending pending")].into_iter().chain(steps);
    check(run(vec![Waits]), State::WaitingForLock, false, true);
    check(
        run(vec![Waits, Unreachable]),
        State::WaitingForLock,
        false,
        false,
    );
    check(run(vec![Writes]), State::Migrating, false, true);
    check(run(vec![Starts("0001")]), State::Migrating, false, true);
    check(
        run(vec![Starts("0001"), Unreachable]),
        State::Migrating,
        false,
        false,
    );
    let both = || {
        vec![
            Starts("0001"),
            Applies("0001"),
            Starts("0002"),
            Applies("0002"),
        ]
    };
    // What is left is judged at the end of the run.
    check(run(both()), State::Migrating, false, true);
    check(
        run(both().into_iter().chain([Done]).collect()),
        State::Ready,
        true,
        false,
    );
    let half = || vec![Starts("0001"), Applies("0001"), Starts("0002")];
    let failed = |cause| run(half().into_iter().chain([Fails(cause)]).collect());
    check(failed(Cause::Transient), State::Pending, false, true);
    check(failed(Cause::Surroundings), State::Mismatch, false, true);
    check(
        failed(Cause::Migration("0002".into())),
        State::Failed,
        false,
        false,
    );
    check(
        failed(Cause::History(State::Mismatch)),
        State::Mismatch,
        false,
        false,
    );
    check(
        failed(Cause::History(State::Failed)),
        State::Failed,
        false,
        false,
    );
}

#[test]
fn what_became_of_a_failed_run() {
    let after_failure =
        |cause: Cause, step: Step| [Look("applied pending"), Starts("0002"), Fails(cause), step];
    let file = || Cause::Migration("0002".into());
    // Also where nobody could note it in the journal.
    check(
        after_failure(file(), Look("applied pending")),
        State::Failed,
        false,
        false,
    );
    check(
        after_failure(file(), Look("applied failed")),
        State::Failed,
        false,
        false,
    );
    check(
        after_failure(file(), Unchanged),
        State::Failed,
        false,
        false,
    );
    check(
        after_failure(file(), Look("applied applied")),
        State::Ready,
        true,
        false,
    );
    let history = || Cause::History(State::Mismatch);
    check(
        after_failure(history(), Look("applied pending")),
        State::Mismatch,
        false,
        false,
    );
    check(
        after_failure(history(), Look("pending pending")),
        State::Pending,
        false,
        true,
    );
    check(
        after_failure(history(), Look("applied applied")),
        State::Ready,
        true,
        false,
    );
    // What stands beside the history may be gone, which no look shows.
    check(
        after_failure(Cause::Surroundings, Look("applied pending")),
        State::Mismatch,
        false,
        true,
    );
    check(
        after_failure(Cause::Surroundings, Look("applied applied")),
        State::Ready,
        true,
        false,
    );
    check(
        after_failure(Cause::Transient, Look("applied pending")),
        State::Pending,
        false,
        true,
    );
    // A history that got worse gives the content another chance only once it was applied.
    let again = after_failure(file(), Look("applied applied"));
    let restored = again.into_iter().chain([Look("applied pending")]);
    check(restored, State::Pending, false, true);
}
