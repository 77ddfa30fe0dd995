//! Reads files page by page. A file is picked up by renaming it into `work/`, locked while it is read, and moved to
//! `done/` once its last page is durable. A file that a crash left in `work/` is read again. A read-only reader
//! reads files where they are and moves none.
//!
//! One file, because every step moves the same files from folder to folder, and what a crash leaves is read beside
//! what made it.

use std::{
    collections::{HashMap, VecDeque},
    fs::{File, TryLockError},
    io::{self, Cursor, Read, Seek as _},
    sync::{Mutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    cells::inert,
    csv::{self, CsvRows},
    folder::{Folder, Found},
    group::{Grouping, Groups},
    json::{JsonRows, LineRows},
    picking::Picking,
    rows::{FileError, Item, Rows},
    text::Utf8,
    xml::{self, XmlRows},
};
use crate::{
    adapter::{
        files::compile::Listing,
        manifest::files::{Format, Take},
    },
    failure::{Class, Failure},
    model::flaw,
    port::{Page, PageToken, RowBody, RowError},
};

/// Maximum number of rejected rows kept for `rejected/`. All of them are counted.
const MAX_REJECTS: usize = 10_000;

/// How far the clock that dates files may be ahead of ours: a file dated within this span waits for its time and is
/// not reported.
const AHEAD: TimeDelta = TimeDelta::minutes(5);

/// Reads the files of one entity.
pub struct Reader {
    /// `erp/price`, for messages.
    pub subject: String,
    pub folder: Folder,
    pub listing: Listing,
    grouping: Option<Grouping>,
    pub picking: Picking,
    /// Whether files are left unchanged in their places.
    read_only: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    open: Option<Open>,
    /// Files that were read to their end and not yet acknowledged. Dropping an entry releases its lock.
    finished: HashMap<String, Finished>,
}

/// The folder of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Room {
    Inbox,
    Work,
    Done,
    Kept,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Entry {
    room: Room,
    name: String,
    modified: DateTime<Utc>,
    size: u64,
    /// Files that this one makes obsolete.
    older: Vec<(Room, String)>,
}

/// The start of the next page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Token {
    /// The first file is the one being read.
    queue: VecDeque<Entry>,
    /// Number of its items that were read.
    row: u64,
    /// Watermark to store when everything is read.
    mark: String,
    /// Watermark after the files read so far, if several files stay in their places: if a later file cannot be
    /// read, the earlier ones are not read again.
    so_far: Option<String>,
}

/// The files that are to be read, and problems with others.
struct Chosen {
    /// Absent if there is nothing new.
    token: Option<Token>,
    /// Names of files that stay in place because their date lies in the future.
    future: Vec<String>,
    /// Names of files that cannot be handled because the names are not text.
    nameless: Vec<String>,
    /// Names of files that could not be read and were moved away.
    refused: Vec<String>,
}

struct Open {
    entry: Entry,
    file: File,
    rows: Box<dyn Rows>,
    row: u64,
    next: Option<Item>,
    picked: super::picking::Picked,
    rejected: Vec<(u64, String, String)>,
}

impl Open {
    fn reject(&mut self, line: u64, reason: String, text: String) {
        if self.rejected.len() < MAX_REJECTS {
            self.rejected.push((line, reason, text));
        }
    }
}

impl Chosen {
    /// What a person must look at: problems of files that stay in place.
    fn errors(&self) -> Vec<RowError> {
        let errors = |names: &[String], reason: &str| {
            let error =
                |name: &String| RowError { position: name.clone(), id: None, reason: reason.to_owned(), row: None };
            names.iter().map(error).collect::<Vec<_>>()
        };
        let mut all = errors(
            &self.future,
            "its date lies in the future, so it is not taken for the newest file and waits: mend its date, or take it away",
        );
        all.extend(errors(&self.nameless, "its name is not UTF-8, so it is not read and waits: give it another name"));
        all.extend(errors(
            &self.refused,
            "it could not be read and lies in `rejected`, with the reason beside it: mend it and put it back, or take it away",
        ));
        all
    }
}

struct Finished {
    _lock: File,
    rejected: Vec<(u64, String, String)>,
}

/// Given back when the rows are durable.
#[derive(Serialize, Deserialize)]
struct Receipt {
    name: String,
    older: Vec<(Room, String)>,
}

impl Reader {
    pub fn new(
        subject: String,
        folder: Folder,
        listing: Listing,
        grouping: Option<Grouping>,
        picking: Picking,
    ) -> Self {
        Self { subject, folder, listing, grouping, picking, read_only: false, state: Mutex::default() }
    }

    /// A reader of the same files that leaves them as they are.
    pub fn read_only(&self) -> Self {
        Self {
            subject: self.subject.clone(),
            folder: self.folder.clone(),
            listing: self.listing.clone(),
            grouping: self.grouping.clone(),
            picking: self.picking.clone(),
            read_only: true,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn below(&self, room: Room) -> String {
        let folder = &self.listing.pattern.folder;
        let room = match room {
            Room::Inbox | Room::Kept => return folder.clone(),
            Room::Work => "work",
            Room::Done => "done",
        };
        beside(folder, room)
    }

    /// The folder for files that cannot be read.
    fn refused(&self) -> String {
        beside(&self.listing.pattern.folder, "rejected")
    }

    fn failed(&self, class: Class, message: impl std::fmt::Display) -> Failure {
        Failure::new(class, format!("{}: {message}", self.subject))
    }

    fn io(&self, doing: &str, error: io::Error) -> Failure {
        self.failed(Class::Transient, format!("{doing} in {}: {error}", self.folder.shown())).with_source(error)
    }

    /// Read one page. Blocks.
    pub fn page(
        &self,
        since: Option<&str>,
        page: Option<&PageToken>,
        limit: usize,
        now: DateTime<Utc>,
    ) -> Result<Page, Failure> {
        let mut state = self.state();
        let (token, dates) = match page {
            None => {
                *state = State::default();
                let chosen = self.choose(since, now)?;
                let errors = chosen.errors();
                (chosen.token, errors)
            }
            Some(PageToken(token)) => {
                let token = Token::deserialize(token)
                    .map_err(|error| self.failed(Class::Fatal, format!("the page mark is not ours: {error}")))?;
                (Some(token), Vec::new())
            }
        };
        let Some(mut token) = token else { return Ok(Page { dates, ..Page::default() }) };
        let mut open = match state.open.take() {
            Some(open) if page.is_some() && token.queue.front() == Some(&open.entry) && open.row == token.row => open,
            _ => match self.open_next(&mut token, now)? {
                Some(open) => open,
                None if self.listing.complete && since.is_none() => {
                    return Err(self.failed(Class::Missing, "the file is being read by another process"));
                }
                None => return Ok(Page { dates, ..Page::default() }),
            },
        };
        let result = self.fill(&mut open, limit.max(1));
        let (mut page, ended) = match result {
            Ok(filled) => filled,
            Err(error) => return Err(self.refuse(open, error, now)),
        };
        page.is_new = open.entry.room != Room::Done;
        page.dates = dates;
        if ended {
            token.queue.pop_front();
            token.row = 0;
            if let Some(so_far) = &mut token.so_far {
                *so_far = chained(so_far, &open.entry);
                page.cursor = Some(so_far.clone());
            }
            if open.entry.room == Room::Work && !self.read_only {
                let receipt = Receipt { name: open.entry.name.clone(), older: open.entry.older.clone() };
                page.receipt = serde_json::to_value(receipt).ok();
                let finished = Finished { _lock: open.file, rejected: open.rejected };
                state.finished.insert(open.entry.name, finished);
            }
        } else {
            token.row = open.row;
            state.open = Some(open);
        }
        if token.queue.is_empty() {
            page.cursor = Some(token.so_far.unwrap_or(token.mark));
        } else {
            let token = serde_json::to_value(token).map_err(|error| self.failed(Class::Fatal, error))?;
            page.next = Some(PageToken(token));
        }
        Ok(page)
    }

    /// Choose the files to read.
    fn choose(&self, since: Option<&str>, now: DateTime<Utc>) -> Result<Chosen, Failure> {
        let find = |room| {
            let found = self.folder.find(&self.below(room), &self.listing.pattern);
            found.map_err(|error| self.io("looking for files", error))
        };
        let archives = self.listing.take == Take::Archive;
        let refused = self.refused_files().map_err(|error| self.io("looking for files", error))?;
        let place = if archives { Room::Inbox } else { Room::Kept };
        let nameless = self.folder.nameless(&self.below(place), &self.listing.pattern);
        let nameless = nameless.map_err(|error| self.io("looking for files", error))?;
        // Look in `work/` before the inbox: a file that another process picks up in between must not appear in both
        // lists.
        let taken = if archives { find(Room::Work)? } else { Vec::new() };
        let mut waiting = find(place)?;
        // A date in the near future is as unsafe as one in the near past.
        waiting.retain(|file| (now - file.modified).abs() >= self.listing.quiet_for);
        // A file with a date in the future would be the newest for ever, and files that are really newer would be
        // archived unread. If the adapter keeps files in place and this is the only one, it is read.
        let (past, future): (Vec<Found>, Vec<Found>) = waiting.into_iter().partition(|file| file.modified <= now);
        let (waiting, future) = if archives || !past.is_empty() { (past, future) } else { (future, Vec::new()) };
        let future: Vec<String> =
            future.into_iter().filter(|file| file.modified - now > AHEAD).map(|file| file.name).collect();
        let mut files: Vec<Entry> = taken.into_iter().map(|file| entry(Room::Work, file)).collect();
        files.extend(waiting.into_iter().map(|file| entry(place, file)));
        files.sort_by(|one, other| (one.modified, &one.name).cmp(&(other.modified, &other.name)));
        if self.listing.complete {
            let newest = match files.pop() {
                Some(newest) => newest,
                None if since.is_some() => return Ok(Chosen { token: None, future, nameless, refused }),
                // A full listing without a new file: the last file still holds everything.
                None => match find(Room::Done)?.pop().filter(|_| archives) {
                    Some(file) => entry(Room::Done, file),
                    None => return Err(self.none_yet(&future)),
                },
            };
            let older = files.into_iter().filter(|file| file.room != Room::Kept).map(|file| (file.room, file.name));
            files = vec![Entry { older: older.collect(), ..newest }];
        }
        let Some(last) = files.last() else { return Ok(Chosen { token: None, future, nameless, refused }) };
        let mark = match self.listing.take {
            Take::Archive => format!("{} {}", last.modified.to_rfc3339(), last.name),
            Take::Keep => digest(&files),
        };
        let mut known = !archives && since == Some(mark.as_str());
        let mut so_far = None;
        if !archives && !self.listing.complete {
            let marks = files.iter().scan(String::new(), |mark, file| {
                *mark = chained(mark, file);
                Some(mark.clone())
            });
            let read = marks.collect::<Vec<_>>().into_iter().rposition(|mark| since == Some(mark.as_str()));
            let read = read.map_or(0, |last| last + 1);
            known |= read == files.len();
            so_far = Some(if read > 0 { since.unwrap_or_default().to_owned() } else { String::new() });
            files.drain(..read);
        }
        let token = (!known).then(|| Token { queue: files.into(), row: 0, mark, so_far });
        Ok(Chosen { token, future, nameless, refused })
    }

    /// The failure if there is no file that holds everything.
    fn none_yet(&self, future: &[String]) -> Failure {
        let mut message = format!("no file to read yet in {}", self.folder.shown());
        if let Some(name) = future.first() {
            message.push_str(&format!(": the date of {name} lies in the future; mend its date"));
        }
        self.failed(Class::Missing, message)
    }

    /// Open the first file of the queue that nobody else has taken.
    fn open_next(&self, token: &mut Token, now: DateTime<Utc>) -> Result<Option<Open>, Failure> {
        while let Some(entry) = token.queue.front_mut() {
            let taken = self.pick_up(entry, now).and_then(|mine| match (mine, entry.room) {
                (false, _) => Ok(None),
                (true, Room::Work) if !self.read_only => self.lock(&entry.name),
                (true, room) => self.folder.open(&self.below(room), &entry.name).map(Some),
            });
            let file = match taken {
                Ok(Some(file)) => file,
                Ok(None) => {
                    token.queue.pop_front();
                    token.row = 0;
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    token.queue.pop_front();
                    token.row = 0;
                    continue;
                }
                Err(error) => return Err(self.io(&format!("opening {}", entry.name), error)),
            };
            let entry = entry.clone();
            return self.begin(entry, file, token.row, now).map(Some);
        }
        Ok(None)
    }

    /// Take a waiting file. Return false if somebody else was faster.
    fn pick_up(&self, entry: &mut Entry, now: DateTime<Utc>) -> io::Result<bool> {
        if self.read_only || entry.room != Room::Inbox {
            return Ok(true);
        }
        let leftover = (Room::Work, entry.name.clone());
        if entry.older.contains(&leftover) {
            // A crash left an older file of this name.
            match self.lock(&entry.name)? {
                Some(_lock) => self.archive(Room::Work, &entry.name, now)?,
                None => return Ok(false),
            };
            entry.older.retain(|older| *older != leftover);
        }
        let mine = self.folder.pick_up(&self.below(Room::Inbox), &self.below(Room::Work), &entry.name)?;
        if mine {
            entry.room = Room::Work;
        }
        Ok(mine)
    }

    /// Open a file of `work/` with an exclusive lock. Return `None` while another process has it.
    fn lock(&self, name: &str) -> io::Result<Option<File>> {
        let file = self.folder.open(&self.below(Room::Work), name)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // It may have been acknowledged after it was opened and before it was locked.
        Ok(self.folder.has(&self.below(Room::Work), name)?.then_some(file))
    }

    fn begin(&self, entry: Entry, file: File, row: u64, now: DateTime<Utc>) -> Result<Open, Failure> {
        let started = (|| {
            same(&entry, &file)?;
            let mut rows = match &self.grouping {
                Some(grouping) => {
                    grouping.prove(self.rows(file.try_clone()?)?.as_mut())?;
                    file.try_clone()?.rewind()?;
                    Box::new(Groups::new(self.rows(file.try_clone()?)?, grouping.clone()))
                }
                None => self.rows(file.try_clone()?)?,
            };
            let mut picked = self.picking.begin(rows.as_ref(), self.listing.complete)?;
            for _ in 0..row {
                match rows.next_item()? {
                    Some(item) => self.picking.skip(&mut picked, &item)?,
                    None => return Err(FileError::Whole("the file is shorter than it was".to_owned())),
                }
            }
            let next = rows.next_item()?;
            Ok((rows, next, picked))
        })();
        match started {
            Ok((rows, next, picked)) => Ok(Open { entry, file, rows, row, next, picked, rejected: Vec::new() }),
            Err(error) => Err(self.refuse_file(&entry, error, now)),
        }
    }

    fn rows(&self, mut file: File) -> Result<Box<dyn Rows>, FileError> {
        let listing = &self.listing;
        let mut head = Vec::new();
        let encoding = match (listing.encoding, listing.format) {
            (Some(encoding), _) => encoding,
            (None, Format::Xml) => {
                (&mut file).take(256).read_to_end(&mut head)?;
                xml::declared_encoding(&head)?
            }
            (None, _) => encoding_rs::UTF_8,
        };
        let source = Cursor::new(head).chain(file);
        Ok(match listing.format {
            Format::Csv => Box::new(CsvRows::open(Utf8::new(source, encoding, csv::TAIL), &listing.csv)?),
            Format::Xml => Box::new(XmlRows::open(Utf8::of_text(source, encoding), &listing.rows, listing.max_row)),
            Format::Json => {
                let text = Utf8::new(source, encoding, b"");
                Box::new(JsonRows::open(text, &listing.rows, listing.max_row))
            }
            Format::Jsonl => Box::new(LineRows::open(Utf8::new(source, encoding, b""), listing.max_row)),
        })
    }

    /// Add rows up to the page's size. Return true if the file is at its end.
    fn fill(&self, open: &mut Open, limit: usize) -> Result<(Page, bool), FileError> {
        let mut page = Page { rows: Vec::with_capacity(limit), ..Page::default() };
        open.picked.new_page();
        for _ in 0..limit {
            let Some(item) = open.next.take() else { break };
            if self.picking.closes_page(&open.picked, &item)? {
                open.next = Some(item);
                return Ok((page, false));
            }
            open.row += 1;
            let name = open.entry.name.clone();
            let line = item.line();
            match self.picking.take(&mut open.picked, item, &name)? {
                super::picking::Taken::Row(row) => {
                    if let RowBody::Json(body) = &row.body
                        && let Some(flaw) = flaw::first(body)
                    {
                        // The mapping, which knows the row's key, will reject it. Keep it here too, for the person
                        // who corrects the file.
                        open.reject(line, flaw.to_string(), flaw::shown(body).to_string());
                    }
                    page.rows.push(row);
                }
                super::picking::Taken::Left => {}
                super::picking::Taken::Bad { line, id, reason, text, row } => {
                    let position = format!("{name}:{line}");
                    open.reject(line, reason.clone(), text);
                    page.errors.push(RowError { position, id, reason, row });
                }
            }
            open.next = open.rows.next_item()?;
        }
        if open.next.is_some() {
            return Ok((page, false));
        }
        same(&open.entry, &open.file)?;
        Ok((page, true))
    }

    /// Move a file that cannot be read to `rejected/` with the reason. What was read of it stays durable, but the
    /// pull fails, so nothing counts as gone.
    fn refuse(&self, open: Open, error: FileError, now: DateTime<Utc>) -> Failure {
        self.refuse_file(&open.entry, error, now)
    }

    fn refuse_file(&self, entry: &Entry, error: FileError, now: DateTime<Utc>) -> Failure {
        let message = format!("{}: {error}", entry.name);
        if let FileError::Io(error) = error {
            return self.failed(Class::Transient, message).with_source(error);
        }
        if self.read_only || entry.room != Room::Work {
            return self.failed(Class::Rejected, message);
        }
        let rejected = self.refused();
        let moved = self.folder.move_to(&self.below(Room::Work), &entry.name, &rejected, now).and_then(|_| {
            let reason = format!("{}.txt", entry.name);
            self.folder.draft(&rejected, ".~reason", format!("{error}\n").as_bytes())?;
            self.folder.publish(&rejected, ".~reason", &reason)
        });
        match moved {
            Ok(()) => self.failed(Class::Rejected, format!("{message}; the file was moved to {rejected}/")),
            Err(moving) => self.failed(Class::Rejected, format!("{message}; and it could not be moved away: {moving}")),
        }
    }

    /// Archive the file of a durable page. Blocks.
    pub fn acknowledge(&self, receipt: &Value, now: DateTime<Utc>) -> Result<(), Failure> {
        if self.read_only {
            return Ok(());
        }
        let receipt = Receipt::deserialize(receipt)
            .map_err(|error| self.failed(Class::Fatal, format!("the receipt is not ours: {error}")))?;
        let finished = self.state().finished.remove(&receipt.name);
        let archive = || -> io::Result<()> {
            if let Some(finished) = finished.as_ref().filter(|finished| !finished.rejected.is_empty()) {
                let rejected = self.refused();
                self.folder.draft(&rejected, ".~rows", &report(&finished.rejected)?)?;
                self.folder.publish(&rejected, ".~rows", &format!("{}.csv", receipt.name))?;
            }
            // Archive older files first: if a crash happens in between, the newest must not be the missing one.
            for (room, name) in &receipt.older {
                self.archive(*room, name, now)?;
            }
            self.archive(Room::Work, &receipt.name, now)
        };
        archive().map_err(|error| self.io(&format!("archiving {}", receipt.name), error))
    }

    fn archive(&self, room: Room, name: &str, now: DateTime<Utc>) -> io::Result<()> {
        // The dates show which file was read last.
        if let Err(error) = self.folder.not_after(&self.below(room), name, now) {
            tracing::debug!(%error, name, "the date of a file stays as it is");
        }
        self.folder.move_to(&self.below(room), name, &self.below(Room::Done), now).map(drop)
    }

    /// Problems that a person must look at.
    pub fn problems(&self) -> io::Result<Option<String>> {
        let (rejected, count) = (self.refused(), self.refused_files()?.len());
        Ok((count > 0).then(|| format!("{count} refused files in {rejected}/: mend or remove them")))
    }

    /// Files that were moved away, each with its reason next to it. Files that only list rejected rows have no
    /// reason.
    fn refused_files(&self) -> io::Result<Vec<String>> {
        let rejected = self.refused();
        let mut names = Vec::new();
        for file in self.folder.find(&rejected, &self.listing.pattern)? {
            if self.folder.has(&rejected, &format!("{}.txt", file.name))? {
                names.push(file.name);
            }
        }
        Ok(names)
    }
}

fn beside(folder: &str, room: &str) -> String {
    if folder.is_empty() { room.to_owned() } else { format!("{folder}/{room}") }
}

fn entry(room: Room, found: Found) -> Entry {
    Entry { room, name: found.name, modified: found.modified, size: found.size, older: Vec::new() }
}

/// # Errors
/// If the file has changed since it was chosen.
fn same(entry: &Entry, file: &File) -> Result<(), FileError> {
    let data = file.metadata()?;
    if data.len() == entry.size && DateTime::<Utc>::from(data.modified()?) == entry.modified {
        return Ok(());
    }
    Err(FileError::Io(io::Error::other("it was written to while being read; it is read again")))
}

/// Identity of a set of files, by name, date and size.
fn digest(files: &[Entry]) -> String {
    let known: Vec<Value> = files.iter().map(|file| json!([file.name, file.modified, file.size])).collect();
    blake3::hash(Value::from(known).to_string().as_bytes()).to_hex().to_string()
}

/// Like [`digest`], but file by file: the identity of the files read so far begins that of a longer list.
fn chained(before: &str, file: &Entry) -> String {
    let known = json!([before, file.name, file.modified, file.size]);
    blake3::hash(known.to_string().as_bytes()).to_hex().to_string()
}

fn report(rejected: &[(u64, String, String)]) -> io::Result<Vec<u8>> {
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    writer.write_record(["line", "reason", "row"])?;
    for (line, reason, text) in rejected {
        // People will open it in a spreadsheet.
        writer.write_record([&line.to_string(), inert(reason).as_ref(), inert(text).as_ref()])?;
    }
    writer.into_inner().map_err(|error| io::Error::other(error.to_string()))
}
