//! JSON: the objects of one list in a document, or one object per line.

use std::io::{BufRead as _, BufReader, Read};

use serde_json::Value;

use super::{
    rows::{FileError, Item, Rows, object},
    text::Utf8,
};
use crate::json::{self, JsonError};

/// A document whose list at a path holds the rows. Only one row at a time is in memory.
pub struct JsonRows<R> {
    input: BufReader<Utf8<R>>,
    line: u64,
    max_row: usize,
    /// Member names down to the list, until it is reached.
    path: Option<Vec<String>>,
    /// Lists and objects that are still open around the row.
    open: Vec<u8>,
    first: bool,
}

impl<R: Read + Send> JsonRows<R> {
    /// An empty `path` means that the document itself is the list.
    pub fn open(text: Utf8<R>, path: &str, max_row: usize) -> Self {
        let path = path.split('.').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        Self {
            input: BufReader::with_capacity(128 * 1024, text),
            line: 1,
            max_row,
            path: Some(path),
            open: Vec::new(),
            first: true,
        }
    }

    fn peek(&mut self) -> Result<Option<u8>, FileError> {
        match self.input.fill_buf() {
            Ok(buffer) => Ok(buffer.first().copied()),
            Err(error) => Err(FileError::reading(self.line, error)),
        }
    }

    fn bump(&mut self, byte: u8) {
        self.line += u64::from(byte == b'\n');
        self.input.consume(1);
    }

    /// The next byte that is not white space. It is not consumed.
    fn token(&mut self) -> Result<u8, FileError> {
        while let Some(byte) = self.peek()? {
            if !byte.is_ascii_whitespace() {
                return Ok(byte);
            }
            self.bump(byte);
        }
        Err(self.cut_off())
    }

    fn cut_off(&self) -> FileError {
        FileError::at(self.line, "the JSON ends too early: the file is cut off")
    }

    fn require(&mut self, expected: u8, what: &str) -> Result<(), FileError> {
        match self.token()? {
            byte if byte == expected => {
                self.bump(byte);
                Ok(())
            }
            byte => Err(FileError::at(
                self.line,
                format!("`{}` stands where {what} should", char::from(byte).escape_default()),
            )),
        }
    }

    /// Read the bytes of one value of any kind.
    fn raw(&mut self) -> Result<Vec<u8>, FileError> {
        let mut raw = Vec::new();
        let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
        self.token()?;
        loop {
            let Some(byte) = self.peek()? else {
                return if depth == 0 && !quoted && !raw.is_empty() { Ok(raw) } else { Err(self.cut_off()) };
            };
            if quoted {
                match byte {
                    _ if escaped => escaped = false,
                    b'\\' => escaped = true,
                    b'"' => quoted = false,
                    _ => {}
                }
            } else {
                match byte {
                    b'"' => quoted = true,
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' | b',' if depth == 0 => return Ok(raw),
                    b'}' | b']' => depth -= 1,
                    byte if depth == 0 && byte.is_ascii_whitespace() => return Ok(raw),
                    _ => {}
                }
            }
            raw.push(byte);
            if raw.len() > self.max_row {
                return Err(FileError::at(self.line, "a value that ends here is longer than `max_row`"));
            }
            self.bump(byte);
            if depth == 0 && !quoted && matches!(byte, b'"' | b'}' | b']') {
                return Ok(raw);
            }
        }
    }

    /// Read a member's name.
    fn name(&mut self) -> Result<Value, FileError> {
        let line = self.line;
        let raw = self.raw()?;
        let name = json::read(&raw, 1);
        name.map(|(name, _)| name).map_err(|error| FileError::at(line, format!("of a member's name, {error}")))
    }

    /// Go down to the list.
    fn descend(&mut self, path: &[String]) -> Result<(), FileError> {
        for name in path {
            self.require(b'{', &format!("the object with member `{name}`"))?;
            self.open.push(b'}');
            let mut first = true;
            loop {
                if self.token()? == b'}' {
                    return Err(FileError::at(self.line, format!("there is no member `{name}`")));
                }
                if !first {
                    self.require(b',', "a comma")?;
                }
                first = false;
                let member = self.name()?;
                self.require(b':', "a colon")?;
                if member.as_str() == Some(name) {
                    break;
                }
                self.raw()?;
            }
        }
        self.require(b'[', "the list of rows")?;
        self.open.push(b']');
        Ok(())
    }

    /// Read on to the end of the document.
    fn close(&mut self) -> Result<(), FileError> {
        while let Some(close) = self.open.pop() {
            while self.token()? != close {
                self.require(b',', "a comma")?;
                self.name()?;
                self.require(b':', "a colon")?;
                self.raw()?;
            }
            self.bump(close);
        }
        while let Some(byte) = self.peek()? {
            if !byte.is_ascii_whitespace() {
                return Err(FileError::at(self.line, "something follows the end of the JSON document"));
            }
            self.bump(byte);
        }
        Ok(())
    }
}

impl<R: Read + Send> Rows for JsonRows<R> {
    fn next_item(&mut self) -> Result<Option<Item>, FileError> {
        self.input.get_mut().allow(self.max_row.saturating_mul(2));
        if let Some(path) = self.path.take() {
            self.descend(&path)?;
        }
        if self.open.is_empty() {
            return Ok(None);
        }
        if self.token()? == b']' {
            self.bump(b']');
            self.open.pop();
            self.close()?;
            return Ok(None);
        }
        if !self.first {
            self.require(b',', "a comma")?;
            self.token()?;
        }
        self.first = false;
        let line = self.line;
        let raw = self.raw()?;
        Ok(Some(row(line, &raw).unwrap_or_else(|error| bad(line, &error, &raw))))
    }
}

/// Make a row from its bytes.
fn row(line: u64, raw: &[u8]) -> Result<Item, JsonError> {
    json::read(raw, json::MOST_VALUES).map(|(value, _)| object(line, value))
}

fn bad(line: u64, error: &JsonError, raw: &[u8]) -> Item {
    Item::Bad { line, reason: error.to_string(), text: String::from_utf8_lossy(raw).trim().to_owned() }
}

/// One JSON object per line. Empty lines are ignored.
pub struct LineRows<R> {
    input: BufReader<Utf8<R>>,
    line: u64,
    max_row: usize,
}

impl<R: Read + Send> LineRows<R> {
    pub fn open(text: Utf8<R>, max_row: usize) -> Self {
        Self { input: BufReader::with_capacity(128 * 1024, text), line: 0, max_row }
    }
}

impl<R: Read + Send> Rows for LineRows<R> {
    fn next_item(&mut self) -> Result<Option<Item>, FileError> {
        let mut raw = Vec::new();
        loop {
            raw.clear();
            self.line += 1;
            let line = self.line;
            self.input.get_mut().allow(self.max_row);
            let read = self.input.read_until(b'\n', &mut raw).map_err(|error| FileError::reading(line, error))?;
            if read == 0 {
                return Ok(None);
            }
            if raw.trim_ascii().is_empty() {
                continue;
            }
            return match row(line, &raw) {
                Ok(item) => Ok(Some(item)),
                // If the last line has no line end, the file was still being written or was cut off.
                Err(JsonError::CutOff) if !raw.ends_with(b"\n") => {
                    Err(FileError::at(line, "the last line ends too early: the file is cut off"))
                }
                Err(error) => Ok(Some(bad(line, &error, &raw))),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::flaw;

    fn all(mut rows: impl Rows) -> Result<Vec<String>, String> {
        let mut seen = Vec::new();
        loop {
            match rows.next_item().map_err(|error| error.to_string())? {
                None => return Ok(seen),
                Some(Item::Row { line, body }) => seen.push(format!("{line} {}", body.into_value())),
                Some(Item::Bad { line, reason, .. }) => seen.push(format!("{line} bad: {reason}")),
            }
        }
    }

    fn json(text: &str, path: &str) -> Result<Vec<String>, String> {
        all(JsonRows::open(Utf8::new(text.as_bytes(), encoding_rs::UTF_8, b""), path, 1 << 20))
    }

    fn lines(text: &str) -> Result<Vec<String>, String> {
        all(LineRows::open(Utf8::new(text.as_bytes(), encoding_rs::UTF_8, b""), 1 << 20))
    }

    #[test]
    fn the_rows_of_a_list_are_found_at_their_path() {
        let text = "{\"meta\": {\"data\": [1, \"]\"]}, \"data\": {\n\"items\": [ {\"a\": \"x}\\\"\"} ,\n{\"a\": 12.50}, 7 ],\n \"n\": 2}, \"z\": null}\n";
        assert_eq!(
            json(text, "data.items").unwrap(),
            [r#"2 {"a":"x}\""}"#, r#"3 {"a":12.50}"#, "3 bad: a number stands where an object should"]
        );
        assert_eq!(json("[]", ""), Ok(vec![]));
        assert_eq!(json("[{\"a\":1}]", "").unwrap(), [r#"1 {"a":1}"#]);
    }

    #[test]
    fn a_document_that_is_cut_off_is_never_a_success() {
        for text in
            ["", "[", "[{\"a\":1}", "[{\"a\":1},", "[{\"a\":1", "[{\"a\": \"x", "[{\"a\":1}] x", "[{\"a\":1} {}]"]
        {
            assert!(json(text, "").is_err(), "{text}");
        }
        for text in ["{\"data\": [{\"a\":1}]", "{\"data\": [{\"a\":1}], \"n\"", "{\"other\": []}", "[]"] {
            assert!(json(text, "data").is_err(), "{text}");
        }
    }

    #[test]
    fn a_value_that_cannot_be_read_hurts_no_other_row() {
        let bad = br#"{"id":1,"a":"x\ud800"}"#;
        for text in [[b"[", &bad[..], b",{\"id\":2}]"].concat(), b"[{\"id\":1,\"a\":\"\xFF\"},{\"id\":2}]".to_vec()] {
            let mut rows = JsonRows::open(Utf8::new(text.as_slice(), encoding_rs::UTF_8, b""), "", 1 << 20);
            let mut next = || match rows.next_item().unwrap() {
                Some(Item::Row { body, .. }) => body.into_value(),
                other => panic!("{other:?}"),
            };
            let (first, second) = (next(), next());
            assert_eq!((flaw::first(&first).unwrap().place.as_str(), flaw::first(&second)), ("a", None));
            assert_eq!((&first["id"], &second["id"]), (&1.into(), &2.into()));
        }
        assert_eq!(
            json("[{\"a\":1,},\n{\"b\":2}]", "").unwrap(),
            ["1 bad: it is no JSON (byte 7: the name of a member should stand here)", r#"2 {"b":2}"#]
        );
    }

    #[test]
    fn a_bad_line_is_reported_and_the_rest_is_read() {
        assert_eq!(
            lines("{\"a\":1}\n\nnot\n[1]\n{\"b\":2}").unwrap(),
            [
                r#"1 {"a":1}"#,
                "3 bad: it is no JSON (byte 0: a value should stand here)",
                "4 bad: a list stands where an object should",
                r#"5 {"b":2}"#
            ]
        );
        assert!(lines("{\"a\":1}\n{\"b\":").unwrap_err().contains("cut off"));
        assert!(lines(&format!("{{\"a\":\"{}", "x".repeat(3 << 20))).unwrap_err().contains("max_row"));
    }
}
