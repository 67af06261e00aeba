use super::*;
use crate::migration::Directives;

fn migration(version: &str, checksum: &str, created_at: i64) -> Migration {
    Migration {
        version: version.to_owned(),
        name: version.to_owned(),
        path: format!("{version}.sql"),
        checksum: checksum.to_owned(),
        checksum_other_endings: [String::new(), String::new()],
        created_at,
        size: 0,
        directives: Directives::default(),
        down: None,
    }
}

fn row(order: i64, version: Option<&str>, checksum: &str, created_at: Option<i64>) -> Applied {
    Applied {
        order,
        version: version.map(str::to_owned),
        checksum: Some(checksum.to_owned()),
        created_at,
        ..Applied::default()
    }
}

/// `0001` is applied, `0002` is applied and changed, `0003` is dirty, `0004` failed, `0005` is pending; `0009` has a row
/// and no file.
fn sql() -> (Vec<Migration>, Vec<Applied>, Vec<Mark>) {
    let migrations = ["0001", "0002", "0003", "0004", "0005"]
        .map(|version| migration(version, "file-checksum", 0))
        .to_vec();
    let rows = vec![
        row(1, Some("0001"), "file-checksum", None),
        row(2, Some("0002"), "old-checksum", None),
        row(3, Some("0009"), "lost", None),
    ];
    let mark = |version: &str, done, begun, failed| Mark {
        version: version.to_owned(),
        last: 7,
        done,
        begun,
        failed,
    };
    (
        migrations,
        rows,
        vec![
            mark("0003", 2, 1, 0),
            mark("0004", 0, 0, 1),
            mark("0008", 1, 0, 0),
        ],
    )
}

#[track_caller]
fn check(kind: Kind, named: &str, expected: Result<(&str, &str), (&str, &str)>) {
    let (migrations, rows, marks) = sql();
    let facts = Facts {
        format: Format::Sql,
        migrations: &migrations,
        rows: &rows,
        shape: Some(Shape::Sql),
        marks: &marks,
    };
    let wish = Wish {
        kind,
        named: named.to_owned(),
    };
    match (decide(&wish, &facts), expected) {
        (Ok(mend), Ok((version, sentence))) => {
            assert_eq!(mend.version, version);
            assert!(mend.sentence.contains(sentence), "{mend:?}");
        }
        (Err(refusal), Err((what, next))) => {
            assert!(refusal.what.contains(what), "{refusal:?}");
            assert!(refusal.next.contains(next), "{refusal:?}");
        }
        (found, expected) => panic!("{named}: {found:?} is not {expected:?}"),
    }
}

#[test]
fn what_is_dirty_or_failed_is_cleared() {
    use Kind::ClearDirty as K;
    check(K, "3", Ok(("0003", "2 pieces done, 1 begun")));
    check(K, "0004", Ok(("0004", "may run again as it is")));
    check(K, "0008", Ok(("0008", "1 pieces done")));
    check(K, "0001", Err(("0001 is applied", "--forget 0001")));
    check(
        K,
        "0005",
        Err(("not dirty", "dirty or failed: 0003, 0004, 0008")),
    );
    check(
        K,
        "0033",
        Err(("no migration of this image", "the nearest are")),
    );
}

#[test]
fn a_changed_file_is_accepted() {
    use Kind::AcceptChecksum as K;
    check(
        K,
        "0002",
        Ok(("0002", "old-checksum then, file-checksu now")),
    );
    check(K, "0001", Err(("has not changed", "status")));
    check(K, "0005", Err(("is not applied", "migrate")));
    check(K, "0009", Err(("no file", "deploy")));
}

#[test]
fn a_row_is_forgotten_with_and_without_its_file() {
    use Kind::Forget as K;
    check(K, "2", Ok(("0002", "row 2, 0002")));
    check(K, "0009", Ok(("0009", "never applied")));
    check(K, "row 3", Ok(("0009", "never applied")));
    check(K, "0005", Err(("not applied", "status")));
    check(K, "x", Err(("no migration", "nearest")));
}

#[test]
fn a_migration_with_two_rows_of_drizzle_is_asked_about() {
    let migrations = [
        migration("0000_a", "aa", 1_700_000_000_000),
        migration("0001_b", "bb", 1_700_000_001_000),
    ];
    let rows = [
        row(1, None, "aa", Some(1_700_000_000_000)),
        row(2, None, "bb", Some(1_700_000_001_000)),
        row(3, None, "aa", Some(1_700_000_000_000)),
    ];
    let facts = Facts {
        format: Format::DrizzleClassic,
        migrations: &migrations,
        rows: &rows,
        shape: Some(Shape::Classic),
        marks: &[],
    };
    let decide = |named: &str| {
        let wish = Wish {
            kind: Kind::Forget,
            named: named.to_owned(),
        };
        decide(&wish, &facts)
    };
    let refusal = decide("0000_a").unwrap_err();
    assert_eq!(refusal.next, "name one of them: `row 1`, `row 3`");
    let mend = decide("row 3").unwrap();
    assert_eq!(mend.version, "0000_a");
    assert_eq!(
        mend.change,
        Change::Forget {
            row: rows[2].clone()
        }
    );
    assert_eq!(decide("0001").unwrap().version, "0001_b");
}
