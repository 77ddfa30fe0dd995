//! One-legged OAuth 1.0a with HMAC-SHA256 (RFC 5849): shops ask for it if there is no TLS.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::{adapter::transport::Method, env::Env, model::percent};

/// Our credentials. `token` is empty if the system only knows consumers.
pub struct Credentials<'a> {
    pub consumer_key: &'a str,
    pub consumer_secret: &'a str,
    pub token: Option<(&'a str, &'a str)>,
}

/// Makes a request different from all earlier ones (RFC 5849, section 3.3).
pub struct Stamp {
    nonce: String,
    /// In seconds.
    timestamp: i64,
}

impl Stamp {
    #[must_use]
    pub fn new(env: &Env) -> Self {
        Self {
            nonce: format!("{:016x}{:016x}", env.entropy.next_u64(), env.entropy.next_u64()),
            timestamp: env.now().timestamp(),
        }
    }
}

impl Credentials<'_> {
    /// Value of the `Authorization` header. `form` holds the pairs of a form body, which are signed too.
    #[must_use]
    pub fn header(&self, method: Method, url: &str, form: &[(String, String)], stamp: &Stamp) -> String {
        let mut own = vec![
            ("oauth_consumer_key".to_owned(), self.consumer_key.to_owned()),
            ("oauth_nonce".to_owned(), stamp.nonce.clone()),
            ("oauth_signature_method".to_owned(), "HMAC-SHA256".to_owned()),
            ("oauth_timestamp".to_owned(), stamp.timestamp.to_string()),
            ("oauth_version".to_owned(), "1.0".to_owned()),
        ];
        if let Some((token, _)) = self.token {
            own.push(("oauth_token".to_owned(), token.to_owned()));
        }
        let base = base_string(method, url, own.iter().chain(form));
        let token_secret = self.token.map_or("", |(_, secret)| secret);
        let key = format!("{}&{}", percent::encode(self.consumer_secret), percent::encode(token_secret));
        own.push(("oauth_signature".to_owned(), sign(&key, &base)));
        let parts: Vec<String> =
            own.iter().map(|(name, value)| format!("{name}=\"{}\"", percent::encode(value))).collect();
        format!("OAuth {}", parts.join(", "))
    }
}

fn base_string<'p>(method: Method, url: &str, pairs: impl Iterator<Item = &'p (String, String)>) -> String {
    let url = url.split('#').next().unwrap_or(url);
    let (address, query) = url.split_once('?').unwrap_or((url, ""));
    let asked = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (percent::decode(name), percent::decode(value))
    });
    let mut all: Vec<(String, String)> =
        asked.chain(pairs.cloned()).map(|(name, value)| (percent::encode(&name), percent::encode(&value))).collect();
    all.sort_unstable();
    let joined: Vec<String> = all.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!("{method}&{}&{}", percent::encode(&normal(address)), percent::encode(&joined.join("&")))
}

/// Scheme and host in lower case, without the scheme's default port.
fn normal(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else { return address.to_owned() };
    let scheme = scheme.to_lowercase();
    let (host, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    let host = host.to_lowercase();
    let port = if scheme == "https" { ":443" } else { ":80" };
    format!("{scheme}://{}{path}", host.strip_suffix(port).unwrap_or(&host))
}

fn sign(key: &str, text: &str) -> String {
    // HMAC accepts keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.as_bytes()) else { return String::new() };
    mac.update(text.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Base string of RFC 5849, section 3.4.1.1, with the signature method and token of this driver.
    #[test]
    fn the_base_string_is_that_of_the_specification() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let pairs = [
            pair("oauth_consumer_key", "9djdj82h48djs9d2"),
            pair("oauth_token", "kkk9d7dh3k39sjv7"),
            pair("oauth_signature_method", "HMAC-SHA1"),
            pair("oauth_timestamp", "137131201"),
            pair("oauth_nonce", "7d8f3e4a"),
            pair("c2", ""),
            pair("a3", "2 q"),
        ];
        assert_eq!(
            base_string(Method::Post, "http://EXAMPLE.com:80/request?b5=%3D%253D&a3=a&c%40=&a2=r%20b", pairs.iter()),
            "POST&http%3A%2F%2Fexample.com%2Frequest&a2%3Dr%2520b%26a3%3D2%2520q%26a3%3Da%26b5%3D%253D%25253D%26c%2540%3D%26\
             c2%3D%26oauth_consumer_key%3D9djdj82h48djs9d2%26oauth_nonce%3D7d8f3e4a%26oauth_signature_method%3DHMAC-SHA1%26\
             oauth_timestamp%3D137131201%26oauth_token%3Dkkk9d7dh3k39sjv7"
        );
    }

    /// Made with Python's `hmac` and `hashlib`.
    #[test]
    fn the_signature_is_what_another_implementation_makes() {
        assert_eq!(
            sign("cs_secret&", "GET&http%3A%2F%2Fshop.example%2F&a%3D1"),
            "jS7ICRQpjPIbl+12ldo7E/R/RBwt2v0t+i/d0uj51kM="
        );
        let credentials = Credentials { consumer_key: "ck", consumer_secret: "cs", token: None };
        let stamp = Stamp { nonce: "n".into(), timestamp: 1 };
        let value = credentials.header(Method::Get, "http://shop.example/x?a=1", &[], &stamp);
        assert!(value.starts_with("OAuth oauth_consumer_key=\"ck\", oauth_nonce=\"n\""), "{value}");
        assert!(!value.contains("cs\""), "the secret itself is never sent");
    }
}
