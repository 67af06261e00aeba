//! The real other tools.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The two generations of Drizzle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Drizzle {
    /// 0.45: a journal, rows with hash and time.
    Classic,
    /// 1.0: a folder a migration, rows with names.
    V1,
}

// === impl Drizzle ===

impl Drizzle {
    /// drizzle-orm migrates, as a team's own script calls it.
    pub(crate) fn try_migrate(self, folder: &Path, url: &str) -> Output {
        Command::new("timeout")
            .args(["180", "node", "../migrate.mjs"])
            .arg(folder)
            .arg(url)
            .current_dir(self.package())
            .output()
            .expect("no timeout: run `make setup`")
    }

    /// drizzle-orm migrates and must end with 0.
    #[track_caller]
    pub(crate) fn migrate(self, folder: &Path, url: &str) {
        let output = self.try_migrate(folder, url);
        assert!(
            output.status.success(),
            "drizzle-orm: {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Its real folder, written by its drizzle-kit.
    pub(crate) fn shop(self) -> PathBuf {
        super::fixture(match self {
            Self::Classic => "drizzle/classic/shop",
            Self::V1 => "drizzle/v1/shop",
        })
    }

    fn package(self) -> PathBuf {
        let name = match self {
            Self::Classic => "drizzle-classic",
            Self::V1 => "drizzle-v1",
        };
        let package = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/peers")
            .join(name);
        assert!(
            package.join("node_modules/drizzle-orm").is_dir(),
            "no drizzle-orm in {}: run `make setup`",
            package.display()
        );
        package
    }
}
