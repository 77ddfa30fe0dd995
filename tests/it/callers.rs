//! Each room of `sync` calls those parts of the store that say so, and no others.
//!
//! A context holds one handle on the whole store, so that the parts can share a transaction; which of them a room knows
//! is written at each trait ("Called by"), and proven here.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

/// A trait of the store: its methods, and the rooms of `sync` that its documentation names.
#[derive(Default)]
struct Part {
    methods: BTreeSet<String>,
    named: BTreeSet<String>,
}

fn sources(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn parsed(folder: &Path) -> Vec<syn::File> {
    let mut found = Vec::new();
    sources(folder, &mut found);
    found.iter().map(|path| syn::parse_file(&fs::read_to_string(path).unwrap()).unwrap()).collect()
}

fn documentation(attributes: &[syn::Attribute]) -> String {
    let text = |attribute: &syn::Attribute| match &attribute.meta {
        syn::Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    };
    attributes.iter().filter_map(text).collect()
}

/// `sync::pull` in "Called by `sync::pull` and `sync::engine`".
fn rooms_in(text: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
    text.split("sync::").skip(1).map(|rest| rest.chars().take_while(|&c| is_name(c)).collect()).collect()
}

fn parts(store: &Path) -> BTreeMap<String, Part> {
    let mut parts = BTreeMap::new();
    for item in parsed(store).into_iter().flat_map(|file| file.items) {
        let syn::Item::Trait(item) = item else { continue };
        let methods = item.items.iter().filter_map(|item| match item {
            syn::TraitItem::Fn(method) => Some(method.sig.ident.to_string()),
            _ => None,
        });
        let part = Part { methods: methods.collect(), named: rooms_in(&documentation(&item.attrs)) };
        if !part.methods.is_empty() {
            parts.insert(item.ident.to_string(), part);
        }
    }
    parts
}

/// The methods that code calls on something that is called `store`.
#[derive(Default)]
struct Calls(BTreeSet<String>);

impl<'ast> Visit<'ast> for Calls {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let is_test = item.attrs.iter().any(|attribute| {
            attribute.path().is_ident("cfg") && attribute.parse_args::<syn::Ident>().is_ok_and(|cfg| cfg == "test")
        });
        if !is_test {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        let is_store = match &*call.receiver {
            syn::Expr::Field(field) => matches!(&field.member, syn::Member::Named(name) if name == "store"),
            syn::Expr::Path(path) => path.path.is_ident("store"),
            _ => false,
        };
        if is_store {
            self.0.insert(call.method.to_string());
        }
        visit::visit_expr_method_call(self, call);
    }

    fn visit_macro(&mut self, called: &'ast syn::Macro) {
        self.add_from(called.tokens.clone());
    }
}

impl Calls {
    /// `store.place` in the arguments of a macro.
    fn add_from(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        for window in tokens.windows(3) {
            if let [TokenTree::Ident(store), TokenTree::Punct(dot), TokenTree::Ident(method)] = window
                && store == "store"
                && dot.as_char() == '.'
            {
                self.0.insert(method.to_string());
            }
        }
        for token in tokens {
            if let TokenTree::Group(group) = token {
                self.add_from(group.stream());
            }
        }
    }
}

#[test]
fn each_part_of_the_store_names_the_rooms_that_call_it() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut parts = parts(&source.join("store"));
    parts.retain(|name, _| name.ends_with("Store") || name == "Housekeeping");
    let mut callers: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let rooms = fs::read_dir(source.join("sync")).unwrap().map(|entry| entry.unwrap().path());
    for room in rooms.filter(|path| path.is_dir() && !path.ends_with("tests")) {
        let mut calls = Calls::default();
        parsed(&room).iter().for_each(|file| calls.visit_file(file));
        for (name, part) in &parts {
            if !part.methods.is_disjoint(&calls.0) {
                let room = room.file_name().unwrap().to_string_lossy().into_owned();
                callers.entry(name).or_default().insert(room);
            }
        }
    }
    let wrong = parts.iter().filter_map(|(name, part)| {
        let calls = callers.remove(name.as_str()).unwrap_or_default();
        (calls != part.named).then(|| format!("{name} is called by {calls:?}, and names {:?}", part.named))
    });
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
