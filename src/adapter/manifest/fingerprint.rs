//! Fingerprints of an adapter's text together with a system's settings.

use secrecy::ExposeSecret as _;

use super::{Manifest, SettingValue, Settings};

/// A fingerprint of an adapter's text and settings, secrets included. It is so short that nobody can guess a secret
/// from it; one change in 65,536 is not noticed.
pub fn setup_fingerprint(manifest: &Manifest, settings: &Settings) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("vaiven 2026-11 setup of a system");
    hasher.update(manifest.file.text.as_bytes());
    for (name, value) in settings.iter() {
        hasher.update(&[0]).update(name.as_bytes()).update(&[0]);
        match value {
            SettingValue::Plain(value) => crate::model::canonical::hash_into(value, &mut hasher),
            SettingValue::Secret(value) => drop(hasher.update(value.expose_secret().as_bytes())),
        }
    }
    hasher.finalize().to_hex()[..4].to_owned()
}

/// Identity of an adapter's text and of a system's settings, for row fingerprints.
pub fn version_of(manifest: &Manifest, settings: &Settings, entity: &str) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(manifest.file.text.as_bytes()).update(&[0]).update(entity.as_bytes());
    for (name, value) in settings.plains() {
        hasher.update(&[0]).update(name.as_bytes());
        crate::model::canonical::hash_into(value, &mut hasher);
    }
    let mut first = [0; 8];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_le_bytes(first)
}
