//! What a resync is about: `flow`, `flow/entity` or `flow/entity/KEY`.

use std::{fmt, str::FromStr};

/// Part of the configuration to be read again. A key may itself contain slashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    pub flow: String,
    pub entity: Option<String>,
    pub key: Option<String>,
}

/// A scope that is not of the form `flow`, `flow/entity` or `flow/entity/KEY`.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a scope; write flow, flow/entity or flow/entity/KEY, for example catalog/product/SKU-1")]
pub struct ScopeError(String);

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        let mut pieces = text.splitn(3, '/').map(str::to_owned);
        let flow = pieces.next().unwrap_or_default();
        let (entity, key) = (pieces.next(), pieces.next());
        if flow.is_empty() || entity.as_deref() == Some("") || key.as_deref() == Some("") {
            return Err(ScopeError(text.to_owned()));
        }
        Ok(Self { flow, entity, key })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.flow)?;
        for piece in [&self.entity, &self.key].into_iter().flatten() {
            write!(f, "/{piece}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_reads_as_it_is_written_and_keys_may_hold_slashes() {
        for text in ["catalog", "catalog/product", "prices/price/retail/SKU-1"] {
            assert_eq!(text.parse::<Scope>().unwrap().to_string(), text);
        }
        assert_eq!("prices/price/retail/SKU-1".parse::<Scope>().unwrap().key.as_deref(), Some("retail/SKU-1"));
    }

    #[test]
    fn an_empty_piece_is_refused_with_an_example() {
        for text in ["", "/product", "catalog/", "catalog/product/"] {
            assert!(text.parse::<Scope>().unwrap_err().to_string().contains("catalog/product/SKU-1"));
        }
    }
}
