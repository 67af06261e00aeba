//! A `.tar.gz` of the folder: for a ConfigMap, which ends at 1 MiB and knows no sub-folders.

use super::Error;
use super::facts::{Facts, gather};
use super::folder::{Kind, Name, is_hidden};
use flate2::read::MultiGzDecoder;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

/// How much an archive may hold in all: a small file can inflate without end.
const LIMIT: u64 = 1024 * 1024 * 1024;
/// How many entries it may have.
const ENTRIES: usize = 200_000;
/// As much text is kept; of a larger archive each file is looked up again when it is needed.
const KEPT: u64 = 8 * 1024 * 1024;

/// An archive that was read through once.
#[derive(Debug)]
pub(super) struct Archive {
    file: PathBuf,
    /// The one folder that everything is in, with its `/`, or nothing.
    top: String,
    entries: BTreeMap<String, Entry>,
    /// The texts by position; `None` when they were too large to keep.
    kept: Option<HashMap<usize, Vec<u8>>>,
}

#[derive(Debug)]
struct Entry {
    /// Its place in the archive: of several with one name the last counts.
    position: usize,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Sql(Box<Facts>),
    Other,
    Folder,
    Link,
}

type Tar = tar::Archive<Limited<MultiGzDecoder<io::BufReader<File>>>>;

/// Fails when more than the limit comes out of it.
struct Limited<R> {
    inner: R,
    left: u64,
}

fn reader(file: &Path) -> io::Result<Tar> {
    let inner = MultiGzDecoder::new(io::BufReader::new(File::open(file)?));
    Ok(tar::Archive::new(Limited { inner, left: LIMIT }))
}

/// The path of an entry with `/`, without `./`; an error where it would lead outside.
fn normal_path(entry: &tar::Entry<'_, impl Read>) -> io::Result<String> {
    let path = entry.path()?;
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => parts.push(part.to_string_lossy()),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return Err(invalid(format!(
                    "the entry {:?} leads outside",
                    path.display()
                )));
            }
        }
    }
    Ok(parts.join("/"))
}

fn invalid(reason: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.into())
}

/// The folder that all entries are in, unless it is itself a migration or part of the layout.
fn top_folder(entries: &BTreeMap<String, Entry>) -> String {
    let mut tops = entries.keys().filter_map(|path| {
        let first = path.split('/').next()?;
        let is_rubbish = is_hidden(first) || first == "__MACOSX";
        (!is_rubbish).then_some((first, path.len() > first.len()))
    });
    let Some((top, _)) = tops.next() else {
        return String::new();
    };
    let is_folder = |path: &str| {
        matches!(
            entries.get(path),
            Some(Entry {
                content: Content::Folder,
                ..
            }) | None
        )
    };
    let alone = tops.all(|(other, _)| other == top) && is_folder(top);
    let is_layout = top == "meta" || entries.contains_key(&format!("{top}/migration.sql"));
    if alone && !is_layout {
        format!("{top}/")
    } else {
        String::new()
    }
}

// === impl Archive ===

impl Archive {
    /// Reads the archive through.
    pub(super) fn open(file: &Path) -> Result<Self, Error> {
        let refuse = |error: &io::Error| {
            Error::new(
                format!("SCHEMAGATE_DIR={}: {error}", file.display()),
                "SCHEMAGATE_DIR must be a folder or a .tar.gz of one (tar czf migrations.tar.gz -C FOLDER .)",
            )
        };
        is_gzip(file)
            .and_then(|is_gzip| {
                if is_gzip {
                    Self::scan(file)
                } else {
                    Err(invalid("a file that is no .tar.gz"))
                }
            })
            .map_err(|error| refuse(&error))
    }

    fn scan(file: &Path) -> io::Result<Self> {
        let mut archive = Self {
            file: file.to_owned(),
            top: String::new(),
            entries: BTreeMap::new(),
            kept: Some(HashMap::new()),
        };
        let mut tar = reader(file)?;
        let mut buffer = Vec::new();
        let mut total = 0;
        for (position, entry) in tar.entries()?.enumerate() {
            let mut entry = entry?;
            total += entry.size();
            if position >= ENTRIES {
                return Err(invalid(format!("more than {ENTRIES} entries")));
            }
            if total > KEPT {
                archive.kept = None;
            }
            archive.add(position, &mut entry, &mut buffer)?;
        }
        // The checksum of the compressed stream stands at its end.
        io::copy(&mut tar.into_inner(), &mut io::sink())?;
        archive.top = top_folder(&archive.entries);
        Ok(archive)
    }

    fn add(
        &mut self,
        position: usize,
        entry: &mut tar::Entry<'_, impl Read>,
        buffer: &mut Vec<u8>,
    ) -> io::Result<()> {
        let path = normal_path(entry)?;
        if path.is_empty() {
            return Ok(());
        }
        let kind = entry.header().entry_type();
        let content = if kind.is_dir() {
            Content::Folder
        } else if !kind.is_file() {
            Content::Link
        } else if let Some(kept) = &mut self.kept {
            let mut text = Vec::new();
            entry.read_to_end(&mut text)?;
            let content = Content::read(&path, &mut text.as_slice(), buffer)?;
            kept.insert(position, text);
            content
        } else {
            Content::read(&path, entry, buffer)?
        };
        self.entries.insert(path, Entry { position, content });
        Ok(())
    }

    /// The archive's own path.
    pub(super) fn place(&self) -> String {
        self.file.display().to_string()
    }

    /// The direct entries of the folder.
    pub(super) fn names(&self) -> Vec<Name> {
        let mut names: BTreeMap<&str, Kind> = BTreeMap::new();
        for (path, entry) in &self.entries {
            let Some(path) = path.strip_prefix(&self.top) else {
                continue;
            };
            let (name, kind) = match path.split_once('/') {
                Some((folder, _)) => (folder, Kind::Folder),
                None => (path, entry.content.kind()),
            };
            if !is_hidden(name) {
                names.insert(name, kind);
            }
        }
        let direct = |(name, kind): (&str, Kind)| Name {
            name: name.to_owned(),
            kind,
        };
        names.into_iter().map(direct).collect()
    }

    /// Whether there is a file of that path.
    pub(super) fn has(&self, path: &str) -> bool {
        self.entry(path)
            .is_some_and(|entry| entry.content.kind() == Kind::File)
    }

    /// What the pass told of a file.
    pub(super) fn facts(&self, path: &str) -> io::Result<Facts> {
        match self.entry(path).map(|entry| &entry.content) {
            Some(Content::Sql(facts)) => Ok(Facts::clone(facts)),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// The whole file.
    pub(super) fn bytes(&self, path: &str) -> io::Result<Vec<u8>> {
        let not_found = || io::Error::from(io::ErrorKind::NotFound);
        let position = self.entry(path).ok_or_else(not_found)?.position;
        if let Some(kept) = &self.kept {
            return kept.get(&position).cloned().ok_or_else(not_found);
        }
        let mut tar = reader(&self.file)?;
        let mut entry = tar.entries()?.nth(position).ok_or_else(not_found)??;
        let mut text = Vec::new();
        entry.read_to_end(&mut text)?;
        Ok(text)
    }

    fn entry(&self, path: &str) -> Option<&Entry> {
        self.entries.get(&format!("{}{path}", self.top))
    }
}

fn is_gzip(file: &Path) -> io::Result<bool> {
    let mut magic = Vec::new();
    File::open(file)?.take(2).read_to_end(&mut magic)?;
    Ok(magic == [0x1f, 0x8b])
}

// === impl Content ===

impl Content {
    fn read(path: &str, file: &mut dyn Read, buffer: &mut Vec<u8>) -> io::Result<Self> {
        if Path::new(path)
            .extension()
            .is_none_or(|ending| ending != "sql")
        {
            return Ok(Self::Other);
        }
        gather(path, file, buffer).map(|facts| Self::Sql(Box::new(facts)))
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Sql(_) | Self::Other => Kind::File,
            Self::Folder => Kind::Folder,
            Self::Link => Kind::Other("a link or a special file inside an archive".to_owned()),
        }
    }
}

// === impl Limited ===

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.left = self
            .left
            .checked_sub(read as u64)
            .ok_or_else(|| invalid(format!("it inflates to more than {LIMIT} bytes")))?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stops_what_inflates_without_end() {
        let read = |left| {
            let mut text = Vec::new();
            let inner = io::repeat(b' ').take(100);
            Limited { inner, left }.read_to_end(&mut text)
        };
        assert_eq!(read(100).ok(), Some(100));
        assert_eq!(
            read(99).map_err(|error| error.kind()).err(),
            Some(io::ErrorKind::InvalidData)
        );
    }
}
