//! Extracts the text of HTML. Whatever the input, each byte is looked at a fixed number of times.

use html_escape::NAMED_ENTITIES;

/// Elements that stand on lines of their own.
const BLOCKS: &[&str] = &[
    "p", "div", "br", "li", "ul", "ol", "tr", "td", "th", "table", "h1", "h2", "h3", "h4", "h5", "h6", "section", "hr",
];

/// Longest name of an entity.
const ENTITY: usize = 31;

/// The text of HTML: tags dropped (blocks become blanks), entities decoded, blanks joined.
pub(super) fn strip(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        let tag = &rest[start + 1..];
        if !tag.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || c == '!') {
            decode(&rest[..=start], &mut out);
            rest = tag;
            continue;
        }
        // If no further tag ends, the rest is text.
        let Some(end) = tag.find('>') else { break };
        decode(&rest[..start], &mut out);
        let name: String = tag.trim_start_matches('/').chars().take_while(char::is_ascii_alphanumeric).collect();
        let name = name.to_ascii_lowercase();
        if BLOCKS.contains(&name.as_str()) {
            out.push(' ');
        }
        rest = &tag[end + 1..];
        if (name == "script" || name == "style") && !tag.starts_with('/') {
            rest = closing(rest, &name).map_or("", |at| &rest[at..]);
        }
    }
    decode(rest, &mut out);
    out.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Position of an element's closing tag.
fn closing(text: &str, name: &str) -> Option<usize> {
    text.match_indices("</").map(|(at, _)| at).find(|at| {
        let named = text.as_bytes().get(at + 2..at + 2 + name.len());
        named.is_some_and(|named| named.eq_ignore_ascii_case(name.as_bytes()))
    })
}

fn decode(text: &str, out: &mut String) {
    let mut rest = text;
    while let Some(start) = rest.find('&') {
        out.push_str(&rest[..start]);
        let after = &rest[start + 1..];
        let end = after.bytes().take(ENTITY + 1).position(|byte| byte == b';');
        match end.filter(|end| resolve(&after[..*end], out)) {
            Some(end) => rest = &after[end + 1..],
            None => {
                out.push('&');
                rest = after;
            }
        }
    }
    out.push_str(rest);
}

/// Append the character that an entity stands for. Return false if it is unknown.
fn resolve(entity: &str, out: &mut String) -> bool {
    match entity.strip_prefix('#') {
        Some(number) => character(number).map(|c| out.push(c)).is_some(),
        None => named(entity).map(|text| out.push_str(text)).is_some(),
    }
}

fn named(name: &str) -> Option<&'static str> {
    let found = NAMED_ENTITIES.binary_search_by_key(&name.as_bytes(), |(known, _)| known);
    found.ok().map(|at| NAMED_ENTITIES[at].1)
}

fn character(number: &str) -> Option<char> {
    let code = match number.strip_prefix(['x', 'X']) {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => number.parse(),
    };
    char::from_u32(code.ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entity_of_html_is_decoded_by_its_exact_name() {
        for (name, text) in NAMED_ENTITIES {
            assert!(name.len() <= ENTITY, "{name:?}");
            let mut out = String::new();
            decode(&format!("&{};", std::str::from_utf8(name).unwrap()), &mut out);
            assert_eq!(out, text);
        }
        for (html, text) in [
            ("caf&eacute; &copy;", "café ©"),
            ("&lt;&gt;&quot;&apos;&amp;amp;", "<>\"'&amp;"),
            ("a&nbsp;b", "a b"),
            ("&#39;&#x20AC;&#X2013;", "'€–"),
            ("&eacute &Nope; &#xD800; &#; &;&", "&eacute &Nope; &#xD800; &#; &;&"),
        ] {
            assert_eq!(strip(html), text);
        }
    }
}
