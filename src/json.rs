//! Reads JSON that others wrote. One value that cannot be read (half a surrogate pair, `NaN`, a byte that is no UTF-8) is marked
//! where it stands, see [`flaw`], and the rest is read; how many values are read is bounded, since a few bytes
//! can stand for a value that takes a hundred. Numbers keep their digits.

use serde_json::{Map, Number, Value, map::Entry};

use crate::model::flaw;

/// Lists and objects within one another; deeper ones are refused, so that no text can exhaust the stack.
const DEEPEST: usize = 128;

/// Values of one text where nobody says how many: a hundred MiB or two at most.
pub const MOST_VALUES: usize = 1_000_000;

/// Why a text cannot be read at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    #[error("it is no JSON (byte {at}: {problem})")]
    Form { at: usize, problem: String },
    #[error("the JSON ends too early")]
    CutOff,
    #[error("it holds more than {0} values")]
    TooMany(usize),
}

/// Reads a document, and how many values it holds.
///
/// # Errors
/// When its form is broken, so that what belongs where cannot be told; when it holds more values than `most`.
pub fn read(bytes: &[u8], most: usize) -> Result<(Value, usize), JsonError> {
    let mut reader = Reader { bytes, at: 0, most, count: 0 };
    let value = reader.value(0)?;
    match reader.token() {
        None => Ok((value, reader.count)),
        Some(_) => Err(reader.form("something follows the end of the document")),
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    most: usize,
    count: usize,
}

/// A text, or why it is none.
type Text = Result<String, String>;

impl Reader<'_> {
    fn form(&self, problem: &str) -> JsonError {
        JsonError::Form { at: self.at, problem: problem.to_owned() }
    }

    /// The next byte that is no white space, left unread.
    fn token(&mut self) -> Option<u8> {
        while let Some(byte) = self.bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Some(*byte);
            }
            self.at += 1;
        }
        None
    }

    fn value(&mut self, depth: usize) -> Result<Value, JsonError> {
        self.count += 1;
        if self.count > self.most {
            return Err(JsonError::TooMany(self.most));
        }
        if depth > DEEPEST {
            return Err(self.form("it is nested too deeply"));
        }
        match self.token().ok_or(JsonError::CutOff)? {
            b'{' => self.object(depth),
            b'[' => self.list(depth),
            b'"' => Ok(self.text()?.map_or_else(flaw::mark, Value::String)),
            _ => self.word(depth),
        }
    }

    fn list(&mut self, depth: usize) -> Result<Value, JsonError> {
        self.at += 1;
        let mut items = Vec::new();
        if self.token() == Some(b']') {
            self.at += 1;
            return Ok(Value::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            if self.goes_on(b']')? {
                continue;
            }
            return Ok(Value::Array(items));
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, JsonError> {
        self.at += 1;
        let mut members = Map::new();
        if self.token() == Some(b'}') {
            self.at += 1;
            return Ok(Value::Object(members));
        }
        loop {
            match self.token() {
                Some(b'"') => {}
                Some(_) => return Err(self.form("the name of a member should stand here")),
                None => return Err(JsonError::CutOff),
            }
            let start = self.at + 1;
            let name = self.text()?;
            let raw = start..self.at - 1;
            match self.token() {
                Some(b':') => self.at += 1,
                Some(_) => return Err(self.form("a colon should stand here")),
                None => return Err(JsonError::CutOff),
            }
            let value = self.value(depth + 1)?;
            match name {
                Ok(name) if flaw::is_reserved(&name) => {
                    members.insert("?".to_owned(), flaw::mark("its name is one that no member may have"));
                }
                Ok(name) => put(&mut members, name, value),
                Err(problem) => {
                    let name = String::from_utf8_lossy(&self.bytes[raw]).into_owned();
                    members.insert(name, flaw::mark(format!("of its name, {problem}")));
                }
            }
            if !self.goes_on(b'}')? {
                return Ok(Value::Object(members));
            }
        }
    }

    /// Whether a comma follows; else the end must.
    fn goes_on(&mut self, end: u8) -> Result<bool, JsonError> {
        let byte = self.token().ok_or(JsonError::CutOff)?;
        if byte != b',' && byte != end {
            return Err(self.form("a comma or the end of the list or object should stand here"));
        }
        self.at += 1;
        Ok(byte == b',')
    }

    /// A number, `true`, `false`, `null`, or what somebody wrote in their place.
    fn word(&mut self, depth: usize) -> Result<Value, JsonError> {
        let rest = &self.bytes[self.at..];
        let is_of_word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.' | b'_');
        let length = rest.iter().position(|byte| !is_of_word(byte)).unwrap_or(rest.len());
        let word = std::str::from_utf8(&rest[..length]).unwrap_or_default();
        let value = match word {
            "" => return Err(self.form("a value should stand here")),
            "null" => Value::Null,
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            "NaN" | "Infinity" | "-Infinity" | "undefined" => flaw::mark(format!("`{word}` is no value of JSON")),
            _ => match word.parse::<Number>() {
                Ok(number) => Value::Number(number),
                Err(_) => flaw::mark("it is no value of JSON"),
            },
        };
        // Alone it says nothing of a row.
        if depth == 0 && flaw::reason(&value).is_some() {
            let cut = "null".starts_with(word) || "true".starts_with(word) || "false".starts_with(word);
            return Err(if cut { JsonError::CutOff } else { self.form("a value should stand here") });
        }
        self.at += length;
        Ok(value)
    }

    /// A text whose opening quote is next.
    fn text(&mut self) -> Result<Text, JsonError> {
        self.at += 1;
        let mut text = Vec::new();
        let mut problem: Option<&str> = None;
        loop {
            let rest = &self.bytes[self.at..];
            let plain = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)).ok_or(JsonError::CutOff)?;
            text.extend_from_slice(&rest[..plain]);
            self.at += plain + 1;
            match rest[plain] {
                b'"' => break,
                b'\\' => match self.escaped()? {
                    Ok(character) => text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
                    Err(what) => problem = problem.or(Some(what)),
                },
                _ => problem = problem.or(Some("a control character stands in it as it is")),
            }
        }
        Ok(match problem {
            Some(problem) => Err(problem.to_owned()),
            None => String::from_utf8(text).map_err(|_| "a byte of it is not valid UTF-8".to_owned()),
        })
    }

    /// The character of an escape whose backslash has been read, or what is wrong with it.
    fn escaped(&mut self) -> Result<Result<char, &'static str>, JsonError> {
        let letter = *self.bytes.get(self.at).ok_or(JsonError::CutOff)?;
        self.at += 1;
        Ok(Ok(match letter {
            b'"' | b'\\' | b'/' => char::from(letter),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return Ok(self.unicode()),
            _ => return Ok(Err("an escape of it is none of JSON's")),
        }))
    }

    fn unicode(&mut self) -> Result<char, &'static str> {
        let unit = self.hex().ok_or("an escape of it is none of JSON's")?;
        if !(0xD800..0xE000).contains(&unit) {
            return char::from_u32(unit).ok_or("an escape of it is no character");
        }
        let half = "half of a surrogate pair stands in it";
        if unit >= 0xDC00 || self.bytes.get(self.at..self.at + 2) != Some(b"\\u") {
            return Err(half);
        }
        let before = self.at;
        self.at += 2;
        match self.hex() {
            Some(low @ 0xDC00..=0xDFFF) => {
                char::from_u32(0x1_0000 + ((unit - 0xD800) << 10) + (low - 0xDC00)).ok_or(half)
            }
            _ => {
                self.at = before;
                Err(half)
            }
        }
    }

    /// Four hexadecimal digits; nothing is read where there are fewer.
    fn hex(&mut self) -> Option<u32> {
        let digits = self.bytes.get(self.at..self.at + 4)?;
        let unit = digits.iter().try_fold(0, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)?))?;
        self.at += 4;
        Some(unit)
    }
}

/// Of two members of one name, nobody knows which is meant, unless they say the same.
fn put(members: &mut Map<String, Value>, name: String, value: Value) {
    match members.entry(name) {
        Entry::Vacant(place) => drop(place.insert(value)),
        Entry::Occupied(known) if *known.get() == value => {}
        Entry::Occupied(mut known) => drop(known.insert(flaw::mark("it stands twice, with different values"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(text: impl AsRef<[u8]>) -> Result<Value, JsonError> {
        read(text.as_ref(), 1000).map(|(value, _)| value)
    }

    #[test]
    fn what_is_json_is_read_as_it_stands() {
        for text in [
            r#"{"a":1.10,"b":[true,false,null,-0.0,1e400],"c":{"d":""},"e":"ñ \u00f1 \ud83d\ude00 \"\\\/\b\f\n\r\t"}"#,
            " [ ] ",
            "\r\n{ }\t",
            "\"text\"",
            "12345678901234567890123456789012345678901234567890.10",
            "null",
        ] {
            assert_eq!(decode(text).unwrap(), serde_json::from_str::<Value>(text).unwrap(), "{text}");
        }
    }

    #[test]
    fn one_unreadable_value_is_marked_and_the_rest_is_read() {
        for (bad, reason) in [
            (&br#""a\ud800b""#[..], "half of a surrogate pair"),
            (br#""a\udc00""#, "half of a surrogate pair"),
            (br#""\ud83d\u0041""#, "half of a surrogate pair"),
            (b"\"a\xF1b\"", "not valid UTF-8"),
            (b"\"a\nb\"", "control character"),
            (br#""\x41""#, "escape"),
            (br#""\u12"#, "escape"),
            (b"NaN", "`NaN`"),
            (b"-Infinity", "`-Infinity`"),
            (b"007", "no value of JSON"),
        ] {
            // The escape that is too short ends at the quote that ends its text.
            let end: &[u8] = if bad.ends_with(b"u12") { b"\"" } else { b"" };
            let text = [b"[{\"x\":", bad, end, b",\"id\":1},{\"id\":2}]"].concat();
            let value = decode(&text).unwrap_or_else(|error| panic!("{bad:?}: {error}"));
            assert_eq!((&value[0]["id"], &value[1]["id"]), (&Value::from(1), &Value::from(2)), "{bad:?}");
            let flaw = flaw::first(&value[0]).unwrap();
            assert!(flaw.place == "x" && flaw.reason.contains(reason), "{flaw:?}");
            assert_eq!(flaw::first(&value[1]), None);
        }
    }

    #[test]
    fn a_member_that_stands_twice_is_neither_of_both() {
        let value = decode(r#"{"a":1,"b":2,"a":3}"#).unwrap();
        assert!(flaw::first(&value).unwrap().reason.contains("twice"));
        assert_eq!(flaw::first(&decode(r#"{"a":1,"b":2,"a":1}"#).unwrap()), None);
    }

    #[test]
    fn no_source_can_send_a_mark_of_its_own() {
        let forged = flaw::mark("x").to_string();
        assert!(flaw::reason(&decode(&forged).unwrap()).is_none(), "{forged}");
        assert!(flaw::first(&decode(&forged).unwrap()).is_some(), "{forged}");
    }

    #[test]
    fn a_document_whose_form_is_broken_is_never_read_in_part() {
        for text in ["", "[", "{\"a\"", "{\"a\":", "[1", "\"x", "[\"a\\", "tr"] {
            assert_eq!(decode(text), Err(JsonError::CutOff), "{text}");
        }
        for text in
            ["[1 2]", "[1,]", "{,}", "{\"a\" 1}", "{a:1}", "[] x", "<html></html>", "NaN", "not", "[1}", "[<b>]"]
        {
            assert!(matches!(decode(text), Err(JsonError::Form { .. })), "{text}");
        }
        assert!(decode("[".repeat(100_000)).is_err());
    }

    #[test]
    fn the_number_of_values_is_bounded() {
        assert_eq!(read(b"[0,0,[{},\"\"]]", 6).map(|(_, count)| count), Ok(6));
        assert_eq!(read(b"[0,0,[{},\"\"]]", 5), Err(JsonError::TooMany(5)));
    }
}
