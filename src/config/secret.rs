//! The source of a secret: `{ env = "X" }`, `{ file = "..." }` or `{ credential = "x" }`.

use std::path::{Path, PathBuf};

use secrecy::SecretString;
use serde::Deserialize;

use super::layers::Variables;
use crate::load::{Node, Spanned};

/// A value that is kept outside the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum SecretSource {
    /// Environment variable.
    Env(String),
    /// File whose content it is, less the line end; relative paths start at the configuration's folder.
    File(PathBuf),
    /// Name of a systemd credential (`LoadCredential=`).
    Credential(String),
}

impl SecretSource {
    /// The source that a table names, if it is one.
    pub fn of(node: &Node) -> Option<Self> {
        let Node::Table(members) = node else { return None };
        let mut members = members.iter();
        let (Some((kind, value)), None) = (members.next(), members.next()) else { return None };
        let text = Spanned::get_ref(value).as_text()?;
        match kind.as_str() {
            "env" => Some(Self::Env(text.to_owned())),
            "file" => Some(Self::File(text.into())),
            "credential" => Some(Self::Credential(text.to_owned())),
            _ => None,
        }
    }

    /// Whether another machine may have the secret. If `env` does not hold the name of a variable, no machine has
    /// it.
    pub fn may_be_elsewhere(&self) -> bool {
        !matches!(self, Self::Env(name) if !is_name_of_variable(name))
    }

    /// Fetch the value. The error says what is missing and what to do, and never shows a value.
    pub fn fetch(&self, folder: &Path, environment: &Variables) -> Result<SecretString, String> {
        match self {
            // The text may be the secret itself: do not show it.
            Self::Env(name) if !is_name_of_variable(name) => Err(
                "what stands behind `env` is not the name of a variable; the secret itself belongs into that variable"
                    .to_owned(),
            ),
            Self::Env(name) => match environment.get(name) {
                Some(value) if !value.is_empty() => Ok(value.clone().into()),
                Some(_) => Err(format!("environment variable {name} is empty")),
                None => Err(format!("environment variable {name} is not set")),
            },
            Self::File(path) => read(&folder.join(path)),
            Self::Credential(name) => {
                let Some(credentials) = environment.get("CREDENTIALS_DIRECTORY") else {
                    return Err(format!(
                        "credential {name} is there only under systemd (LoadCredential={name}:/path in the unit)"
                    ));
                };
                if name.contains('/') || name.starts_with('.') {
                    return Err(format!("`{name}` is not a name of a credential"));
                }
                read(&Path::new(credentials).join(name))
            }
        }
    }
}

/// Whether this can be the name of an environment variable.
pub(super) fn is_name_of_variable(name: &str) -> bool {
    let mut letters = name.chars();
    letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

fn read(path: &Path) -> Result<SecretString, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    let value = text.trim_end_matches(['\n', '\r']);
    if value.is_empty() { Err(format!("{} is empty", path.display())) } else { Ok(value.into()) }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn a_secret_comes_from_the_environment_a_file_or_a_credential() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("erp"), "from-file\n").unwrap();
        let variables = Variables::from([
            ("ERP".to_owned(), "from-env".to_owned()),
            ("CREDENTIALS_DIRECTORY".to_owned(), folder.path().display().to_string()),
        ]);
        let fetch =
            |source: SecretSource| source.fetch(folder.path(), &variables).map(|s| s.expose_secret().to_owned());
        assert_eq!(fetch(SecretSource::Env("ERP".into())).unwrap(), "from-env");
        assert_eq!(fetch(SecretSource::File("erp".into())).unwrap(), "from-file");
        assert_eq!(fetch(SecretSource::Credential("erp".into())).unwrap(), "from-file");
        assert!(fetch(SecretSource::Env("NONE".into())).unwrap_err().contains("NONE is not set"));
        assert!(fetch(SecretSource::Credential("../erp".into())).is_err());
        let misplaced = fetch(SecretSource::Env("hush-hush".into())).unwrap_err();
        assert!(misplaced.contains("not the name of a variable") && !misplaced.contains("hush"), "{misplaced}");
    }
}
