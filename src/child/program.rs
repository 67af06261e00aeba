//! A program and its arguments: looked up early, run later.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{Access, access};

use super::error::{Error, Unusable};
use super::header::{self, Header};

/// A program that was there and could be executed when it was looked up, with its arguments.
///
/// `Debug` leaves the arguments out: people put passwords there.
#[derive(Clone, PartialEq, Eq)]
pub struct Program {
    /// With a slash, so that nothing searches again.
    path: PathBuf,
    /// As typed, the name first: some programs look at it.
    argv: Vec<OsString>,
    /// Text without `#!`.
    by_shell: bool,
}

/// How the environment of a program differs from our own. What is set wins over what is removed.
///
/// `Debug` leaves the values out: a connection string is among them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Env {
    /// Variables that the program does not get.
    pub remove: Vec<OsString>,
    /// Variables that it gets, with their values.
    pub set: Vec<(OsString, OsString)>,
}

/// What runs a text without `#!`: `_PATH_BSHELL`, as in `execvp`.
const SHELL: &str = "/bin/sh";
/// Where programs are when there is no PATH: `confstr(_CS_PATH)`, as in `execvp`.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

// === impl Program ===

impl Program {
    /// Looks a program up as `execvp` does: a name with a slash is a path, any other is searched along `path` (the
    /// variable PATH).
    ///
    /// What the kernel would refuse is found out here, as far as the file's first bytes tell: a typo, or a script
    /// without its interpreter, ends the command before anything is waited for.
    pub fn find(argv: &[OsString], path: Option<&OsStr>) -> Result<Self, Error> {
        let name = argv.first().filter(|name| !name.is_empty());
        let path = locate(name.ok_or(Error::Empty)?, path)?;
        let by_shell = inspect(&path).map_err(|why| Error::unusable(&path, why))?;
        Ok(Self {
            path,
            argv: argv.to_vec(),
            by_shell,
        })
    }

    /// The file that will be run.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The command as it was given, the name first. It may hold passwords.
    pub fn argv(&self) -> &[OsString] {
        &self.argv
    }

    /// Becomes this program: same process id, our environment with the changes of `env`. Returns only when that failed.
    ///
    /// The program finds what we found: files that we opened close by themselves, our signal handlers end with us
    /// (execve(2)), SIGPIPE, which Rust ignores, is set back by std, and the signal mask was never touched. What our
    /// own parent ignored or left open is passed on.
    pub fn replace(&self, env: &Env) -> Error {
        Error::start(&self.path, self.command(env).exec())
    }

    pub(super) fn command(&self, env: &Env) -> Command {
        let mut command;
        if self.by_shell {
            // Said outright: std's `exec` gives such a text to the shell, its `spawn` does not.
            command = Command::new(SHELL);
            command.arg(&self.path);
        } else {
            command = Command::new(&self.path);
            command.arg0(
                self.argv
                    .first()
                    .map_or(self.path.as_os_str(), OsString::as_os_str),
            );
        }
        command.args(self.argv.iter().skip(1));
        for name in &env.remove {
            command.env_remove(name);
        }
        for (name, value) in &env.set {
            command.env(name, value);
        }
        command
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program")
            .field("path", &self.path)
            .field("by_shell", &self.by_shell)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set: Vec<_> = self.set.iter().map(|(name, _)| name).collect();
        f.debug_struct("Env")
            .field("remove", &self.remove)
            .field("set", &set)
            .finish()
    }
}

fn locate(name: &OsStr, path: Option<&OsStr>) -> Result<PathBuf, Error> {
    if name.as_bytes().contains(&b'/') {
        return match check(Path::new(name)) {
            Ok(true) => Ok(PathBuf::from(name)),
            Ok(false) => Err(Error::NotFound {
                name: name.to_owned(),
                searched: None,
            }),
            Err(why) => Err(Error::unusable(Path::new(name), why)),
        };
    }
    let searched = path.unwrap_or(OsStr::new(DEFAULT_PATH));
    let mut refused = None;
    for folder in std::env::split_paths(searched) {
        // An empty entry is the working folder; the dot keeps the slash.
        let candidate = if folder.as_os_str().is_empty() {
            Path::new(".").join(name)
        } else {
            folder.join(name)
        };
        match check(&candidate) {
            Ok(true) => return Ok(candidate),
            Ok(false) => {}
            // A later folder may have one that can be run.
            Err(why) => {
                refused.get_or_insert_with(|| Error::unusable(&candidate, why));
            }
        }
    }
    Err(refused.unwrap_or_else(|| Error::NotFound {
        name: name.to_owned(),
        searched: Some(searched.to_owned()),
    }))
}

/// Whether there is a file, and what keeps it from being executed.
fn check(path: &Path) -> Result<bool, Unusable> {
    let found = match fs::metadata(path) {
        Ok(found) => found,
        Err(error) if is_missing(&error) => return Ok(false),
        Err(error) => return Err(Unusable::Unreachable(error)),
    };
    if found.is_dir() {
        return Err(Unusable::Folder);
    }
    if !found.is_file() {
        return Err(Unusable::Special);
    }
    // The kernel's own answer: it knows this user's groups, and mounts with noexec.
    access(path, Access::EXEC_OK).map_err(|_| Unusable::NotExecutable)?;
    Ok(true)
}

fn is_missing(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory)
}

/// Whether the shell must run it.
fn inspect(path: &Path) -> Result<bool, Unusable> {
    let mut bytes = Vec::with_capacity(header::LENGTH);
    let read = File::open(path).and_then(|file| {
        let limit = u64::try_from(header::LENGTH).unwrap_or(u64::MAX);
        file.take(limit).read_to_end(&mut bytes)
    });
    if read.is_err() {
        // A program may be executable without being readable; then the kernel judges alone.
        return Ok(false);
    }
    let runs = |path: &Path| matches!(check(path), Ok(true));
    match Header::of(&bytes) {
        Header::Program => Ok(false),
        Header::Script(name) if runs(&name) => Ok(false),
        Header::Script(name) => Err(Unusable::Interpreter(name)),
        Header::Text if runs(Path::new(SHELL)) => Ok(true),
        Header::Text => Err(Unusable::NoShell),
        Header::Foreign(machine) => Err(Unusable::Foreign(machine)),
        Header::Unknown => Err(Unusable::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::exit::ExitStatus;

    fn file(folder: &Path, name: &str, mode: u32, bytes: &[u8]) -> PathBuf {
        let path = folder.join(name);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn find(name: impl AsRef<OsStr>, path: Option<&str>) -> Result<Program, Error> {
        Program::find(&[name.as_ref().to_owned()], path.map(OsStr::new))
    }

    #[track_caller]
    fn refused(name: impl AsRef<OsStr>, path: Option<&str>, what: &str, help: &str) {
        let error = find(name, path).unwrap_err();
        assert!(error.what().contains(what), "{error}");
        assert!(error.help().contains(help), "{}", error.help());
        assert_eq!(error.exit_status(), ExitStatus::Usage);
    }

    #[test]
    fn the_first_that_can_be_executed_wins() {
        let scratch = tempfile::tempdir().unwrap();
        let (one, other) = (scratch.path().join("one"), scratch.path().join("an other"));
        fs::create_dir_all(one.join("folder")).unwrap();
        fs::create_dir(&other).unwrap();
        file(&one, "tool", 0o644, b"#!/bin/sh\n");
        for name in ["tool", "folder", "two words \u{1f418}"] {
            file(&other, name, 0o755, b"#!/bin/sh\n");
        }
        let path = format!("/no/where:{}:{}", one.display(), other.display());
        for name in ["tool", "folder", "two words \u{1f418}"] {
            let found = find(name, Some(&path)).unwrap();
            assert_eq!(found.path(), other.join(name));
            assert_eq!(found.argv(), [OsString::from(name)]);
            let by_path = find(found.path(), Some("/no/where")).unwrap();
            assert_eq!(by_path.path(), found.path());
        }
        let only = one.to_str();
        refused("tool", only, "may not execute", "chmod +x");
        refused("folder", only, "is a folder", "name a program");
        refused("none", only, "no program none in PATH (", "correct PATH");
    }

    #[test]
    fn without_a_path_the_usual_folders_are_searched() {
        assert!(find("sh", None).is_ok());
        refused("sh", Some(""), "in PATH ()", "correct PATH");
    }

    #[test]
    fn what_is_no_program_is_refused_early() {
        let scratch = tempfile::tempdir().unwrap();
        let make = |name: &str, bytes: &[u8]| file(scratch.path(), name, 0o755, bytes);
        refused("", None, "no command", "after --");
        assert!(matches!(Program::find(&[], None), Err(Error::Empty)));
        refused(
            "./no/such",
            None,
            "there is no ./no/such",
            "correct the path",
        );
        refused("alembic upgrade head", None, "no program", "sh -c");
        refused("/etc/passwd/x", None, "there is no", "correct the path");
        refused("/dev/null", None, "not a regular file", "name a program");
        refused("/tmp", None, "is a folder", "name a program");
        refused(make("data", b"\xcf\xfa\0"), None, "neither", "Linux");
        let script = make("script", b"#!/no/such/python3 -u\n");
        refused(script, None, "\"/no/such/python3\"", "interpreter");
        let script = make("windows", b"#!/bin/sh\r\necho\r\n");
        refused(script, None, "\"/bin/sh\\r\"", "CR LF");
        let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
        elf.resize(18, 0);
        elf.extend([243, 0]);
        refused(make("riscv", &elf), None, "machine 243", "--platform");
    }

    #[test]
    fn a_long_path_or_a_loop_is_told_as_the_kernel_tells_it() {
        let scratch = tempfile::tempdir().unwrap();
        let ring = scratch.path().join("ring");
        std::os::unix::fs::symlink(&ring, &ring).unwrap();
        refused(&ring, None, "cannot run", "name another path");
        refused("x/".repeat(4000), None, "cannot run", "name another path");
    }

    #[test]
    fn secrets_are_not_shown() {
        let argv = ["sh", "--password=hunter2"].map(OsString::from);
        let env = Env {
            remove: vec!["GONE".into()],
            set: vec![("DATABASE_URL".into(), "hunter2".into())],
        };
        let shown = format!("{:?} {env:?}", Program::find(&argv, None).unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("GONE") && shown.contains("DATABASE_URL"));
    }
}
