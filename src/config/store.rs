//! `[store]`: where the state is kept.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::load::{Node, Spanned};

/// Where the state is kept.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StoreSection {
    /// `sqlite://state/vaiven.db` (relative to the configuration's folder; the default) or
    /// `postgres://user@host/database`; one with a password as `{ env = "X" }`.
    #[schemars(with = "Option<super::systems::TextOrSecret>")]
    pub url: Option<Spanned<Node>>,
    /// Seals the refresh tokens that the state keeps (`{ env = "X" }`, at least 32 characters). A state in PostgreSQL needs it
    /// where a system logs in with one.
    #[schemars(with = "Option<super::secret::SecretSource>")]
    pub key: Option<Spanned<Node>>,
}

/// Minimum number of characters of `key`: it is not a password to remember.
pub const KEY_LENGTH: usize = 32;

/// The URL if the configuration names none.
pub const DEFAULT_URL: &str = "sqlite://state/vaiven.db";
