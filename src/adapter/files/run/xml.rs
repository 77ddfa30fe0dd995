//! XML: every element at a path is a row. Attributes become `@name`, and text next to them `#text`. An element with
//! neither children nor attributes is just its text, and repeated children are a list.

use std::io::{BufReader, Read};

use encoding_rs::Encoding;
use quick_xml::{
    Reader, XmlVersion,
    events::{BytesStart, Event},
};
use serde_json::{Map, Value};

use super::{
    rows::{FileError, Item, Rows, object},
    text::Utf8,
};
use crate::{
    adapter::run::{charset, xml},
    json::MOST_VALUES,
    model::flaw,
};

/// Maximum nesting depth; deeper elements are refused.
const DEEPEST: usize = 128;

pub struct XmlRows<R> {
    reader: Reader<BufReader<Utf8<R>>>,
    /// Names from the root down to the repeated element.
    path: Vec<String>,
    buffer: Vec<u8>,
    /// Open elements around the rows.
    open: Vec<String>,
    line: u64,
    max_row: usize,
    rooted: bool,
}

/// The encoding that a file's first bytes declare. Without a declaration it is UTF-8.
pub fn declared_encoding(head: &[u8]) -> Result<&'static Encoding, FileError> {
    if let Some((encoding, _)) = Encoding::for_bom(head) {
        return Ok(encoding);
    }
    let head = String::from_utf8_lossy(head);
    let declaration =
        head.strip_prefix("<?xml").and_then(|rest| rest.split_once("?>")).map_or("", |(inside, _)| inside);
    let Some((_, label)) = declaration.split_once("encoding") else { return Ok(encoding_rs::UTF_8) };
    let label = label.trim_start_matches([' ', '=']);
    let label = label.strip_prefix(['"', '\'']).and_then(|label| label.split(['"', '\'']).next()).unwrap_or_default();
    Encoding::for_label(label.as_bytes())
        .ok_or_else(|| FileError::at(1, format!("the declared encoding `{label}` is not known")))
}

/// An element that is being read.
struct Element {
    name: String,
    members: Map<String, Value>,
    text: String,
    children: bool,
    /// Why its text cannot be read.
    flaw: Option<String>,
}

impl<R: Read + Send> XmlRows<R> {
    /// `text` must have been created with [`Utf8::of_text`].
    pub fn open(text: Utf8<R>, path: &str, max_row: usize) -> Self {
        let mut reader = Reader::from_reader(BufReader::with_capacity(128 * 1024, text));
        reader.config_mut().expand_empty_elements = true;
        Self {
            reader,
            path: path.split('/').map(str::to_owned).collect(),
            buffer: Vec::new(),
            open: Vec::new(),
            line: 1,
            max_row,
            rooted: false,
        }
    }

    /// Read a row whose start tag has been read.
    fn row(&mut self, first: Element) -> Result<Value, FileError> {
        let mut count = first.members.len();
        let mut stack = vec![first];
        loop {
            self.buffer.clear();
            let line = self.line;
            let event = self.reader.read_event_into(&mut self.buffer).map_err(|error| broken(line, error))?;
            self.line += breaks(&event);
            let Some(top) = stack.last_mut() else {
                return Err(FileError::at(line, "an element ends that was not begun"));
            };
            match event {
                Event::Start(start) => {
                    if stack.len() >= DEEPEST {
                        return Err(FileError::at(line, format!("more than {DEEPEST} elements within one another")));
                    }
                    let element = element(&start);
                    count += 1 + element.members.len();
                    if count > MOST_VALUES {
                        return Err(FileError::at(line, format!("a row of more than {MOST_VALUES} elements")));
                    }
                    stack.push(element);
                }
                Event::End(_) => {
                    let Some(done) = stack.pop() else { continue };
                    let name = done.name.clone();
                    let value = done.finish();
                    match stack.last_mut() {
                        Some(parent) => parent.add(name, value),
                        None => return Ok(value),
                    }
                }
                Event::Text(text) => top.text.push_str(&text.xml10_content()),
                Event::CData(text) => top.text.push_str(&text.xml10_content()),
                Event::GeneralRef(reference) => match xml::resolved(&reference) {
                    Ok(text) => top.text.push_str(&text),
                    Err(problem) => drop(top.flaw.get_or_insert(problem)),
                },
                Event::Eof => return Err(cut_off(line, &top.name)),
                _ => {}
            }
        }
    }
}

impl<R: Read + Send> Rows for XmlRows<R> {
    fn next_item(&mut self) -> Result<Option<Item>, FileError> {
        self.reader.get_mut().get_mut().allow(self.max_row);
        loop {
            self.buffer.clear();
            let line = self.line;
            let event = self.reader.read_event_into(&mut self.buffer).map_err(|error| broken(line, error))?;
            self.line += breaks(&event);
            match event {
                Event::Start(start) => {
                    self.rooted = true;
                    self.open.push(start.name().0.to_owned());
                    if self.open.len() > DEEPEST {
                        return Err(FileError::at(line, format!("more than {DEEPEST} elements within one another")));
                    }
                    if self.open == self.path {
                        let first = element(&start);
                        let value = self.row(first)?;
                        self.open.pop();
                        // An element with only a text is not an object: make an object that holds the text.
                        let value =
                            if let Value::String(text) = value { Value::Object(only_text(text)) } else { value };
                        return Ok(Some(object(line, value)));
                    }
                    if self.open.len() == 1 && self.path.first() != self.open.first() {
                        let message =
                            format!("the root element is `{}`; `rows` begins with `{}`", self.open[0], self.path[0]);
                        return Err(FileError::at(line, message));
                    }
                }
                Event::End(_) => {
                    self.open.pop();
                }
                Event::Eof => {
                    return match self.open.last() {
                        Some(name) => Err(cut_off(line, name)),
                        None if !self.rooted => Err(FileError::at(line, "the file holds no XML element")),
                        None => Ok(None),
                    };
                }
                // Between rows the allowance starts again with every event.
                _ => self.reader.get_mut().get_mut().allow(self.max_row),
            }
        }
    }
}

fn element(start: &BytesStart<'_>) -> Element {
    let name = start.name().0.to_owned();
    let flaw = name.contains(charset::BAD).then(|| format!("of its name, {}", charset::PROBLEM));
    let members = xml::attributes(start, |value| {
        value.normalized_value(XmlVersion::Implicit1_0).ok().map(std::borrow::Cow::into_owned)
    });
    Element { name, members, text: String::new(), children: false, flaw }
}

impl Element {
    fn add(&mut self, name: String, value: Value) {
        self.children = true;
        match self.members.get_mut(&name) {
            None => {
                self.members.insert(name, value);
            }
            Some(Value::Array(items)) => items.push(value),
            Some(first) => {
                let items = vec![std::mem::take(first), value];
                *first = Value::Array(items);
            }
        }
    }

    fn finish(mut self) -> Value {
        let blank = self.text.trim().is_empty();
        let text = if blank { String::new() } else { self.text };
        let is_flawed = self.flaw.is_some();
        let text = self.flaw.map_or_else(|| xml::marked(text), flaw::mark);
        if self.members.is_empty() {
            return text;
        }
        if !blank || !self.children || is_flawed {
            self.members.insert("#text".to_owned(), text);
        }
        Value::Object(self.members)
    }
}

fn only_text(text: String) -> Map<String, Value> {
    let mut members = Map::new();
    if !text.is_empty() {
        members.insert("#text".to_owned(), Value::from(text));
    }
    members
}

fn breaks(text: &str) -> u64 {
    text.bytes().map(|byte| u64::from(byte == b'\n')).sum()
}

fn cut_off(line: u64, name: &str) -> FileError {
    FileError::at(line, format!("the element `{name}` is not closed before the end of the file: it is cut off"))
}

fn broken(line: u64, error: quick_xml::Error) -> FileError {
    match error {
        quick_xml::Error::Io(error) => match std::sync::Arc::try_unwrap(error) {
            Ok(error) => FileError::reading(line, error),
            Err(error) => FileError::at(line, error.to_string()),
        },
        other => FileError::at(line, format!("the XML is not well formed: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<String>, String> {
        read_bytes(text.as_bytes())
    }

    fn read_bytes(text: &[u8]) -> Result<Vec<String>, String> {
        let mut rows = XmlRows::open(Utf8::of_text(text, encoding_rs::UTF_8), "catalog/item", 1 << 20);
        let mut seen = Vec::new();
        loop {
            match rows.next_item().map_err(|error| error.to_string())? {
                None => return Ok(seen),
                Some(Item::Row { line, body }) => {
                    let row = body.into_value();
                    let flaw = flaw::first(&row).map_or(String::new(), |flaw| format!(" {flaw}"));
                    seen.push(format!("{line} {}{flaw}", flaw::shown(&row)));
                }
                Some(Item::Bad { line, reason, .. }) => seen.push(format!("{line} bad: {reason}")),
            }
        }
    }

    #[test]
    fn elements_become_objects() {
        let text = "<?xml version=\"1.0\"?>\n<catalog>\n<note>x</note>\n<item id=\"1\"><sku>A &amp; B</sku>\n\
                    <qty unit='kg'>2.50</qty><tag>x</tag><tag>y</tag><empty/></item>\n\
                    <item id=\"2\"><sku><![CDATA[<c>]]>&#241;</sku></item></catalog>";
        let rows = read(text).unwrap();
        assert_eq!(
            rows[0],
            r##"4 {"@id":"1","sku":"A & B","qty":{"@unit":"kg","#text":"2.50"},"tag":["x","y"],"empty":""}"##
        );
        assert_eq!(rows[1], r#"6 {"@id":"2","sku":"<c>ñ"}"#);
    }

    #[test]
    fn a_file_that_is_cut_off_is_never_a_success() {
        for text in [
            "<catalog><item><sku>A</sku></item>",
            "<catalog><item><sku>A</sku>",
            "<catalog><item><sku>A</sk",
            "<catalog><item><sku>A</other></item></catalog>",
            "",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
        assert_eq!(read("<catalog></catalog>"), Ok(Vec::new()));
        assert!(read("<html><body/></html>").unwrap_err().contains("`html`"));
    }

    #[test]
    fn the_declared_encoding_counts() {
        let name = |head: &str| declared_encoding(head.as_bytes()).map(|e| e.name()).map_err(|e| e.to_string());
        assert_eq!(name("<?xml version='1.0' encoding='ISO-8859-1'?><a/>"), Ok("windows-1252"));
        assert_eq!(name("<?xml version=\"1.0\"?><a encoding='x'/>"), Ok("UTF-8"));
        assert!(name("<?xml version='1.0' encoding='klingon'?><a/>").unwrap_err().contains("klingon"));
    }

    #[test]
    fn entities_of_a_document_type_are_not_expanded() {
        let text = "<!DOCTYPE c [<!ENTITY x \"y\">]><catalog><item><sku>&x;</sku></item></catalog>";
        assert_eq!(
            read(text).unwrap(),
            [r#"1 {"sku":"(unreadable)"} `sku` cannot be read: the entity `&x;` is not known"#]
        );
    }

    #[test]
    fn a_value_that_cannot_be_read_hurts_no_other_row() {
        for bad in
            [&b"<b>a\xF1o</b>"[..], b"<b t='\xF1'/>", b"<b>&#xD800;</b>", b"<b t=1/>", b"<b><![CDATA[\xF1]]></b>"]
        {
            let text = [b"<catalog><item><id>1</id>", bad, b"</item>\n<item><id>2</id></item></catalog>"].concat();
            let rows = read_bytes(&text).unwrap();
            assert!(rows[0].contains(r#""id":"1""#) && rows[0].contains("`b"), "{rows:?}");
            assert_eq!(rows[1], r#"2 {"id":"2"}"#);
        }
    }

    #[test]
    fn elements_without_end_are_refused() {
        let deep = format!("<catalog><item>{}", "<a>".repeat(500));
        assert!(read(&deep).unwrap_err().contains("within one another"));
        let long = format!("<catalog><item><sku>{}", "x".repeat(3 << 20));
        assert!(read(&long).unwrap_err().contains("max_row"));
    }
}
