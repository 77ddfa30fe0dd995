//! Adapters and mappings by name: those shipped in the binary, overridden by those of the configuration's folders.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use include_dir::{Dir, include_dir};

use super::manifest::Manifest;
use crate::load::{LoadError, Place, SourceFile};

static ADAPTERS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/adapters");
static MAPPINGS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/mappings");

/// The sources of adapters (`<name>.toml`) and mappings (`<adapter>/<entity>.toml`).
#[derive(Clone, Debug, Default)]
pub struct Registry {
    /// Folders in the order of their precedence; the binary comes last.
    adapters: Vec<PathBuf>,
    mappings: Vec<PathBuf>,
}

impl Registry {
    #[must_use]
    pub fn new(adapters: Vec<PathBuf>, mappings: Vec<PathBuf>) -> Self {
        Self { adapters, mappings }
    }

    /// Names of all adapters, in alphabetical order, with their origin (`built in` or the folder).
    #[must_use]
    pub fn list(&self) -> BTreeMap<String, String> {
        let mut names: BTreeMap<String, String> =
            shipped(&ADAPTERS, None).into_iter().map(|name| (name, "built in".to_owned())).collect();
        for folder in self.adapters.iter().rev() {
            names.extend(stems(folder).into_iter().map(|name| (name, folder.display().to_string())));
        }
        names
    }

    /// An adapter's text.
    ///
    /// # Errors
    /// If there is no adapter of that name (reported at `place`, with the nearest name) or it cannot be read.
    pub fn show(&self, name: &str, place: &Place) -> Result<Arc<SourceFile>, LoadError> {
        let found = find(&self.adapters, &ADAPTERS, "adapters", &[name])?;
        found.ok_or_else(|| {
            let known = self.list();
            LoadError::unknown(place, "adapter", name, known.keys().map(String::as_str))
        })
    }

    /// An adapter, with its shared part read.
    ///
    /// # Errors
    /// Those of [`Registry::show`], and everything that is wrong in the shared part of the file.
    pub fn adapter(&self, name: &str, place: &Place) -> Result<Arc<Manifest>, LoadError> {
        Manifest::load(self.show(name, place)?)
    }

    /// Entities for which an adapter has a mapping.
    #[must_use]
    pub fn mapped(&self, adapter: &str) -> BTreeSet<String> {
        let mut names: BTreeSet<String> = shipped(&MAPPINGS, Some(adapter)).into_iter().collect();
        for folder in &self.mappings {
            names.extend(stems(&folder.join(adapter)));
        }
        names
    }

    /// A mapping's text, if there is one.
    ///
    /// # Errors
    /// If it exists but cannot be read.
    pub fn mapping(&self, adapter: &str, entity: &str) -> Result<Option<Arc<SourceFile>>, LoadError> {
        find(&self.mappings, &MAPPINGS, "mappings", &[adapter, entity])
    }
}

fn find(folders: &[PathBuf], own: &Dir<'_>, room: &str, parts: &[&str]) -> Result<Option<Arc<SourceFile>>, LoadError> {
    // A name must be one step of a path; `..` and separators would lead out of the folder.
    let plain = |part: &&str| !part.is_empty() && !part.starts_with('.') && !part.contains(['/', '\\', '\0']);
    if !parts.iter().all(plain) {
        return Ok(None);
    }
    let path = format!("{}.toml", parts.join("/"));
    for folder in folders {
        let file = folder.join(&path);
        if file.is_file() {
            return SourceFile::read(&file).map(Some);
        }
    }
    let text = own.get_file(&path).and_then(include_dir::File::contents_utf8);
    Ok(text.map(|text| SourceFile::new(format!("{room}/{path}"), text)))
}

fn shipped(own: &Dir<'_>, below: Option<&str>) -> Vec<String> {
    let files = match below {
        None => own.files(),
        Some(folder) => match own.get_dir(folder) {
            Some(folder) => folder.files(),
            None => return Vec::new(),
        },
    };
    files.filter_map(|file| stem(file.path())).collect()
}

fn stems(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries.flatten().filter_map(|entry| stem(&entry.path())).collect()
}

fn stem(path: &Path) -> Option<String> {
    let toml = path.extension().is_some_and(|ending| ending == "toml");
    toml.then(|| path.file_stem().map(|stem| stem.to_string_lossy().into_owned())).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::Settings;

    #[test]
    fn a_folder_of_the_configuration_overrides_what_is_shipped() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("mine.toml"), "driver = \"http\"\nsummary = \"Mine\"\n").unwrap();
        std::fs::create_dir(folder.path().join("mine")).unwrap();
        std::fs::write(folder.path().join("mine/product.toml"), "key = \"sku\"\n").unwrap();
        let registry = Registry::new(vec![folder.path().into()], vec![folder.path().into()]);
        let config = SourceFile::new("vaiven.toml", "");
        let place = Place::start(&config);
        assert_eq!(registry.list()["mine"], folder.path().display().to_string());
        assert_eq!(registry.adapter("mine", &place).unwrap().summary, "Mine");
        assert_eq!(registry.mapped("mine"), BTreeSet::from(["product".to_owned()]));
        assert_eq!(registry.mapping("mine", "product").unwrap().unwrap().text, "key = \"sku\"\n");
        let error = registry.show("mines", &place).unwrap_err().to_string();
        assert!(error.contains("did you mean `mine`?"), "{error}");
    }

    #[test]
    fn a_name_cannot_lead_out_of_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("inner")).unwrap();
        std::fs::write(folder.path().join("secret.toml"), "x = 1\n").unwrap();
        let registry = Registry::new(vec![folder.path().join("inner")], vec![folder.path().join("inner")]);
        let config = SourceFile::new("vaiven.toml", "");
        assert!(registry.show("../secret", &Place::start(&config)).is_err());
        assert!(registry.mapping("..", "secret").unwrap().is_none());
    }

    /// Settings of the right kinds, to open an adapter without a configuration.
    fn placeholders(manifest: &Manifest) -> Settings {
        use crate::adapter::{SettingKind, SettingValue};
        let value = |kind| match kind {
            SettingKind::Url => SettingValue::Plain("https://system.example".into()),
            SettingKind::Text => SettingValue::Plain("x".into()),
            SettingKind::Path => SettingValue::Plain("/nowhere".into()),
            SettingKind::Secret => SettingValue::Secret("sqlite://nowhere.db".into()),
            SettingKind::Integer | SettingKind::Decimal => SettingValue::Plain(1.into()),
            SettingKind::Boolean => SettingValue::Plain(true.into()),
            SettingKind::List => SettingValue::Plain(serde_json::json!([])),
            SettingKind::Map => SettingValue::Plain(serde_json::json!({})),
        };
        manifest.settings.iter().map(|(name, setting)| (name.clone(), value(setting.kind))).collect()
    }

    #[tokio::test]
    async fn every_shipped_adapter_opens() {
        let registry = Registry::new(Vec::new(), Vec::new());
        let config = SourceFile::new("vaiven.toml", "");
        let mut problems = Vec::new();
        for name in registry.list().into_keys() {
            let opened = registry.adapter(&name, &Place::start(&config)).and_then(|manifest| {
                let world = crate::adapter::World {
                    env: crate::env::Env::system(),
                    transport: std::sync::Arc::new(crate::adapter::http::Network::new().unwrap()),
                    folder: std::env::temp_dir(),
                    logins: std::sync::Arc::new(crate::port::logins::InMemory::default()),
                };
                crate::adapter::open(&name, &manifest, &placeholders(&manifest), &world).map(|_| ())
            });
            problems.extend(opened.err().map(|error| error.to_string()));
        }
        assert!(problems.is_empty(), "{}", problems.join("\n"));
    }
}
