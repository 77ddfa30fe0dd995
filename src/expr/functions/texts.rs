//! Texts. All positions and lengths count characters.

use base64::Engine as _;
use rhai::{Array, Dynamic, Engine, ImmutableString};

use super::{Res, fail, operators::as_text};
use crate::expr::convert::{self, kind};

pub(super) fn register(engine: &mut Engine) {
    engine.register_fn("len", |s: &str| count(s));
    engine.register_get("len", |s: &mut ImmutableString| count(s));
    engine.register_fn("is_empty", |s: &str| s.is_empty());
    engine.register_fn("contains", |s: &str, part: &str| s.contains(part));
    engine.register_fn("starts_with", |s: &str, part: &str| s.starts_with(part));
    engine.register_fn("ends_with", |s: &str, part: &str| s.ends_with(part));
    engine.register_fn("index_of", |s: &str, part: &str| s.find(part).map_or(-1, |at| count(&s[..at])));
    engine.register_fn("trim", |s: &str| s.trim().to_owned());
    engine.register_fn("replace", |s: &str, from: &str, to: &str| s.replace(from, to));
    for name in ["lower", "to_lower"] {
        engine.register_fn(name, |s: &str| s.to_lowercase());
    }
    for name in ["upper", "to_upper"] {
        engine.register_fn(name, |s: &str| s.to_uppercase());
    }
    engine.register_fn("split", |s: &str, separator: &str| -> Res<Array> {
        if separator.is_empty() {
            return fail("split() needs a separator");
        }
        Ok(s.split(separator).map(|part| Dynamic::from(part.to_owned())).collect())
    });
    engine.register_fn("sub_string", |s: &str, start: i64| sub_string(s, start, i64::MAX));
    engine.register_fn("sub_string", sub_string);
    engine.register_fn("slug", slug);
    engine.register_fn("strip_html", strip_html);
    engine.register_fn("json", |x: Dynamic| match convert::from_dynamic(&x) {
        Ok(value) => Ok(value.unwrap_or_default().to_string()),
        Err(cause) => fail(format!("json() {cause}")),
    });
    engine.register_fn("parse_json", |s: &str| match serde_json::from_str(s) {
        Ok(value) => Ok(convert::to_dynamic(&value)),
        Err(_) => fail("parse_json(): the text is not JSON"),
    });
    engine.register_fn("base64", |x: Dynamic| match as_text(&x) {
        Some(text) => Ok(base64::engine::general_purpose::STANDARD.encode(text)),
        None => fail(format!("base64() needs a text, not {}", kind(&x))),
    });
    engine.register_fn("blake3", |x: Dynamic| match as_text(&x) {
        Some(text) => Ok(blake3::hash(text.as_bytes()).to_hex().to_string()),
        None => fail(format!("blake3() needs a text, not {}", kind(&x))),
    });
}

fn count(text: &str) -> i64 {
    i64::try_from(text.chars().count()).unwrap_or(i64::MAX)
}

/// Characters from `start` (from the end when negative), at most `length`.
fn sub_string(text: &str, start: i64, length: i64) -> String {
    let start = if start < 0 { count(text).saturating_add(start).max(0) } else { start };
    let skip = usize::try_from(start).unwrap_or(usize::MAX);
    text.chars().skip(skip).take(usize::try_from(length).unwrap_or(0)).collect()
}

/// Lower-case ASCII letters, digits and single hyphens; Latin letters lose their accents, others are dropped.
fn slug(text: &str) -> String {
    let mut out = String::new();
    let mut gap = false;
    let mut ascii = [0; 4];
    for character in text.to_lowercase().chars() {
        let part: &str = match character {
            'a'..='z' | '0'..='9' => character.encode_utf8(&mut ascii),
            'à'..='å' | 'ā' | 'ă' | 'ą' => "a",
            'æ' => "ae",
            'ç' | 'ć' | 'č' => "c",
            'ď' | 'đ' | 'ð' => "d",
            'è'..='ë' | 'ē' | 'ė' | 'ę' | 'ě' => "e",
            'ğ' | 'ģ' => "g",
            'ì'..='ï' | 'ī' | 'į' | 'ı' => "i",
            'ķ' => "k",
            'ĺ' | 'ļ' | 'ľ' | 'ł' => "l",
            'ñ' | 'ń' | 'ņ' | 'ň' => "n",
            'ò'..='ö' | 'ø' | 'ō' | 'ő' => "o",
            'œ' => "oe",
            'ŕ' | 'ř' => "r",
            'ś' | 'ş' | 'š' | 'ș' => "s",
            'ß' => "ss",
            'ţ' | 'ť' | 'ț' => "t",
            'ù'..='ü' | 'ū' | 'ů' | 'ű' | 'ų' => "u",
            'ý' | 'ÿ' => "y",
            'ź' | 'ż' | 'ž' => "z",
            '\'' | '\u{2019}' | '·' | '\u{300}'..='\u{36f}' => continue,
            _ => {
                gap = true;
                continue;
            }
        };
        if std::mem::take(&mut gap) && !out.is_empty() {
            out.push('-');
        }
        out.push_str(part);
    }
    out
}

/// The text of HTML: tags dropped (blocks become blanks), entities decoded, blanks joined.
fn strip_html(text: &str) -> String {
    const BLOCKS: &[&str] = &[
        "p", "div", "br", "li", "ul", "ol", "tr", "td", "th", "table", "h1", "h2", "h3", "h4", "h5", "h6", "section",
        "hr",
    ];
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        let tag = &rest[start + 1..];
        let named = tag.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || c == '!');
        let Some(end) = tag.find('>').filter(|_| named) else {
            out.push_str(&decoded(&rest[..=start]));
            rest = tag;
            continue;
        };
        out.push_str(&decoded(&rest[..start]));
        let name: String = tag.trim_start_matches('/').chars().take_while(char::is_ascii_alphanumeric).collect();
        let name = name.to_ascii_lowercase();
        if BLOCKS.contains(&name.as_str()) {
            out.push(' ');
        }
        rest = &tag[end + 1..];
        if (name == "script" || name == "style") && !tag.starts_with('/') {
            let close = format!("</{name}");
            // ASCII lower case keeps every byte where it is.
            let after = rest.to_ascii_lowercase().find(&close);
            rest = after.map_or("", |at| &rest[at..]);
        }
    }
    out.push_str(&decoded(rest));
    out.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn decoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('&') {
        out.push_str(&rest[..start]);
        let after = &rest[start + 1..];
        let entity = after.find(';').filter(|end| *end <= 8).map(|end| (&after[..end], &after[end + 1..]));
        if let Some((c, tail)) = entity.and_then(|(name, tail)| character(name).map(|c| (c, tail))) {
            out.push(c);
            rest = tail;
        } else {
            out.push('&');
            rest = after;
        }
    }
    out + rest
}

fn character(entity: &str) -> Option<char> {
    match entity {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        "nbsp" => Some(' '),
        "euro" => Some('€'),
        "ndash" => Some('–'),
        "mdash" => Some('—'),
        "hellip" => Some('…'),
        _ => {
            let number = entity.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)
        }
    }
}
