//! `vaiven adapter`: which adapters there are and what they ask for.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    Ending, app,
    args::{AdapterCommand, Global},
    output::{self, Output},
};
use crate::{
    adapter::{Driver, Registry},
    load::{Place, SourceFile},
};

#[derive(Serialize)]
struct Listed {
    name: String,
    driver: String,
    summary: String,
    /// `built in`, or the adapter's folder.
    from: String,
}

#[derive(Serialize)]
struct Shown {
    name: String,
    driver: String,
    summary: String,
    settings: BTreeMap<String, SettingDoc>,
    /// Entity to whether it has a mapping.
    entities: BTreeMap<String, bool>,
}

#[derive(Serialize)]
struct SettingDoc {
    kind: &'static str,
    /// Neither optional nor with a default.
    required: bool,
    doc: Option<String>,
}

pub fn adapter(command: &AdapterCommand, global: &Global, output: Output) -> anyhow::Result<Ending> {
    let registry = app::registry(global)?;
    match command {
        AdapterCommand::List => list(&registry, output)?,
        AdapterCommand::Show { name, source } => show(&registry, name, *source, output)?,
    }
    Ok(Ending::Fine)
}

fn list(registry: &Registry, output: Output) -> anyhow::Result<()> {
    let typed = SourceFile::typed("");
    let mut listed = Vec::new();
    for (name, from) in registry.list() {
        let manifest = registry.adapter(&name, &Place::start(&typed))?;
        listed.push(Listed {
            driver: driver(manifest.driver).to_owned(),
            summary: manifest.summary.clone(),
            name,
            from,
        });
    }
    output.show(&listed, |listed| {
        let rows =
            listed.iter().map(|line| [line.name.clone(), line.driver.clone(), line.summary.clone(), line.from.clone()]);
        output::table(["adapter", "driver", "what it is", "from"], rows)
    })
}

fn show(registry: &Registry, name: &str, source: bool, output: Output) -> anyhow::Result<()> {
    let typed = SourceFile::typed(name);
    let manifest = registry.adapter(name, &Place::new(&typed, 0..name.len()))?;
    if source {
        return output::line(&manifest.file.text);
    }
    let mapped = registry.mapped(&manifest.name);
    let settings = manifest.settings.iter().map(|(name, setting)| {
        let required = setting.default.is_none() && !setting.optional;
        (name.clone(), SettingDoc { kind: setting.kind.as_str(), required, doc: setting.doc.clone() })
    });
    let shown = Shown {
        name: manifest.name.clone(),
        driver: driver(manifest.driver).to_owned(),
        summary: manifest.summary.clone(),
        settings: settings.collect(),
        entities: manifest.entities.iter().map(|entity| (entity.clone(), mapped.contains(entity))).collect(),
    };
    output.show(&shown, text)
}

fn text(shown: &Shown) -> String {
    let head = format!("{} (driver {}): {}", shown.name, shown.driver, shown.summary);
    let settings = shown.settings.iter().map(|(name, setting)| {
        let required = if setting.required { "required" } else { "" };
        [name.clone(), setting.kind.to_owned(), required.to_owned(), setting.doc.clone().unwrap_or_default()]
    });
    let entities = shown.entities.iter().map(|(entity, mapped)| {
        [
            entity.clone(),
            if *mapped { format!("mappings/{}/{entity}.toml", shown.name) } else { "no mapping".to_owned() },
        ]
    });
    [
        head,
        output::table(["setting", "kind", "", "what it is"], settings),
        output::table(["entity", "mapping"], entities),
    ]
    .join("\n\n")
}

fn driver(driver: Driver) -> &'static str {
    match driver {
        Driver::Http => "http",
        Driver::Sql => "sql",
        Driver::Files => "files",
    }
}
