//! Checks who may use the shop: basic, key and secret in the query, or OAuth 1.0a (one-legged). A real shop accepts
//! the first two over TLS only; here they are accepted over plain HTTP too, unless the shop is strict.

use std::collections::BTreeMap;

use axum::http::Method;
use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::Sha256;

use super::{
    db::Tx,
    refusal::{Result, refuse},
};

/// How far an OAuth timestamp may be off, in seconds.
const WINDOW: i64 = 15 * 60;

/// What a request shows of its sender.
pub struct Presented<'a> {
    pub method: &'a Method,
    pub authorization: Option<&'a str>,
    /// Decoded pairs of the query.
    pub query: &'a [(String, String)],
    /// Path with `/wp-json`.
    pub path: &'a str,
    pub strict: bool,
}

/// Refuse a request without a key that allows it.
pub async fn admit(tx: &mut Tx<'_>, presented: &Presented<'_>) -> Result<()> {
    let write = !matches!(*presented.method, Method::GET | Method::HEAD | Method::OPTIONS);
    let oauth = oauth_params(presented);
    let key = if let Some(params) = oauth {
        oauth1(tx, presented, &params).await?
    } else if presented.strict {
        return stranger(presented, write);
    } else {
        let Some((key, secret)) = pair(presented) else { return stranger(presented, write) };
        let Some((stored, permissions)) = lookup(tx, &key).await? else { return stranger(presented, write) };
        if stored != secret {
            return refuse(401, "woocommerce_rest_authentication_error", "Consumer secret is invalid.");
        }
        permissions
    };
    let allowed = if write { key.contains("write") } else { key.contains("read") };
    if allowed {
        return Ok(());
    }
    let needed = if write { "write" } else { "read" };
    refuse(
        401,
        "woocommerce_rest_authentication_error",
        format!("The API key provided does not have {needed} permissions."),
    )
}

fn stranger<T>(presented: &Presented<'_>, write: bool) -> Result<T> {
    if write {
        return refuse(401, "woocommerce_rest_cannot_create", "Sorry, you are not allowed to create resources.");
    }
    let single = presented.path.rsplit('/').next().is_some_and(|last| last.parse::<i64>().is_ok());
    let message = if single { "Sorry, you cannot view this resource." } else { "Sorry, you cannot list resources." };
    refuse(401, "woocommerce_rest_cannot_view", message)
}

async fn lookup(tx: &mut Tx<'_>, key: &str) -> Result<Option<(String, String)>> {
    Ok(sqlx::query_as("SELECT consumer_secret, permissions FROM api_keys WHERE consumer_key = ?")
        .bind(key)
        .fetch_optional(&mut *tx.db)
        .await?)
}

fn pair(presented: &Presented<'_>) -> Option<(String, String)> {
    if let Some(encoded) = presented.authorization.and_then(|header| header.strip_prefix("Basic ")) {
        let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
        let (key, secret) = decoded.split_once(':')?;
        return Some((key.into(), secret.into()));
    }
    let of = |name: &str| presented.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    Some((of("consumer_key")?, of("consumer_secret")?))
}

fn oauth_params(presented: &Presented<'_>) -> Option<BTreeMap<String, String>> {
    let mut params: BTreeMap<String, String> = presented.query.iter().cloned().collect();
    if let Some(header) = presented.authorization.and_then(|header| header.strip_prefix("OAuth ")) {
        for part in header.split(',') {
            let (name, value) = part.trim().split_once('=')?;
            params.insert(name.into(), decode(value.trim_matches('"')));
        }
    }
    params.contains_key("oauth_consumer_key").then_some(params)
}

async fn oauth1(tx: &mut Tx<'_>, presented: &Presented<'_>, params: &BTreeMap<String, String>) -> Result<String> {
    const ERROR: &str = "woocommerce_rest_authentication_error";
    let of = |name: &str| params.get(name).map(String::as_str).unwrap_or_default();
    for name in ["oauth_timestamp", "oauth_nonce", "oauth_signature", "oauth_signature_method"] {
        if of(name).is_empty() {
            return refuse(401, ERROR, format!("Missing OAuth parameter {name}."));
        }
    }
    let key = of("oauth_consumer_key");
    let Some((secret, permissions)) = lookup(tx, key).await? else {
        return refuse(401, ERROR, "Consumer key is invalid.");
    };
    let pairs: Vec<String> = params
        .iter()
        .filter(|(name, _)| *name != "oauth_signature" && *name != "realm")
        .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
        .collect();
    let text = format!(
        "{}&{}&{}",
        presented.method,
        encode(&format!("{}{}", tx.base, presented.path)),
        encode(&pairs.join("&"))
    );
    let signing_key = format!("{secret}&");
    let expected = match of("oauth_signature_method") {
        "HMAC-SHA1" => Hmac::<Sha1>::new_from_slice(signing_key.as_bytes()).ok().map(|mut mac| {
            mac.update(text.as_bytes());
            STANDARD.encode(mac.finalize().into_bytes())
        }),
        "HMAC-SHA256" => Hmac::<Sha256>::new_from_slice(signing_key.as_bytes()).ok().map(|mut mac| {
            mac.update(text.as_bytes());
            STANDARD.encode(mac.finalize().into_bytes())
        }),
        _ => return refuse(401, ERROR, "Invalid signature - signature method is invalid."),
    };
    if expected.as_deref() != Some(of("oauth_signature")) {
        return refuse(401, ERROR, "Invalid signature - provided signature does not match.");
    }
    let now = tx.now.timestamp();
    let at: i64 = of("oauth_timestamp").parse().unwrap_or(0);
    if (now - at).abs() > WINDOW {
        return refuse(401, ERROR, "Invalid timestamp.");
    }
    sqlx::query("DELETE FROM nonces WHERE at < ?").bind(now - WINDOW).execute(&mut *tx.db).await?;
    let fresh = sqlx::query("INSERT INTO nonces (consumer_key, nonce, at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING")
        .bind(key)
        .bind(of("oauth_nonce"))
        .bind(at)
        .execute(&mut *tx.db)
        .await?;
    if fresh.rows_affected() == 0 {
        return refuse(401, ERROR, "Invalid nonce - nonce has already been used.");
    }
    Ok(permissions)
}

/// Two digits, lower case.
pub fn hex(byte: u8) -> String {
    format!("{byte:02x}")
}

/// Percent-encoding of RFC 3986.
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push_str(&hex(byte).to_ascii_uppercase());
        }
    }
    out
}

/// Decode a part of a query.
pub fn decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let hex = || u8::from_str_radix(text.get(at + 1..at + 3)?, 16).ok();
        match bytes[at] {
            b'+' => out.push(b' '),
            b'%' => match hex() {
                Some(byte) => {
                    out.push(byte);
                    at += 2;
                }
                None => out.push(b'%'),
            },
            byte => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}
