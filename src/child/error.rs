//! Why a program cannot be run.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::header::Machine;
use crate::exit::ExitStatus;

/// Why a program cannot be run. Nothing of it has run.
#[derive(Debug)]
pub enum Error {
    /// No words, or an empty one where the program's name belongs.
    Empty,
    /// There is no such file.
    NotFound {
        /// What was asked for.
        name: OsString,
        /// The folders that were searched; `None` for a name with a slash, which is a path.
        searched: Option<OsString>,
    },
    /// There is a file, and it is not to be run.
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: Unusable,
    },
    /// The kernel refused to run it.
    Start {
        /// The file.
        path: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The operating system refuses what every program needs.
    System {
        /// What was to be done.
        doing: &'static str,
        /// Its reason.
        source: io::Error,
    },
}

/// What is wrong with a file that was to be run.
#[derive(Debug)]
pub enum Unusable {
    /// It is a folder.
    Folder,
    /// It is a device, a pipe or a socket.
    Special,
    /// No permission to execute it: its mode, or the mount's `noexec`.
    NotExecutable,
    /// It cannot be looked at.
    Unreachable(io::Error),
    /// The interpreter behind its `#!` cannot be run; with the name as it stands there.
    Interpreter(PathBuf),
    /// It has no `#!`, and there is no shell to run it.
    NoShell,
    /// It is built for another processor.
    Foreign(Machine),
    /// It is neither a program for Linux nor a script.
    Unknown,
}

// === impl Error ===

impl Error {
    /// 2 for what is wrong with the command that was given; 1 where the system has no room.
    pub fn exit_status(&self) -> ExitStatus {
        match self {
            Self::System { .. } => ExitStatus::Bug,
            Self::Start { source, .. } if is_limit(source) => ExitStatus::Bug,
            _ => ExitStatus::Usage,
        }
    }

    /// What happened, in one line.
    pub fn what(&self) -> String {
        self.to_string()
    }

    /// What to do next, in one line.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Empty => "give the command after --; a variable in its place may be empty",
            Self::NotFound { name, .. } if is_a_line(name) => {
                "give the command and each argument as an item of their own, or the line to a shell: sh -c '…'"
            }
            Self::NotFound { searched: None, .. } => {
                "correct the path, or add the file to the image"
            }
            Self::NotFound { .. } => {
                "add the program to the image, correct PATH, or give the path with its folder"
            }
            Self::Unusable { why, .. } => why.help(),
            Self::Start { source, .. } => start_help(source),
            Self::System { .. } => "see the limits of the container, and that /proc is mounted",
        }
    }

    pub(super) fn unusable(path: &Path, why: Unusable) -> Self {
        let path = path.to_owned();
        Self::Unusable { path, why }
    }

    pub(super) fn start(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        Self::Start { path, source }
    }

    pub(super) fn system(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { doing, source }
    }
}

/// A manifest's `command: ["schemagate", "exec", "--", "alembic upgrade head"]`.
fn is_a_line(name: &OsString) -> bool {
    name.to_string_lossy().trim().contains(char::is_whitespace)
}

/// The process limit or the memory, not the program.
fn is_limit(source: &io::Error) -> bool {
    matches!(
        source.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::OutOfMemory
    )
}

fn start_help(source: &io::Error) -> &'static str {
    use io::ErrorKind::{ArgumentListTooLong, ExecutableFileBusy, NotFound};
    match source.kind() {
        // The file itself was there a moment ago.
        NotFound => {
            "the loader that it was linked for is missing here (glibc or musl): use the base image that it was built on"
        }
        ArgumentListTooLong => {
            "arguments and environment together are too long: pass a file instead"
        }
        ExecutableFileBusy => "it is still being written: wait for what installs it",
        _ if is_limit(source) => "see the limits of the container on processes and memory",
        _ => "see that it is built for this machine and that this user may run it",
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("no command is given"),
            Self::NotFound { name, searched } => match searched {
                None => write!(f, "there is no {}", name.display()),
                Some(path) => {
                    let (name, path) = (name.display(), path.display());
                    write!(f, "there is no program {name} in PATH ({path})")
                }
            },
            Self::Unusable { path, why } => write!(f, "cannot run {}: {why}", path.display()),
            Self::Start { path, source } => write!(f, "cannot run {}: {source}", path.display()),
            Self::System { doing, source } => write!(f, "cannot {doing}: {source}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Start { source, .. }
            | Self::System { source, .. }
            | Self::Unusable {
                why: Unusable::Unreachable(source),
                ..
            } => Some(source),
            _ => None,
        }
    }
}

// === impl Unusable ===

impl Unusable {
    fn help(&self) -> &'static str {
        match self {
            Self::Folder | Self::Special => "name a program",
            Self::NotExecutable => {
                "chmod +x it in the image; else look at the user (runAsUser) and for noexec at the mount"
            }
            Self::Unreachable(_) => {
                "let this user into its folder (runAsUser), or name another path"
            }
            Self::Interpreter(name) if ends_with_return(name) => {
                "save the script with LF line ends: its first line ends with CR LF"
            }
            Self::Interpreter(_) => {
                "add the interpreter to the image, or correct the script's first line"
            }
            Self::NoShell => {
                "add a #! line for an interpreter of this image, or run the interpreter itself"
            }
            Self::Foreign(_) => {
                "build it for this machine (docker build --platform); where foreign programs are emulated: sh -c '…'"
            }
            Self::Unknown => {
                "build it for Linux; where programs of its kind can be run: sh -c '…', or their own launcher"
            }
        }
    }
}

fn ends_with_return(name: &Path) -> bool {
    name.as_os_str().as_encoded_bytes().ends_with(b"\r")
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder => f.write_str("it is a folder"),
            Self::Special => f.write_str("it is not a regular file"),
            Self::NotExecutable => f.write_str("this user may not execute it"),
            Self::Unreachable(source) => source.fmt(f),
            // Escaped: a carriage return would be printed as nothing.
            Self::Interpreter(name) => {
                let name = name.to_string_lossy();
                write!(f, "it asks for {name:?}, which cannot be run")
            }
            Self::NoShell => f.write_str("it has no #! line, and there is no /bin/sh to run it"),
            Self::Foreign(machine) => {
                write!(f, "it is built for {machine}, this is {}", Machine::NAME)
            }
            Self::Unknown => f.write_str("it is neither a program for Linux nor a script"),
        }
    }
}
