use super::*;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use tempfile::TempDir;

type Files<'a> = &'a [(&'a str, &'a [u8])];

fn folder(files: Files<'_>) -> TempDir {
    let dir = TempDir::new().unwrap();
    write(dir.path(), files);
    dir
}

fn write(dir: &Path, files: Files<'_>) {
    for (path, content) in files {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

fn archive(files: Files<'_>) -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("migrations.tar.gz");
    let gzip = GzEncoder::new(fs::File::create(&file).unwrap(), Compression::fast());
    let mut tar = tar::Builder::new(gzip);
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        // `set_path` refuses what a hostile archive has.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        tar.append(&header, *content).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap();
    (dir, file)
}

fn load_as(dir: &Path, format: FormatSetting) -> Result<Source, Error> {
    load(&Params {
        dir: dir.to_owned(),
        format,
        allow_empty: false,
    })
}

fn auto(dir: &Path) -> Result<Source, Error> {
    load_as(dir, FormatSetting::Auto)
}

fn versions(source: &Source) -> Vec<&str> {
    source
        .migrations
        .iter()
        .map(|m| m.version.as_str())
        .collect()
}

#[track_caller]
fn check_refused(files: Files<'_>, format: FormatSetting, expected: &[&str]) {
    let dir = folder(files);
    let error = load_as(dir.path(), format).unwrap_err();
    let text = format!("{error} | {}", error.help());
    for part in expected {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
    assert_eq!(error.exit_status(), ExitStatus::Usage);
}

const JOURNAL: &str = "meta/_journal.json";
const TWO: &[u8] = br#"{"version":"7","dialect":"postgresql","entries":[
    {"idx":0,"version":"7","when":1700000000123,"tag":"0000_init","breakpoints":true},
    {"idx":1,"version":"7","when":1700000100456,"tag":"0001_second","breakpoints":true}]}"#;

#[test]
fn reads_classic_drizzle() {
    let dir = folder(&[
        (JOURNAL, TWO),
        ("meta/0000_snapshot.json", b"{}"),
        ("0000_init.sql", b"\xef\xbb\xbfSELECT 1;\r\n"),
        (
            "0001_second.sql",
            b"CREATE TABLE lat(t text default '\xe9');",
        ),
        ("stray.sql", b""),
    ]);
    let source = auto(dir.path()).unwrap();
    assert_eq!(source.format, Format::DrizzleClassic);
    assert_eq!(versions(&source), ["0000_init", "0001_second"]);
    let second = &source.migrations[1];
    assert_eq!(second.created_at, 1_700_000_100_456);
    assert_eq!(
        second.checksum,
        "b2dc84cf328948de660048354b64677d341c74f1ad286346e96f22811fb51c5a"
    );
    assert_eq!((second.path.as_str(), second.size), ("0001_second.sql", 37));
    assert_eq!(source.read(&source.migrations[0]).unwrap(), "SELECT 1;\r\n");
    assert!(source.read(second).unwrap().contains('\u{fffd}'));
    assert_eq!(source.warnings.len(), 1);
    assert!(
        source.warnings[0].contains("stray.sql"),
        "{:?}",
        source.warnings
    );
}

#[test]
fn names_all_that_a_journal_misses() {
    let bad = b"-- schemagate: approve=destructive\n-- schemagate: phase=contract\nSELECT 1";
    check_refused(
        &[(JOURNAL, TWO)],
        FormatSetting::Auto,
        &["0000_init.sql", "0001_second.sql"],
    );
    check_refused(
        &[(JOURNAL, TWO), ("0001_second.sql", bad)],
        FormatSetting::Auto,
        &["0000_init.sql", "0001_second.sql line 1", "approve"],
    );
    check_refused(
        &[(JOURNAL, b"{\n]")],
        FormatSetting::Auto,
        &["line 2 column 1"],
    );
    check_refused(
        &[(JOURNAL, br#"{"dialect":"mysql","entries":[]}"#)],
        FormatSetting::Drizzle,
        &["mysql"],
    );
    check_refused(
        &[(JOURNAL, br#"{"entries":[]}"#)],
        FormatSetting::Auto,
        &["no migrations"],
    );
}

#[test]
fn reads_drizzle_v1() {
    let dir = folder(&[
        ("20240101000000_b/migration.sql", b"SELECT 1;\n"),
        ("20240101000000_b/snapshot.json", b"{}"),
        ("20240101000000_B/migration.sql", b"SELECT 1;\n"),
        (
            "20240101000000_a/migration.sql",
            b"-- schemagate: phase=contract\nSELECT 1;\n",
        ),
        ("20250101000000_gone/notes.txt", b""),
        ("docs/readme.md", b""),
    ]);
    let source = auto(dir.path()).unwrap();
    assert_eq!(
        (source.format, source.needs_history_proof),
        (Format::DrizzleV1, false)
    );
    assert_eq!(
        versions(&source),
        ["20240101000000_a", "20240101000000_b", "20240101000000_B"]
    );
    assert!(source.migrations[0].directives.contract);
    assert_eq!(source.migrations[0].created_at, 1_704_067_200_000);
    assert_eq!(source.migrations[0].path, "20240101000000_a/migration.sql");
    assert!(
        source.warnings[0].contains("20250101000000_gone"),
        "{:?}",
        source.warnings
    );
    let prefix = [
        ("init/migration.sql", b"".as_slice()),
        ("init/snapshot.json", b"{}"),
    ];
    check_refused(&prefix, FormatSetting::Auto, &["init: ", "14 digits"]);
}

#[test]
fn v1_or_prisma_has_to_be_proved() {
    let files: Files<'_> = &[("20240101000000_a/migration.sql", b"SELECT 1")];
    let dir = folder(files);
    let source = auto(dir.path()).unwrap();
    assert!(source.needs_history_proof);
    assert!(
        source
            .unproved()
            .help()
            .contains("SCHEMAGATE_FORMAT=drizzle")
    );
    assert!(
        !load_as(dir.path(), FormatSetting::Drizzle)
            .unwrap()
            .needs_history_proof
    );
    let both = [files[0], ("0001_a.sql", b"")];
    check_refused(
        &both,
        FormatSetting::Auto,
        &["0001_a.sql", "SCHEMAGATE_FORMAT"],
    );
    let mixed = [files[0], (JOURNAL, TWO)];
    for format in [FormatSetting::Auto, FormatSetting::Drizzle] {
        check_refused(&mixed, format, &[JOURNAL, "drizzle-kit up"]);
    }
}

#[test]
fn reads_numbered_files() {
    let dir = folder(&[
        ("0010_later.sql", b"SELECT 10"),
        ("0002_add a 🚀.up.sql", b"SELECT 2"),
        ("0002_x.down.sql", b"\xef\xbb\xbfSELECT -2"),
        ("README.md", b"x"),
        (".hidden.sql", b"x"),
        ("verify/check.sql", b"x"),
    ]);
    let source = auto(dir.path()).unwrap();
    assert_eq!(source.format, Format::Sql);
    assert_eq!(versions(&source), ["0002", "0010"]);
    assert_eq!(source.migrations[1].name, "later");
    let undoing = source.undoing(&[0]).unwrap();
    let down = &undoing.migrations[0];
    assert_eq!((&*down.version, &*down.path), ("0002", "0002_x.down.sql"));
    assert_eq!(undoing.read(down).unwrap(), "SELECT -2");
    let missing = source.undoing(&[1, 0]).unwrap_err().to_string();
    assert_eq!(missing, "0010_later.sql: there is no down file for it");
}

#[test]
fn a_down_file_has_directives_of_its_own() {
    let check = |head: &str, problem: Option<&str>| {
        let dir = folder(&[
            ("1_a.up.sql", b"-- schemagate: phase=contract\nSELECT 1"),
            ("1_a.down.sql", head.as_bytes()),
        ]);
        let undoing = auto(dir.path()).unwrap().undoing(&[0]);
        let found = undoing.map_err(|error| error.to_string());
        match (found, problem) {
            (Ok(source), None) => {
                let directives = &source.migrations[0].directives;
                assert!(directives.transaction_off && !directives.contract);
                assert!(directives.lock_timeout.is_some());
            }
            (Err(error), Some(problem)) => assert!(error.contains(problem), "{error}"),
            (found, _) => panic!("{head}: {found:?}"),
        }
    };
    check(
        "-- schemagate: transaction=off lock-timeout=2s\nSELECT 1",
        None,
    );
    check(
        "-- schemagate: phase=contract\nSELECT 1",
        Some("mean something"),
    );
    check(
        "-- schemagate: colour=red\nSELECT 1",
        Some("1_a.down.sql line 1"),
    );
    check(
        "-- schemagate: phase=contract",
        Some("1_a.down.sql: in a down file"),
    );
}

#[test]
fn refuses_plain_files_that_are_not_right() {
    let sql = FormatSetting::Sql;
    check_refused(
        &[("1_a.sql", b""), ("01_b.sql", b"")],
        sql,
        &["same number"],
    );
    check_refused(&[("1_a.sql", b""), ("seed.sql", b"")], sql, &["seed.sql"]);
    check_refused(&[("1_a.down.sql", b"")], sql, &["no up file"]);
    check_refused(
        &[("1_a.sql", b"SELECT 1;\n\xe9")],
        sql,
        &["1_a.sql line 2: byte 10"],
    );
    check_refused(&[("1_a.sql", b"\xff\xfeS\0")], sql, &["UTF-16"]);
    check_refused(
        &[("1_a.sql", b"-- schemagate: nonsense=1")],
        sql,
        &["1_a.sql line 1"],
    );
    check_refused(&[("README.md", b"")], sql, &["no migrations"]);
}

#[test]
fn refuses_other_tools_unless_told_otherwise() {
    let auto = FormatSetting::Auto;
    check_refused(&[("V1__a.sql", b"")], auto, &["Flyway", "schemagate exec"]);
    check_refused(
        &[("migration_lock.toml", b""), ("2024_a/migration.sql", b"")],
        auto,
        &["Prisma", "schemagate exec"],
    );
    check_refused(
        &[("1_a.sql", b"-- +goose Up\nSELECT 1")],
        auto,
        &["goose", "1_a.sql"],
    );
    check_refused(
        &[("1_a.sql", b"-- migrate:up\nSELECT 1")],
        auto,
        &["dbmate"],
    );
    check_refused(
        &[("0000_a.sql", b""), ("meta/0000_snapshot.json", b"{}")],
        auto,
        &[JOURNAL],
    );
    check_refused(
        &[("0000_a.sql", b"SELECT 1;--> statement-breakpoint\n")],
        auto,
        &[JOURNAL],
    );
    check_refused(&[("0000_a.sql", b"")], FormatSetting::Drizzle, &[JOURNAL]);
    let dir = folder(&[("1_a.sql", b"-- +goose Up\nSELECT 1")]);
    let source = load_as(dir.path(), FormatSetting::Sql).unwrap();
    assert!(
        source.warnings[0].contains("goose"),
        "{:?}",
        source.warnings
    );
}

#[test]
fn a_wrong_mount_does_not_open_the_gate() {
    let dir = folder(&[("drizzle/meta/_journal.json", TWO)]);
    let missing = auto(&dir.path().join("nothing")).unwrap_err();
    assert!(missing.to_string().contains("nothing"), "{missing}");
    let empty = auto(dir.path()).unwrap_err();
    assert!(empty.help().ends_with("/drizzle"), "{}", empty.help());
    let file = auto(&dir.path().join("drizzle/meta/_journal.json")).unwrap_err();
    assert!(file.to_string().contains("no .tar.gz"), "{file}");
    let allowed = load(&Params {
        dir: dir.path().to_owned(),
        format: FormatSetting::Auto,
        allow_empty: true,
    });
    assert!(allowed.unwrap().migrations.is_empty());
}

#[test]
fn follows_the_links_of_a_config_map() {
    let dir = folder(&[
        ("..2026_11_20/0001_a.sql", b"SELECT 1"),
        ("..2026_11_20/0002_b.sql", b"SELECT 2"),
    ]);
    symlink("..2026_11_20", dir.path().join("..data")).unwrap();
    for file in ["0001_a.sql", "0002_b.sql"] {
        symlink(format!("..data/{file}"), dir.path().join(file)).unwrap();
    }
    let source = auto(dir.path()).unwrap();
    assert_eq!(versions(&source), ["0001", "0002"]);
    // The kubelet swaps the folder under us: what was planned is refused, not the new text run.
    write(
        dir.path(),
        &[
            ("..new/0001_a.sql", b"DROP TABLE x"),
            ("..new/0002_b.sql", b"SELECT 2"),
        ],
    );
    fs::remove_file(dir.path().join("..data")).unwrap();
    symlink("..new", dir.path().join("..data")).unwrap();
    assert!(source.read(&source.migrations[0]).is_err());
    assert_eq!(source.read(&source.migrations[1]).unwrap(), "SELECT 2");
    symlink("..data/gone.sql", dir.path().join("0003_gone.sql")).unwrap();
    let error = auto(dir.path()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("0003_gone.sql: the link leads nowhere"),
        "{error}"
    );
}

#[test]
fn an_archive_reads_as_its_folder_does() {
    let names = ["", "./", "top/", "./some/"];
    for prefix in names {
        let path = |name: &str| format!("{prefix}{name}");
        let (journal, first, second) = (
            path(JOURNAL),
            path("0000_init.sql"),
            path("0001_second.sql"),
        );
        let (dir, file) = archive(&[
            (second.as_str(), b"SELECT 2"),
            ("._top", b"rubbish of macOS"),
            (journal.as_str(), TWO),
            (first.as_str(), b"old"),
            (first.as_str(), b"SELECT 1"),
        ]);
        let source = auto(&file).unwrap();
        assert_eq!(source.format, Format::DrizzleClassic, "{prefix}");
        assert_eq!(versions(&source), ["0000_init", "0001_second"]);
        assert_eq!(source.read(&source.migrations[0]).unwrap(), "SELECT 1");
        assert_eq!(source.read(&source.migrations[1]).unwrap(), "SELECT 2");
        drop(dir);
    }
    let (_dir, file) = archive(&[("20240101000000_a/migration.sql", b"SELECT 1")]);
    assert_eq!(versions(&auto(&file).unwrap()), ["20240101000000_a"]);
}

#[test]
fn a_large_archive_is_not_kept() {
    let large = vec![b' '; 9 * 1024 * 1024];
    let (_dir, file) = archive(&[
        ("1_a.sql", b"SELECT 1"),
        ("2_b.sql", large.as_slice()),
        ("3_c.sql", b"SELECT 3"),
    ]);
    let source = auto(&file).unwrap();
    assert_eq!(source.migrations[1].size, 9 * 1024 * 1024);
    for (index, expected) in [(0, 8), (1, 9 * 1024 * 1024), (2, 8)] {
        assert_eq!(
            source.read(&source.migrations[index]).unwrap().len(),
            expected
        );
    }
}

#[test]
fn refuses_archives_that_lead_outside_or_are_broken() {
    for path in ["../1_a.sql", "/etc/1_a.sql", "x/../../1_a.sql"] {
        let (_dir, file) = archive(&[(path, b"SELECT 1")]);
        let error = auto(&file).unwrap_err();
        assert!(error.to_string().contains("leads outside"), "{error}");
    }
    let (_dir, file) = archive(&[("1_a.sql", b"SELECT 1")]);
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() - 6]).unwrap();
    assert!(auto(&file).is_err());
}

#[test]
fn lists_no_more_problems_than_a_message_holds() {
    let names: Vec<String> = (0..50).map(|number| format!("x{number}.sql")).collect();
    let files: Vec<(&str, &[u8])> = names
        .iter()
        .map(|name| (name.as_str(), b"".as_slice()))
        .collect();
    let dir = folder(&files);
    let error = auto(dir.path()).unwrap_err();
    assert_eq!(error.problems.len(), 50);
    assert!(error.to_string().ends_with("; and 30 more"), "{error}");
}
