//! Copies the running executable: an image from scratch has no `cp`.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::exit::ExitStatus;

/// Why the executable could not be copied. Nothing is left behind.
#[derive(Debug)]
pub struct Error {
    doing: Step,
    path: PathBuf,
    source: io::Error,
}

/// What failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    ReadSelf,
    Create,
    Write,
    Rename,
}

/// The running executable, whatever became of the path it was started by (proc(5)).
const SELF: &str = "/proc/self/exe";

/// Copies the running executable to `path`, or to `path/schemagate` where `path` is a folder, with mode 0755.
///
/// The copy is written beside its place and renamed, so that nobody ever sees half of it; an existing file is
/// replaced. Returns where it is now.
pub fn install(path: &Path) -> Result<PathBuf, Error> {
    copy(Path::new(SELF), path)
}

fn copy(from: &Path, path: &Path) -> Result<PathBuf, Error> {
    let target = target(path);
    refuse_what_is_no_file(&target)?;
    let folder = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut source = File::open(from).map_err(fail(Step::ReadSelf, from))?;
    // Two containers may install into one volume at once, and in each the process is number 1.
    let temporary = Temporary(folder.join(format!(".schemagate-{}", uuid::Uuid::new_v4())));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o755)
        .open(&temporary.0)
        .map_err(fail(Step::Create, &target))?;
    io::copy(&mut source, &mut file)
        // The mode given at creation went through the umask.
        .and_then(|_| file.set_permissions(fs::Permissions::from_mode(0o755)))
        .and_then(|()| file.sync_all())
        .map_err(fail(Step::Write, &target))?;
    drop(file);
    fs::rename(&temporary.0, &target).map_err(fail(Step::Rename, &target))?;
    // The copy is in place; that its name outlives a power cut is wished for, and not every file system can promise it.
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
    Ok(target)
}

/// A device, a pipe or a socket is not to be replaced: `install /dev/null` is a slip.
fn refuse_what_is_no_file(target: &Path) -> Result<(), Error> {
    match fs::metadata(target) {
        Ok(found) if !found.is_file() && !found.is_dir() => {
            let why = "this is neither a file nor a folder";
            Err(fail(Step::Create, target)(io::Error::new(
                io::ErrorKind::InvalidInput,
                why,
            )))
        }
        _ => Ok(()),
    }
}

/// Where [`install`] would put it.
pub fn target(path: &Path) -> PathBuf {
    if path.is_dir() {
        path.join("schemagate")
    } else {
        path.to_owned()
    }
}

fn fail(doing: Step, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error {
        doing,
        path,
        source,
    }
}

/// Removed when dropped, unless it has been renamed.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

// === impl Error ===

impl Error {
    /// Always 2: the path that was given cannot take it.
    pub const fn exit_status(&self) -> ExitStatus {
        ExitStatus::Usage
    }

    /// What to do next.
    pub fn help(&self) -> &'static str {
        use io::ErrorKind::{
            IsADirectory, NotADirectory, NotFound, PermissionDenied, QuotaExceeded,
            ReadOnlyFilesystem, StorageFull,
        };
        match (self.doing, self.source.kind()) {
            (Step::ReadSelf, _) => "mount /proc in this container",
            (_, NotFound | NotADirectory) => {
                "name a path in a folder that exists, such as a mounted volume"
            }
            (_, PermissionDenied) => {
                "let this user write there: fsGroup or runAsUser of the pod, or mode of the volume"
            }
            (_, ReadOnlyFilesystem) => {
                "name a path in a writable volume, such as an emptyDir; the image's own file system is read-only"
            }
            (_, StorageFull | QuotaExceeded) => {
                "give the volume more room (sizeLimit of an emptyDir)"
            }
            (_, IsADirectory) => "a folder has the name of the new file; name another path",
            _ => "name a path in a writable volume",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let doing = match self.doing {
            Step::ReadSelf => "read",
            Step::Create => "create",
            Step::Write => "write",
            Step::Rename => "put in place",
        };
        write!(f, "cannot {doing} {}: {}", self.path.display(), self.source)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn into_a_folder_or_under_a_name() {
        let folder = tempfile::tempdir().unwrap();
        let own = fs::read(SELF).unwrap();
        for (path, installed) in [("", "schemagate"), ("gate", "gate"), ("gate", "gate")] {
            let at = install(&folder.path().join(path)).unwrap();
            assert_eq!(at, folder.path().join(installed));
            assert!(fs::read(&at).unwrap() == own);
            assert_eq!(
                fs::metadata(&at).unwrap().permissions().mode() & 0o7777,
                0o755
            );
        }
        assert_eq!(names(folder.path()), ["gate", "schemagate"]);
    }

    #[test]
    fn an_existing_file_or_link_is_replaced_and_not_written_through() {
        let folder = tempfile::tempdir().unwrap();
        let (old, link) = (folder.path().join("old"), folder.path().join("link"));
        fs::write(&old, "old").unwrap();
        std::os::unix::fs::symlink(&old, &link).unwrap();
        install(&link).unwrap();
        assert_eq!(fs::read(&old).unwrap(), b"old");
        assert!(fs::symlink_metadata(&link).unwrap().is_file());
    }

    #[test]
    fn a_device_is_not_replaced() {
        let error = install(Path::new("/dev/null")).unwrap_err();
        assert!(
            error.to_string().contains("neither a file nor a folder"),
            "{error}"
        );
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }

    #[test]
    fn a_failure_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("schemagate");
        fs::create_dir(&inside).unwrap();
        let error = install(folder.path()).unwrap_err();
        assert_eq!(error.doing, Step::Rename);
        assert_eq!(error.exit_status(), ExitStatus::Usage);
        assert!(
            error.to_string().contains(inside.to_str().unwrap()),
            "{error}"
        );
        assert_eq!(names(folder.path()), ["schemagate"]);
        // Reading a folder is the write that fails half way.
        let error = copy(folder.path(), &folder.path().join("copy")).unwrap_err();
        assert_eq!(error.doing, Step::Write);
        assert_eq!(names(folder.path()), ["schemagate"]);
    }

    #[test]
    fn a_missing_folder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["no/such/gate", "nothing/"] {
            let error = install(&folder.path().join(path)).unwrap_err();
            assert!(error.to_string().contains(path), "{error}");
            assert!(
                error.help().contains("folder that exists"),
                "{}",
                error.help()
            );
        }
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn what_to_do_depends_on_the_cause() {
        for (kind, advice) in [
            (io::ErrorKind::StorageFull, "sizeLimit"),
            (io::ErrorKind::ReadOnlyFilesystem, "emptyDir"),
            (io::ErrorKind::PermissionDenied, "fsGroup"),
        ] {
            let error = fail(Step::Write, Path::new("/x"))(kind.into());
            assert!(error.help().contains(advice), "{}", error.help());
        }
    }
}
