//! Rules for values that become part of a path, a query, a header or a file's name. Shared by the drivers.

use serde_json::Value;

use crate::{expr::Bit, model::percent};

/// How slashes in a segment of a path are treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slashes {
    /// `/` and `\` in a value are refused: a server that decodes before it splits the path would read another
    /// address.
    Refused,
    /// They are sent encoded.
    Encoded,
}

/// Build an address. Text written in the file stays as it is. A value is one segment or part of one, and is
/// percent-encoded; after a `?` of the file it is part of the query.
///
/// # Errors
/// If a value contains something forbidden. The text does not show the value.
pub fn address(bits: &[Bit], slashes: Slashes) -> Result<String, String> {
    let mut path = Building { out: String::new(), segment: String::new(), valued: false, query: false, slashes };
    for bit in bits {
        match bit {
            Bit::Literal(text) => path.literal(text)?,
            Bit::Value(text) => path.value(text)?,
            Bit::Segments(segments) => path.segments(segments)?,
        }
    }
    path.close()?;
    Ok(path.out)
}

struct Building {
    out: String,
    /// The current segment, not yet encoded.
    segment: String,
    /// Whether the segment contains a value.
    valued: bool,
    query: bool,
    slashes: Slashes,
}

impl Building {
    fn literal(&mut self, text: &str) -> Result<(), String> {
        for character in text.chars() {
            match character {
                '/' | '?' if !self.query => {
                    self.close()?;
                    self.query = character == '?';
                }
                _ => self.segment.push(character),
            }
            self.out.push(character);
        }
        Ok(())
    }

    fn value(&mut self, text: &str) -> Result<(), String> {
        printable(text)?;
        if !self.query && self.slashes == Slashes::Refused && text.contains(['/', '\\']) {
            return Err("a value in the path has a `/` or `\\` in it, which no segment of a path may have; \
                put whole paths together with `path(a, b)`, or say `slashes = true` in the request if the system takes them encoded"
                .to_owned());
        }
        self.valued = true;
        self.segment.push_str(text);
        self.out.push_str(&percent::encode(text));
        Ok(())
    }

    fn segments(&mut self, segments: &[String]) -> Result<(), String> {
        for segment in segments {
            if !self.out.ends_with('/') {
                self.literal("/")?;
            }
            self.value(segment)?;
            // Two segments of which the first is empty would become one.
            if segment.is_empty() {
                return self.close();
            }
        }
        Ok(())
    }

    /// End a segment.
    fn close(&mut self) -> Result<(), String> {
        let (segment, valued) = (std::mem::take(&mut self.segment), std::mem::take(&mut self.valued));
        if valued && !self.query { whole(&segment) } else { Ok(()) }
    }
}

/// Build the name of a file below a folder. A value is part of one name, never of a folder above or below it.
///
/// # Errors
/// If a value contains something forbidden. The text does not show the value.
pub fn file(bits: &[Bit]) -> Result<String, String> {
    let mut path = String::new();
    // Starts of segments that contain a value.
    let mut valued: Vec<usize> = Vec::new();
    let mut value = |path: &mut String, text: &str| -> Result<(), String> {
        printable(text)?;
        if text.contains(['/', '\\']) {
            return Err("a value in the name has a `/` or `\\` in it, which no file has".to_owned());
        }
        valued.push(path.rfind('/').map_or(0, |at| at + 1));
        path.push_str(text);
        Ok(())
    };
    for bit in bits {
        match bit {
            Bit::Literal(text) => path.push_str(text),
            Bit::Value(text) => value(&mut path, text)?,
            Bit::Segments(segments) => {
                for (index, segment) in segments.iter().enumerate() {
                    if index > 0 {
                        path.push('/');
                    }
                    value(&mut path, segment)?;
                }
            }
        }
    }
    for start in valued {
        let segment = path[start..].split('/').next().unwrap_or_default();
        whole(segment)?;
        if ROOMS.contains(&segment) {
            return Err(format!("a value makes it `{segment}`, which is a folder of our own"));
        }
    }
    match path.split('/').map(str::len).max() {
        Some(length) if length > LONGEST => Err(format!("a name of {length} bytes is too long: {LONGEST} are allowed")),
        _ => Ok(path),
    }
}

/// Folders that the driver creates next to the files.
const ROOMS: [&str; 4] = ["work", "done", "rejected", "sent"];

/// File systems allow 255 bytes, and temporary names are longer than those of the files.
const LONGEST: usize = 230;

/// # Errors
/// If a whole segment with a value would be empty, or would lead elsewhere.
pub fn whole(segment: &str) -> Result<(), String> {
    match segment {
        "" => Err("a value in the path is empty, so the path would be another one".to_owned()),
        "." | ".." => Err("a value makes `.` or `..` of a segment of the path, which leads elsewhere".to_owned()),
        _ => Ok(()),
    }
}

/// # Errors
/// If it contains a control character.
pub fn printable(text: &str) -> Result<(), &'static str> {
    if text.chars().any(char::is_control) { Err(CONTROL) } else { Ok(()) }
}

const CONTROL: &str = "a value has a control character in it, which cannot be sent there";

/// Rule for queries: no control characters in names or values, at any depth.
///
/// # Errors
/// If there is one.
pub fn sendable(value: &Value) -> Result<(), &'static str> {
    match value {
        Value::String(text) => printable(text),
        Value::Array(items) => items.iter().try_for_each(sendable),
        Value::Object(members) => members.iter().try_for_each(|(name, value)| {
            printable(name)?;
            sendable(value)
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

/// Rule for headers: no control characters, and no blank at either end, because the receiver would cut it off.
///
/// # Errors
/// If the text breaks the rule.
pub fn header(text: &str) -> Result<(), &'static str> {
    printable(text)?;
    if text.trim_matches(' ').len() == text.len() {
        Ok(())
    } else {
        Err("a header's value begins or ends with a blank, which would be cut off")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bits(before: &str, value: &str, after: &str) -> Vec<Bit> {
        vec![Bit::Literal(before.into()), Bit::Value(value.into()), Bit::Literal(after.into())]
    }

    #[test]
    fn a_value_is_one_segment_or_the_record_is_refused() {
        let put = |value: &str| address(&bits("/products/", value, "/notes"), Slashes::Refused);
        assert_eq!(put("a#b?c=1&d ñ;x").as_deref(), Ok("/products/a%23b%3Fc%3D1%26d%20%C3%B1%3Bx/notes"));
        assert_eq!(put("100%").as_deref(), Ok("/products/100%25/notes"));
        assert_eq!(put("..a").as_deref(), Ok("/products/..a/notes"));
        for bad in ["", ".", "..", "../admin", "a/b", "a\\b", "a\u{0}b", "a\r\nb", "\u{7f}", "\u{85}"] {
            assert!(put(bad).is_err(), "{bad:?}");
        }
        let dots = address(&[Bit::Literal("/a/.".into()), Bit::Value(".".into())], Slashes::Refused);
        assert!(dots.is_err(), "two halves of `..` lead up as well");
        let safe = |value: &str| address(&bits("/a/", value, ""), Slashes::Encoded);
        assert_eq!(safe("b/c\\d").as_deref(), Ok("/a/b%2Fc%5Cd"));
        assert!(safe("..").is_err() && safe("").is_err());
    }

    #[test]
    fn segments_of_path_are_separated_and_a_query_of_the_file_stays_one() {
        let path = |segments: &[&str]| Bit::Segments(segments.iter().map(|text| (*text).to_owned()).collect());
        assert_eq!(
            address(&[path(&["orders", "a b", "notes"])], Slashes::Refused).as_deref(),
            Ok("/orders/a%20b/notes")
        );
        let below = [Bit::Literal("/v1/".into()), path(&["x", "y"]), Bit::Literal("/?all=1".into())];
        assert_eq!(address(&below, Slashes::Refused).as_deref(), Ok("/v1/x/y/?all=1"));
        for bad in [&["x", ""][..], &["", "x"], &["..", "x"], &["a/b"]] {
            assert!(address(&[path(bad)], Slashes::Refused).is_err(), "{bad:?}");
        }
        let query = [Bit::Literal("/orders?ref=".into()), Bit::Value("a/b&all=1#".into())];
        assert_eq!(address(&query, Slashes::Refused).as_deref(), Ok("/orders?ref=a%2Fb%26all%3D1%23"));
    }

    #[test]
    fn a_value_names_one_file_or_the_record_is_refused() {
        let named = |value: &str| file(&bits("out/o-", value, ".json"));
        assert_eq!(named("a b&ñ..").as_deref(), Ok("out/o-a b&ñ...json"));
        for bad in ["../x", "a/b", "a\\b", "a\nb", "\u{0}", &"x".repeat(300)] {
            assert!(named(bad).is_err(), "{bad:?}");
        }
        let whole = |value: &str| file(&bits("out/", value, "/x.json"));
        for bad in ["", ".", "..", "sent", "work"] {
            assert!(whole(bad).is_err(), "{bad:?}");
        }
        assert!(file(&[Bit::Literal("done/x.json".into())]).is_ok(), "what the file says is the file's affair");
    }

    #[test]
    fn header_values_have_neither_control_characters_nor_blanks_that_would_be_cut_off() {
        for good in ["", "a b", "ñ", "a\u{a0}"] {
            assert!(header(good).is_ok(), "{good:?}");
        }
        for bad in ["a\r\nX-Injected: 1", "a\u{1}", "a\tb", " a", "a ", "\u{9b}"] {
            assert!(header(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn no_value_leaves_its_segment(value in "\\PC*|[./\\\\%?#&\\x00-\\x1f]{0,6}", encoded in any::<bool>()) {
            let slashes = if encoded { Slashes::Encoded } else { Slashes::Refused };
            if let Ok(path) = address(&bits("/a/", &value, "/z"), slashes) {
                let url = reqwest::Url::parse(&format!("http://host.example{path}")).unwrap();
                let segments: Vec<&str> = url.path_segments().unwrap().collect();
                prop_assert_eq!(segments.len(), 3, "{}", path);
                prop_assert_eq!(percent::decode(segments[1]), value);
                prop_assert_eq!((url.query(), url.fragment()), (None, None));
            }
        }
    }
}
