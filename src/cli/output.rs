//! Output for people and programs: tables and lines, or JSON.

use std::io::{self, IsTerminal as _, Write as _};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use super::args::Global;
use crate::printable;

/// Where a command's result goes.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    pub json: bool,
}

impl Output {
    pub fn new(global: &Global) -> Self {
        Self { json: global.json }
    }

    /// Print the value as JSON, or for people the text that `text` makes of it.
    pub fn show<T: Serialize>(self, value: &T, text: impl FnOnce(&T) -> String) -> anyhow::Result<()> {
        if self.json { print(&printable::json(&serde_json::to_string_pretty(value)?)) } else { line(&text(value)) }
    }
}

/// Print to standard output, without terminal control characters.
pub fn line(text: &str) -> anyhow::Result<()> {
    print(&printable::text(text))
}

/// If the reader has gone (`| head`), that is not an error.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

/// A table with a header, as wide as the terminal; in a file its width is unlimited.
pub fn table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    grid(header.map(str::to_uppercase).to_vec(), rows.into_iter().map(|row| row.to_vec()))
}

/// A table with as many columns as its header.
pub fn grid(header: Vec<String>, rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    if io::stdout().is_terminal() {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    for row in rows {
        table.add_row(row.iter().enumerate().map(|(column, text)| cell(column, text)));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// A text as a table shows it. A line break in the first column would look like the start of another row.
fn cell(column: usize, text: &str) -> String {
    if column == 0 {
        return name(text);
    }
    text.lines().take(LINES).map(name).collect::<Vec<_>>().join("\n")
}

/// A key, or another text of a system, as a line shows it.
pub fn name(text: &str) -> String {
    printable::cut(&printable::line(text), printable::CELL).into_owned()
}

/// Maximum number of lines of a cell.
const LINES: usize = 200;

/// Writes JSON that is too large to be held in memory: see [`printable::json`].
pub struct SafeJson<W> {
    out: W,
    /// Bytes of a character that is not complete yet.
    begun: Vec<u8>,
}

impl<W: io::Write> SafeJson<W> {
    pub fn new(out: W) -> Self {
        Self { out, begun: Vec::new() }
    }
}

impl<W: io::Write> io::Write for SafeJson<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.begun.extend_from_slice(bytes);
        let whole = match std::str::from_utf8(&self.begun) {
            Ok(text) => text.len(),
            Err(error) => error.valid_up_to(),
        };
        let rest = self.begun.split_off(whole);
        let text = String::from_utf8(std::mem::replace(&mut self.begun, rest)).map_err(io::Error::other)?;
        self.out.write_all(printable::json(&text).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Whether a person watches the progress, on a terminal that can overwrite a line.
pub fn is_watched() -> bool {
    io::stderr().is_terminal() && std::env::var_os("CI").is_none() && !is_dumb(std::env::var("TERM").ok().as_deref())
}

/// Whether output may have colours: according to <https://no-color.org>, and if the terminal supports them.
pub fn colours(is_terminal: bool) -> bool {
    is_terminal && may_colour(std::env::var("NO_COLOR").ok().as_deref(), std::env::var("TERM").ok().as_deref())
}

fn may_colour(no_color: Option<&str>, term: Option<&str>) -> bool {
    no_color.is_none_or(str::is_empty) && !is_dumb(term)
}

fn is_dumb(term: Option<&str>) -> bool {
    term == Some("dumb")
}

/// A time in the form for people.
pub fn time(at: chrono::DateTime<chrono::Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S").to_string()
}

/// `1 job`, `2 jobs`.
pub fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_stays_in_its_row_and_is_bounded() {
        let rows = [["SKU\n2026 ERROR forged".to_owned(), format!("\u{1b}[2J{}", "Z".repeat(5_000))]];
        let table = table(["key", "name"], rows);
        assert_eq!(table.lines().count(), 2, "{table}");
        assert!(!table.contains('\u{1b}') && table.contains("\\u{1b}[2JZ"));
        assert!(table.chars().count() < 1_000);
    }

    #[test]
    fn large_json_is_made_safe_on_its_way() {
        let mut out = Vec::new();
        let value = serde_json::json!({ "name": "Señal \u{9b}2J\u{202e}" });
        let mut safe = SafeJson::new(&mut out);
        for byte in value.to_string().as_bytes() {
            safe.write_all(&[*byte]).unwrap();
        }
        let text = String::from_utf8(out).unwrap();
        assert!(!text.contains(['\u{9b}', '\u{202e}']) && text.contains("Señal"), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }

    #[test]
    fn colours_are_left_out_where_they_are_turned_off() {
        assert!(may_colour(None, Some("xterm")) && may_colour(Some(""), None));
        assert!(!may_colour(Some("1"), Some("xterm")) && !may_colour(None, Some("dumb")));
    }
}
