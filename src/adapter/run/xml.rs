//! XML as JSON values and back. Members are elements, `@name` is an attribute, `#text` the text next to attributes.
//! An element without attributes and children is its text. Sibling elements with the same name are a list. Text
//! that cannot be read is marked in its place.

use std::borrow::Cow;

use quick_xml::{
    Reader,
    events::{BytesRef, BytesStart, Event, attributes::Attribute},
};
use serde_json::{Map, Value};

use super::charset;
use crate::model::flaw;

/// Deeper nesting is refused: no answer may exhaust the stack.
const DEPTH: usize = 100;

struct Open {
    name: String,
    members: Map<String, Value>,
    text: String,
    children: bool,
    /// Why its text cannot be read.
    flaw: Option<String>,
}

/// Why a document cannot be read at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum XmlError {
    #[error("it is no XML ({0})")]
    Form(String),
    #[error("it holds more than {0} values")]
    TooMany(usize),
}

/// Read a document with at most `most` elements and attributes. Return an object with the root element as its only
/// member, and the number of elements and attributes. [`charset::BAD`] marks what is not text.
///
/// # Errors
/// If it is malformed (with the byte position), or exceeds the limit.
pub fn read(text: &str, most: usize) -> Result<(Value, usize), XmlError> {
    let mut reader = Reader::from_str(text);
    let mut stack = vec![open("", None)];
    let mut count = 0;
    loop {
        let at = reader.buffer_position();
        let wrong = |problem: &dyn std::fmt::Display| XmlError::Form(format!("byte {at}: {problem}"));
        match reader.read_event().map_err(|error| wrong(&error))? {
            Event::Start(tag) => {
                if stack.len() > DEPTH {
                    return Err(wrong(&"nested too deeply"));
                }
                let element = open(tag.name().as_ref(), Some(&tag));
                count += 1 + element.members.len();
                stack.push(element);
            }
            Event::Empty(tag) => {
                let element = open(tag.name().as_ref(), Some(&tag));
                count += 1 + element.members.len();
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
            Event::GeneralRef(reference) => match resolved(&reference) {
                Ok(text) => append(&mut stack, &text),
                Err(problem) => {
                    if let Some(top) = stack.last_mut() {
                        top.flaw.get_or_insert(problem);
                    }
                }
            },
            Event::Eof => break,
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
        if count > most {
            return Err(XmlError::TooMany(most));
        }
    }
    let form = |problem: &str| Err(XmlError::Form(problem.to_owned()));
    match (stack.pop(), stack.is_empty()) {
        (Some(top), true) if top.members.len() == 1 && top.text.trim().is_empty() => {
            Ok((Value::Object(top.members), count))
        }
        (_, false) => form("the document ends before its root element does"),
        _ => form("not one root element"),
    }
}

/// The text that a reference stands for, or what is wrong with it.
///
/// # Errors
/// If it does not stand for a character, or only a document type explains it: these are not read.
pub fn resolved(reference: &BytesRef<'_>) -> Result<String, String> {
    let name = reference.xml10_content();
    match reference.resolve_char_ref() {
        Ok(Some(character)) if character == charset::BAD => Err(format!("`&{name};` is no character")),
        Ok(Some(character)) => Ok(character.into()),
        Ok(None) => quick_xml::escape::resolve_predefined_entity(&name)
            .map(str::to_owned)
            .ok_or_else(|| format!("the entity `&{name};` is not known")),
        Err(_) => Err(format!("`&{name};` is no character")),
    }
}

/// An element's attributes as members `@name`. An attribute is marked if it cannot be read, or if `text` returns
/// `None`.
pub fn attributes(tag: &BytesStart<'_>, text: impl Fn(&Attribute<'_>) -> Option<String>) -> Map<String, Value> {
    let mut members = Map::new();
    for attribute in tag.attributes() {
        let Ok(attribute) = attribute else {
            members.insert("@?".to_owned(), flaw::mark("an attribute is not well formed, or stands twice"));
            continue;
        };
        let name = format!("@{}", attribute.key.as_ref());
        let value = match text(&attribute) {
            Some(_) if name.contains(charset::BAD) => flaw::mark(format!("of its name, {}", charset::PROBLEM)),
            Some(text) => marked(text),
            None => flaw::mark("a reference in it stands for no character"),
        };
        members.insert(name, value);
    }
    members
}

/// A text, or a mark if it cannot be read.
#[must_use]
pub fn marked(text: String) -> Value {
    if text.contains(charset::BAD) { flaw::mark(charset::PROBLEM) } else { Value::String(text) }
}

fn open(name: &str, tag: Option<&BytesStart<'_>>) -> Open {
    let members = tag.map(|tag| attributes(tag, unescaped)).unwrap_or_default();
    let flaw = name.contains(charset::BAD).then(|| format!("of its name, {}", charset::PROBLEM));
    Open { name: name.to_owned(), members, text: String::new(), children: false, flaw }
}

/// An attribute's text with its references resolved.
fn unescaped(attribute: &Attribute<'_>) -> Option<String> {
    quick_xml::escape::unescape(&attribute.value).ok().map(Cow::into_owned)
}

fn append(stack: &mut [Open], text: &str) {
    if let Some(top) = stack.last_mut() {
        top.text.push_str(text);
    }
}

fn put(stack: &mut [Open], mut element: Open) {
    let blank = element.text.trim().is_empty();
    let text = if blank { String::new() } else { element.text };
    let is_flawed = element.flaw.is_some();
    let text = element.flaw.map_or_else(|| marked(text), flaw::mark);
    let value = if element.members.is_empty() {
        text
    } else {
        if !element.children || !blank || is_flawed {
            element.members.insert("#text".into(), text);
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

/// Write an object with one member, the root element.
///
/// # Errors
/// If the value has no form in XML.
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
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Result<Value, XmlError> {
        super::read(text, 1000).map(|(value, _)| value)
    }

    #[test]
    fn what_cannot_be_read_of_one_element_hurts_no_other() {
        for bad in [
            "<b>&bomb;</b>",
            "<b>&#xD800;</b>",
            "<b>x\u{FFFF}y</b>",
            "<b t='&#0;'/>",
            "<b t='\u{FFFF}'/>",
            "<b>&#xFFFF;</b>",
            "<b t='1' t='2'/>",
        ] {
            let value = read(&format!("<a><row>{bad}<id>1</id></row><row><b>x</b><id>2</id></row></a>")).unwrap();
            let rows = value["a"]["row"].as_array().unwrap();
            assert_eq!((&rows[0]["id"], &rows[1]["id"]), (&json!("1"), &json!("2")), "{bad}");
            assert!(flaw::first(&rows[0]).is_some_and(|flaw| flaw.place.starts_with('b')), "{bad}");
            assert_eq!(flaw::first(&rows[1]), None, "{bad}");
        }
    }

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
    fn what_is_written_is_written_so() {
        let value = json!({ "a": { "@id": "<&>\"'\t", "#text": "<&>\"'\t\n", "b": ["", null, 1.50, true], "c": {} } });
        assert_eq!(
            write(&value).unwrap(),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><a id=\"&lt;&amp;&gt;&quot;'\t\">&lt;&amp;&gt;&quot;'\t\n\
             <b></b><b></b><b>1.5</b><b>true</b><c></c></a>"
        );
    }

    /// Elements with texts, attributes and lists, in the form in which they are read.
    fn element() -> impl Strategy<Value = Value> {
        // Text that consists of blanks only is read as none, and a line end always as `\n`.
        let text = || {
            "[^\\p{C}]{0,8}|[<>&\"'\t\n]{0,4}x"
                .prop_map(|text| if text.trim().is_empty() { String::new() } else { text })
        };
        let leaf = text().prop_map(Value::from);
        leaf.prop_recursive(3, 24, 3, move |inner| {
            let attributes = prop::collection::btree_map("@[a-z_][a-z0-9_.-]{0,3}", text().prop_map(Value::from), 0..3);
            let several = prop::collection::vec(inner.clone(), 2..4).prop_map(Value::from);
            let children = prop::collection::btree_map("[a-z_ñ][a-z0-9_.-]{0,3}", prop_oneof![inner, several], 1..3);
            (attributes, children).prop_map(|(attributes, children)| attributes.into_iter().chain(children).collect())
        })
    }

    proptest! {
        #[test]
        fn any_element_that_is_written_is_read_back(content in element()) {
            let value = json!({ "root": content });
            prop_assert_eq!(read(&write(&value).unwrap()).unwrap(), value);
        }
    }

    #[test]
    fn a_truncated_or_bottomless_document_is_refused() {
        assert!(read("<a><b>x</b>").is_err());
        assert!(read("").is_err());
        assert!(read("plain").is_err());
        assert!(read(&"<a>".repeat(100_000)).is_err());
    }
}
