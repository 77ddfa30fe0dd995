//! Tokens sealed with the configuration's key, so that nobody can log in with what the database holds.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use secrecy::{ExposeSecret as _, SecretString};

use crate::env::Entropy;

/// ChaCha20-Poly1305 under a key that is derived from the text of `[store] key`.
pub(super) struct Seal(LessSafeKey);

impl Seal {
    /// `None` never happens: the derived key has the length that the cipher needs.
    pub fn new(key: &SecretString) -> Option<Self> {
        let derived = blake3::derive_key("vaiven: refresh tokens kept in the state", key.expose_secret().as_bytes());
        UnboundKey::new(&CHACHA20_POLY1305, &derived).ok().map(|key| Self(LessSafeKey::new(key)))
    }

    /// Seal a token, so that only this key opens it, and only for the same `login`.
    pub fn close(&self, login: &str, token: &SecretString, entropy: &dyn Entropy) -> Option<String> {
        let drawn = [entropy.next_u64().to_le_bytes(), entropy.next_u64().to_le_bytes()].concat();
        let nonce: [u8; NONCE_LEN] = drawn.get(..NONCE_LEN)?.try_into().ok()?;
        let mut text = token.expose_secret().as_bytes().to_vec();
        let nonce_used = Nonce::assume_unique_for_key(nonce);
        self.0.seal_in_place_append_tag(nonce_used, Aad::from(login.as_bytes()), &mut text).ok()?;
        Some(STANDARD.encode([&nonce[..], &text].concat()))
    }

    /// Return the token that was given to [`Seal::close`]; `None` if the key or the login is another one.
    pub fn open(&self, login: &str, sealed: &str) -> Option<SecretString> {
        let bytes = STANDARD.decode(sealed).ok()?;
        let (nonce, text) = bytes.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut text = text.to_vec();
        let open = self.0.open_in_place(nonce, Aad::from(login.as_bytes()), &mut text).ok()?;
        std::str::from_utf8(open).ok().map(SecretString::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::SystemEntropy;

    fn seal(key: &str) -> Seal {
        Seal::new(&key.into()).unwrap()
    }

    #[test]
    fn what_is_sealed_opens_with_the_same_key_for_the_same_login_alone() {
        let sealed = seal("one").close("login:a", &"R1-hush".into(), &SystemEntropy).unwrap();
        assert_eq!(seal("one").open("login:a", &sealed).unwrap().expose_secret(), "R1-hush");
        assert!(seal("two").open("login:a", &sealed).is_none());
        assert!(seal("one").open("login:b", &sealed).is_none());
        assert!(seal("one").open("login:a", "AAAA").is_none());
        let again = seal("one").close("login:a", &"R1-hush".into(), &SystemEntropy).unwrap();
        assert!(sealed != again && !sealed.contains("hush"));
    }
}
