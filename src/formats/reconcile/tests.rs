use super::*;
use crate::migration::{Directives, TableName};

/// A file: version, `created_at`, checksum.
fn file(version: &str, created_at: i64, checksum: &str) -> Migration {
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

/// A row: name, `created_at`, hash. The order is its place in the list.
fn rows(rows: &[(Option<&str>, i64, &str)]) -> Vec<Applied> {
    let row = |(order, (name, created_at, hash)): (i64, &(Option<&str>, i64, &str))| Applied {
        order,
        version: name.map(str::to_owned),
        checksum: Some((*hash).to_owned()),
        created_at: Some(*created_at),
        ..Applied::default()
    };
    (1..).zip(rows).map(row).collect()
}

/// Rows of the files, out of order files, unknown rows.
#[track_caller]
fn check(
    (format, shape): (Format, Shape),
    files: &[Migration],
    rows: Vec<Applied>,
    expected: (&[Option<usize>], &[bool], &[usize]),
) {
    let matched = reconcile(format, files, rows, Some(shape)).unwrap();
    assert_eq!(matched.row_of, expected.0, "rows of the files");
    assert_eq!(matched.out_of_order, expected.1, "out of order");
    assert_eq!(matched.unknown, expected.2, "unknown rows");
}

const CLASSIC: (Format, Shape) = (Format::DrizzleClassic, Shape::Classic);
const MIXED: (Format, Shape) = (Format::DrizzleClassic, Shape::V1);
const V1: (Format, Shape) = (Format::DrizzleV1, Shape::V1);
const SQL: (Format, Shape) = (Format::Sql, Shape::Sql);

fn journal() -> Vec<Migration> {
    vec![
        file("0000_init", 1_700_000_000_123, "f8e2"),
        file("0001_second", 1_700_000_100_456, "5278"),
        file("0002_third", 1_704_067_200_789, "5661"),
    ]
}

fn folders() -> Vec<Migration> {
    vec![
        file("20231114221320_init", 1_700_000_000_000, "f8e2"),
        file("20231114221500_second", 1_700_000_100_000, "5278"),
        file("20240101000000_third", 1_704_067_200_000, "5661"),
    ]
}

#[test]
fn classic_goes_by_the_time_of_the_journal() {
    let two = rows(&[
        (None, 1_700_000_000_123, "f8e2"),
        (None, 1_700_000_100_456, "5278"),
    ]);
    check(CLASSIC, &journal(), vec![], (&[None; 3], &[false; 3], &[]));
    check(
        CLASSIC,
        &journal(),
        two,
        (&[Some(0), Some(1), None], &[false; 3], &[]),
    );
    let last = rows(&[(None, 1_704_067_200_789, "5661")]);
    check(
        CLASSIC,
        &journal(),
        last,
        (&[None, None, Some(0)], &[true, true, false], &[]),
    );
    // Strictly greater is pending, equal is not; and rows of no file count for what is newest.
    let newer = rows(&[(None, 1_700_000_100_456, "other")]);
    check(
        CLASSIC,
        &journal(),
        newer,
        (&[None, Some(0), None], &[true, false, false], &[]),
    );
    let unknown = rows(&[(None, 1_700_000_100_457, "other")]);
    check(
        CLASSIC,
        &journal(),
        unknown,
        (&[None; 3], &[true, true, false], &[0]),
    );
    let null = vec![Applied {
        order: 1,
        ..Applied::default()
    }];
    check(CLASSIC, &journal(), null, (&[None; 3], &[false; 3], &[0]));
}

#[test]
fn classic_knows_an_entry_whose_time_was_edited_by_its_content() {
    let edited = rows(&[
        (None, 1_700_000_000_100, "f8e2"),
        (None, 1_700_000_100_456, "5278"),
    ]);
    check(
        CLASSIC,
        &journal(),
        edited,
        (&[Some(0), Some(1), None], &[false; 3], &[]),
    );
    // Newer than every row: Drizzle runs it, whatever its content.
    let moved = rows(&[(None, 1_600_000_000_000, "f8e2")]);
    check(CLASSIC, &journal(), moved, (&[None; 3], &[false; 3], &[0]));
    // Two empty files, one row: it belongs to one of them.
    let twins = [
        file("a", 1, "same"),
        file("b", 2, "same"),
        file("c", 3, "other"),
    ];
    let one = rows(&[(None, 3, "other"), (None, 0, "same")]);
    check(
        CLASSIC,
        &twins,
        one,
        (&[Some(1), None, Some(0)], &[false, true, false], &[]),
    );
}

#[test]
fn a_migration_may_have_several_rows() {
    let raced = rows(&[(None, 1, "edited"), (None, 1, "same"), (None, 1, "same")]);
    check(
        CLASSIC,
        &[file("a", 1, "same")],
        raced,
        (&[Some(1)], &[false], &[]),
    );
}

#[test]
fn classic_folder_on_a_table_that_v1_has_written() {
    // As Drizzle 1.0.0-rc.5 left it: two rows upgraded, the third its own.
    let upgraded = rows(&[
        (Some("20231114221320_init"), 1_700_000_000_123, "f8e2"),
        (Some("20231114221500_second"), 1_700_000_100_456, "5278"),
        (Some("20240101000000_third"), 1_704_067_200_000, "5661"),
    ]);
    check(
        MIXED,
        &journal(),
        upgraded,
        (&[Some(0), Some(1), Some(2)], &[false; 3], &[]),
    );
    // The name alone, and the second with the hash alone, are enough.
    let renamed = rows(&[
        (Some("20231114221320_init"), 5, "edited"),
        (Some("x"), 1_700_000_100_000, "5278"),
    ]);
    check(
        MIXED,
        &journal(),
        renamed,
        (&[Some(0), Some(1), None], &[false; 3], &[]),
    );
    let other = rows(&[(Some("x"), 1_700_000_100_000, "other")]);
    check(
        MIXED,
        &journal(),
        other,
        (&[None; 3], &[true, false, false], &[0]),
    );
}

#[test]
fn v1_goes_by_the_name() {
    let two = rows(&[
        (Some("20240101000000_third"), 0, "x"),
        (Some("20231114221320_init"), 0, "y"),
    ]);
    check(
        V1,
        &folders(),
        two,
        (&[Some(1), None, Some(0)], &[false, true, false], &[]),
    );
    let unknown = rows(&[(Some("20250101000000_later"), 0, "x")]);
    check(V1, &folders(), unknown, (&[None; 3], &[true; 3], &[0]));
}

#[test]
fn v1_does_not_repeat_what_classic_wrote_without_a_name() {
    let trap = rows(&[
        (Some("20231114221320_init"), 1_700_000_000_123, "f8e2"),
        (None, 1_700_000_100_456, "edited"),
    ]);
    let matched = reconcile(Format::DrizzleV1, &folders(), trap, Some(Shape::V1)).unwrap();
    assert_eq!(matched.row_of, [Some(0), Some(1), None]);
    assert_eq!(matched.warnings.len(), 1);
    assert!(
        matched.warnings[0].contains("20231114221500_second"),
        "{:?}",
        matched.warnings
    );
    let stranger = rows(&[(None, 1_500_000_000_000, "no such hash")]);
    check(V1, &folders(), stranger, (&[None; 3], &[false; 3], &[0]));
}

#[test]
fn v1_upgrades_a_classic_table_as_drizzle_does() {
    let classic = rows(&[
        (None, 1_700_000_000_123, "f8e2"),
        (None, 1_700_000_100_456, "5278"),
    ]);
    let shape = (Format::DrizzleV1, Shape::Classic);
    check(
        shape,
        &folders(),
        classic.clone(),
        (&[Some(0), Some(1), None], &[false; 3], &[]),
    );
    let table = TableName::new("drizzle", "__drizzle_migrations");
    let upgrade = upgrade(&table, &folders(), &classic).unwrap();
    let names: Vec<_> = upgrade
        .names
        .iter()
        .map(|(id, name)| (*id, name.as_str()))
        .collect();
    assert_eq!(
        names,
        [(1, "20231114221320_init"), (2, "20231114221500_second")]
    );
    assert_eq!(upgrade.sql.lines().count(), 4);
    assert!(upgrade.sql.ends_with(
        "UPDATE \"drizzle\".\"__drizzle_migrations\" SET name = '20231114221500_second', applied_at = NULL WHERE id = 2;\n"
    ));
}

#[test]
fn the_upgrade_prefers_the_second_then_the_hash() {
    let files = [
        file("a", 1000, "x"),
        file("b", 1000, "y"),
        file("c", 2000, "z"),
        file("d", 3000, "z"),
    ];
    let owners = |list: &[(Option<&str>, i64, &str)]| upgrade::owners(&files, &rows(list));
    // Several of a second: by hash. One of a second: whatever its hash. None of a second: the last with the hash.
    assert_eq!(
        owners(&[(None, 1999, "y"), (None, 2001, "edited"), (None, 9000, "z")]),
        Ok(vec![1, 2, 3])
    );
    let lost = owners(&[(None, 1001, "z"), (None, 2001, "z"), (None, 9000, "edited")]);
    assert_eq!(lost, Err(Error::Upgrade { ids: vec![1, 3] }));
    assert!(
        reconcile(
            Format::DrizzleV1,
            &files,
            rows(&[(None, 1, "-")]),
            Some(Shape::Classic)
        )
        .is_err()
    );
}

#[test]
fn numbers_are_compared_by_value() {
    let files = [
        file("0001", 0, "x"),
        file("0002", 0, "y"),
        file("0010", 0, "z"),
    ];
    let old = rows(&[
        (Some("1"), 0, "x"),
        (Some("9"), 0, "w"),
        (Some("manual"), 0, "v"),
    ]);
    check(
        SQL,
        &files,
        old,
        (&[Some(0), None, None], &[false, true, false], &[1, 2]),
    );
    check(
        SQL,
        &files,
        rows(&[(Some("manual"), 0, "v")]),
        (&[None; 3], &[false; 3], &[0]),
    );
}

#[test]
fn rows_are_put_in_the_order_of_writing() {
    let mut rows = rows(&[(Some("1"), 0, "x"), (Some("2"), 0, "y")]);
    rows.reverse();
    let matched = reconcile(Format::Sql, &[file("2", 0, "y")], rows, Some(Shape::Sql)).unwrap();
    assert_eq!((matched.rows[0].order, matched.row_of[0]), (1, Some(1)));
}
