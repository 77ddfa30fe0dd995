//! Texts. All positions and lengths count characters.

use base64::Engine as _;
use rhai::{Array, Dynamic, Engine, ImmutableString};

use super::{
    Res, fail, html,
    operators::as_text,
    size::{self, Growth},
};
use crate::{
    expr::convert::{self, kind},
    json::{self, JsonError},
    model::flaw,
};

pub(super) fn register(engine: &mut Engine) {
    engine.register_fn("len", |s: &str| count(s));
    engine.register_get("len", |s: &mut ImmutableString| count(s));
    engine.register_fn("is_empty", |s: &str| s.is_empty());
    engine.register_fn("contains", |s: &str, part: &str| s.contains(part));
    engine.register_fn("starts_with", |s: &str, part: &str| s.starts_with(part));
    engine.register_fn("ends_with", |s: &str, part: &str| s.ends_with(part));
    engine.register_fn("index_of", |s: &str, part: &str| s.find(part).map_or(-1, |at| count(&s[..at])));
    engine.register_fn("trim", |s: &str| s.trim().to_owned());
    engine.register_fn("replace", |s: &str, from: &str, to: &str| -> Res<String> {
        if to.len() > from.len() {
            let grown = s.matches(from).count().saturating_mul(to.len() - from.len());
            size::text(s.len().saturating_add(grown))?;
        }
        Ok(s.replace(from, to))
    });
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
        let mut parts = Array::new();
        let mut growth = Growth::default();
        for part in s.split(separator) {
            let part = Dynamic::from(part.to_owned());
            growth.add(&part)?;
            parts.push(part);
        }
        Ok(parts)
    });
    engine.register_fn("sub_string", |s: &str, start: i64| sub_string(s, start, i64::MAX));
    engine.register_fn("sub_string", sub_string);
    engine.register_fn("slug", slug);
    engine.register_fn("strip_html", html::strip);
    engine.register_fn("json", |x: Dynamic| match convert::from_dynamic(&x) {
        Ok(value) => Ok(value.unwrap_or_default().to_string()),
        Err(cause) => fail(format!("json() {cause}")),
    });
    engine.register_fn("parse_json", |s: &str| match json::read(s.as_bytes(), json::MOST_VALUES) {
        Ok((value, _)) => match flaw::first(&value) {
            Some(flaw) => fail(format!("parse_json(): {flaw}")),
            None => Ok(convert::to_dynamic(&value)),
        },
        Err(JsonError::TooMany(most)) => fail(format!("parse_json(): the text holds more than {most} values")),
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

/// Characters from `start` (counted from the end if negative), at most `length`.
fn sub_string(text: &str, start: i64, length: i64) -> String {
    let start = if start < 0 { count(text).saturating_add(start).max(0) } else { start };
    let skip = usize::try_from(start).unwrap_or(usize::MAX);
    text.chars().skip(skip).take(usize::try_from(length).unwrap_or(0)).collect()
}

/// Lower-case ASCII letters, digits and single hyphens. Latin letters lose their accents; other characters are
/// dropped.
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
