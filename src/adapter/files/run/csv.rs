//! Delimited text. Rows stay undecoded: one buffer each, and a shared header.

use std::{collections::HashSet, io::Read, sync::Arc};

use csv::{ByteRecord, ReaderBuilder, StringRecord};
use serde_json::{Map, Value};

use super::{
    rows::{FileError, Item, Rows},
    text::Utf8,
};
use crate::{
    adapter::{files::compile::CsvShape, run::charset},
    model::flaw,
    port::RowBody,
};

/// Added after the last line. If a quote is still open there, this text does not become a row of its own.
pub const TAIL: &[u8] = b"\n\x01end of file\x01\n";
const END: &[u8] = b"\x01end of file\x01";
const SWALLOWED: &[u8] = b"\x01end of file\x01\n";

/// Maximum number of columns: as many as a spreadsheet has.
const MOST_COLUMNS: usize = 16_384;

pub struct CsvRows<R> {
    reader: csv::Reader<Utf8<R>>,
    header: Arc<Vec<String>>,
    max_row: usize,
    delimiter: u8,
    /// Number of bytes of the last row; the next is probably as long.
    likely: usize,
    /// Line and width of the last row, if it was too short.
    short: Option<(u64, usize)>,
}

impl<R: Read + Send> CsvRows<R> {
    /// `text` must have been created with [`TAIL`].
    pub fn open(text: Utf8<R>, shape: &CsvShape) -> Result<Self, FileError> {
        let mut builder = ReaderBuilder::new();
        builder.delimiter(shape.delimiter).has_headers(false).flexible(true).buffer_capacity(256 * 1024);
        match shape.quote {
            Some(quote) => builder.quote(quote),
            None => builder.quoting(false),
        };
        let mut rows = Self {
            reader: builder.from_reader(text),
            header: Arc::default(),
            max_row: shape.max_row,
            delimiter: shape.delimiter,
            likely: 64,
            short: None,
        };
        let first = if shape.header {
            let first = rows
                .record()?
                .ok_or_else(|| FileError::at(1, "the file is empty; its first line should name the columns"))?;
            if first.len() > MOST_COLUMNS {
                let message = format!("{} columns, where {MOST_COLUMNS} are the most", first.len());
                return Err(FileError::at(1, message));
            }
            StringRecord::from_byte_record(first)
                .map_err(|_| FileError::at(1, format!("a column's name cannot be read: {}", charset::PROBLEM)))?
        } else {
            StringRecord::new()
        };
        let names = match &shape.columns {
            Some(names) => names.clone(),
            None => first.iter().enumerate().map(|(index, name)| named(index, name)).collect(),
        };
        let mut known = HashSet::new();
        if let Some(twice) = names.iter().find(|name| !known.insert(name.as_str())) {
            return Err(FileError::at(1, format!("the column `{twice}` stands twice")));
        }
        rows.header = Arc::new(names);
        Ok(rows)
    }

    /// The line on which the row just read begins. The reader has already counted its end, unless that is the
    /// second half of `\r\n`.
    fn line_of(&self, record: &ByteRecord) -> u64 {
        let within = record.as_slice().iter().map(|byte| u64::from(*byte == b'\n')).sum::<u64>();
        let end = u64::from(!self.reader.get_ref().is_crlf());
        self.reader.position().line().saturating_sub(within + end).max(1)
    }

    /// The next record. Return `None` at the end.
    fn record(&mut self) -> Result<Option<ByteRecord>, FileError> {
        let line = self.reader.position().line();
        self.reader.get_mut().allow(self.max_row);
        let mut record = ByteRecord::with_capacity(self.likely, self.header.len());
        match self.reader.read_byte_record(&mut record) {
            Ok(true) if record.len() == 1 && &record[0] == END => Ok(None),
            Ok(true) if record.as_slice().ends_with(SWALLOWED) => {
                Err(FileError::at(line, "a quote is opened and not closed before the end of the file: it is cut off"))
            }
            Ok(true) => {
                self.likely = record.as_slice().len() + 32;
                Ok(Some(record))
            }
            Ok(false) => Err(FileError::at(line, "the file ended in the middle of a row")),
            Err(error) => Err(match error.into_kind() {
                csv::ErrorKind::Io(error) => FileError::reading(line, error),
                other => FileError::at(line, format!("{other:?}")),
            }),
        }
    }
}

impl<R: Read + Send> Rows for CsvRows<R> {
    fn next_item(&mut self) -> Result<Option<Item>, FileError> {
        let Some(mut record) = self.record()? else {
            // If the last line is too short and has no line end, the file was still being written or was cut off.
            return match self.short {
                Some((line, width)) if !self.reader.get_ref().ended_line() => Err(FileError::at(
                    line,
                    format!(
                        "the last line has {width} of {} columns and no end: the file is cut off",
                        self.header.len()
                    ),
                )),
                _ => Ok(None),
            };
        };
        let line = self.line_of(&record);
        // Some programs end each line with a delimiter, and the header without one.
        if record.iter().skip(self.header.len()).all(<[u8]>::is_empty) {
            record.truncate(self.header.len());
        }
        if record.len() == self.header.len() {
            self.short = None;
            return Ok(Some(Item::Row { line, body: body(&self.header, record) }));
        }
        self.short = (record.len() < self.header.len()).then_some((line, record.len()));
        let cells: Vec<_> = record.iter().map(String::from_utf8_lossy).collect();
        let text = cells.join(&char::from(self.delimiter).to_string());
        let reason = format!("{} columns instead of {}", record.len(), self.header.len());
        Ok(Some(Item::Bad { line, reason, text }))
    }

    fn columns(&self) -> Option<&[String]> {
        Some(&self.header)
    }
}

/// A row as it is, or with a mark in each cell that is not text.
fn body(header: &Arc<Vec<String>>, record: ByteRecord) -> RowBody {
    let record = match StringRecord::from_byte_record(record) {
        Ok(record) => return RowBody::Record { header: Arc::clone(header), record },
        Err(error) => error.into_byte_record(),
    };
    let cell = |bytes: &[u8]| std::str::from_utf8(bytes).map_or_else(|_| flaw::mark(charset::PROBLEM), Value::from);
    let cells = header.iter().zip(record.iter()).map(|(name, bytes)| (name.clone(), cell(bytes)));
    RowBody::Json(Value::Object(cells.collect::<Map<_, _>>()))
}

fn named(index: usize, name: &str) -> String {
    let name = name.trim();
    if name.is_empty() { format!("column_{}", index + 1) } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape() -> CsvShape {
        CsvShape { delimiter: b';', quote: Some(b'"'), header: true, columns: None, max_row: 1 << 20 }
    }

    fn read(text: &[u8], shape: &CsvShape) -> Result<Vec<String>, String> {
        let all = || {
            let mut rows = CsvRows::open(Utf8::new(text, encoding_rs::UTF_8, TAIL), shape)?;
            let mut seen = Vec::new();
            while let Some(item) = rows.next_item()? {
                seen.push(match item {
                    Item::Row { line, body } => format!("{line} {}", body.into_value()),
                    Item::Bad { line, reason, text } => format!("{line} bad: {reason}: {text}"),
                });
            }
            Ok(seen)
        };
        all().map_err(|error: FileError| error.to_string())
    }

    #[test]
    fn rows_come_with_their_line() {
        let rows = read(b"sku;name\nA;\"two\nlines; \"\"quoted\"\"\"\n\nB;b", &shape()).unwrap();
        assert_eq!(rows[0], r#"2 {"sku":"A","name":"two\nlines; \"quoted\""}"#);
        assert_eq!(rows[1], r#"5 {"sku":"B","name":"b"}"#);
        assert_eq!(rows.len(), 2);
    }

    #[test]
    fn lines_are_counted_alike_for_all_line_ends() {
        for end in ["\n", "\r\n"] {
            let text = format!("sku;name{end}A;a{end}B;\"b{end}b\"{end}C;c{end}D{end}");
            let rows = read(text.as_bytes(), &shape()).unwrap();
            let lines: Vec<_> = rows.iter().map(|row| row.split(' ').next().unwrap()).collect();
            assert_eq!(lines, ["2", "3", "5", "6"], "{end:?}");
        }
    }

    #[test]
    fn a_row_of_another_width_is_reported_and_the_rest_is_read() {
        let rows = read(b"sku;name\nA\nB;b;c\nC;c\n", &shape()).unwrap();
        assert_eq!(rows[0], "2 bad: 1 columns instead of 2: A");
        assert_eq!(rows[1], "3 bad: 3 columns instead of 2: B;b;c");
        assert_eq!(rows[2], r#"4 {"sku":"C","name":"c"}"#);
    }

    #[test]
    fn a_file_that_is_cut_off_is_never_a_success() {
        let error = read(b"sku;name\nA;a\nB;\"b and no more\n", &shape()).unwrap_err();
        assert!(error.contains("line 3") && error.contains("cut off"), "{error}");
        let error = read(b"sku;name\nA;a\nB", &shape()).unwrap_err();
        assert!(error.contains("line 3") && error.contains("cut off"), "{error}");
        assert!(read(b"", &shape()).unwrap_err().contains("empty"));
        assert_eq!(read(b"sku;name\n", &shape()), Ok(Vec::new()));
    }

    #[test]
    fn empty_cells_behind_the_last_column_are_none() {
        let rows = read(b"sku;name\nA;a;\nB;b;;;\nC;c;;x\n", &shape()).unwrap();
        assert_eq!(rows[..2], [r#"2 {"sku":"A","name":"a"}"#, r#"3 {"sku":"B","name":"b"}"#]);
        assert_eq!(rows[2], "4 bad: 4 columns instead of 2: C;c;;x");
    }

    #[test]
    fn columns_may_be_named_by_the_adapter() {
        let mut shape = shape();
        shape.header = false;
        shape.columns = Some(vec!["a".into(), "b".into()]);
        assert_eq!(read(b"1;2\n", &shape).unwrap(), [r#"1 {"a":"1","b":"2"}"#]);
        shape.header = true;
        assert_eq!(read(b"x;y\n1;2\n", &shape).unwrap(), [r#"2 {"a":"1","b":"2"}"#]);
    }

    #[test]
    fn a_column_that_stands_twice_is_refused() {
        assert!(read(b"sku;sku\n1;2\n", &shape()).unwrap_err().contains("`sku` stands twice"));
    }

    #[test]
    fn a_wrong_byte_spoils_its_own_cell() {
        let text = &b"sku;name\nA;a\nB;a\xF1o\nC;c\n"[..];
        let mut rows = CsvRows::open(Utf8::new(text, encoding_rs::UTF_8, TAIL), &shape()).unwrap();
        let mut seen = Vec::new();
        while let Some(item) = rows.next_item().unwrap() {
            let Item::Row { line, body } = item else { panic!("{item:?}") };
            let row = body.into_value();
            seen.push((line, flaw::shown(&row)["sku"].clone(), flaw::first(&row).map(|flaw| flaw.place)));
        }
        assert_eq!(seen, [(2, "A".into(), None), (3, "B".into(), Some("name".to_owned())), (4, "C".into(), None)]);
        assert!(read(b"s\xF1u;name\n", &shape()).unwrap_err().contains("column's name"));
    }

    #[test]
    fn a_header_has_no_more_columns_than_a_sheet() {
        let wide: Vec<String> = (0..100_000).map(|number| number.to_string()).collect();
        let error = read(format!("{}\n", wide.join(";")).as_bytes(), &shape()).unwrap_err();
        assert!(error.contains("100000 columns, where 16384 are the most"), "{error}");
        let header = format!("{}\n", wide[..16_384].join(";"));
        assert_eq!(read(header.as_bytes(), &shape()), Ok(Vec::new()));
    }

    #[test]
    fn a_field_without_end_is_refused_before_it_fills_the_memory() {
        let mut text = b"sku;name\nA;\"".to_vec();
        text.resize(50 << 20, b'x');
        let error = read(&text, &shape()).unwrap_err();
        assert!(error.contains("line 2") && error.contains("max_row"), "{error}");
    }
}
