use super::*;

#[track_caller]
fn check(head: &str, expected: &Directives) {
    assert_eq!(parse(head).as_ref(), Ok(expected), "{head}");
}

/// The only issue: its line, its column, and a part of what it says.
#[track_caller]
fn refused(head: &str, line: u32, column: u32, part: &str) {
    let issues = parse(head).unwrap_err();
    let [issue] = issues.as_slice() else {
        panic!("{issues:?}");
    };
    assert_eq!((issue.line, issue.column), (line, column), "{issue}");
    assert!(issue.message.contains(part), "{issue}");
}

fn off() -> Directives {
    Directives {
        transaction_off: true,
        ..Directives::default()
    }
}

#[test]
fn heads_with_a_directive() {
    for head in [
        "-- schemagate: transaction=off",
        "--schemagate:transaction=off\r\nSELECT 1;",
        "\u{feff}\n\n  -- Schemagate : transaction=\"off\"  \nVACUUM;",
        "-- Custom SQL migration file, put your code below! --\n-- schemagate: transaction=off\n",
        "/* license; -- 'text' */ ;\n--> statement-breakpoint\n--- SCHEMAGATE: transaction=off",
        "--\n\\restrict xY1\n\n-- schemagate: transaction=off\nSELECT 1",
    ] {
        check(head, &off());
    }
}

#[test]
fn heads_without_one() {
    for head in [
        "",
        "SELECT 1;",
        "-- schemagate runs this file; see a == b",
        "-- schemagate",
        "-- note: transaction=off",
        "-- schema: public",
        "SELECT 1; -- schemagate: transaction=off",
        "SELECT '\n-- schemagate: transaction=off\n'",
        "/* no end\n-- schemagate: transaction=off\n",
        "\\i -- schemagate: transaction=off",
    ] {
        check(head, &Directives::default());
    }
}

#[test]
fn every_key() {
    check(
        "-- schemagate: phase=contract lock-timeout=500ms statement-timeout=1h30m\n",
        &Directives {
            contract: true,
            lock_timeout: Some(Duration::from_millis(500)),
            statement_timeout: Some(Duration::from_mins(90)),
            ..Directives::default()
        },
    );
    check(
        "-- schemagate: phase=expand lock-timeout=0",
        &Directives {
            lock_timeout: Some(Duration::ZERO),
            ..Directives::default()
        },
    );
    check(
        "-- schemagate: approve=destructive reason=\"old column\"\n-- schemagate: waive=backup reason=\"empty\"\n\
         -- schemagate: window=\"Sat 02:00-04:00 Europe/Berlin\" requires-app=\">=1.4\"",
        &Directives {
            approve: Some(Approve {
                classes: vec!["destructive".to_owned()],
                reason: "old column".to_owned(),
            }),
            waive_backup: Some("empty".to_owned()),
            window: Windows::parse("Sat 02:00-04:00 Europe/Berlin").ok(),
            requires_app: VersionReq::parse(">=1.4").ok(),
            ..Directives::default()
        },
    );
}

#[test]
fn approvals_name_classes_and_their_own_line_s_reason() {
    let directives = parse(
        "-- schemagate: reason=\" it's 5 rows \" approve=rewrite,blocking\r\n\
         -- schemagate: waive=backup reason=\"taken by hand\"\r\n",
    )
    .unwrap();
    let approve = directives.approve.unwrap();
    assert_eq!(approve.classes, ["rewrite", "blocking"]);
    assert_eq!(approve.reason, "it's 5 rows");
    assert_eq!(directives.waive_backup.unwrap(), "taken by hand");
    for value in ["", "safe", "destructive,", "all"] {
        let head = format!("-- schemagate: approve=\"{value}\" reason=x");
        refused(&head, 1, 16, "accepted is destructive, rewrite or blocking");
    }
    refused("-- schemagate: requires-app=latest", 1, 16, ">=1.4");
    refused(
        "-- schemagate: window=\"Sat 02:00-04:00\"",
        1,
        16,
        "time zone is missing",
    );
}

#[test]
fn mistakes_are_told_with_their_place() {
    refused(
        "\n-- schemagate: transacton=off",
        2,
        16,
        "did you mean transaction",
    );
    refused(
        "-- schemagate: x-y=off",
        1,
        16,
        "known are transaction, phase",
    );
    refused(
        "-- é\n--  schemagate:  transaction=on",
        2,
        18,
        "accepted is off",
    );
    refused("-- schemagate: phase=late", 1, 16, "contract or expand");
    refused("-- schemagate: transaction = off", 1, 16, "without spaces");
    refused("-- schemagate: transaction", 1, 16, "key=value");
    refused("-- schemagate: =off", 1, 16, "key=value");
    refused("-- schemagate: transaction=", 1, 16, "without a value");
    refused("-- schemagate:", 1, 15, "empty directive");
    refused(
        "-- schemagate: transaction=off transaction=off",
        1,
        32,
        "given twice",
    );
    refused(
        "-- schemagate: phase=expand\n-- schemagate: phase=expand",
        2,
        16,
        "given twice",
    );
    refused("-- schemagate: window=\"Sat", 1, 16, "without an end");
    refused("-- schemagate: window=\"Sat\"x", 1, 16, "closing quote");
    refused("-- schemagate: window=a\"b", 1, 16, "whole value");
    refused("-- schemagate: requires-app=\" \"", 1, 16, "is empty");
    refused(
        "-- schemagate: reason=\"x\"",
        1,
        16,
        "belongs to approve or waive",
    );
    refused(
        "-- schemagate: approve=destructive",
        1,
        16,
        "needs a reason",
    );
    refused(
        "-- schemagate: waive=backup reason=\"\"",
        1,
        29,
        "reason is empty",
    );
}

#[test]
fn misspelt_directives_are_not_ignored() {
    refused("-- schemgate: transaction=off", 1, 1, "did you mean");
    refused("-- schema-gate: transaction=off", 1, 1, "did you mean");
    refused("-- schemagate transaction=off", 1, 1, "needs a colon");
    refused(
        "/* schemagate: transaction=off */",
        1,
        1,
        "line comments only",
    );
    refused(
        "/*\n * schemagate: transaction=off\n */ SELECT 1",
        1,
        1,
        "line comments only",
    );
}

#[test]
fn durations() {
    for (value, millis) in [
        ("500ms", 500),
        ("30s", 30_000),
        ("5m", 300_000),
        ("1h30m", 5_400_000),
        ("0", 0),
        ("0s", 0),
    ] {
        let parsed = parse(&format!("-- schemagate: lock-timeout={value}")).unwrap();
        assert_eq!(
            parsed.lock_timeout,
            Some(Duration::from_millis(millis)),
            "{value}"
        );
    }
    for value in [
        "5", "-5s", "5 s", "2d", "PT5S", "1.5s", "s", "30m1h", "600h", "5min", "1us",
    ] {
        let head = format!("-- schemagate: lock-timeout=\"{value}\"");
        refused(&head, 1, 16, "accepted is a duration");
    }
}
