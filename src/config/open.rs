//! Turns the sections of a configuration into the parts of an engine: opens systems, reads mappings, routes flows,
//! and proves that they all fit together.

use std::{collections::BTreeMap, sync::Arc};

use indexmap::IndexMap;
use tokio::sync::Notify;

use super::{
    Config, SecretSource, SystemSection, exposed,
    fit::{self, LeftOut, Opened},
    mappings::{MappingLoader, Mappings},
    owners::Owners,
    paths::folders,
    route::Names,
};
use crate::{
    adapter::{self, Given, Manifest, Registry, SettingKind, SettingValue, Settings, World, setup_fingerprint},
    env::Env,
    load::{LoadError, Node, Problem, Spanned},
    model::Entities,
    port::System,
    store::SharedStore,
    sync::{Context, Flow, Limits, Routes, RoutesError, SHARED},
};

/// Everything that a configuration names, opened. Nothing was sent to any system yet.
pub struct OpenedConfig {
    pub systems: BTreeMap<String, Arc<dyn System>>,
    /// By system: a fingerprint that tells its adapter and settings from others
    /// (`adapter::setup_fingerprint`).
    pub setup_fingerprints: BTreeMap<String, String>,
    pub mappings: Mappings,
    pub entities: Arc<Entities>,
    pub routes: Routes,
    pub limits: Limits,
    /// What works, but should be changed.
    pub warnings: Vec<Problem>,
    /// What `vaiven check` refuses, although a daemon can run with it.
    pub refusals: Vec<Problem>,
    /// What `vaiven check` warns of: kinds of objects that would wait if they occurred.
    pub cautions: Vec<Problem>,
    /// What sources fill and targets have no place for.
    pub left_out: Vec<LeftOut>,
}

impl OpenedConfig {
    /// The context of an engine. `owner` identifies the holder of the leases and must be unique per process.
    pub fn context(self, store: SharedStore, env: Env, owner: String) -> Context {
        Context {
            store,
            env,
            systems: self.systems,
            mappings: self.mappings,
            entities: self.entities,
            routes: self.routes,
            limits: self.limits,
            owner,
            work: Arc::new(Notify::new()),
            journal: Arc::default(),
        }
    }
}

/// A system with its adapter and settings, before a driver is made for it.
pub struct Ready<'a> {
    pub name: &'a str,
    pub section: &'a SystemSection,
    pub manifest: Arc<Manifest>,
    pub settings: Settings,
}

impl Config {
    /// Adapters and mappings that this configuration sees.
    pub fn registry(&self) -> Registry {
        let paths = &self.sections.paths;
        Registry::new(
            folders(paths.adapters.as_deref(), "adapters", &self.folder),
            folders(paths.mappings.as_deref(), "mappings", &self.folder),
        )
    }

    /// The entities that ship and those of this configuration.
    pub fn entities(&self) -> Result<Entities, LoadError> {
        let specs = self.sections.entities.iter().map(|(name, section)| {
            let spec = section.spec(name.get_ref());
            let problems = spec.problems().into_iter().map(|problem| {
                Err(LoadError::new(&self.layers.place(&name.span()), format!("entity `{}`: {problem}", name.get_ref())))
            });
            LoadError::collect::<()>(problems).map(|_| spec)
        });
        Ok(LoadError::collect(specs)?.into_iter().fold(Entities::builtin(), Entities::with))
    }

    /// The flows as written, without checking systems, adapters and mappings.
    ///
    /// # Errors
    /// What is wrong in the flows themselves, with its place.
    pub fn flows(&self) -> Result<Vec<Flow>, LoadError> {
        let entities = self.entities()?;
        let names = Names {
            layers: &self.layers,
            entities: &entities,
            systems: self.sections.systems.keys().map(|name| name.get_ref().as_str()).collect(),
        };
        let flows = self.sections.flows.iter();
        LoadError::collect(flows.map(|(name, section)| names.flow(name.get_ref(), section)))
    }

    /// Open systems and mappings and prove that the flows fit them.
    ///
    /// # Errors
    /// Everything that is wrong, with its place.
    pub fn open(&self, world: &World) -> Result<OpenedConfig, LoadError> {
        let entities = Arc::new(self.entities()?);
        let registry = self.registry();
        let mut warnings = Vec::new();
        let mut problems: Vec<LoadError> = Vec::new();

        let mut ready = Vec::new();
        for (name, section) in &self.sections.systems {
            if name.get_ref() == SHARED {
                let place = self.layers.place(&name.span());
                problems.push(
                    LoadError::new(&place, format!("a system may not be called `{SHARED}`"))
                        .help("in `owners` that word says that nobody owns a field"),
                );
            }
            match self.ready(name, section, &registry, &mut warnings) {
                Ok(system) => {
                    warnings.extend(exposed::credentials(system.name, section, &system.settings, &self.layers));
                    ready.push(system);
                }
                Err(error) => problems.push(error),
            }
        }
        problems.extend(self.store_key().err());
        warnings.extend(self.missing_store_key());
        let mut opened: Opened = BTreeMap::new();
        for Ready { name, manifest, settings, .. } in &ready {
            match adapter::open(name, manifest, settings, world) {
                Ok(system) => {
                    opened.insert((*name).to_owned(), (manifest.name.clone(), system));
                }
                Err(error) => problems.push(error),
            }
        }
        let names = Names {
            layers: &self.layers,
            entities: &entities,
            systems: self.sections.systems.keys().map(|name| name.get_ref().as_str()).collect(),
        };
        let mut flows = Vec::new();
        for (name, section) in &self.sections.flows {
            match names.flow(name.get_ref(), section) {
                Ok(flow) => {
                    problems.extend(fit::flow(&flow, section, &opened, &self.layers, &mut warnings).err());
                    flows.push(flow);
                }
                Err(error) => problems.push(error),
            }
        }
        let loader = MappingLoader {
            flows: &flows,
            sections: &self.sections.flows,
            layers: &self.layers,
            systems: &ready,
            registry: &registry,
            entities: &entities,
        };
        let mappings = loader.load(&mut problems);
        let cautions = fit::qualified(&flows, &self.sections.flows, &mappings, &entities, &self.layers);
        problems.extend(fit::stock(&flows, &self.sections.flows, &mappings, &self.layers).err());
        problems.extend(fit::looks(&flows, &self.sections.flows, &mappings, &opened, &self.layers).err());
        problems.extend(fit::guests(&flows, &self.sections.flows, &self.layers).err());
        problems.extend(fit::circle(&flows, &self.sections.flows, &self.layers).err());
        let owners = Owners {
            flows: &flows,
            sections: &self.sections.flows,
            mappings: &mappings,
            entities: &entities,
            layers: &self.layers,
        };
        problems.extend(owners.single().err());
        let refusals = owners.unclear().into_iter().chain(owners.meeting()).collect();
        let routes = Routes::new(flows).map_err(|error| {
            let (RoutesError::TwoOwners { second_flow: flow, .. }
            | RoutesError::Self_ { flow, .. }
            | RoutesError::OneWay { flow, .. }) = &error;
            let flow = self.sections.flows.get_key_value(flow.as_str());
            let place = flow.map_or_else(|| self.layers.start(), |(name, _)| self.layers.place(&name.span()));
            LoadError::new(&place, error.to_string())
        });
        match (routes, LoadError::collect(problems.into_iter().map(Err::<(), _>))) {
            (Ok(routes), Ok(_)) => Ok(OpenedConfig {
                left_out: fit::left_out(&routes, &mappings, &entities),
                setup_fingerprints: ready
                    .iter()
                    .map(|one| (one.name.to_owned(), setup_fingerprint(&one.manifest, &one.settings)))
                    .collect(),
                systems: opened.into_iter().map(|(name, (_, system))| (name, system)).collect(),
                mappings,
                entities,
                routes,
                limits: self.limits(),
                warnings,
                cautions,
                refusals,
            }),
            (Err(route), Err(mut error)) => {
                error.absorb(route);
                Err(error)
            }
            (Err(error), Ok(_)) | (Ok(_), Err(error)) => Err(error),
        }
    }

    fn limits(&self) -> Limits {
        let systems = self.sections.systems.iter();
        Limits {
            systems: systems.map(|(name, section)| (name.get_ref().clone(), section.limits.limits())).collect(),
            ..self.sections.limits.limits()
        }
    }

    fn ready<'a>(
        &self,
        name: &'a Spanned<String>,
        section: &'a SystemSection,
        registry: &Registry,
        warnings: &mut Vec<Problem>,
    ) -> Result<Ready<'a>, LoadError> {
        let manifest = registry.adapter(section.adapter.get_ref(), &self.layers.place(&section.adapter.span()))?;
        let given = section.settings.iter().map(|(setting, node)| {
            let kind = manifest.settings.get(setting.get_ref()).map(|setting| setting.kind);
            self.given(setting, node, kind, warnings).map(|given| (setting.get_ref().clone(), given))
        });
        let given: IndexMap<String, Given> = LoadError::collect(given)?.into_iter().collect();
        let settings = manifest.check_settings(&given, &self.layers.place(&name.span()))?;
        Ok(Ready { name: name.get_ref(), section, manifest, settings })
    }

    /// A setting as written, with its secret fetched. A secret that stands in the file itself works, with a
    /// warning.
    fn given(
        &self,
        setting: &Spanned<String>,
        node: &Spanned<Node>,
        kind: Option<SettingKind>,
        warnings: &mut Vec<Problem>,
    ) -> Result<Given, LoadError> {
        let is_secret = kind == Some(SettingKind::Secret);
        // Never show the line of a secret; show its key.
        let place = self.layers.place(&if is_secret { setting.span() } else { node.span() });
        if kind != Some(SettingKind::Map)
            && let Some(source) = SecretSource::of(node.get_ref())
        {
            let value = match source.fetch(&self.folder, &self.environment) {
                Ok(value) => SettingValue::Secret(value),
                Err(problem) => {
                    let message = format!("setting `{}`: {problem}", setting.get_ref());
                    let Some(kind) = kind.filter(|_| self.lenient && source.may_be_elsewhere()) else {
                        return Err(LoadError::new(&place, message));
                    };
                    warnings.push(Problem { place: place.clone(), message, help: None });
                    SettingValue::Plain(kind.example())
                }
            };
            return Ok(Given { value, place });
        }
        if let (true, Node::Text(text)) = (is_secret, node.get_ref()) {
            if !self.layers.is_variable(&node.span()) {
                let message =
                    format!("setting `{}` is a secret and stands in the file for everybody to read", setting.get_ref());
                let help = "write { env = \"X\" }, { file = \"...\" } or { credential = \"x\" }".to_owned();
                warnings.push(Problem { place: place.clone(), message, help: Some(help) });
            }
            return Ok(Given { value: SettingValue::Secret(text.as_str().into()), place });
        }
        Ok(Given { value: SettingValue::Plain(node.get_ref().to_json()), place })
    }
}
