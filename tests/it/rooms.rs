//! The rooms of the program stand in one order, and none calls one that stands after it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

/// Rooms of the program, the lowest first.
const HOUSE: [&str; 21] = [
    "env",
    "printable",
    "ids",
    "wait_reason",
    "failure",
    "load",
    "model",
    "json",
    "expr",
    "port",
    "mapping",
    "store",
    "sync",
    "adapter",
    "config",
    "schema",
    "opened",
    "sandbox",
    "demo",
    "cli",
    "internals",
];

/// Rooms of `sync`, the lowest first.
const SYNC: [&str; 11] = [
    "routing", "context", "conflict", "identity", "stock", "desired", "brakes", "pull", "delivery", "engine", "preview",
];

/// Rooms of `adapter`, the lowest first: what the TOML says, a checked program of it, the program at work; first what
/// drivers share, then each driver's own.
const ADAPTER: [&str; 15] = [
    "manifest",
    "registry",
    "transport",
    "world",
    "compile",
    "run",
    "http::compile",
    "http::run",
    "http",
    "sql::compile",
    "sql::run",
    "sql",
    "files::compile",
    "files::run",
    "files",
];

/// Rooms of `adapter` that call none of one another, and whose inner rooms stand in [`ADAPTER`] too.
const DRIVERS: [&str; 3] = ["http", "sql", "files"];

/// Arrows against the order that have a reason.
const ALLOWED: [(&str, &str, &str); 0] = [];

type Segments = Vec<String>;

/// A name that a module takes in: what it is called there, and what it stands for.
struct Import {
    /// `*` for all of a module.
    name: String,
    path: Segments,
}

#[derive(Default)]
struct Module {
    imports: Vec<Import>,
    /// Paths that are written out in the code.
    paths: Vec<Segments>,
    children: BTreeSet<String>,
}

/// All modules by their path from the crate's root.
#[derive(Default)]
struct House(BTreeMap<Segments, Module>);

impl House {
    fn of(root: &Path) -> Self {
        let mut house = Self::default();
        house.read(&root.join("lib.rs"), root, &Vec::new());
        house
    }

    fn read(&mut self, file: &Path, folder: &Path, at: &[String]) {
        let text = fs::read_to_string(file).unwrap();
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        self.add(&parsed.items, folder, at);
    }

    fn add(&mut self, items: &[syn::Item], folder: &Path, at: &[String]) {
        let mut module = Module::default();
        let mut within: Vec<(Segments, &syn::ItemMod)> = Vec::new();
        for item in items {
            match item {
                syn::Item::Mod(inner) if !is_test(&inner.attrs) => {
                    let name = inner.ident.to_string();
                    module.children.insert(name.clone());
                    within.push((at.iter().cloned().chain([name]).collect(), inner));
                }
                syn::Item::Mod(_) => {}
                syn::Item::Use(item) if !is_test(&item.attrs) => {
                    imports(&item.tree, &mut Vec::new(), &mut module.imports)
                }
                syn::Item::Use(_) => {}
                other => Paths(&mut module).visit_item(other),
            }
        }
        self.0.insert(at.to_vec(), module);
        for (path, inner) in within {
            let folder = folder.join(path.last().unwrap());
            match &inner.content {
                Some((_, items)) => self.add(items, &folder, &path),
                None => {
                    let file =
                        [folder.with_extension("rs"), folder.join("mod.rs")].into_iter().find(|file| file.exists());
                    self.read(&file.unwrap_or_else(|| panic!("no file of {path:?}")), &folder, &path);
                }
            }
        }
    }

    /// Where a path that is written in a module leads, through whatever takes it in on the way; nothing for other crates.
    fn resolve(&self, at: &[String], path: &[String], depth: usize) -> Option<Segments> {
        let (first, rest) = path.split_first()?;
        let mut base: Segments = match first.as_str() {
            "crate" | "vaiven" => Vec::new(),
            "self" => at.to_vec(),
            "super" => at.split_last()?.1.to_vec(),
            name if self.0.get(at).is_some_and(|module| module.children.contains(name)) => {
                at.iter().cloned().chain([first.clone()]).collect()
            }
            name => self.taken_in(at, name, depth)?,
        };
        let mut rest = rest;
        while let Some((step, after)) = rest.split_first() {
            rest = after;
            if step == "super" {
                base.pop();
                continue;
            }
            let module = self.0.get(&base)?;
            if module.children.contains(step) {
                base.push(step.clone());
            } else if let Some(there) = self.taken_in(&base, step, depth) {
                base = there;
            } else {
                base.push(step.clone());
                return Some(base);
            }
        }
        Some(base)
    }

    fn taken_in(&self, at: &[String], name: &str, depth: usize) -> Option<Segments> {
        let module = self.0.get(at)?;
        if depth > 8 {
            return None;
        }
        let named = module.imports.iter().find(|import| import.name == name);
        if let Some(import) = named {
            return self.resolve(at, &import.path, depth + 1);
        }
        let globs = module.imports.iter().filter(|import| import.name == "*");
        globs.filter_map(|glob| self.resolve(at, &glob.path, depth + 1)).find_map(|from| {
            let there = self.0.get(&from)?;
            if there.children.contains(name) {
                return Some(from.into_iter().chain([name.to_owned()]).collect());
            }
            let has = there.imports.iter().any(|import| import.name == name);
            if has { self.taken_in(&from, name, depth + 1) } else { None }
        })
    }

    /// Every (room, other room, where) that one calls.
    fn arrows(&self, room: impl Fn(&[String]) -> Option<String>) -> BTreeSet<(String, String, String)> {
        let mut arrows = BTreeSet::new();
        for (at, module) in &self.0 {
            let Some(from) = room(at) else { continue };
            let imported = module.imports.iter().map(|import| &import.path);
            for path in imported.chain(&module.paths) {
                if let Some(to) = self.resolve(at, path, 0).and_then(|there| room(&there))
                    && to != from
                {
                    arrows.insert((from.clone(), to, format!("{} names {}", at.join("::"), path.join("::"))));
                }
            }
        }
        arrows
    }
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes
        .iter()
        .any(|one| one.path().is_ident("cfg") && one.parse_args::<syn::Ident>().is_ok_and(|of| of == "test"))
}

fn imports(tree: &syn::UseTree, before: &mut Segments, into: &mut Vec<Import>) {
    let whole = |before: &Segments, last: &syn::Ident| -> Segments {
        let last = last.to_string();
        if last == "self" { before.clone() } else { before.iter().cloned().chain([last]).collect() }
    };
    match tree {
        syn::UseTree::Path(path) => {
            before.push(path.ident.to_string());
            imports(&path.tree, before, into);
            before.pop();
        }
        syn::UseTree::Name(name) => {
            let path = whole(before, &name.ident);
            into.push(Import { name: path.last().cloned().unwrap_or_default(), path });
        }
        syn::UseTree::Rename(name) => {
            into.push(Import { name: name.rename.to_string(), path: whole(before, &name.ident) });
        }
        syn::UseTree::Glob(_) => into.push(Import { name: "*".to_owned(), path: before.clone() }),
        syn::UseTree::Group(group) => group.items.iter().for_each(|tree| imports(tree, before, into)),
    }
}

/// Takes down what is written out: in code, in types, and in what macros are given.
struct Paths<'a>(&'a mut Module);

impl Paths<'_> {
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Segments = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(name) => {
                    if colons != 2 {
                        self.take(&mut path);
                    }
                    path.push(name.to_string());
                    colons = 0;
                }
                TokenTree::Punct(mark) if mark.as_char() == ':' => colons += 1,
                TokenTree::Group(group) => {
                    self.take(&mut path);
                    colons = 0;
                    self.tokens(group.stream());
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {
                    self.take(&mut path);
                    colons = 0;
                }
            }
        }
        self.take(&mut path);
    }

    fn take(&mut self, path: &mut Segments) {
        if path.len() > 1 {
            self.0.paths.push(std::mem::take(path));
        }
        path.clear();
    }
}

impl<'ast> Visit<'ast> for Paths<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_test(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        imports(&item.tree, &mut Vec::new(), &mut self.0.imports);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        // A name alone may come from the glob of another room.
        self.0.paths.push(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, one: &'ast syn::Macro) {
        self.tokens(one.tokens.clone());
        visit::visit_macro(self, one);
    }

    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}
}

fn sync_room(at: &[String]) -> Option<String> {
    (at.first()? == "sync").then(|| at.get(1).cloned()).flatten()
}

fn adapter_room(at: &[String]) -> Option<String> {
    let (room, within) = at.strip_prefix(&["adapter".to_owned()])?.split_first()?;
    match within.first().filter(|_| DRIVERS.contains(&room.as_str())) {
        Some(inner) => Some(format!("{room}::{inner}")),
        None => Some(room.clone()),
    }
}

fn top_room(at: &[String]) -> Option<String> {
    at.first().cloned()
}

/// Arrows that lead from a room to one that stands after it.
fn against(arrows: BTreeSet<(String, String, String)>, order: &[&str]) -> Vec<String> {
    let place = |room: &str| order.iter().position(|one| *one == room);
    let allowed = |from: &str, to: &str| ALLOWED.iter().any(|(one, other, _)| *one == from && *other == to);
    (arrows.into_iter())
        .filter(|(from, to, _)| place(from).is_none_or(|from| place(to).is_none_or(|to| to > from)))
        .filter(|(from, to, _)| !allowed(from, to))
        .map(|(from, to, at)| format!("{from} -> {to}: {at}"))
        .collect()
}

/// Arrows that lead from one driver to another.
fn between_drivers(arrows: &BTreeSet<(String, String, String)>) -> Vec<String> {
    let driver = |room: &str| DRIVERS.into_iter().find(|driver| room.split("::").next() == Some(driver));
    (arrows.iter())
        .filter(|(from, to, _)| driver(from).zip(driver(to)).is_some_and(|(from, to)| from != to))
        .map(|(from, to, at)| format!("{from} -> {to}: {at}"))
        .collect()
}

#[test]
fn imports_between_the_rooms_run_one_way() {
    let house = House::of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let found = against(house.arrows(sync_room), &SYNC);
    assert!(found.is_empty(), "against the order of the rooms of sync:\n{}", found.join("\n"));
    let arrows = house.arrows(adapter_room);
    let found = between_drivers(&arrows);
    assert!(found.is_empty(), "from driver to driver:\n{}", found.join("\n"));
    let found = against(arrows, &ADAPTER);
    assert!(found.is_empty(), "against the order of the rooms of adapter:\n{}", found.join("\n"));
    let found = against(house.arrows(top_room), &HOUSE);
    assert!(found.is_empty(), "against the order of the house:\n{}", found.join("\n"));
}

/// A small house of these files.
fn small_house(files: &[(&str, &str)]) -> House {
    let folder = tempfile::tempdir().unwrap();
    for (file, text) in files {
        let file: PathBuf = folder.path().join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    House::of(folder.path())
}

/// A small house with one arrow too many, which `code` in the room `routing` draws.
fn planted(code: &str) -> Vec<String> {
    let house = small_house(&[
        ("lib.rs", "pub mod sync;"),
        ("sync/mod.rs", "mod routing;\nmod pull;\npub use pull::Run;\n"),
        ("sync/pull/mod.rs", "mod run;\npub use run::*;\npub struct Page;"),
        ("sync/pull/run.rs", "pub struct Run;\npub fn list() {}"),
        ("sync/routing/mod.rs", "mod flow;"),
        ("sync/routing/flow.rs", code),
    ]);
    against(house.arrows(sync_room), &SYNC)
}

/// Arrows of a small house of adapters whose file `at` has `code` in it.
fn planted_in_adapter(at: &str, code: &str) -> Vec<String> {
    let mut files = vec![
        ("lib.rs", "pub mod adapter;"),
        ("adapter/mod.rs", "mod manifest;\nmod http;\nmod sql;\npub use manifest::Manifest;\npub fn open() {}"),
        ("adapter/manifest.rs", "pub struct Manifest;"),
        ("adapter/http/mod.rs", "mod compile;\nmod run;\npub use run::{Network, open};"),
        ("adapter/http/compile/mod.rs", "mod call;\npub use call::*;\npub use crate::adapter::Manifest as Read;"),
        ("adapter/http/compile/call.rs", "pub struct Call;"),
        ("adapter/http/run/mod.rs", "mod system;\npub use system::*;\nuse super::compile::{self, Call};"),
        ("adapter/http/run/system.rs", "pub struct Network;\npub fn open(_: &crate::adapter::Manifest) {}"),
        ("adapter/sql/mod.rs", "mod compile;\npub use compile::Entity;"),
        ("adapter/sql/compile.rs", "pub struct Entity;"),
    ];
    files.iter_mut().find(|(file, _)| *file == at).unwrap().1 = code;
    let arrows = small_house(&files).arrows(adapter_room);
    [between_drivers(&arrows), against(arrows, &ADAPTER)].concat()
}

#[test]
fn the_manifest_is_compiled_and_then_run_and_no_driver_calls_another() {
    let (manifest, compile, sql) = ("adapter/manifest.rs", "adapter/http/compile/call.rs", "adapter/sql/compile.rs");
    assert!(planted_in_adapter(compile, "use crate::adapter::Manifest; pub struct Call;").is_empty());
    assert!(planted_in_adapter(sql, "use super::super::manifest; pub struct Entity;").is_empty());
    for (at, code) in [
        (compile, "use crate::adapter::http::run;"),
        (compile, "use super::super::run::system::Network;"),
        (compile, "use super::super::run::*;"),
        (compile, "use crate::{adapter::{http::{run::{self as work}}}};"),
        (compile, "use crate::adapter::http::Network;"),
        (compile, "use super::super::Network as Net;"),
        (compile, "fn way() { crate::adapter::http::open(); }"),
        (compile, "fn way() { super::super::run::open(); }"),
        (compile, "fn way(network: &crate::adapter::http::Network) {}"),
        (compile, "fn way() { let _ = format!(\"{}\", super::super::run::open()); }"),
        (compile, "mod inner { use super::super::super::run::Network; }"),
        (compile, "impl super::super::run::Network {}"),
        (compile, "use crate::adapter::open;"),
        (compile, "use crate::adapter::sql::Entity;"),
        (manifest, "use super::http::Network;"),
        (manifest, "use crate::adapter::http::compile::Call;"),
        (manifest, "fn way() { super::open(); }"),
        (sql, "use crate::adapter::http::compile::Call;"),
        (sql, "fn way() { super::super::http::open(); }"),
        (sql, "use crate::adapter; fn way() { adapter::http::open(); }"),
    ] {
        assert!(!planted_in_adapter(at, code).is_empty(), "{at}: {code}");
    }
}

#[test]
fn an_arrow_of_every_form_is_seen() {
    assert!(planted("use super::flow; fn way() { crate::other(); }").is_empty(), "its own room and what is above all");
    for code in [
        "use crate::sync::pull;",
        "use crate::sync::{pull::Page as Sheet};",
        "use crate::{sync::{self, pull::run::*}};",
        "use super::super::pull::Page;",
        "use crate::sync::Run;",
        "use crate::sync::pull::*;",
        "fn way() { crate::sync::pull::list(); }",
        "fn way() { super::super::pull::list(); }",
        "fn way(run: &crate::sync::Run) {}",
        "fn way() { let _ = format!(\"{}\", crate::sync::pull::list()); }",
        "fn way() { use super::super::pull::list; list(); }",
        "mod inner { use super::super::super::pull::Page; }",
        "pub use crate::sync::pull::Page;",
        "use crate::sync; fn way() { sync::pull::list(); }",
        "use crate::sync::*; fn way() { pull::list(); }",
        "use crate::sync::*; fn way(run: &Run) {}",
        "use super::super as house; fn way() { house::pull::list(); }",
        "use crate as c; fn way() { c::sync::pull::list(); }",
    ] {
        assert!(!planted(code).is_empty(), "{code}");
    }
}

#[test]
fn a_long_file_says_at_its_top_why_it_is_one() {
    const LINES: usize = 500;
    let mut silent = Vec::new();
    let mut folders: Vec<_> =
        ["src", "tests", "benches"].map(|name| Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).to_vec();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let says_why = text
                    .lines()
                    .take_while(|line| line.starts_with("//!"))
                    .any(|line| line.contains("One file, because"));
                if text.lines().count() > LINES && !says_why {
                    silent.push(path);
                }
            }
        }
    }
    assert!(silent.is_empty(), "more than {LINES} lines, and no \"One file, because\" above them: {silent:?}");
}
