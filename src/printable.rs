//! What may reach a terminal, a log or a page: texts of systems are data, and data may hold what moves a cursor, changes a
//! title, or turns a line round. Everything that is printed goes through here.

use std::{borrow::Cow, fmt::Write as _};

/// Most characters of a cell of a table.
pub const CELL: usize = 400;

/// Most characters of a message.
pub const MESSAGE: usize = 2_000;

/// Control characters but the line break and the tabulator, and what changes the direction of a text or shows nothing.
fn is_unsafe(character: char) -> bool {
    match character {
        '\n' | '\t' => false,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{206f}' => true,
        '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}' => true,
        other => other.is_control(),
    }
}

/// The text with such characters as they would be written in a program: `\u{1b}[2J`.
#[must_use]
pub fn text(text: &str) -> Cow<'_, str> {
    replaced(text, is_unsafe, |out, character| match character {
        '\r' => out.push_str("\\r"),
        other => {
            // Writing to a String cannot fail.
            let _ = write!(out, "\\u{{{:x}}}", u32::from(other));
        }
    })
}

/// The same for a text that programs have put colours into; what they put in has escaped the escapes of others.
#[must_use]
pub fn coloured(text: &str) -> Cow<'_, str> {
    replaced(
        text,
        |character| character != '\u{1b}' && is_unsafe(character),
        |out, character| {
            let _ = write!(out, "\\u{{{:x}}}", u32::from(character));
        },
    )
}

/// One line: a break in it would begin another one that nobody has written.
#[must_use]
pub fn line(text: &str) -> Cow<'_, str> {
    match self::text(text) {
        text if text.contains(['\n', '\t']) => Cow::Owned(text.replace('\n', "\\n").replace('\t', " ")),
        text => text,
    }
}

/// JSON with such characters as JSON escapes: they stand in texts alone, so that it says the same.
#[must_use]
pub fn json(json: &str) -> Cow<'_, str> {
    replaced(json, is_unsafe, |out, character| {
        for unit in character.encode_utf16(&mut [0; 2]) {
            let _ = write!(out, "\\u{unit:04x}");
        }
    })
}

/// At most so many characters, with a mark where something is left out.
#[must_use]
pub fn cut(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

fn replaced(text: &str, is_out: impl Fn(char) -> bool, put: impl Fn(&mut String, char)) -> Cow<'_, str> {
    if !text.contains(&is_out) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_out(character) {
            put(&mut out, character);
        } else {
            out.push(character);
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "\u{1b}]0;title\u{7}\u{1b}[31mred\r\u{9b}2J bidi\u{202e}gnp.exe\u{2066}";

    #[test]
    fn nothing_that_moves_a_cursor_or_turns_a_text_round_is_printed() {
        let printed = text(HOSTILE);
        assert_eq!(printed, "\\u{1b}]0;title\\u{7}\\u{1b}[31mred\\r\\u{9b}2J bidi\\u{202e}gnp.exe\\u{2066}");
        assert_eq!(text("Señal 10 €\n\tzweite Zeile 👩‍🔧"), "Señal 10 €\n\tzweite Zeile 👩‍🔧");
        assert!(coloured("\u{1b}[31mERROR\u{1b}[0m \u{202e}").ends_with("\u{1b}[0m \\u{202e}"));
    }

    #[test]
    fn a_cell_is_one_line() {
        assert_eq!(line("SKU-1\nERROR forged\tx"), "SKU-1\\nERROR forged x");
    }

    #[test]
    fn json_says_the_same_and_holds_none_of_it_raw() {
        let value = serde_json::json!({ "name": HOSTILE, "tag": "\u{e0041}", "delete": "\u{7f}" });
        let printed = serde_json::to_string_pretty(&value).unwrap();
        let printed = json(&printed);
        assert!(!printed.chars().any(is_unsafe), "{printed}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&printed).unwrap(), value);
    }

    #[test]
    fn what_is_too_long_is_cut_with_a_mark() {
        assert_eq!(cut("ñandú", 5), "ñandú");
        assert_eq!(cut("ñandúes", 5), "ñandú…");
    }
}
