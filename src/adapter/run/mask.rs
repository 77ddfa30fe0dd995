//! Removes from every message what nobody may read: the secrets of a system's settings and the tokens it gave, both
//! as they are and in the forms in which a system repeats what it was sent.

use std::{
    collections::{BTreeSet, VecDeque},
    fmt,
    sync::{PoisonError, RwLock},
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use secrecy::ExposeSecret as _;
use serde_json::Value;

use crate::{
    adapter::manifest::{SettingValue, Settings},
    expr::text_of,
    failure::Failure,
    model::percent,
};

/// Replaces a secret.
const HIDDEN: &str = "***";
/// A text with fewer bytes is not searched for: it would be found everywhere.
const SHORTEST: usize = 4;
/// Minimum number of base64 letters that cannot match by chance.
const SHORTEST_CODE: usize = 8;
/// Number of login answers whose texts are remembered. Tokens of older ones are no longer valid.
const LOGINS: usize = 64;
/// Parts of a name that mark its value as a secret.
const TELLTALE: [&str; 6] = ["pass", "secret", "token", "key", "credential", "auth"];
/// Like [`TELLTALE`], but only as whole words of a name: `shipping` does not count.
const TELLTALE_WORDS: [&str; 4] = ["pin", "sig", "signature", "pincode"];

/// The secrets of one system.
#[derive(Default)]
pub struct Mask {
    settings: Vec<Secret>,
    /// Texts that logins gave, one entry per login, the oldest first.
    tokens: RwLock<VecDeque<Vec<Secret>>>,
}

/// Never shows the secrets.
impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mask")
    }
}

/// A secret in all forms that are searched for.
struct Secret {
    /// The secret as it is, and as it is written in an address, in JSON, in HTML.
    texts: Vec<String>,
    /// The middle of its base64, for each possible position in the encoded text.
    codes: Vec<String>,
}

impl Mask {
    /// Collect the secrets of a system's settings: values of kind `secret`, and passwords in addresses.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        let mut secrets = Vec::new();
        for (_, value) in settings.iter() {
            match value {
                SettingValue::Secret(secret) => {
                    secrets.push(Secret::of(secret.expose_secret()));
                    secrets.extend(in_address(secret.expose_secret()).iter().map(|inner| Secret::of(inner)));
                }
                SettingValue::Plain(Value::String(text)) => {
                    secrets.extend(in_address(text).iter().map(|inner| Secret::of(inner)));
                }
                SettingValue::Plain(_) => {}
            }
        }
        Self { settings: secrets, tokens: RwLock::default() }
    }

    /// From now on, treat a token, or whatever else a login gave, as a secret.
    pub fn add(&self, token: &str) {
        self.remember(vec![token.to_owned()]);
    }

    /// Add every text in a value that a login gave.
    pub fn add_all(&self, value: &Value) {
        let mut texts = Vec::new();
        texts_in(value, &mut texts);
        self.remember(texts);
    }

    /// All texts of one answer count as one entry, however many they are, so no text of a login pushes out another
    /// text of it. A text that an earlier answer gave too counts as new.
    fn remember(&self, texts: Vec<String>) {
        let is_set = |text: &String| self.settings.iter().any(|secret| secret.texts.first() == Some(text));
        let mut texts: BTreeSet<String> =
            texts.into_iter().filter(|text| text.len() >= SHORTEST && !is_set(text)).collect();
        if texts.is_empty() {
            return;
        }
        let mut tokens = self.tokens.write().unwrap_or_else(PoisonError::into_inner);
        let mut answer = Vec::with_capacity(texts.len());
        for older in tokens.iter_mut() {
            answer.extend(older.extract_if(.., |secret| secret.texts.first().is_some_and(|text| texts.remove(text))));
        }
        tokens.retain(|older| !older.is_empty());
        answer.extend(texts.iter().map(|text| Secret::of(text)));
        tokens.push_back(answer);
        if tokens.len() > LOGINS {
            tokens.pop_front();
        }
    }

    /// The text without any of the secrets.
    #[must_use]
    pub fn clean(&self, text: &str) -> String {
        let tokens = self.tokens.read().unwrap_or_else(PoisonError::into_inner);
        let secrets = || self.settings.iter().chain(tokens.iter().flatten());
        let mut clean = text.to_owned();
        for code in secrets().flat_map(|secret| &secret.codes) {
            hide_run(&mut clean, code);
        }
        // Replace the longest first: if a secret contains another, nothing of it may be left over.
        let mut found: Vec<&String> = secrets().flat_map(|secret| &secret.texts).collect();
        found.retain(|secret| clean.contains(secret.as_str()));
        found.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        for secret in found {
            clean = clean.replace(secret.as_str(), HIDDEN);
        }
        clean
    }

    /// A failure with masked message and field. The texts of its source cannot be changed, so the source is dropped
    /// if it shows a secret.
    #[must_use]
    pub fn failure(&self, mut failure: Failure) -> Failure {
        failure.message = self.clean(&failure.message);
        failure.field = failure.field.map(|field| self.clean(&field));
        let leaks = |error: &(dyn std::error::Error + Send + Sync)| {
            let mut next = Some(error as &dyn std::error::Error);
            let mut any = false;
            while let Some(cause) = next {
                let text = cause.to_string();
                any |= self.clean(&text) != text;
                next = cause.source();
            }
            any
        };
        failure.source = failure.source.filter(|source| !leaks(source.as_ref()));
        failure
    }
}

impl Secret {
    fn of(text: &str) -> Self {
        if text.len() < SHORTEST {
            return Self { texts: Vec::new(), codes: Vec::new() };
        }
        let json = serde_json::to_string(text).unwrap_or_default();
        let json = json.trim_matches('"').to_owned();
        let html = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
        let ascii = escaped(&json);
        let forms = [
            percent::encode(text),
            ascii.replace('/', "\\/"),
            ascii,
            json.replace('/', "\\/"),
            json,
            html.replace('\'', "&#039;"),
            html,
        ];
        let mut texts = vec![text.to_owned()];
        for form in forms {
            if form.len() >= SHORTEST && !texts.contains(&form) {
                texts.push(form);
            }
        }
        Self { texts, codes: (0..3).flat_map(|before| codes(text, before)).collect() }
    }
}

fn texts_in(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| texts_in(item, found)),
        Value::Object(members) => members.values().for_each(|member| texts_in(member, found)),
        Value::Null | Value::Bool(_) => {}
        scalar => found.extend(text_of(scalar)),
    }
}

/// The ASCII-only form of a JSON text, as many servers write it.
fn escaped(json: &str) -> String {
    let mut units = [0; 2];
    let mut out = String::with_capacity(json.len());
    for character in json.chars() {
        if character.is_ascii() {
            out.push(character);
        } else {
            out.extend(character.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    out
}

/// The letters of base64 that depend on this text only, if the text follows `before` bytes (modulo 3).
fn codes(text: &str, before: usize) -> Vec<String> {
    let bytes = [&[0; 3][..before], text.as_bytes()].concat();
    let start = [0, 2, 3][before];
    let end = bytes.len() * 8 / 6;
    let both = [STANDARD_NO_PAD.encode(&bytes), URL_SAFE_NO_PAD.encode(&bytes)];
    let mut found: Vec<String> = both.iter().filter_map(|code| code.get(start..end)).map(str::to_owned).collect();
    found.dedup();
    found.retain(|code| code.len() >= SHORTEST_CODE);
    found
}

/// Hide every run of base64 letters that contains `code`.
fn hide_run(text: &mut String, code: &str) {
    let is_code = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '+' | '/' | '-' | '_' | '=');
    let mut from = 0;
    while let Some(at) = text.get(from..).and_then(|rest| rest.find(code)).map(|at| from + at) {
        let start = text[..at]
            .rfind(|letter| !is_code(letter))
            .map_or(0, |last| last + text[last..].chars().next().map_or(1, char::len_utf8));
        let end = text[at..].find(|letter| !is_code(letter)).map_or(text.len(), |length| at + length);
        text.replace_range(start..end, HIDDEN);
        from = start + HIDDEN.len();
    }
}

/// Whether a name marks its value as a secret.
#[must_use]
pub fn is_telltale(name: &str) -> bool {
    let name = name.to_lowercase();
    TELLTALE.iter().any(|part| name.contains(part))
        || name.split(|c: char| !c.is_alphanumeric()).any(|word| TELLTALE_WORDS.contains(&word))
}

/// Password and telltale parameters of an address.
fn in_address(text: &str) -> Vec<String> {
    let Ok(url) = reqwest::Url::parse(text) else { return Vec::new() };
    let mut found: Vec<String> = url.password().into_iter().map(percent::decode).collect();
    for (name, value) in url.query_pairs() {
        if is_telltale(&name) {
            found.push(value.into_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::failure::Class;

    fn mask(secrets: &[&str]) -> Mask {
        let settings = secrets.iter().enumerate();
        Mask::new(&settings.map(|(at, text)| (format!("s{at}"), SettingValue::Secret((*text).into()))).collect())
    }

    #[test]
    fn a_secret_is_hidden_in_every_form_in_which_it_may_come_back() {
        let secret = "p/a \"ss\" & w0rd";
        let mask = mask(&[secret]);
        let said = [
            secret.to_owned(),
            percent::encode(secret),
            serde_json::to_string(secret).unwrap(),
            "p\\/a \\\"ss\\\" & w0rd".to_owned(),
            "p/a &quot;ss&quot; &amp; w0rd".to_owned(),
        ];
        for said in said {
            let clean = mask.clean(&format!("key {said} is bad"));
            assert!(!clean.contains("w0rd") && clean.starts_with("key ") && clean.ends_with(" is bad"), "{clean}");
        }
    }

    #[test]
    fn a_secret_with_letters_beyond_ascii_is_hidden_as_json_of_ascii_writes_it() {
        let clean = mask(&["clave\u{f1}a77"]).clean(r#"{"password":"clave\u00f1a77"}"#);
        assert_eq!(clean, r#"{"password":"***"}"#);
    }

    #[test]
    fn a_login_that_answers_much_does_not_push_its_own_token_out() {
        let mask = mask(&[]);
        let profile: Vec<String> = (0..500).map(|number| format!("field-{number}")).collect();
        mask.add_all(&serde_json::json!({ "token": "the-session-token", "profile": profile }));
        assert_eq!(mask.clean("with the-session-token"), "with ***");
    }

    #[test]
    fn a_secret_in_base64_is_hidden_whatever_stands_before_and_behind_it() {
        let mask = mask(&["PLANTEDKEY123"]);
        for before in ["", "a", "me", "me:", "somebody:"] {
            for after in ["", ":", "::", "x y z"] {
                let code = STANDARD.encode(format!("{before}PLANTEDKEY123{after}"));
                let clean = mask.clean(&format!("auth Basic {code}, which is bad"));
                assert_eq!(clean, "auth Basic ***, which is bad", "{before}|{after}");
            }
        }
        let url = URL_SAFE_NO_PAD.encode("me:PLANTEDKEY123");
        assert_eq!(mask.clean(&format!("ñ{url}ñ")), "ñ***ñ");
    }

    #[test]
    fn two_secrets_of_which_one_begins_the_other_are_both_removed() {
        assert_eq!(mask(&["abcd", "abcdefgh"]).clean("it was abcdefgh"), "it was ***");
    }

    #[test]
    fn passwords_in_addresses_are_secrets_too() {
        let settings = Settings::from_iter([(
            "url".to_owned(),
            SettingValue::Plain("https://me:hu%24sh@shop.example/?api_key=PLANTED&lang=spanish".into()),
        )]);
        let clean = Mask::new(&settings).clean("hu$sh hu%24sh PLANTED spanish");
        assert_eq!(clean, "*** *** *** spanish");
    }

    #[test]
    fn what_a_login_gave_is_a_secret_and_old_tokens_are_forgotten() {
        let mask = Mask::default();
        mask.add_all(&serde_json::json!({ "token": "session-1", "user": { "id": 12345 } }));
        assert_eq!(mask.clean("session-1 of 12345"), "*** of ***");
        (0..LOGINS).for_each(|number| mask.add(&format!("token-{number}")));
        assert_eq!(mask.clean("session-1 token-63"), "session-1 ***");
    }

    #[test]
    fn a_token_that_every_login_gives_again_stays_a_secret() {
        let mask = Mask::default();
        (0..3 * LOGINS).for_each(|time| {
            mask.add_all(&serde_json::json!({ "token": "the-same-token", "expires": format!("at {time:05}") }));
        });
        assert_eq!(mask.clean("the-same-token"), "***");
    }

    #[test]
    fn a_source_error_that_shows_a_secret_is_dropped() {
        let failure =
            Failure::new(Class::Auth, "key hush-hush").with_source("no key hush-hush").with_field("hush-hush");
        let clean = mask(&["hush-hush"]).failure(failure);
        assert_eq!((clean.message.as_str(), clean.field.as_deref()), ("key ***", Some("***")));
        assert!(clean.source.is_none());
        let failure = Failure::new(Class::Auth, "x").with_source("nothing special");
        assert!(mask(&["hush-hush"]).failure(failure).source.is_some());
    }
}
