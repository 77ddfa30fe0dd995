//! Blots out secrets of a configuration's text before any of it can be shown in a message.

/// Words in a key that make its value a secret.
const TELLTALE: [&str; 6] = ["pass", "secret", "token", "key", "credential", "pin"];

/// The text with the contents of values that look like secrets, and passwords inside URLs, replaced by as many `*`.
/// Bytes keep their positions.
pub fn text(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let mut at = 0;
    // Flows and entities hold no secrets, but keys called `key`.
    let mut open = false;
    for line in text.split_inclusive('\n') {
        if line.trim_start().starts_with('[') {
            let table = line.trim_start().trim_start_matches('[').trim_start();
            open = table.starts_with("flows") || table.starts_with("entities");
        }
        for (start, end) in values(line) {
            let (key, value) = (key_before(line, start), &line[start..end]);
            if !open && TELLTALE.iter().any(|word| key.contains(word)) {
                bytes[at + start..at + end].fill(b'*');
            } else if let Some((from, to)) = password(value) {
                bytes[at + start + from..at + start + to].fill(b'*');
            }
        }
        at += line.len();
    }
    String::from_utf8(bytes).unwrap_or_default()
}

/// Where the quoted texts of a line are, without their quotes.
fn values(line: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut open: Option<(usize, char)> = None;
    let mut escaped = false;
    for (at, letter) in line.char_indices() {
        match open {
            Some((start, quote)) if letter == quote && !escaped => {
                found.push((start, at));
                open = None;
            }
            None if letter == '"' || letter == '\'' => open = Some((at + 1, letter)),
            None if letter == '#' => return found,
            _ => {}
        }
        escaped = letter == '\\' && !escaped;
    }
    // An open end (the very mistake a message may be about) still hides what follows.
    found.extend(open.map(|(start, _)| (start, line.trim_end().len().max(start))));
    found
}

/// `password` in `password = "`; what is inside `{ env = "X" }` has the key `env`.
fn key_before(line: &str, quote: usize) -> String {
    let before = line[..quote.saturating_sub(1)].trim_end().trim_end_matches('=').trim_end();
    let name = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '-';
    before.rsplit(|letter| !name(letter)).next().unwrap_or_default().to_lowercase()
}

/// The password of `scheme://user:password@host`.
fn password(value: &str) -> Option<(usize, usize)> {
    let login = value.find("://")? + 3;
    let at = login + value[login..].rfind('@')?;
    let colon = login + value[login..at].find(':')? + 1;
    Some((colon, at))
}

#[cfg(test)]
mod tests {
    #[test]
    fn secrets_are_blotted_out_and_everything_keeps_its_position() {
        let text = "password = \"hush\"\nurl = \"postgres://me:hush@db/x\" # key\nuser = \"me\"\ntoken = { env = \"T\" }\nö = 'é'\n";
        let shown = super::text(text);
        assert_eq!(
            shown,
            "password = \"****\"\nurl = \"postgres://me:****@db/x\" # key\nuser = \"me\"\ntoken = { env = \"T\" }\nö = 'é'\n"
        );
    }

    #[test]
    fn a_secret_whose_quote_is_never_closed_is_hidden_too() {
        assert_eq!(super::text("secret = \"hush\n"), "secret = \"****\n");
    }
}
