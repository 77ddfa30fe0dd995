//! Describes an answer in an unexpected format by its first words, for messages.

use crate::adapter::manifest::http::Receive;

/// Maximum length of the text that is shown.
const WORDS: usize = 80;

/// Number of bytes of an answer that are searched for these words.
pub const LOOKED_AT: usize = 16 << 10;

/// `answered HTML instead of JSON: <title>Maintenance`. Words from data are not shown: they may be personal.
#[must_use]
pub fn shown(text: &str, expected: Receive) -> String {
    let expected = match expected {
        Receive::Json => "JSON",
        Receive::Xml => "XML",
        Receive::Text => "text",
    };
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let lower = text.to_ascii_lowercase();
    let is_page = lower.starts_with("<!doctype html") || lower.starts_with("<html");
    if is_page || lower.starts_with('<') && lower.contains("<title") {
        let titled = between(text, &lower, "<title", "</title");
        return match titled {
            Some(title) => format!("answered HTML instead of {expected}: <title>{}", words(title)),
            None => format!("answered HTML instead of {expected}: {}", words(&untagged(text))),
        };
    }
    // Text before the data, such as a warning from the server's program.
    let before = text.find(['{', '[', '<']).map_or(text, |at| &text[..at]).trim();
    match (before.is_empty(), before.len() == text.trim().len()) {
        (true, _) => format!("answered something that is not {expected}: it breaks off, or has a fault in it"),
        (false, true) => format!("answered text instead of {expected}: {}", words(before)),
        (false, false) => format!("answered something before its {expected}: {}", words(before)),
    }
}

/// The content of the first element with that name.
fn between<'t>(text: &'t str, lower: &str, open: &str, close: &str) -> Option<&'t str> {
    let start = lower.find(open)?;
    let start = start + lower[start..].find('>')? + 1;
    let end = start + lower[start..].find(close)?;
    let content = text[start..end].trim();
    (!content.is_empty()).then_some(content)
}

/// The text between tags, without styles and scripts; only as much as is needed.
fn untagged(text: &str) -> String {
    let (mut out, mut length) = (String::new(), 0);
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        length += rest[..start].split_whitespace().map(|word| word.chars().count() + 1).sum::<usize>();
        out.push_str(&rest[..start]);
        out.push(' ');
        let tag = &rest[start..];
        let head: String = tag.chars().take(7).collect::<String>().to_ascii_lowercase();
        let end = ["<style", "<script"].iter().find(|name| head.starts_with(*name)).and_then(|_| tag[1..].find("</"));
        let tag = end.map_or(tag, |end| &tag[end + 1..]);
        rest = tag.find('>').map_or("", |end| &tag[end + 1..]);
        if length > WORDS {
            return out;
        }
    }
    out.push_str(rest);
    out
}

/// One line of at most [`WORDS`] characters.
fn words(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(WORDS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_shown_by_its_title_or_its_first_words() {
        let page = "<!DOCTYPE html>\n<html><head><title lang=\"en\">Maintenance</title></head><body>x</body></html>";
        assert_eq!(shown(page, Receive::Json), "answered HTML instead of JSON: <title>Maintenance");
        let page = "<html><style>p { color: red }</style><body><h1>Back\n soon</h1></body>";
        assert_eq!(shown(page, Receive::Xml), "answered HTML instead of XML: Back soon");
        let long = format!("<html><body>{}", "word ".repeat(10_000));
        assert!(shown(&long, Receive::Json).chars().count() < 130);
    }

    #[test]
    fn what_stands_before_the_data_is_shown_and_the_data_is_not() {
        let warned = "Warning: Undefined variable in plugin.php\n[{\"email\":\"ana@example.es\"}]";
        assert_eq!(
            shown(warned, Receive::Json),
            "answered something before its JSON: Warning: Undefined variable in plugin.php"
        );
        let broken = shown("[{\"email\":\"ana@example.es\"", Receive::Json);
        assert!(broken.contains("not JSON") && !broken.contains("ana"), "{broken}");
        assert_eq!(shown("upstream timed out", Receive::Json), "answered text instead of JSON: upstream timed out");
    }
}
