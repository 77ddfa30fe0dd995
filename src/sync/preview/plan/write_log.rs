//! Writes that were asked for and not sent. Each goes to a file at once, so that memory holds only counts and
//! examples.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead as _, BufReader, BufWriter, Seek as _, SeekFrom, Write as _},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::Serialize;

use super::proof::Proof;
use crate::{mapping::Fields, port::Op};

/// A write as a plan shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    pub target: String,
    pub entity: String,
    pub key: String,
    #[serde(flatten)]
    pub proof: Proof,
    /// Field to `[before, after]`; references by key, personal data hidden unless it was asked for.
    pub fields: Fields,
}

/// Writes of one kind.
#[derive(Clone, Debug, Default)]
pub struct Group {
    pub count: u64,
    pub examples: Vec<Line>,
}

/// Target, entity, operation.
pub type Groups = BTreeMap<(String, String, OpOrder), Group>;

/// Operations in the order in which they are shown: creates, updates, deletes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpOrder(pub Op);

impl OpOrder {
    fn place(self) -> u8 {
        match self.0 {
            Op::Create => 0,
            Op::Update => 1,
            Op::Delete => 2,
        }
    }
}

impl Ord for OpOrder {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.place().cmp(&other.place())
    }
}

impl PartialOrd for OpOrder {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Ids of objects that are only planned begin here. They are whole numbers, since many systems have no other ids,
/// and so great that no system has reached them.
const FIRST: u64 = 9_000_000_000_000_000_000;

/// The recorded writes.
pub(super) struct WriteLog {
    open: Mutex<Open>,
    examples: usize,
    next: AtomicU64,
}

struct Open {
    file: BufWriter<File>,
    groups: Groups,
    failed: Option<io::Error>,
}

impl WriteLog {
    /// `file` takes the lines; of each kind this many are kept as examples.
    pub(super) fn new(file: File, examples: usize) -> Self {
        let open = Open { file: BufWriter::new(file), groups: Groups::new(), failed: None };
        Self { open: Mutex::new(open), examples, next: AtomicU64::new(FIRST) }
    }

    /// Return an id for an object that is only planned.
    pub(super) fn id(&self) -> String {
        self.next.fetch_add(1, Ordering::Relaxed).to_string()
    }

    pub(super) fn take(&self, lines: Vec<Line>) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        for line in lines {
            let written = serde_json::to_writer(&mut open.file, &line)
                .map_err(io::Error::from)
                .and_then(|()| open.file.write_all(b"\n"));
            if let Err(error) = written {
                open.failed.get_or_insert(error);
                return;
            }
            let group =
                open.groups.entry((line.target.clone(), line.entity.clone(), OpOrder(line.proof.op))).or_default();
            group.count += 1;
            if group.examples.len() < self.examples {
                group.examples.push(line);
            }
        }
    }

    /// Remember that a write could not be recorded.
    pub(super) fn fail(&self, error: io::Error) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).failed.get_or_insert(error);
    }

    /// End the recording.
    ///
    /// # Errors
    /// If a line could not be kept: then the plan would not be complete.
    pub(super) fn stop(&self) -> io::Result<(Groups, WriteLogFile)> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = open.failed.take() {
            return Err(error);
        }
        open.file.flush()?;
        Ok((std::mem::take(&mut open.groups), WriteLogFile(open.file.get_ref().try_clone()?)))
    }
}

/// All lines of a plan, in the order in which they were asked for.
#[derive(Debug)]
pub struct WriteLogFile(File);

impl WriteLogFile {
    /// Call `each` with every line as JSON text.
    ///
    /// # Errors
    /// If the lines cannot be read back, and those of `each`.
    pub fn lines(&mut self, mut each: impl FnMut(&str) -> io::Result<()>) -> io::Result<()> {
        self.0.seek(SeekFrom::Start(0))?;
        let mut reader = BufReader::new(&self.0);
        let mut line = String::new();
        while reader.read_line(&mut line)? > 0 {
            each(line.trim_end())?;
            line.clear();
        }
        Ok(())
    }
}
