//! What the shop does to texts and prices before it stores them: changes that surprise its callers.

use rust_decimal::{Decimal, RoundingStrategy};
use serde_json::Value;

/// Text with bare `&` as `&amp;` and without scripts. Other tags stay.
pub fn filtered(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['&', '<']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if rest.starts_with('&') {
            out.push_str(if is_entity(rest) { "&" } else { "&amp;" });
            rest = &rest[1..];
        } else if let Some(end) = script_tag(rest) {
            rest = &rest[end..];
        } else {
            out.push('<');
            rest = &rest[1..];
        }
    }
    out.push_str(rest);
    out
}

fn is_entity(text: &str) -> bool {
    let Some(end) = text[1..].find(';') else { return false };
    let name = &text[1..=end];
    !name.is_empty() && name.len() < 10 && name.trim_start_matches('#').chars().all(|c| c.is_ascii_alphanumeric())
}

fn script_tag(text: &str) -> Option<usize> {
    let lower: String = text.chars().take(9).collect::<String>().to_ascii_lowercase();
    (lower.starts_with("<script") || lower.starts_with("</script")).then(|| text.find('>').map(|at| at + 1)).flatten()
}

/// Text as plain readers of the interface get it: with paragraphs around lines that have none.
pub fn paragraphs(text: &str) -> String {
    let mut out = String::new();
    for block in text.split("\n\n").map(str::trim).filter(|block| !block.is_empty()) {
        let is_block = ["<p", "<ul", "<ol", "<div", "<table", "<h"].iter().any(|tag| block.starts_with(tag));
        if is_block {
            out.push_str(block);
        } else {
            out.push_str("<p>");
            out.push_str(&block.replace('\n', "<br />\n"));
            out.push_str("</p>");
        }
        out.push('\n');
    }
    out
}

/// A price as the shop reads it: everything but digits, minus and the last point is dropped, so `19,5` becomes
/// `195`.
pub fn price(value: &Value) -> String {
    let given = plain(value);
    let last_point = given.rfind('.');
    given
        .char_indices()
        .filter(|(at, c)| c.is_ascii_digit() || *c == '-' || (*c == '.' && Some(*at) == last_point))
        .map(|(_, c)| c)
        .collect()
}

/// A scalar as text.
pub fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Bool(true) => "1".into(),
        _ => String::new(),
    }
}

/// The number of a stored amount. An empty or broken one is zero.
pub fn amount(text: &str) -> Decimal {
    text.trim().parse().unwrap_or_default()
}

/// Number of decimals of the shop's prices.
pub const CENTS: u32 = 2;
/// Number of decimals of an amount that is not rounded.
pub const EXACT: u32 = 6;

/// An amount with two decimals, rounded half away from zero.
pub fn money(amount: Decimal) -> String {
    fixed(amount, CENTS)
}

/// An amount with this number of decimals, rounded half away from zero.
pub fn fixed(amount: Decimal, places: u32) -> String {
    let mut rounded = rounded(amount, places);
    rounded.rescale(places);
    if rounded.is_zero() {
        rounded.set_sign_positive(true);
    }
    rounded.to_string()
}

pub fn rounded(amount: Decimal, places: u32) -> Decimal {
    amount.round_dp_with_strategy(places, RoundingStrategy::MidpointAwayFromZero)
}

/// Text as part of an address: lower case, without tags and entities, words joined by `-`. Letters outside ASCII
/// are percent-encoded, except Latin letters with an accent, which lose it.
pub fn slug(text: &str) -> String {
    let readable = readable_slug(text);
    let mut out = String::with_capacity(readable.len());
    for c in readable.chars() {
        if c.is_ascii() {
            out.push(c);
        } else {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                out.push('%');
                out.push_str(&super::auth::hex(byte));
            }
        }
    }
    out
}

/// Like [`slug`], but letters outside ASCII stay as they are.
pub fn readable_slug(text: &str) -> String {
    let mut out = String::new();
    let mut skipping = None;
    for c in text.to_lowercase().chars() {
        match (skipping, c) {
            (Some(end), c) if c == end => skipping = None,
            (Some(';'), ' ') => {
                skipping = None;
                out.push('-');
            }
            (Some(_), _) => {}
            (None, '<') => skipping = Some('>'),
            (None, '&') => skipping = Some(';'),
            (None, c) if c.is_ascii_alphanumeric() || c == '_' => out.push(c),
            (None, c) if c.is_ascii() => out.push('-'),
            (None, c) => match unaccented(c) {
                Some(plain) => out.push_str(plain),
                None => out.push(c),
            },
        }
    }
    let mut slug = out.split('-').filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-");
    slug.truncate(slug.floor_char_boundary(190));
    slug
}

fn unaccented(c: char) -> Option<&'static str> {
    Some(match c {
        'á' | 'à' | 'â' | 'ä' | 'ã' | 'å' | 'ª' => "a",
        'é' | 'è' | 'ê' | 'ë' => "e",
        'í' | 'ì' | 'î' | 'ï' => "i",
        'ó' | 'ò' | 'ô' | 'ö' | 'õ' | 'ø' | 'º' => "o",
        'ú' | 'ù' | 'û' | 'ü' => "u",
        'ñ' => "n",
        'ç' => "c",
        'ß' => "ss",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_price_loses_its_decimal_comma() {
        assert_eq!(price(&json!("19,5")), "195");
        assert_eq!(price(&json!("abc")), "");
        assert_eq!(price(&json!("-5")), "-5");
        assert_eq!(price(&json!("1.234.5")), "1234.5");
    }

    #[test]
    fn names_come_back_escaped() {
        assert_eq!(filtered("Tee & \"Co\" <b>é</b> 😀"), "Tee &amp; \"Co\" <b>é</b> 😀");
        assert_eq!(filtered("Tee &amp; Co"), "Tee &amp; Co");
        assert_eq!(filtered("<p>hi<script>x</script></p>"), "<p>hix</p>");
    }

    #[test]
    fn slugs_are_as_recorded() {
        assert_eq!(slug("Tee &amp; \"Co\" <b>é</b> 😀"), "tee-co-e-%f0%9f%98%80");
        assert_eq!(slug("Shirts & Co"), "shirts-co");
    }
}
