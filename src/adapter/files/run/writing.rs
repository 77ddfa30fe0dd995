//! Writes one file per object, or adds rows to a file. A file gets its name only when its content is durable. After
//! a crash, a mark in `sent/` shows whether it had got its name, even if the receiver has taken the file away
//! since.

use std::io;

use serde_json::Value;

use super::{cells::inert, folder::Folder};
use crate::{
    adapter::{
        files::compile::{Name, Writer, inside},
        manifest::files::Format,
        run::{rejected, segment, xml},
    },
    expr::{Scope, text_of},
    failure::{Class, Failure},
    model::flaw,
    port::{Op, Write},
};

/// Maximum length of a name in bytes: file systems allow 255, and the temporary name of a file is 19 bytes longer.
const LONGEST: usize = 236;

/// The paths that follow from a rendered name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    folder: String,
    name: String,
    temporary: String,
    mark: String,
}

impl Name {
    /// # Errors
    /// If the values turn it into a path of another shape.
    pub fn target(&self, scope: &Scope<'_>, key: &str) -> Result<Target, Failure> {
        let bits = self.template.bits(scope).map_err(rejected)?;
        let refused = |problem: &str| Failure::new(Class::Rejected, format!("the file's name {problem}"));
        let path = segment::file(&bits)
            .map_err(|problem| Failure::new(Class::Rejected, format!("the file cannot be named: {problem}")))?;
        inside(&path).map_err(|problem| refused(&problem))?;
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
        if name.starts_with('.') {
            return Err(refused("would begin with a dot"));
        }
        if name.len() > LONGEST {
            return Err(refused(&format!("has {} bytes; more than {LONGEST} are too many for a folder", name.len())));
        }
        let short = blake3::hash(key.as_bytes()).to_hex();
        let temporary = format!(".~{name}.{}", &short[..16]);
        Ok(Target {
            folder: folder.to_owned(),
            name: name.to_owned(),
            mark: format!("{name}.{}", &short[..16]),
            temporary,
        })
    }
}

impl Target {
    fn sent(&self) -> String {
        if self.folder.is_empty() { "sent".to_owned() } else { format!("{}/sent", self.folder) }
    }

    /// Whether a create without an outcome was delivered. If it was not, clear what the crash left, unless the
    /// folder must not be changed (`read_only`).
    pub fn was_sent(&self, folder: &Folder, read_only: bool) -> io::Result<bool> {
        let waiting = folder.has(&self.folder, &self.temporary)?;
        let marked = folder.has(&self.sent(), &self.mark)?;
        if marked && !waiting {
            return Ok(true);
        }
        if read_only {
            return Ok(false);
        }
        folder.remove(&self.sent(), &self.mark)?;
        folder.remove(&self.folder, &self.temporary)?;
        Ok(false)
    }

    pub fn remove(&self, folder: &Folder) -> io::Result<bool> {
        folder.remove(&self.folder, &self.name)
    }
}

impl Writer {
    /// Write an object's file. A create is recorded in `sent/`.
    pub fn write(&self, folder: &Folder, write: &Write, scope: &Scope<'_>) -> Result<(), Failure> {
        let target = self.name.target(scope, &write.key)?;
        let is_new = write.op == Op::Create;
        let body = match &self.body {
            Some(body) => body.render(scope).map_err(rejected)?.unwrap_or_default(),
            None => write.whole.clone(),
        };
        flaw::unsendable(&body)
            .map_err(|problem| Failure::new(Class::Rejected, format!("{}: {problem}", target.name)))?;
        let write = || -> Result<(), WriteError> {
            let existing = if self.append { existing(folder, &target)? } else { Vec::new() };
            let mut content = self.text(&body, existing.is_empty())?;
            if !existing.is_empty() {
                content = [existing, content].concat();
            }
            if is_new {
                folder.remove(&target.sent(), &target.mark)?;
            }
            folder.draft(&target.folder, &target.temporary, &content)?;
            if is_new {
                folder.draft(&target.sent(), &target.mark, b"")?;
            }
            folder.publish(&target.folder, &target.temporary, &target.name)?;
            Ok(())
        };
        write().map_err(|error| match error {
            WriteError::Content(problem) => Failure::new(Class::Rejected, format!("{}: {problem}", target.name)),
            WriteError::Io(error) => {
                Failure::new(Class::Unknown, format!("writing {}: {error}", target.name)).with_source(error)
            }
        })
    }

    fn text(&self, body: &Value, first: bool) -> Result<Vec<u8>, WriteError> {
        let text = match self.format {
            Format::Json => serde_json::to_string_pretty(body).map_err(io::Error::from)? + "\n",
            Format::Jsonl => {
                let mut text = String::new();
                for row in rows(body) {
                    text.push_str(&row.to_string());
                    text.push('\n');
                }
                text
            }
            Format::Xml => xml::write(body).map_err(WriteError::Content)?,
            Format::Csv => self.csv(body, first)?,
        };
        match self.encoding.encode(&text) {
            (_, _, true) => {
                Err(WriteError::Content(format!("a character cannot be written in {}", self.encoding.name())))
            }
            (bytes, encoding, false) if encoding == self.encoding => Ok(bytes.into_owned()),
            (_, _, false) => Err(WriteError::Content(format!("files are not written in {}", self.encoding.name()))),
        }
    }

    fn csv(&self, body: &Value, header: bool) -> Result<String, WriteError> {
        let mut writer = csv::WriterBuilder::new().delimiter(self.delimiter).from_writer(Vec::new());
        let wrong = |error: csv::Error| WriteError::Content(error.to_string());
        if header {
            writer.write_record(&self.columns).map_err(wrong)?;
        }
        for row in rows(body) {
            let Value::Object(members) = row else {
                return Err(WriteError::Content("a row of a CSV file must be an object".to_owned()));
            };
            if let Some(stranger) = members.keys().find(|name| !self.columns.contains(name)) {
                return Err(WriteError::Content(format!("the member `{stranger}` is none of the columns")));
            }
            let cells = self.columns.iter().map(|column| match members.get(column) {
                None | Some(Value::Null) => Ok(String::new()),
                Some(value) => {
                    text_of(value).ok_or_else(|| WriteError::Content(format!("the member `{column}` has no text")))
                }
            });
            let cells = cells.collect::<Result<Vec<_>, _>>()?;
            if self.escape_formulas {
                writer.write_record(cells.iter().map(|cell| inert(cell).into_owned())).map_err(wrong)?;
            } else {
                writer.write_record(&cells).map_err(wrong)?;
            }
        }
        let bytes = writer.into_inner().map_err(|error| WriteError::Content(error.to_string()))?;
        String::from_utf8(bytes).map_err(|error| WriteError::Content(error.to_string()))
    }
}

enum WriteError {
    Content(String),
    Io(io::Error),
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn existing(folder: &Folder, target: &Target) -> io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut content = Vec::new();
    match folder.open(&target.folder, &target.name) {
        Ok(mut file) => {
            file.read_to_end(&mut content)?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(content)
}

fn rows(body: &Value) -> &[Value] {
    match body {
        Value::Array(rows) => rows,
        one => std::slice::from_ref(one),
    }
}
