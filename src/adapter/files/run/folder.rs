//! One folder, and nothing outside it: names are checked, symbolic links are not followed, and the file that is
//! opened is the one that was checked.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};

use crate::adapter::files::compile::Pattern;

/// The folder that a system is configured with.
#[derive(Clone, Debug)]
pub struct Folder {
    root: PathBuf,
}

/// A regular file that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub name: String,
    pub modified: DateTime<Utc>,
    pub size: u64,
}

impl Folder {
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    #[must_use]
    pub fn shown(&self) -> String {
        self.root.display().to_string()
    }

    /// A subfolder. Each step of its path must be a real folder.
    pub fn folder(&self, below: &str) -> io::Result<PathBuf> {
        let mut path = self.root.canonicalize()?;
        for part in below.split('/').filter(|part| !part.is_empty()) {
            path.push(part);
            real(&path)?;
        }
        Ok(path)
    }

    /// A subfolder, created if it is missing.
    pub fn make(&self, below: &str) -> io::Result<PathBuf> {
        let mut path = self.root.canonicalize()?;
        for part in below.split('/').filter(|part| !part.is_empty()) {
            path.push(part);
            match fs::create_dir(&path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => real(&path)?,
            }
        }
        Ok(path)
    }

    /// Regular files of a subfolder that match, oldest first. There are none if the subfolder is missing.
    pub fn find(&self, below: &str, pattern: &Pattern) -> io::Result<Vec<Found>> {
        let folder = match self.folder(below) {
            // The root itself must exist: an unmounted drive is not an empty folder.
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.root.is_dir() => return Ok(Vec::new()),
            folder => folder?,
        };
        let mut found = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if !pattern.matches(&name) {
                continue;
            }
            match entry.metadata() {
                Ok(data) if data.is_file() => {
                    found.push(Found { name, modified: DateTime::from(data.modified()?), size: data.len() });
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        found.sort_by(|one, other| (one.modified, &one.name).cmp(&(other.modified, &other.name)));
        Ok(found)
    }

    /// Files of a subfolder that would match if their names were text. They cannot be told apart or moved by name.
    pub fn nameless(&self, below: &str, pattern: &Pattern) -> io::Result<Vec<String>> {
        let folder = match self.folder(below) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.root.is_dir() => return Ok(Vec::new()),
            folder => folder?,
        };
        let mut names = Vec::new();
        for entry in fs::read_dir(folder)? {
            if let Err(name) = entry?.file_name().into_string() {
                names.extend(Some(name.to_string_lossy().into_owned()).filter(|name| pattern.matches(name)));
            }
        }
        names.sort();
        Ok(names)
    }

    /// Open a regular file that is not a link.
    pub fn open(&self, below: &str, name: &str) -> io::Result<File> {
        use std::os::unix::fs::MetadataExt as _;
        let path = self.folder(below)?.join(name);
        let file = File::open(&path)?;
        let (opened, named) = (file.metadata()?, fs::symlink_metadata(&path)?);
        if !named.is_file() || (opened.dev(), opened.ino()) != (named.dev(), named.ino()) {
            return Err(io::Error::new(io::ErrorKind::NotFound, "it is a link, or was exchanged while being opened"));
        }
        Ok(file)
    }

    /// Move a file into another subfolder, under another name if its name is taken. Return false if the file no
    /// longer exists.
    pub fn move_to(&self, from: &str, name: &str, to: &str, now: DateTime<Utc>) -> io::Result<bool> {
        let source = self.folder(from)?.join(name);
        let folder = self.make(to)?;
        let stamp = now.format("%Y%m%dT%H%M%S");
        let (stem, end) = name.rsplit_once('.').map_or((name, String::new()), |(stem, end)| (stem, format!(".{end}")));
        for attempt in 0..1000_u32 {
            let name = match attempt {
                0 => name.to_owned(),
                1 => format!("{stem}-{stamp}{end}"),
                more => format!("{stem}-{stamp}-{more}{end}"),
            };
            let target = folder.join(name);
            // Creating a link fails if the name is taken; a rename would overwrite the existing file.
            match fs::hard_link(&source, &target) {
                Ok(()) => {
                    fs::remove_file(&source)?;
                    sync(&folder)?;
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                Err(error) => {
                    // Some file systems have no links.
                    if target.try_exists()? {
                        continue;
                    }
                    tracing::debug!(%error, "no hard link; renaming instead");
                    fs::rename(&source, &target)?;
                    return Ok(true);
                }
            }
        }
        Err(io::Error::other("too many files of the same name"))
    }

    /// If the date of a file lies in the future, set it to now.
    pub fn not_after(&self, below: &str, name: &str, now: DateTime<Utc>) -> io::Result<()> {
        let path = self.folder(below)?.join(name);
        if DateTime::<Utc>::from(fs::symlink_metadata(&path)?.modified()?) <= now {
            return Ok(());
        }
        OpenOptions::new().write(true).open(path)?.set_modified(now.into())
    }

    /// Move a waiting file into `work/` unless a file of its name is there. Return false if somebody else was
    /// faster.
    pub fn pick_up(&self, below: &str, work: &str, name: &str) -> io::Result<bool> {
        let source = self.folder(below)?.join(name);
        let target = self.make(work)?.join(name);
        if fs::symlink_metadata(&target).is_ok() {
            return Ok(false);
        }
        match fs::rename(&source, &target) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Write a file under a temporary name: it must be durable before it gets its own.
    pub fn draft(&self, below: &str, temporary: &str, content: &[u8]) -> io::Result<()> {
        let path = self.make(below)?.join(temporary);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
        file.write_all(content)?;
        file.sync_all()
    }

    /// Give a draft its name, in one step and durably.
    pub fn publish(&self, below: &str, temporary: &str, name: &str) -> io::Result<()> {
        let folder = self.folder(below)?;
        fs::rename(folder.join(temporary), folder.join(name))?;
        sync(&folder)
    }

    /// Remove a file. Return false if it does not exist.
    pub fn remove(&self, below: &str, name: &str) -> io::Result<bool> {
        let folder = match self.folder(below) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            folder => folder?,
        };
        match fs::remove_file(folder.join(name)) {
            Ok(()) => sync(&folder).map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether a regular file of this name exists.
    pub fn has(&self, below: &str, name: &str) -> io::Result<bool> {
        match self.folder(below).and_then(|folder| fs::symlink_metadata(folder.join(name))) {
            Ok(data) => Ok(data.is_file()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Make the names in a folder durable.
fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn real(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::NotADirectory,
        format!("{} is not a folder (links are not followed)", path.display()),
    ))
}
