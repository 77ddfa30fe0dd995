//! Encodes bodies of requests and decodes those of answers.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde_json::Value;

use crate::{
    adapter::{
        manifest::http::{Receive, Send},
        run::{charset, segment, xml},
        transport::Response,
    },
    expr::Bit,
    json::{self, JsonError},
    model::percent,
};

/// A body ready to be sent.
#[derive(Clone, Debug)]
pub struct Payload {
    pub bytes: Bytes,
    pub content_type: String,
    /// Pairs of a form; OAuth 1 signs them.
    pub form: Vec<(String, String)>,
}

/// Encode a body. `nonce` is part of a multipart boundary.
///
/// # Errors
/// If the value cannot be written in this format.
pub fn encode(send: Send, body: &Value, nonce: u64) -> Result<Payload, String> {
    let plain = |bytes: Vec<u8>, content_type: &str| Payload {
        bytes: bytes.into(),
        content_type: content_type.to_owned(),
        form: Vec::new(),
    };
    match send {
        Send::Json => {
            let bytes = serde_json::to_vec(body).map_err(|error| error.to_string())?;
            Ok(plain(bytes, "application/json"))
        }
        Send::Xml => Ok(plain(xml::write(body)?.into_bytes(), "application/xml; charset=utf-8")),
        Send::Form => {
            let form = percent::pairs(body);
            let bytes = percent::join(&form).into_bytes();
            Ok(Payload { form, ..plain(bytes, "application/x-www-form-urlencoded") })
        }
        Send::Multipart => {
            let boundary = format!("vaiven-{nonce:016x}");
            let bytes = multipart(body, &boundary)?;
            Ok(plain(bytes, &format!("multipart/form-data; boundary={boundary}")))
        }
    }
}

fn multipart(body: &Value, boundary: &str) -> Result<Vec<u8>, String> {
    let Value::Object(members) = body else { return Err("a multipart body must be an object".into()) };
    let mut out = Vec::new();
    for (name, value) in members {
        if let Some(content) = value.get("content").filter(|_| value.get("filename").is_some()) {
            let text = |member: &str| value.get(member).and_then(Value::as_str);
            let file = content.as_str().and_then(|text| STANDARD.decode(text).ok());
            let file = file.ok_or_else(|| format!("file `{name}`: `content` must be base64"))?;
            let kind = text("type").unwrap_or("application/octet-stream");
            let filename = text("filename").unwrap_or_default();
            segment::file(&[Bit::Value(filename.to_owned())])
                .map_err(|problem| format!("file `{name}` cannot be named: {problem}"))?;
            let filename = quoted(filename)?;
            let head = format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"{}\"; filename=\"{filename}\"\r\nContent-Type: {}\r\n\r\n",
                quoted(name)?,
                quoted(kind)?
            );
            out.extend_from_slice(head.as_bytes());
            out.extend_from_slice(&file);
            out.extend_from_slice(b"\r\n");
        } else {
            for (name, value) in percent::pairs(&serde_json::json!({ name: value })) {
                let part = format!(
                    "--{boundary}\r\nContent-Disposition: form-data; name=\"{}\"\r\n\r\n{value}\r\n",
                    quoted(&name)?
                );
                out.extend_from_slice(part.as_bytes());
            }
        }
    }
    out.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    Ok(out)
}

/// A text in quotes that it cannot end.
///
/// # Errors
/// If it would end its line.
fn quoted(text: &str) -> Result<String, String> {
    segment::printable(text)?;
    Ok(text.replace('"', "%22"))
}

/// Bodies with more bytes than this take so long to read that they would block others.
const LARGE: usize = 256 << 10;

/// A body that has been read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decoded {
    /// `()` for an empty body; absent if it is not in the expected format. Values that cannot be read are marked
    /// ([`crate::model::flaw`]).
    pub value: Option<Value>,
    /// Number of values in it: a measure of its memory.
    pub values: usize,
    /// What a person should know about a body that was not read.
    pub problem: Option<String>,
}

impl Decoded {
    fn read((value, values): (Value, usize)) -> Self {
        Self { value: Some(value), values, problem: None }
    }

    fn refused(error: &JsonError) -> Self {
        let problem = matches!(error, JsonError::TooMany(_))
            .then(|| format!("the answer is not read: {error}; raise `max_values` in [http], or ask for less at once"));
        Self { problem, ..Self::default() }
    }
}

/// Like [`decode`], but a large body is read on a thread where it blocks nobody.
pub async fn decoded(receive: Receive, response: &Response, most: usize) -> Decoded {
    if response.body.len() <= LARGE {
        return decode(receive, response, most);
    }
    let response = response.clone();
    let read = tokio::task::spawn_blocking(move || decode(receive, &response, most)).await;
    read.unwrap_or_else(|error| Decoded {
        problem: Some(format!("reading the answer was broken off: {error}")),
        ..Decoded::default()
    })
}

/// Read an answer's body with at most `most` values.
#[must_use]
pub fn decode(receive: Receive, response: &Response, most: usize) -> Decoded {
    if response.body.iter().all(u8::is_ascii_whitespace) {
        let empty = if receive == Receive::Text { Value::from("") } else { Value::Null };
        return Decoded::read((empty, 1));
    }
    match receive {
        Receive::Json => {
            let bytes = response.body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&response.body);
            json::read(bytes, most).map_or_else(|error| Decoded::refused(&error), Decoded::read)
        }
        Receive::Xml => match xml::read(&charset::marked(&response.body, encoding(response)), most) {
            // A page for people may be well-formed too.
            Ok((value, _)) if is_page(&value) => Decoded::default(),
            Ok(read) => Decoded::read(read),
            Err(xml::XmlError::TooMany(most)) => Decoded::refused(&JsonError::TooMany(most)),
            Err(xml::XmlError::Form(_)) => Decoded::default(),
        },
        Receive::Text => {
            let (text, _, broken) = encoding(response).decode(&response.body);
            if broken { Decoded::default() } else { Decoded::read((Value::from(text), 1)) }
        }
    }
}

fn is_page(document: &Value) -> bool {
    document.as_object().is_some_and(|members| members.keys().any(|root| root.eq_ignore_ascii_case("html")))
}

/// The encoding that an answer declares.
fn encoding(response: &Response) -> &'static encoding_rs::Encoding {
    let declared = response.header("content-type").and_then(declared_in).or_else(|| xml_encoding(&response.body));
    declared.and_then(|label| encoding_rs::Encoding::for_label(label.as_bytes())).unwrap_or(encoding_rs::UTF_8)
}

fn declared_in(content_type: &str) -> Option<String> {
    let (_, rest) = content_type.split_once("charset=")?;
    Some(rest.split(';').next()?.trim().trim_matches('"').to_owned())
}

fn xml_encoding(body: &[u8]) -> Option<String> {
    let head = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
    let declaration = head.trim_start().strip_prefix("<?xml")?.split("?>").next()?.to_owned();
    let (_, rest) = declaration.split_once("encoding=")?;
    let quote = rest.chars().next()?;
    rest[1..].split(quote).next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(receive: Receive, response: &Response) -> Option<Value> {
        decode(receive, response, 1000).value
    }

    fn answer(content_type: &str, body: &[u8]) -> Response {
        Response {
            status: 200,
            headers: vec![("content-type".into(), content_type.into())],
            body: Bytes::copy_from_slice(body),
        }
    }

    #[test]
    fn a_page_for_people_is_not_an_answer() {
        let page = answer("text/html", b"<html><body>Maintenance</body></html>");
        assert_eq!(read(Receive::Json, &page), None);
        assert_eq!(read(Receive::Xml, &page), None);
    }

    #[test]
    fn an_answer_is_read_in_the_encoding_it_declares() {
        let latin = answer("text/xml", b"<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><a>\xF1</a>");
        assert_eq!(read(Receive::Xml, &latin), Some(json!({ "a": "ñ" })));
        assert_eq!(read(Receive::Text, &answer("text/plain", b"\xF1")), None);
        assert_eq!(read(Receive::Json, &answer("", b"\xEF\xBB\xBF{\"a\": 1.10}")).unwrap().to_string(), "{\"a\":1.10}");
        assert_eq!(read(Receive::Json, &answer("", b"")), Some(Value::Null));
    }

    #[test]
    fn a_byte_that_is_no_text_spoils_its_own_element() {
        let answer = answer("text/xml", b"<a><b>\xF1</b><b>good</b></a>");
        let value = read(Receive::Xml, &answer).unwrap();
        assert_eq!(value["a"]["b"][1], "good");
        let flaw = crate::model::flaw::first(&value).unwrap();
        assert!(flaw.place == "a.b[0]" && flaw.reason.contains("encoding"), "{flaw}");
    }

    #[test]
    fn what_takes_too_much_memory_is_not_read_and_says_which_setting_helps() {
        let zeros = format!("[{}0]", "0,".repeat(100));
        let elements = format!("<a>{}</a>", "<b/>".repeat(101));
        for (receive, body) in [(Receive::Json, zeros), (Receive::Xml, elements)] {
            let decoded = decode(receive, &answer("", body.as_bytes()), 100);
            assert_eq!(decoded.value, None);
            let problem = decoded.problem.unwrap();
            assert!(problem.contains("more than 100 values") && problem.contains("max_values"), "{problem}");
            assert!(decode(receive, &answer("", body.as_bytes()), 102).value.is_some());
        }
    }

    #[test]
    fn a_file_and_a_field_make_a_multipart_body() {
        let body = json!({ "alt": "ñ", "image": { "filename": "a\".png", "content": "AAE=", "type": "image/png" } });
        let payload = encode(Send::Multipart, &body, 5).unwrap();
        assert_eq!(payload.content_type, "multipart/form-data; boundary=vaiven-0000000000000005");
        let expected = b"--vaiven-0000000000000005\r\nContent-Disposition: form-data; name=\"alt\"\r\n\r\n\xC3\xB1\r\n\
            --vaiven-0000000000000005\r\nContent-Disposition: form-data; name=\"image\"; filename=\"a%22.png\"\r\n\
            Content-Type: image/png\r\n\r\n\0\x01\r\n--vaiven-0000000000000005--\r\n";
        assert_eq!(payload.bytes.as_ref(), expected);
        for odd in ["../a.png", "a\r\nX: 1", "..", ""] {
            let body = json!({ "image": { "filename": odd, "content": "AAE=" } });
            assert!(encode(Send::Multipart, &body, 5).is_err(), "{odd:?}");
        }
        assert!(encode(Send::Multipart, &json!({ "a\r\nb": 1 }), 5).is_err());
    }
}
