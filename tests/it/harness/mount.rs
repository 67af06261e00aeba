//! A file system of a test's own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    process::{is_root, must},
    scratch,
};

/// A small file system in memory, unmounted at the end.
pub(crate) struct Mount(PathBuf);

// === impl Mount ===

impl Mount {
    pub(crate) fn tmpfs(options: &str) -> Self {
        assert!(
            is_root(),
            "mounting a small tmpfs needs root: run the tests as root (in a container, with CAP_SYS_ADMIN)"
        );
        let path = scratch::new_dir("fs").join("mount");
        fs::create_dir(&path).expect("a mount point");
        must(
            Command::new("mount")
                .args(["-t", "tmpfs", "-o", options, "schemagate-test"])
                .arg(&path),
        );
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Changes its options, `size=64m` say.
    pub(crate) fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        must(Command::new("mount").args(["-o", &options]).arg(&self.0));
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}
