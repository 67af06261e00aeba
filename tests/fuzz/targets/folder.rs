//! Folders as somebody may mount them: journals, file names, archives.
#![no_main]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::OnceLock;

use flate2::{Compression, write::GzEncoder};
use libfuzzer_sys::{Corpus, fuzz_target};
use schemagate::formats::drizzle;
use schemagate::migration::FormatSetting;
use schemagate::source::{self, Params};
use tempfile::TempDir;

fuzz_target!(|data: &[u8]| -> Corpus {
    let Some((kind, data)) = data.split_first() else {
        return Corpus::Reject;
    };
    static PLACE: OnceLock<TempDir> = OnceLock::new();
    let place = PLACE.get_or_init(|| tempfile::tempdir().expect("a temporary folder"));
    let folder = place.path().join("folder");
    let archive = place.path().join("folder.tar.gz");
    let path = match kind {
        b'j' => {
            journal(&folder, data);
            &folder
        }
        b'f' => {
            files(&folder, data);
            &folder
        }
        b'z' => {
            fs::write(&archive, data).expect("an archive");
            &archive
        }
        b't' => {
            let file = File::create(&archive).expect("an archive");
            let mut encoder = GzEncoder::new(file, Compression::fast());
            encoder.write_all(data).expect("an archive");
            encoder.finish().expect("an archive");
            &archive
        }
        _ => return Corpus::Reject,
    };
    load(path);
    let _ = fs::remove_dir_all(&folder);
    Corpus::Keep
});

/// A journal beside two files that it may name.
fn journal(folder: &Path, data: &[u8]) {
    fs::create_dir_all(folder.join("meta")).expect("a folder");
    fs::write(folder.join("meta/_journal.json"), data).expect("a file");
    for name in ["0000_a.sql", "0001_b.sql"] {
        fs::write(
            folder.join(name),
            "SELECT 1;\n--> statement-breakpoint\nSELECT 2;",
        )
        .expect("a file");
    }
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(entries) = drizzle::parse_journal(text)
    {
        let _ = drizzle::order_warning(&entries);
    }
}

/// Names and texts in turn, with a line `=` between them. What the file system does not take is left out.
fn files(folder: &Path, data: &[u8]) {
    fs::create_dir_all(folder).expect("a folder");
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let mut parts = text.split("\n=\n");
    while let (Some(name), text) = (parts.next(), parts.next()) {
        let safe = name
            .split('/')
            .all(|part| !part.is_empty() && part != "." && part != "..");
        if !safe || name.contains('\0') || name.len() > 200 {
            continue;
        }
        let path = folder.join(name);
        let made = path
            .parent()
            .is_some_and(|parent| fs::create_dir_all(parent).is_ok());
        if made {
            let _ = fs::write(path, text.unwrap_or_default());
        }
    }
}

fn load(path: &Path) {
    for format in [
        FormatSetting::Auto,
        FormatSetting::Sql,
        FormatSetting::Drizzle,
    ] {
        let params = Params {
            dir: path.to_owned(),
            format,
            allow_empty: false,
        };
        match source::load(&params) {
            Ok(source) => {
                assert!(
                    !source.migrations.is_empty(),
                    "an empty folder opens the gate"
                );
                let paths: BTreeSet<&str> =
                    source.migrations.iter().map(|m| m.path.as_str()).collect();
                assert_eq!(
                    paths.len(),
                    source.migrations.len(),
                    "one file, two migrations"
                );
                for migration in &source.migrations {
                    source
                        .read(migration)
                        .expect("what was read can be read again");
                }
            }
            Err(error) => assert!(!error.problems.is_empty() && !error.help().is_empty()),
        }
    }
}
