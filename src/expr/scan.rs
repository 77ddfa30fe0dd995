//! Reads the words of an expression before it is compiled: which variables and functions it names. It also turns
//! texts in single quotes into the engine's double-quoted ones.

use std::ops::Range;

/// What an expression names, with positions in bytes.
#[derive(Debug, Default)]
pub(super) struct Words {
    /// The expression for the engine.
    pub script: String,
    pub variables: Vec<(String, Range<usize>)>,
    pub calls: Vec<(String, Range<usize>)>,
    /// Every use of a variable, with the member that is used if there is one.
    pub members: Vec<(String, Option<String>)>,
    /// Texts in quotes, as written.
    pub texts: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub range: Range<usize>,
    pub message: String,
}

const KEYWORDS: [&str; 8] = ["true", "false", "if", "else", "switch", "in", "omit", "_"];

/// Statements of the engine's language that are not allowed in an expression.
const FORBIDDEN: [&str; 19] = [
    "let", "const", "fn", "while", "loop", "for", "do", "until", "return", "throw", "try", "catch", "import", "export",
    "eval", "break", "continue", "this", "private",
];

/// Read the words of an expression.
pub(super) fn words(text: &str) -> Result<Words, Problem> {
    let mut words = Words::default();
    let mut parameters: Vec<String> = Vec::new();
    let bytes = text.as_bytes();
    let mut at = 0;
    // The last byte that is not a blank, and whether it ends a value: a `|` after a value does not begin a closure.
    let mut previous = b' ';
    while at < bytes.len() {
        let byte = bytes[at];
        match byte {
            b'"' | b'\'' => {
                let end = quoted(text, at)?;
                push_text(&mut words.script, &text[at + 1..end], byte);
                words.texts.push(text[at + 1..end].to_owned());
                at = end + 1;
                previous = b'"';
                continue;
            }
            b'`' => return Err(problem(at..at + 1, "texts stand in single or double quotes")),
            b'=' if !matches!(bytes.get(at + 1), Some(b'=' | b'>'))
                && !matches!(at.checked_sub(1).map(|i| bytes[i]), Some(b'=' | b'!' | b'<' | b'>')) =>
            {
                return Err(problem(at..at + 1, "nothing can be assigned; `==` compares"));
            }
            b';' => return Err(problem(at..at + 1, "one expression, without `;`")),
            b'|' | b'&' if bytes.get(at + 1) == Some(&byte) => {
                words.script.push_str(&text[at..at + 2]);
                at += 2;
                previous = b'(';
                continue;
            }
            b'&' | b'^' => return Err(problem(at..at + 1, "no such operator here; `&&` and `||` join conditions")),
            b'|' if ends_value(previous) => {
                return Err(problem(at..at + 1, "no such operator here; `&&` and `||` join conditions"));
            }
            b'*' | b'<' | b'>' if bytes.get(at + 1) == Some(&byte) => {
                return Err(problem(at..at + 2, "no such operator here"));
            }
            b'|' => {
                let Some(length) = text[at + 1..].find('|') else {
                    return Err(problem(at..at + 1, "the closure's parameters lack their closing `|`"));
                };
                let inner = &text[at + 1..at + 1 + length];
                parameters.extend(inner.split(',').map(|name| name.trim().to_owned()));
                words.script.push_str(&text[at..at + length + 2]);
                at += length + 2;
                previous = b'(';
                continue;
            }
            _ => {}
        }
        let Some(character) = text[at..].chars().next() else { break };
        if character.is_alphabetic() || character == '_' {
            let length = text[at..].find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len() - at);
            let range = at..at + length;
            let name = &text[range.clone()];
            let after = text[range.end..].trim_start();
            let member = previous == b'.' && !words.script.trim_end().ends_with("..");
            if FORBIDDEN.contains(&name) && !member {
                return Err(problem(range, &format!("`{name}` has no place in an expression")));
            }
            let label = after.starts_with(':') && !after.starts_with("::") && matches!(previous, b'{' | b',');
            if after.starts_with('(') && !KEYWORDS.contains(&name) {
                words.calls.push((name.to_owned(), range.clone()));
            } else if !member && !label && !KEYWORDS.contains(&name) {
                words.variables.push((name.to_owned(), range.clone()));
                words.members.push((name.to_owned(), member_of(&text[range.end..])));
            }
            words.script.push_str(name);
            at = range.end;
            previous = if matches!(name, "if" | "else" | "switch" | "in") { b'(' } else { b'a' };
            continue;
        }
        if character.is_ascii_digit() {
            let length = number(&text[at..]);
            words.script.push_str(&text[at..at + length]);
            at += length;
            previous = b'0';
            continue;
        }
        words.script.push(character);
        at += character.len_utf8();
        if !character.is_whitespace() {
            previous = if character.is_ascii() { byte } else { b'a' };
        }
    }
    if words.script.trim().is_empty() {
        return Err(problem(0..0, "the expression is empty"));
    }
    words.variables.retain(|(name, _)| !parameters.contains(name));
    words.variables.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.start.cmp(&b.1.start)));
    words.variables.dedup_by(|later, first| later.0 == first.0);
    Ok(words)
}

/// Position of the quote that ends the text beginning at `start`.
pub(super) fn quoted(text: &str, start: usize) -> Result<usize, Problem> {
    let bytes = text.as_bytes();
    let quote = bytes[start];
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            byte if byte == quote => return Ok(at),
            _ => at += 1,
        }
    }
    Err(problem(start..start + 1, "the text lacks its closing quote"))
}

fn push_text(script: &mut String, inner: &str, quote: u8) {
    script.push('"');
    if quote == b'"' {
        script.push_str(inner);
    } else {
        let mut characters = inner.chars();
        while let Some(character) = characters.next() {
            match character {
                '"' => script.push_str("\\\""),
                '\\' => match characters.next() {
                    Some('\'') => script.push('\''),
                    Some(next) => {
                        script.push('\\');
                        script.push(next);
                    }
                    None => {}
                },
                _ => script.push(character),
            }
        }
    }
    script.push('"');
}

/// Length of the number that begins a text. `1..2` is a range, `1.x` a member.
fn number(text: &str) -> usize {
    let bytes = text.as_bytes();
    let digits =
        |from: usize| from + bytes[from..].iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_').count();
    let whole = digits(0);
    if bytes.get(whole) == Some(&b'.') && bytes.get(whole + 1).is_some_and(u8::is_ascii_digit) {
        return digits(whole + 1);
    }
    whole
}

/// The member that `.name` or `.get("name")` reads.
fn member_of(after: &str) -> Option<String> {
    let after = after.strip_prefix('.')?;
    let name = &after[..after.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(after.len())];
    let rest = &after[name.len()..];
    match (name, rest.strip_prefix('(')) {
        ("", _) => None,
        (_, None) => Some(name.to_owned()),
        ("get", Some(argument)) => {
            let quote = argument.chars().next().filter(|c| matches!(c, '"' | '\''))?;
            argument[1..].split_once(quote).filter(|(_, tail)| tail.starts_with(')')).map(|(name, _)| name.to_owned())
        }
        _ => None,
    }
}

fn ends_value(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b')' | b']' | b'}' | b'"' | b'_')
}

fn problem(range: Range<usize>, message: &str) -> Problem {
    Problem { range, message: message.to_owned() }
}
