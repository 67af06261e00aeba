//! What the endpoints are given to show.

use super::{Step::*, *};
use crate::progress::MAX_ERRORS;

#[test]
fn since_when() {
    let since = |steps: Vec<Step>| after(steps).progress().since;
    assert_eq!(since(vec![Unreachable, Unreachable]), second(0));
    assert_eq!(since(vec![Look("pending"), Look("pending")]), second(1));
    let ready = vec![Look("pending"), Look("applied"), Unreachable, Unchanged];
    assert_eq!(since(ready), second(2));
}

#[test]
fn reasons() {
    let check = |steps: Vec<Step>, reason: Option<&str>, next: Option<&str>| {
        let machine = after(steps);
        let progress = machine.progress();
        assert_eq!(progress.reason.as_deref(), reason);
        assert_eq!(progress.next_step.as_deref(), next);
    };
    check(vec![Look("applied")], None, None);
    check(vec![Unreachable], Some("refused"), Some("do this"));
    check(vec![Unreachable, Look("applied")], None, None);
    check(
        vec![Look("pending pending pending pending pending")],
        Some("5 pending: 0001, 0002, 0003 and 2 more"),
        None,
    );
    check(
        vec![Look("pending"), Unreachable],
        Some("refused; last seen: 1 pending: 0001"),
        Some("do this"),
    );
    check(
        vec![Look("applied + 0002")],
        Some("the history has 0002, which this image does not know"),
        None,
    );
    check(
        vec![Look("failed")],
        Some("0001 failed: syntax error"),
        Some("correct the file and release again"),
    );
    let own = || vec![Look("pending"), Fails(Cause::Migration("0001".into()))];
    check(own(), Some("the run failed"), Some("do this"));
    let seen_again = own().into_iter().chain([Look("failed")]).collect();
    check(seen_again, Some("the run failed"), Some("do this"));
    check(
        vec![Look("pending"), Fails(Cause::Transient), Look("pending")],
        Some("1 pending: 0001; the last run: the run failed"),
        Some("do this"),
    );
    check(vec![Look("pending"), Starts("0001")], None, None);
    let machine = after([Wrong("changed", &["changed 0001"])]);
    let next = machine.progress().next_step.as_deref().unwrap_or_default();
    assert!(next.contains("repair --accept-checksum 0001"), "{next}");
}

#[test]
fn a_run_shows_its_lines_as_they_are_applied() {
    let machine = after([
        Look("pending pending"),
        Starts("0001"),
        Applies("0001"),
        Starts("0002"),
    ]);
    let progress = machine.progress();
    let lines = &progress.schema.as_ref().unwrap().migrations;
    assert_eq!((lines[0].state, lines[1].state), ("applied", "pending"));
    assert_eq!(lines[0].duration_ms, Some(5));
    assert_eq!(
        lines[0].applied_at.as_deref(),
        Some("1970-01-01 00:00:03.000000+00")
    );
    assert_eq!(progress.version.as_deref(), Some("0001"));
    let running = progress.running.as_ref().unwrap();
    assert_eq!(
        (running.version.as_str(), running.since),
        ("0002", second(4))
    );
}

#[test]
fn a_waiting_run_follows_what_others_apply() {
    let mut machine = after([Look("pending pending"), Waits]);
    let plan = Plan {
        states: vec![
            plan::State::Applied {
                row: 0,
                difference: plan::Difference::None,
            },
            plan::State::Pending,
        ],
        newest: Some(0),
        ..Plan::default()
    };
    machine.observe(Observation::Planned(&plan), second(3));
    let progress = machine.progress();
    let lines = &progress.schema.as_ref().unwrap().migrations;
    assert_eq!((lines[0].state, lines[1].state), ("applied", "pending"));
    assert_eq!(progress.state, State::WaitingForLock);
    assert_eq!(progress.version.as_deref(), Some("0001"));
}

#[test]
fn errors_are_counted_and_bounded() {
    let mut machine = after([Unreachable, Unreachable, Unreadable]);
    let errors = &machine.progress().errors;
    assert_eq!(errors.len(), 2);
    assert_eq!(
        (errors[0].text.as_str(), errors[0].times),
        ("permission denied", 1)
    );
    assert_eq!((errors[1].times, errors[1].at), (2, second(2)));
    for number in 0..30 {
        machine.observe(Observation::Hindered(format!("error {number}")), second(9));
    }
    let errors = &machine.progress().errors;
    assert_eq!(errors.len(), MAX_ERRORS);
    assert_eq!(errors[0].text, "error 29");
}

#[test]
fn draining_is_not_ready() {
    check([Look("applied"), Drains], State::Ready, false, false);
    check([Drains, Look("applied")], State::Ready, false, false);
}
