use super::*;
use crate::{
    migration::{Approve, Directives},
    sql::risk::Assessment,
};

const CHECKSUM: &str = "3f9a0c1d2e4b5a69788796a5b4c3d2e1f00112233445566778899aabbccddeef";
const OTHER: &str = "77aa0c1d2e4b5a69788796a5b4c3d2e1f00112233445566778899aabbccddeef";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn migration(directives: Directives) -> Migration {
    Migration {
        version: "0004".to_owned(),
        name: "x".to_owned(),
        path: "0004_x.sql".to_owned(),
        checksum: CHECKSUM.to_owned(),
        checksum_other_endings: [String::new(), String::new()],
        created_at: 0,
        size: 0,
        directives,
        down: None,
    }
}

fn risk(risks: &[Risk]) -> FileRisk {
    let assess = |(index, risk): (usize, &Risk)| Assessment {
        index,
        line: 1 + u32::try_from(index).unwrap(),
        excerpt: format!("{risk} x"),
        risk: *risk,
        effects: Vec::new(),
        opaque: false,
    };
    FileRisk {
        risk: risks.iter().copied().max().unwrap_or_default(),
        statements: risks.len(),
        notable: risks.iter().enumerate().map(assess).collect(),
    }
}

fn usual() -> Settings {
    Settings {
        allow: vec![Risk::Blocking, Risk::Rewrite],
        ..Settings::default()
    }
}

fn approving(text: &str) -> Settings {
    let mut settings = usual();
    settings.approve = Given::parse_list(text).unwrap();
    let unknown = Given::resolve(&mut settings.approve, &[migration(Directives::default())]);
    assert!(unknown.is_empty(), "{unknown:?}");
    settings
}

fn verdict(directives: Directives, risks: &[Risk], settings: &Settings, facts: &Facts) -> Verdict {
    let (migration, risk) = (migration(directives), risk(risks));
    let candidate = Candidate {
        migration: &migration,
        risk: &risk,
    };
    let verdict = judge(candidate, settings, facts);
    if !Needs::of(candidate, settings).facts {
        assert_eq!(verdict, Verdict::Open(Vec::new()), "it needs no facts");
    }
    let new = Facts {
        bootstrap: true,
        ..facts.clone()
    };
    let built = judge(candidate, settings, &new);
    assert_eq!(built, Verdict::Open(Vec::new()), "nothing to guard");
    let off = Settings {
        off: true,
        ..settings.clone()
    };
    assert_eq!(Needs::of(candidate, &off), Needs::default());
    let off = judge(candidate, &off, facts);
    assert_eq!(off, Verdict::Open(Vec::new()), "thrown away");
    verdict
}

/// By whom it was let through.
#[track_caller]
fn opens(verdict: Verdict, by: &[&str]) {
    match verdict {
        Verdict::Open(approvals) => {
            let found: Vec<&str> = approvals.iter().map(|found| found.by.as_str()).collect();
            assert_eq!(found, by);
        }
        Verdict::Held(held) => panic!("{held}"),
    }
}

/// What is said of why it is held and of the way out, in parts; and the line that is pointed at.
#[track_caller]
fn holds(verdict: Verdict, line: Option<u32>, parts: &[&str]) {
    let Verdict::Held(held) = verdict else {
        panic!("{verdict:?}")
    };
    assert_eq!(
        held.statement.as_ref().map(|(line, _)| *line),
        line,
        "{held}"
    );
    let told = format!("{held} -> {}", held.let_through);
    for part in parts {
        assert!(told.contains(part), "{part:?} is not in {told}");
    }
}

#[test]
fn classes_that_are_allowed_need_no_approval() {
    use Risk::{Blocking, Destructive, Rewrite, Safe};
    let check = |allow: &str, risks: &[Risk], line: Option<u32>| {
        let settings = Settings {
            allow: classes(allow).unwrap(),
            ..Settings::default()
        };
        let verdict = verdict(Directives::default(), risks, &settings, &Facts::default());
        match line {
            None => opens(verdict, &[]),
            Some(_) => holds(verdict, line, &["needs an approval"]),
        }
    };
    check("blocking,rewrite", &[Blocking, Rewrite], None);
    check("blocking,rewrite", &[Blocking, Destructive], Some(2));
    check("blocking", &[Blocking, Rewrite], Some(2));
    check("", &[Blocking], Some(1));
    check("", &[Safe], None);
    check("", &[], None);
    check("all", &[Destructive, Rewrite, Blocking], None);
    check("destructive", &[Destructive, Blocking], Some(2));
}

#[test]
fn lists_of_classes() {
    for good in ["", "all", "blocking, rewrite", "destructive"] {
        assert!(classes(good).is_ok(), "{good:?}");
    }
    for bad in ["safe", "blocking,", "All", "blocking rewrite"] {
        assert!(classes(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn an_approval_in_the_file_names_its_classes() {
    let approve = |classes: &[&str]| Directives {
        approve: Some(Approve {
            classes: classes.iter().map(ToString::to_string).collect(),
            reason: "old".to_owned(),
        }),
        ..Directives::default()
    };
    let risks = [Risk::Destructive, Risk::Rewrite];
    let facts = Facts::default();
    let open = verdict(approve(&["destructive"]), &risks, &usual(), &facts);
    let Verdict::Open(approvals) = &open else {
        panic!("{open:?}")
    };
    assert_eq!(approvals[0].reason.as_deref(), Some("old"));
    assert_eq!(approvals[0].what, "destructive");
    opens(open, &["approve in 0004_x.sql"]);
    let strict = Settings::default();
    let held = verdict(approve(&["destructive"]), &risks, &strict, &facts);
    holds(
        held,
        Some(2),
        &["a rewrite statement", "approve=rewrite reason"],
    );
    let both = verdict(
        approve(&["rewrite", "destructive"]),
        &risks,
        &strict,
        &facts,
    );
    opens(both, &["approve in 0004_x.sql", "approve in 0004_x.sql"]);
}

#[test]
fn an_approval_by_version_is_bound_to_the_content() {
    let check = |settings: &Settings, earlier: &[(&str, &str)]| {
        let earlier = earlier.iter().map(|(by, checksum)| Earlier {
            by: (*by).to_owned(),
            checksum: (*checksum).to_owned(),
        });
        let facts = Facts {
            earlier: earlier.collect(),
            ..Facts::default()
        };
        verdict(
            Directives::default(),
            &[Risk::Destructive],
            settings,
            &facts,
        )
    };
    holds(
        check(&usual(), &[]),
        Some(1),
        &[
            "0004 (0004_x.sql:1: destructive x) is held: a destructive statement needs an approval",
            "SCHEMAGATE_APPROVE=0004@3f9a0c1d2e4b, or at the head of 0004_x.sql: -- schemagate: approve=destructive reason=\"…\"",
        ],
    );
    let bare = "SCHEMAGATE_APPROVE=0004";
    for text in ["0004", "4", " 00004 ,0004"] {
        opens(check(&approving(text), &[]), &[bare]);
    }
    opens(check(&approving("0004"), &[(bare, CHECKSUM)]), &[bare]);
    opens(
        check(&approving("0004"), &[(bare, OTHER), (bare, CHECKSUM)]),
        &[bare],
    );
    opens(
        check(&approving("0004"), &[("SCHEMAGATE_APPROVE=0005", OTHER)]),
        &[bare],
    );
    holds(
        check(&approving("0004"), &[(bare, OTHER)]),
        Some(1),
        &[
            "SCHEMAGATE_APPROVE=0004 was used for the content 77aa0c1d2e4b, and the file's is 3f9a0c1d2e4b now",
            "SCHEMAGATE_APPROVE=0004@3f9a0c1d2e4b",
        ],
    );
    let hashed = approving("0004@3F9A0C1D2E4B5a");
    opens(
        check(&hashed, &[(bare, OTHER)]),
        &["SCHEMAGATE_APPROVE=0004@3f9a0c1d2e4b5a"],
    );
    holds(
        check(&approving("4@77aa0c1d2e4b"), &[]),
        Some(1),
        &["approves the content 77aa0c1d2e4b, and the file's is 3f9a0c1d2e4b"],
    );
}

#[test]
fn lists_of_approvals() {
    for good in ["0004", "0004@3f9a0c1d2e4b, 0005", "a@b@3f9a0c1d2e4b"] {
        assert!(Given::parse_list(good).is_ok(), "{good:?}");
    }
    for bad in [
        "",
        "0004,",
        "0004@3f9a",
        "@3f9a0c1d2e4b",
        "0004@3f9a0c1d2e4g",
    ] {
        assert!(Given::parse_list(bad).is_err(), "{bad:?}");
    }
    let mut given = Given::parse_list("4,0005@3f9a0c1d2e4b").unwrap();
    let unknown = Given::resolve(&mut given, &[migration(Directives::default())]);
    assert_eq!(given.len(), 1);
    assert_eq!(given[0].by(), "SCHEMAGATE_APPROVE=0004");
    assert_eq!(unknown[0].target, "0005");
}

#[test]
fn windows_hold_what_is_above_safe_and_a_file_s_own_holds_it_whole() {
    let windows = |text: &str| Windows::parse(text).ok();
    let settings = Settings {
        window: windows("Sat 02:00-04:00 Europe/Berlin"),
        ..usual()
    };
    let own = |text: &str| Directives {
        window: windows(text),
        ..Directives::default()
    };
    let check = |directives: Directives, risks: &[Risk], now: &str| {
        let facts = Facts {
            now: at(now),
            ..Facts::default()
        };
        verdict(directives, risks, &settings, &facts)
    };
    let (open, closed) = ("2026-01-10T02:00:00Z", "2026-01-10T03:00:00Z");
    opens(check(Directives::default(), &[Risk::Blocking], open), &[]);
    opens(check(Directives::default(), &[], closed), &[]);
    holds(
        check(Directives::default(), &[Risk::Blocking], closed),
        Some(1),
        &[
            "the window Sat 02:00-04:00 Europe/Berlin is closed",
            "wait until the window opens at 2026-01-17T02:00:00+01:00; or change SCHEMAGATE_WINDOW",
        ],
    );
    opens(
        check(own("daily 03:00-04:00 UTC"), &[Risk::Blocking], closed),
        &[],
    );
    holds(
        check(own("daily 05:00-06:00 UTC"), &[], open),
        None,
        &["opens at 2026-01-10T05:00:00+00:00; or change window in 0004_x.sql"],
    );
}

#[test]
fn the_application_s_version() {
    let check = |required: &str, version: Option<&str>| {
        let settings = Settings {
            app_version: version.map(str::to_owned),
            ..usual()
        };
        let directives = Directives {
            requires_app: semver::VersionReq::parse(required).ok(),
            ..Directives::default()
        };
        verdict(directives, &[], &settings, &Facts::default())
    };
    opens(check(">=1.4", Some("1.4.0")), &[]);
    opens(check(">=1.4", Some("v1.10.0+build.7")), &[]);
    opens(check(">=1.4.0-rc.1", Some("1.4.0-rc.2")), &[]);
    holds(
        check(">=1.4", None),
        None,
        &["is not known", "SCHEMAGATE_APP_VERSION with"],
    );
    holds(
        check(">=1.4", Some("1.3.9")),
        None,
        &["requires the application >=1.4, and SCHEMAGATE_APP_VERSION is 1.3.9"],
    );
    holds(check(">=1.4", Some("1.5.0-dev")), None, &["a pre-release"]);
    for wrong in ["1.4", "latest", "2026-05-01"] {
        holds(
            check(">=1.4", Some(wrong)),
            None,
            &["is no semantic version", "MAJOR.MINOR.PATCH"],
        );
    }
}

#[test]
fn backups() {
    let settings = Settings {
        allow: Risk::ALL.to_vec(),
        require_backup: Some(Duration::from_hours(24)),
        ..Settings::default()
    };
    let check = |risks: &[Risk], backup: Backup, waive: bool| {
        let facts = Facts {
            now: at("2026-01-10T12:00:00Z"),
            backup,
            ..Facts::default()
        };
        let directives = Directives {
            waive_backup: waive.then(|| "empty".to_owned()),
            ..Directives::default()
        };
        verdict(directives, risks, &settings, &facts)
    };
    let of = |text: &str| Backup::At(at(text));
    let risks = [Risk::Rewrite, Risk::Destructive];
    opens(check(&risks, of("2026-01-10T11:00:00Z"), false), &[]);
    opens(check(&risks, of("2026-01-09T12:00:00Z"), false), &[]);
    opens(check(&risks[..1], Backup::None, false), &[]);
    opens(check(&risks, of("2026-01-10T11:00:00Z"), true), &[]);
    opens(check(&risks, Backup::None, true), &["waive in 0004_x.sql"]);
    holds(
        check(&risks, of("2026-01-09T11:59:59Z"), false),
        Some(2),
        &["no older than 24h", "is of 2026-01-09T11:59:59Z"],
    );
    holds(
        check(&risks, of("2026-01-10T12:00:01Z"), false),
        Some(2),
        &[],
    );
    holds(
        check(&risks, Backup::None, false),
        Some(2),
        &["notes none", NOTE_BACKUP, "waive=backup reason=\"…\""],
    );
    let unknown = Backup::Unknown("GRANT x".to_owned());
    holds(
        check(&risks, unknown, false),
        Some(2),
        &["cannot be used", "GRANT x"],
    );
}

#[test]
fn a_contract_step_waits_for_who_must_be_gone() {
    let settings = Settings {
        require_gone: Gone::parse_list("myapp/<2.0").unwrap(),
        ..usual()
    };
    let check = |contract: bool, names: &[Option<&str>]| {
        let connected = |name: Option<&str>| Connected {
            name: name.map(str::to_owned),
            count: 12,
            pids: vec![4, 5],
        };
        let facts = Facts {
            connected: names.iter().copied().map(connected).collect(),
            ..Facts::default()
        };
        let directives = Directives {
            contract,
            ..Directives::default()
        };
        verdict(directives, &[], &settings, &facts)
    };
    let old = Some("myapp/1.9.3");
    opens(check(false, &[old]), &[]);
    opens(check(true, &[]), &[]);
    opens(
        check(true, &[Some("myapp/2.0.0"), Some(""), Some("psql")]),
        &[],
    );
    holds(
        check(true, &[Some("psql"), old]),
        None,
        &[
            "still connected: myapp/1.9.3 (12 sessions, pid 4, 5, …)",
            "SCHEMAGATE_REQUIRE_GONE=myapp/<2.0",
        ],
    );
    holds(
        check(true, &[None]),
        None,
        &["may not see", "pg_read_all_stats"],
    );
}

#[test]
fn everything_that_holds_is_told_at_once() {
    let settings = Settings {
        window: Windows::parse("Sat 02:00-04:00 UTC").ok(),
        require_backup: Some(Duration::from_hours(1)),
        ..usual()
    };
    let facts = Facts {
        no_bootstrap: Some("public.x exists".to_owned()),
        ..Facts::default()
    };
    holds(
        verdict(
            Directives::default(),
            &[Risk::Blocking, Risk::Destructive],
            &settings,
            &facts,
        ),
        Some(2),
        &[
            "needs an approval; ",
            "needs a backup",
            "the window Sat 02:00-04:00 UTC is closed",
            "; public.x exists -> SCHEMAGATE_APPROVE=",
            "; and ",
        ],
    );
}
