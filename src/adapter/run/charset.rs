//! Decodes foreign bytes as text and marks invalid places: for formats that can be read on after such a place.

use encoding_rs::{DecoderResult, Encoding};

/// Stands in place of a byte that is invalid in its encoding. XML does not allow this character anywhere, so no
/// document contains it otherwise.
pub const BAD: char = '\u{FFFF}';

/// The problem of a value that contains [`BAD`].
pub const PROBLEM: &str = "a byte of it is not valid in its encoding, or it is written in another one";

/// Decode a text, with [`BAD`] in invalid places. A byte order mark is left out.
#[must_use]
pub fn marked(bytes: &[u8], encoding: &'static Encoding) -> String {
    let mut decoder = encoding.new_decoder();
    let mut text = String::with_capacity(bytes.len() + bytes.len() / 8);
    let mut rest = bytes;
    loop {
        text.reserve(rest.len() + 16);
        let (result, read) = decoder.decode_to_string_without_replacement(rest, &mut text, true);
        rest = &rest[read..];
        match result {
            DecoderResult::InputEmpty => return text,
            DecoderResult::OutputFull => {}
            DecoderResult::Malformed(..) => text.push(BAD),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_text_is_marked_and_the_rest_is_read() {
        assert_eq!(marked(b"a\xF1b\xC3", encoding_rs::UTF_8), format!("a{BAD}b{BAD}"));
        assert_eq!(marked("\u{FEFF}ñ".as_bytes(), encoding_rs::UTF_8), "ñ");
        assert_eq!(marked(b"\x82\xFFa", encoding_rs::SHIFT_JIS), format!("{BAD}a"));
        assert_eq!(marked(b"\xF1", encoding_rs::WINDOWS_1252), "ñ");
    }
}
