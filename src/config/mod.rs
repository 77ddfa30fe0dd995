//! The configuration: one TOML file, overridden by the environment. Strict: everything that is wrong is reported
//! with its place.

mod brakes;
mod entities;
mod exposed;
mod fit;
mod flows;
mod layers;
mod limits;
mod log;
mod mappings;
mod open;
mod owners;
mod paths;
mod redact;
mod route;
mod secret;
mod store;
mod systems;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use indexmap::IndexMap;
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Deserialize;

use crate::load::{LoadError, Node, Problem, SourceFile, Spanned};

pub use entities::EntitySection;
pub use flows::{FlowSection, StockSection};
pub use layers::{Layers, Variables};
pub use limits::LimitsSection;
pub use log::{LogFormat, LogSection};
pub use open::OpenedConfig;
pub use paths::PathsSection;
pub use secret::SecretSource;
pub use store::StoreSection;
pub use systems::SystemSection;

/// The configuration's sections, as written.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sections {
    #[serde(default)]
    pub store: StoreSection,
    #[serde(default)]
    pub paths: PathsSection,
    /// The endpoints, by name.
    #[serde(default)]
    #[schemars(with = "IndexMap<String, SystemSection>")]
    pub systems: IndexMap<Spanned<String>, SystemSection>,
    /// The routing rules, by name; in order.
    #[serde(default)]
    #[schemars(with = "IndexMap<String, FlowSection>")]
    pub flows: IndexMap<Spanned<String>, FlowSection>,
    /// Kinds of business objects besides those that ship.
    #[serde(default)]
    #[schemars(with = "IndexMap<String, EntitySection>")]
    pub entities: IndexMap<Spanned<String>, EntitySection>,
    #[serde(default)]
    pub log: LogSection,
    #[serde(default)]
    pub limits: LimitsSection,
}

/// A configuration that was read. Nothing of it is opened yet.
#[derive(Debug)]
pub struct Config {
    pub sections: Sections,
    /// The folder of the file: relative paths start here.
    pub folder: PathBuf,
    layers: Layers,
    environment: Variables,
    /// Whether an unavailable secret is only a warning.
    lenient: bool,
}

impl Config {
    /// Read the file at `path`, overridden by the variables `VAIVEN__...` of `environment`.
    ///
    /// # Errors
    /// Unknown keys, wrong types and missing values, with their places.
    pub fn load(path: &Path, environment: Variables) -> Result<Self, LoadError> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Self::read(&SourceFile::read(path)?, folder, environment)
    }

    /// Like [`Config::load`], for a text that is already in memory.
    pub fn read(source: &Arc<SourceFile>, folder: &Path, environment: Variables) -> Result<Self, LoadError> {
        let (sections, layers) = Layers::read::<Sections>(source, &environment)?;
        sections.log.check(&layers)?;
        Ok(Self { sections, folder: folder.to_owned(), layers, environment, lenient: false })
    }

    /// Only warn of secrets that are unavailable, and use placeholders for them: for checking a configuration on a
    /// machine without its secrets.
    pub fn do_without_secrets(&mut self) {
        self.lenient = true;
    }

    /// Address of the state store. SQLite files are relative to the configuration's folder.
    pub fn store_url(&self) -> Result<SecretString, LoadError> {
        use secrecy::ExposeSecret as _;
        let url: SecretString = match &self.sections.store.url {
            None => store::DEFAULT_URL.into(),
            Some(node) => match (node.get_ref(), SecretSource::of(node.get_ref())) {
                (Node::Text(text), _) => text.as_str().into(),
                (_, Some(source)) => source
                    .fetch(&self.folder, &self.environment)
                    .map_err(|problem| LoadError::new(&self.layers.place(&node.span()), problem))?,
                _ => {
                    let problem =
                        "`url` must be a text or { env = \"X\" }, { file = \"...\" } or { credential = \"x\" }";
                    return Err(LoadError::new(&self.layers.place(&node.span()), problem));
                }
            },
        };
        if !["sqlite://", "postgres://", "postgresql://"].iter().any(|known| url.expose_secret().starts_with(known)) {
            let place = self
                .sections
                .store
                .url
                .as_ref()
                .map_or_else(|| self.layers.start(), |node| self.layers.place(&node.span()));
            return Err(LoadError::new(&place, "`url` must begin with sqlite:// or postgres://"));
        }
        Ok(match url.expose_secret().strip_prefix("sqlite://") {
            Some(file) => format!("sqlite://{}", self.folder.join(file).display()).into(),
            None => url,
        })
    }

    /// The warning that the key is unavailable, for a check without secrets.
    pub(super) fn missing_store_key(&self) -> Option<Problem> {
        let node = self.sections.store.key.as_ref().filter(|_| self.lenient)?;
        let problem = SecretSource::of(node.get_ref())?.fetch(&self.folder, &self.environment).err()?;
        let message = format!("`key` of [store]: {problem}");
        Some(Problem { place: self.layers.place(&node.span()), message, help: None })
    }

    /// The key that seals refresh tokens in the state, if one is given.
    pub fn store_key(&self) -> Result<Option<SecretString>, LoadError> {
        use secrecy::ExposeSecret as _;
        let Some(node) = &self.sections.store.key else { return Ok(None) };
        let wrong = |problem: String| LoadError::new(&self.layers.place(&node.span()), problem);
        let key: SecretString = match (node.get_ref(), SecretSource::of(node.get_ref())) {
            (_, Some(source)) => match source.fetch(&self.folder, &self.environment) {
                // On a machine without the secrets nothing is sealed either.
                Err(_) if self.lenient && source.may_be_elsewhere() => return Ok(Some(STAND_IN.into())),
                fetched => fetched.map_err(wrong)?,
            },
            (Node::Text(text), None) if self.layers.is_variable(&node.span()) => text.as_str().into(),
            _ => {
                let problem =
                    "`key` is kept outside of the file: { env = \"X\" }, { file = \"...\" } or { credential = \"x\" }";
                return Err(wrong(problem.to_owned()));
            }
        };
        if key.expose_secret().chars().count() < store::KEY_LENGTH {
            let problem = format!("`key` is shorter than {} characters", store::KEY_LENGTH);
            return Err(wrong(problem).help("`openssl rand -base64 32` makes one"));
        }
        Ok(Some(key))
    }
}

/// Placeholder for the key when a configuration is checked on a machine without its secrets.
const STAND_IN: &str = "a key of another machine that seals nothing here";

#[cfg(test)]
mod tests;
