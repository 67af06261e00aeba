use super::*;

#[test]
fn every_name_of_the_contract_is_there() {
    let metrics = Metrics::new().unwrap();
    metrics.run_ended(RunEnd::MigrationFailed, Duration::from_millis(1500));
    let text = metrics.render(&Facts {
        database_up: true,
        ready: false,
        state: Some(State::Failed),
        migrations: vec![("applied", 3), ("failed", 1)],
        version: Some("0003_\"x\"\n"),
    });
    for line in [
        concat!(
            "schemagate_build_info{version=\"",
            env!("CARGO_PKG_VERSION"),
            "\"} 1"
        ),
        "schemagate_database_up 1",
        "schemagate_ready 0",
        "schemagate_state{state=\"failed\"} 1",
        "schemagate_state{state=\"ready\"} 0",
        "schemagate_migrations{status=\"applied\"} 3",
        "schemagate_schema_version_info{version=\"0003_\\\"x\\\"\\n\"} 1",
        "schemagate_migrations_applied_total 0",
        "schemagate_migrations_failed_total 1",
        "schemagate_migration_duration_seconds_count 0",
        "schemagate_slow_migrations_total 0",
        "schemagate_lock_wait_seconds 0",
        "schemagate_lock_retries_total 0",
        "schemagate_last_success_timestamp_seconds 0",
        "schemagate_last_run_duration_seconds 1.5",
        "schemagate_connect_attempts_total 0",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line} is not in\n{text}"
        );
    }
}

#[test]
fn what_is_no_longer_true_is_gone() {
    let metrics = Metrics::new().unwrap();
    metrics.render(&Facts {
        migrations: vec![("pending", 2)],
        version: Some("0001"),
        ..Facts::default()
    });
    let text = metrics.render(&Facts::default());
    assert!(
        !text.contains("0001") && !text.contains("pending\"} 2"),
        "{text}"
    );
}

#[test]
fn none_is_not_unknown() {
    let metrics = Metrics::new().unwrap();
    assert!(!metrics.render(&Facts::default()).contains("status="));
    let text = metrics.render(&Facts {
        migrations: vec![("applied", 2), ("out of order", 1)],
        ..Facts::default()
    });
    for (status, count) in STATUSES.iter().zip([2, 0, 0, 0, 1, 0, 0, 0, 0]) {
        let line = format!("schemagate_migrations{{status=\"{status}\"}} {count}");
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    assert_eq!(text.matches("status=").count(), STATUSES.len());
}

#[test]
fn a_push_says_nothing_of_what_it_does_not_know() {
    let metrics = Metrics::new().unwrap();
    let text = metrics.render_for_push(None);
    for name in OF_THE_SCHEMA.into_iter().chain([LAST_SUCCESS]) {
        assert!(!text.contains(&format!("# TYPE {name} ")), "{name}\n{text}");
    }
    assert!(text.contains("schemagate_database_up 0"), "{text}");
    metrics.run_ended(RunEnd::Otherwise, Duration::ZERO);
    let failed = metrics.render_for_push(Some(&Facts::default()));
    assert!(!failed.contains(LAST_SUCCESS) && failed.contains("schemagate_ready 0"));
    metrics.run_ended(RunEnd::Well, Duration::ZERO);
    let well = metrics.render_for_push(Some(&Facts::default()));
    assert!(well.contains(LAST_SUCCESS), "{well}");
}

#[test]
fn the_database_answers_until_it_is_lost() {
    let metrics = Metrics::new().unwrap();
    let tell = |event: &Event<'_>| metrics.event(event, None);
    assert!(!metrics.database_answered());
    tell(&Event::Connect(connect::Event::Connected {
        attempt: 1,
        elapsed: Duration::ZERO,
        peer: "db",
    }));
    assert!(metrics.database_answered());
    tell(&Event::Lost {
        error: "gone".to_owned(),
        version: None,
    });
    assert!(!metrics.database_answered());
    assert!(
        metrics
            .render(&Facts::default())
            .contains("connect_attempts_total 1")
    );
}
