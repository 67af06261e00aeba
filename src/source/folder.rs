//! A folder or an archive of one, seen alike.

use super::archive::Archive;
use super::facts::{Facts, gather};
use super::{Error, unreadable};
use crate::formats::drizzle::JOURNAL;
use std::fs::{self, DirEntry, File, FileType};
use std::io;
use std::path::{Path, PathBuf};

/// Where the files come from.
#[derive(Debug)]
pub(super) enum Tree {
    /// A folder.
    Folder(PathBuf),
    /// A `.tar.gz`.
    Archive(Archive),
}

/// A direct entry of the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) name: String,
    pub(super) kind: Kind,
}

/// What an entry is, links followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Folder,
    /// Nothing that can be read, and why.
    Other(String),
}

/// Kubernetes mounts a ConfigMap as links into a folder `..data`; editors and macOS leave hidden files.
pub(super) fn is_hidden(name: &str) -> bool {
    name.starts_with('.')
}

fn kind_of(entry: &DirEntry) -> Kind {
    match entry.file_type() {
        Ok(file_type) if file_type.is_symlink() => match fs::metadata(entry.path()) {
            Ok(target) => Kind::from(target.file_type()),
            Err(error) => Kind::Other(format!("the link leads nowhere: {error}")),
        },
        Ok(file_type) => Kind::from(file_type),
        Err(error) => Kind::Other(error.to_string()),
    }
}

fn wrong_place(dir: &Path, problem: &str, help: &str) -> Error {
    Error::new(format!("SCHEMAGATE_DIR={}: {problem}", dir.display()), help)
}

// === impl Tree ===

impl Tree {
    /// Looks at what `SCHEMAGATE_DIR` names; an archive is read through once.
    pub(super) fn open(dir: &Path) -> Result<Self, Error> {
        const MOUNT: &str =
            "mount or copy the migrations there, or set SCHEMAGATE_DIR to where they are";
        let metadata = fs::metadata(dir).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => wrong_place(dir, "there is nothing", MOUNT),
            _ => wrong_place(dir, &error.to_string(), MOUNT),
        })?;
        if metadata.is_dir() {
            return Ok(Self::Folder(dir.to_owned()));
        }
        if !metadata.is_file() {
            return Err(wrong_place(dir, "neither a folder nor a file", MOUNT));
        }
        Archive::open(dir).map(Self::Archive)
    }

    /// The folder as the messages name it.
    pub(super) fn place(&self) -> String {
        match self {
            Self::Folder(dir) => dir.display().to_string(),
            Self::Archive(archive) => archive.place(),
        }
    }

    /// The direct entries, hidden ones left out, by the bytes of their names.
    pub(super) fn names(&self) -> Result<Vec<Name>, Error> {
        let mut names = match self {
            Self::Folder(dir) => list(dir).map_err(|error| unreadable(&self.place(), &error))?,
            Self::Archive(archive) => archive.names(),
        };
        names.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(names)
    }

    /// Whether there is a file of that path.
    pub(super) fn has(&self, path: &str) -> Result<bool, Error> {
        let dir = match self {
            Self::Folder(dir) => dir,
            Self::Archive(archive) => return Ok(archive.has(path)),
        };
        match fs::metadata(dir.join(path)) {
            Ok(metadata) => Ok(metadata.is_file()),
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(false),
                _ => Err(unreadable(path, &error)),
            },
        }
    }

    /// What a pass over the file tells.
    pub(super) fn facts(&self, path: &str, buffer: &mut Vec<u8>) -> io::Result<Facts> {
        match self {
            Self::Folder(dir) => gather(path, &mut File::open(dir.join(path))?, buffer),
            Self::Archive(archive) => archive.facts(path),
        }
    }

    /// The whole file.
    pub(super) fn bytes(&self, path: &str) -> io::Result<Vec<u8>> {
        match self {
            Self::Folder(dir) => fs::read(dir.join(path)),
            Self::Archive(archive) => archive.bytes(path),
        }
    }

    /// Where the migrations may be instead, when the folder has none.
    pub(super) fn hint_for_empty(&self) -> Option<String> {
        let Self::Folder(dir) = self else { return None };
        let names = self.names().ok()?;
        let elsewhere = names.iter().find(|name| match name.kind {
            Kind::File => is_archive(&name.name),
            Kind::Folder => dir.join(&name.name).join(JOURNAL).is_file(),
            Kind::Other(_) => false,
        })?;
        let place = dir.join(&elsewhere.name);
        Some(format!("set SCHEMAGATE_DIR={}", place.display()))
    }
}

fn is_archive(name: &str) -> bool {
    [".tar.gz", ".tgz"]
        .iter()
        .any(|ending| name.ends_with(ending))
}

fn list(dir: &Path) -> io::Result<Vec<Name>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !is_hidden(&name) {
            let kind = kind_of(&entry);
            names.push(Name { name, kind });
        }
    }
    Ok(names)
}

// === impl Name ===

impl Name {
    /// Whether it ends as an SQL file does, and is no folder.
    pub(super) fn is_sql(&self) -> bool {
        let ending = self.name.rsplit_once('.').map(|(_, ending)| ending);
        self.kind != Kind::Folder && ending.is_some_and(|ending| ending.eq_ignore_ascii_case("sql"))
    }
}

impl From<FileType> for Kind {
    fn from(file_type: FileType) -> Self {
        if file_type.is_file() {
            Self::File
        } else if file_type.is_dir() {
            Self::Folder
        } else {
            Self::Other("neither a file nor a folder".to_owned())
        }
    }
}
