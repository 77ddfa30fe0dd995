//! Reads a file's bytes as UTF-8, whatever its encoding. Invalid bytes are passed on as something that no text
//! contains, and so spoil only their own row. A row that never ends stops the reading.

use std::io::{self, Read};

use encoding_rs::{Decoder, Encoding, UTF_8};

use crate::adapter::run::charset;

/// Reads a file as UTF-8.
#[derive(Debug)]
pub struct Utf8<R> {
    inner: R,
    /// Absent for UTF-8 itself, which the parser of the text checks.
    decoder: Option<Decoder>,
    raw: Vec<u8>,
    /// The part of `raw` that is not decoded yet.
    pending: std::ops::Range<usize>,
    /// Stands in place of invalid bytes.
    bad: &'static [u8],
    started: bool,
    exhausted: bool,
    /// Whether the decoder has given everything; it must not be called again.
    ended: bool,
    /// Added after the end, to see whether a quote was still open there.
    tail: &'static [u8],
    last: u8,
    /// Whether the first line ends in `\r\n`.
    crlf: Option<bool>,
    /// Number of bytes that may still be read before the row counts as too long.
    allowance: usize,
}

/// Why a file cannot be read as text.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TextError {
    #[error("the file begins like UTF-16; say so in `encoding`")]
    Wide,
    #[error("a row is longer than max_row")]
    TooLong,
}

const CHUNK: usize = 128 * 1024;

/// A byte that never occurs in UTF-8.
const NO_TEXT: &[u8] = b"\xFF";

impl<R: Read> Utf8<R> {
    pub fn new(inner: R, encoding: &'static Encoding, tail: &'static [u8]) -> Self {
        Self::with((encoding != UTF_8).then(|| encoding.new_decoder_with_bom_removal()), inner, tail, NO_TEXT)
    }

    /// For a format whose reader accepts only text: [`charset::BAD`] stands in place of invalid bytes.
    pub fn of_text(inner: R, encoding: &'static Encoding) -> Self {
        const BAD: &[u8] = "\u{FFFF}".as_bytes();
        debug_assert_eq!(BAD, charset::BAD.encode_utf8(&mut [0; 4]).as_bytes());
        Self::with(Some(encoding.new_decoder_with_bom_removal()), inner, b"", BAD)
    }

    fn with(decoder: Option<Decoder>, inner: R, tail: &'static [u8], bad: &'static [u8]) -> Self {
        let raw = if decoder.is_some() { vec![0; CHUNK] } else { Vec::new() };
        Self {
            inner,
            decoder,
            raw,
            pending: 0..0,
            bad,
            started: false,
            exhausted: false,
            ended: false,
            tail,
            last: b'\n',
            crlf: None,
            allowance: usize::MAX,
        }
    }

    /// Start a new row, which may have `most` bytes (plus what is buffered ahead of it).
    pub fn allow(&mut self, most: usize) {
        self.allowance = most;
    }

    /// Whether the text's last byte ended a line. Only meaningful once everything is read.
    pub fn ended_line(&self) -> bool {
        matches!(self.last, b'\n' | b'\r')
    }

    /// Whether lines end in `\r\n`. Known once the first line has been read.
    pub fn is_crlf(&self) -> bool {
        self.crlf == Some(true)
    }

    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.decoder.is_none() {
            if !self.started {
                self.started = true;
                return self.skip_mark(buffer);
            }
            return self.inner.read(buffer);
        }
        self.decode(buffer)
    }

    /// The first read of UTF-8, without its byte order mark.
    fn skip_mark(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut head = [0; 3];
        let mut filled = 0;
        while filled < head.len() {
            match self.inner.read(&mut head[filled..])? {
                0 => break,
                count => filled += count,
            }
        }
        if head[..filled] == [0xEF, 0xBB, 0xBF] {
            return self.inner.read(buffer);
        }
        if filled >= 2 && matches!(head[..2], [0xFF, 0xFE] | [0xFE, 0xFF]) {
            return Err(io::Error::other(TextError::Wide));
        }
        buffer[..filled].copy_from_slice(&head[..filled]);
        Ok(filled)
    }

    fn decode(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(decoder) = self.decoder.as_mut().filter(|_| !self.ended) else { return Ok(0) };
        loop {
            if self.pending.is_empty() && !self.exhausted {
                let count = self.inner.read(&mut self.raw)?;
                self.pending = 0..count;
                self.exhausted = count == 0;
            }
            let input = &self.raw[self.pending.clone()];
            let room = buffer.len() - self.bad.len();
            let (result, read, mut written) =
                decoder.decode_to_utf8_without_replacement(input, &mut buffer[..room], self.exhausted);
            self.pending.start += read;
            self.ended = self.exhausted && result == encoding_rs::DecoderResult::InputEmpty;
            if matches!(result, encoding_rs::DecoderResult::Malformed(..)) {
                buffer[written..written + self.bad.len()].copy_from_slice(self.bad);
                written += self.bad.len();
            }
            if written > 0 || (self.exhausted && self.pending.is_empty()) {
                return Ok(written);
            }
        }
    }
}

impl<R: Read> Read for Utf8<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        debug_assert!(buffer.len() >= 64, "a decoder needs room for a character, the tail for its mark");
        if self.allowance == 0 {
            return Err(io::Error::other(TextError::TooLong));
        }
        let count = self.fill(buffer)?;
        if count == 0 {
            let rest = std::mem::take(&mut self.tail);
            buffer[..rest.len()].copy_from_slice(rest);
            return Ok(rest.len());
        }
        if self.crlf.is_none() {
            let end = buffer[..count].iter().position(|byte| *byte == b'\n');
            self.crlf = end.map(|end| end > 0 && buffer[end - 1] == b'\r');
        }
        self.last = buffer[count - 1];
        self.allowance = self.allowance.saturating_sub(count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufRead as _;

    use super::*;

    #[test]
    fn who_reads_on_behind_the_end_is_given_nothing() {
        for encoding in [UTF_8, encoding_rs::WINDOWS_1252, encoding_rs::UTF_16LE] {
            let mut text = Utf8::new(&b"ab"[..], encoding, b"!");
            let mut buffer = [0; 64];
            let counts: Vec<usize> = (0..5).map(|_| text.read(&mut buffer).unwrap()).collect();
            assert_eq!(counts[1..], [1, 0, 0, 0], "{}", encoding.name());
        }
    }

    fn read(bytes: &[u8], encoding: &'static Encoding) -> Result<String, String> {
        let mut text = Vec::new();
        let mut reader = io::BufReader::new(Utf8::new(bytes, encoding, b""));
        loop {
            let part = reader.fill_buf().map_err(|error| error.to_string())?;
            let count = part.len();
            if count == 0 {
                break;
            }
            text.extend_from_slice(part);
            reader.consume(count);
        }
        String::from_utf8(text).map_err(|error| error.to_string())
    }

    #[test]
    fn the_text_is_the_same_in_every_encoding() {
        let text = "año;2,50 €\nsegunda;3\n";
        assert_eq!(read(text.as_bytes(), UTF_8).as_deref(), Ok(text));
        assert_eq!(read(&[b"\xEF\xBB\xBF", text.as_bytes()].concat(), UTF_8).as_deref(), Ok(text));
        let windows = encoding_rs::WINDOWS_1252;
        assert_eq!(read(&windows.encode(text).0, windows).as_deref(), Ok(text));
        let wide: Vec<u8> = std::iter::once(0xFEFF).chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
        assert_eq!(read(&wide, encoding_rs::UTF_16LE).as_deref(), Ok(text));
        assert!(read(&wide, UTF_8).unwrap_err().contains("UTF-16"));
    }

    #[test]
    fn a_long_file_is_decoded_across_all_seams() {
        let text = "ñandú;€\n".repeat(100_000);
        let windows = encoding_rs::WINDOWS_1252;
        assert_eq!(read(&windows.encode(&text).0, windows), Ok(text));
    }

    #[test]
    fn a_wrong_byte_is_distinguished_from_every_text_and_the_rest_is_read() {
        let all = |text: &mut dyn Read| {
            let mut read = vec![0; 1000];
            let mut length = 0;
            loop {
                match text.read(&mut read[length..]).unwrap() {
                    0 => return read[..length].to_vec(),
                    count => length += count,
                }
            }
        };
        let bytes = &b"a\n\x82\xFFc\n"[..];
        assert_eq!(all(&mut Utf8::new(bytes, encoding_rs::SHIFT_JIS, b"")), b"a\n\xFFc\n");
        let text = all(&mut Utf8::of_text(bytes, encoding_rs::SHIFT_JIS));
        assert_eq!(String::from_utf8(text).unwrap(), "a\n\u{FFFF}c\n");
        let text = all(&mut Utf8::of_text(&b"\xEF\xBB\xBFa\xF1o"[..], UTF_8));
        assert_eq!(String::from_utf8(text).unwrap(), "a\u{FFFF}o");
    }
}
