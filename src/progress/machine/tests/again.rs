//! Ends of a run that another run may mend.

use super::{Step::*, *};

#[test]
fn what_a_gate_holds_is_pending_and_asked_again() {
    let held = || [Look("applied pending"), Fails(Cause::Held)];
    check(held(), State::Pending, false, true);
    let looked = held().into_iter().chain([Look("applied pending")]);
    let machine = after(looked);
    assert!(machine.wants_run());
    let progress = machine.progress();
    let reason = progress.reason.as_deref().unwrap();
    assert!(reason.starts_with("held: "), "{reason}");
    assert!(progress.errors.is_empty(), "it is no error");
    let released = held().into_iter().chain([Look("applied applied")]);
    check(released, State::Ready, true, false);
    // A pod that serves goes on doing so.
    let serving = [
        Look("applied +"),
        Look("applied pending"),
        Fails(Cause::Held),
    ];
    assert!(after(serving).progress().ready);
}

#[test]
fn a_failure_for_want_of_a_privilege_is_tried_again() {
    let mut machine = after([Look("applied pending")]);
    let Observation::Seen(mut seen) = observation(Look("applied failed")) else {
        unreachable!()
    };
    seen.lacks_privilege = true;
    machine.observe(Observation::Seen(seen), second(2));
    assert_eq!(machine.progress().state, State::Failed);
    assert!(machine.wants_run());
}
