//! XML as JSON values and back: members are elements, `@name` attributes, `#text` the text beside attributes; an element
//! without attributes and children is its text; elements of the same name side by side are a list.

use quick_xml::{Reader, events::Event};
use serde_json::{Map, Value};

/// Deeper nesting is refused, so that no answer can exhaust the stack.
const DEPTH: usize = 100;

struct Open {
    name: String,
    members: Map<String, Value>,
    text: String,
    children: bool,
}

/// Reads a document; the result is an object with the root element as its only member.
///
/// # Errors
/// What is wrong with the text, with its byte position.
pub fn read(text: &str) -> Result<Value, String> {
    let mut reader = Reader::from_str(text);
    let mut stack = vec![open("", None)?];
    loop {
        let at = reader.buffer_position();
        let wrong = |problem: &dyn std::fmt::Display| format!("byte {at}: {problem}");
        match reader.read_event().map_err(|error| wrong(&error))? {
            Event::Start(tag) => {
                if stack.len() > DEPTH {
                    return Err(wrong(&"nested too deeply"));
                }
                stack.push(open(tag.name().as_ref(), Some(&tag))?);
            }
            Event::Empty(tag) => {
                let element = open(tag.name().as_ref(), Some(&tag))?;
                put(&mut stack, element);
            }
            Event::End(_) => {
                if stack.len() > 1
                    && let Some(element) = stack.pop()
                {
                    put(&mut stack, element);
                }
            }
            Event::Text(piece) => append(&mut stack, &piece.xml10_content()),
            Event::CData(piece) => append(&mut stack, &piece.xml10_content()),
            Event::GeneralRef(reference) => {
                let plain = reference.resolve_char_ref().map_err(|error| wrong(&error))?;
                match plain {
                    Some(character) => append(&mut stack, character.encode_utf8(&mut [0; 4])),
                    None => match quick_xml::escape::resolve_predefined_entity(&reference.xml10_content()) {
                        Some(text) => append(&mut stack, text),
                        None => return Err(wrong(&"unknown entity")),
                    },
                }
            }
            Event::Eof => break,
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
    match (stack.pop(), stack.is_empty()) {
        (Some(top), true) if top.members.len() == 1 && top.text.trim().is_empty() => Ok(Value::Object(top.members)),
        (_, false) => Err("the document ends before its root element does".into()),
        _ => Err("not one root element".into()),
    }
}

fn open(name: &str, tag: Option<&quick_xml::events::BytesStart<'_>>) -> Result<Open, String> {
    let mut members = Map::new();
    if let Some(tag) = tag {
        for attribute in tag.attributes() {
            let attribute = attribute.map_err(|error| format!("element `{name}`: {error}"))?;
            let value = quick_xml::escape::unescape(&attribute.value).map_err(|error| format!("`{name}`: {error}"))?;
            members.insert(format!("@{}", attribute.key.as_ref()), Value::from(value));
        }
    }
    Ok(Open { name: name.to_owned(), members, text: String::new(), children: false })
}

fn append(stack: &mut [Open], text: &str) {
    if let Some(top) = stack.last_mut() {
        top.text.push_str(text);
    }
}

fn put(stack: &mut [Open], mut element: Open) {
    let blank = element.text.trim().is_empty();
    let text = if blank { String::new() } else { element.text };
    let value = if element.members.is_empty() {
        Value::String(text)
    } else {
        if !element.children || !blank {
            element.members.insert("#text".into(), Value::String(text));
        }
        Value::Object(element.members)
    };
    let Some(parent) = stack.last_mut() else { return };
    parent.children = true;
    match parent.members.get_mut(&element.name) {
        None => {
            parent.members.insert(element.name, value);
        }
        Some(Value::Array(items)) => items.push(value),
        Some(single) => {
            let first = single.take();
            *single = Value::Array(vec![first, value]);
        }
    }
}

/// Writes an object with one member, the root element.
///
/// # Errors
/// When the value has no form in XML.
pub fn write(value: &Value) -> Result<String, String> {
    let root = value.as_object().filter(|members| members.len() == 1);
    let Some((name, content)) = root.and_then(|members| members.iter().next()) else {
        return Err("a body to be sent as XML must be an object with one member, the root element".into());
    };
    if content.is_array() {
        return Err("the root element cannot be a list".into());
    }
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>");
    element(name, content, &mut out)?;
    Ok(out)
}

fn element(name: &str, content: &Value, out: &mut String) -> Result<(), String> {
    if let Value::Array(items) = content {
        return items.iter().try_for_each(|item| element(name, item, out));
    }
    checked(name)?;
    out.push('<');
    out.push_str(name);
    let Value::Object(members) = content else {
        out.push('>');
        escape(&scalar(content), out)?;
        close(name, out);
        return Ok(());
    };
    for (attribute, value) in members.iter().filter_map(|(name, value)| Some((name.strip_prefix('@')?, value))) {
        checked(attribute)?;
        out.push(' ');
        out.push_str(attribute);
        out.push_str("=\"");
        escape(&scalar(value), out)?;
        out.push('"');
    }
    out.push('>');
    for (child, value) in members.iter().filter(|(name, _)| !name.starts_with('@')) {
        if child == "#text" {
            escape(&scalar(value), out)?;
        } else {
            element(child, value, out)?;
        }
    }
    close(name, out);
    Ok(())
}

fn close(name: &str, out: &mut String) {
    out.push_str("</");
    out.push_str(name);
    out.push('>');
}

fn scalar(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn checked(name: &str) -> Result<(), String> {
    let mut characters = name.chars();
    let first = characters.next().is_some_and(|c| c.is_alphabetic() || c == '_');
    let good = first && characters.all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ':'));
    if good { Ok(()) } else { Err(format!("`{name}` cannot be the name of an XML element")) }
}

fn escape(text: &str, out: &mut String) -> Result<(), String> {
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' | '\r' => out.push(character),
            c if (c.is_control() && c < '\u{80}') || matches!(c, '\u{FFFE}' | '\u{FFFF}') => {
                return Err(format!("the control character {} cannot be sent in XML", c.escape_unicode()));
            }
            c => out.push(c),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn elements_attributes_and_lists_keep_their_content() {
        let text = r#"<?xml version="1.0"?>
            <shop xmlns:x="urn:x"><products>
              <product id="7"><name><![CDATA[Tornillo & tuerca]]></name><note>a &lt; b &#241;</note><gone/></product>
              <product id="8" /></products><empty>
              </empty></shop>"#;
        assert_eq!(
            read(text).unwrap(),
            json!({ "shop": { "@xmlns:x": "urn:x", "products": { "product": [
                { "@id": "7", "name": "Tornillo & tuerca", "note": "a < b ñ", "gone": "" }, { "@id": "8", "#text": "" }
            ] }, "empty": "" } })
        );
    }

    #[test]
    fn what_is_written_is_read_back() {
        let value = json!({ "a": { "@id": "1", "b": ["x", "<&\">"], "c": { "@t": "y", "#text": "z" }, "d": "" } });
        assert_eq!(read(&write(&value).unwrap()).unwrap(), value);
        assert!(write(&json!({ "a": { "b c": 1 } })).is_err());
        assert!(write(&json!({ "a": 1, "b": 2 })).is_err());
        assert!(write(&json!({ "a": "\u{1}" })).is_err());
    }

    #[test]
    fn a_truncated_or_bottomless_document_is_refused() {
        assert!(read("<a><b>x</b>").is_err());
        assert!(read("").is_err());
        assert!(read("plain").is_err());
        assert!(read("<a>&bomb;</a>").is_err());
        assert!(read(&"<a>".repeat(100_000)).is_err());
    }
}
