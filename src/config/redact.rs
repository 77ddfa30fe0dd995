//! Masks what may be a secret in a configuration's text before any of it can be shown in a message.
//!
//! Only what is known to be harmless is shown: an unknown key may be a mistyped `password`, and a message about one
//! line shows the lines around it.

use std::{collections::BTreeSet, ops::Range};

use schemars::JsonSchema;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    entities::EntitySection,
    flows::FlowSection,
    limits::{LimitsSection, SystemLimitsSection},
    log::LogSection,
    paths::PathsSection,
    secret::is_name_of_variable,
};
use crate::adapter::is_telltale;

/// Replace whatever may be a secret by the same number of `*`. Bytes keep their positions.
pub fn text(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let hidden = match DeTable::parse(text) {
        Ok(table) => Walk::new(text).table(table.get_ref(), &mut Vec::new()),
        // Without a parsed structure it is unknown what belongs where.
        Err(_) => broken(text),
    };
    for range in hidden {
        for byte in bytes.get_mut(range).into_iter().flatten().filter(|byte| !matches!(byte, b'\n' | b'\r')) {
            *byte = b'*';
        }
    }
    String::from_utf8(bytes).unwrap_or_default()
}

/// How much of a value is shown.
enum Shown {
    All,
    /// An address without its password and its parameters. Other values are hidden.
    Address,
    Nothing,
}

struct Walk<'a> {
    text: &'a str,
    /// Sections without secrets, with their depth and their keys.
    open: Vec<(&'static str, usize, BTreeSet<String>)>,
}

impl<'a> Walk<'a> {
    fn new(text: &'a str) -> Self {
        let open = vec![
            ("paths", 1, keys::<PathsSection>()),
            ("log", 1, keys::<LogSection>()),
            ("limits", 1, keys::<LimitsSection>()),
            // The keys are below the names of the flows.
            ("flows", 2, keys::<FlowSection>()),
            ("entities", 2, keys::<EntitySection>()),
        ];
        Self { text, open }
    }

    fn table(&self, table: &DeTable<'_>, path: &mut Vec<String>) -> Vec<Range<usize>> {
        let mut hidden = Vec::new();
        for (key, value) in table {
            path.push(key.get_ref().to_string());
            hidden.extend(self.value(value, path));
            path.pop();
        }
        hidden
    }

    fn value(&self, value: &Spanned<DeValue<'_>>, path: &mut Vec<String>) -> Vec<Range<usize>> {
        match value.get_ref() {
            DeValue::Table(table) => self.table(table, path),
            DeValue::Array(items) => items.iter().flat_map(|item| self.value(item, path)).collect(),
            leaf => {
                let inner = self.inside_quotes(value.span());
                match self.shown(path, leaf) {
                    Shown::All => Vec::new(),
                    Shown::Nothing => vec![inner],
                    Shown::Address => match self.text.get(inner.clone()).and_then(secret_of_address) {
                        Some(parts) => {
                            parts.into_iter().map(|part| inner.start + part.start..inner.start + part.end).collect()
                        }
                        None => vec![inner],
                    },
                }
            }
        }
    }

    fn shown(&self, path: &[String], leaf: &DeValue<'_>) -> Shown {
        let steps: Vec<&str> = path.iter().map(String::as_str).collect();
        match steps.as_slice() {
            ["systems", _, "adapter"] => Shown::All,
            // A key that was put below this table by mistake may be a setting of the system.
            ["systems", _, "limits", key, ..] if keys::<SystemLimitsSection>().contains(*key) => Shown::All,
            ["systems", _, "lookups", table, key, ..] if !is_telltale(table) && !is_telltale(key) => Shown::All,
            ["systems", _, "limits" | "lookups", ..] => Shown::Nothing,
            ["systems", _, _] | ["store", "url"] => Shown::Address,
            ["systems", _, _, source] | ["store", _, source] => match (*source, leaf) {
                ("file" | "credential", _) => Shown::All,
                // Somebody may have put a value in the place of the variable's name.
                ("env", DeValue::String(name)) if is_name_of_variable(name) => Shown::All,
                _ => Shown::Nothing,
            },
            [section, rest @ ..] => {
                let known = self.open.iter().find(|(name, _, _)| name == section);
                let is_known =
                    known.is_some_and(|(_, depth, keys)| rest.get(depth - 1).is_some_and(|key| keys.contains(*key)));
                if is_known { Shown::All } else { Shown::Nothing }
            }
            [] => Shown::Nothing,
        }
    }

    fn inside_quotes(&self, span: Range<usize>) -> Range<usize> {
        let written = self.text.get(span.clone()).unwrap_or_default();
        let quotes = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quotes| written.starts_with(quotes));
        let length = quotes.filter(|quotes| written.len() >= 2 * quotes.len()).map_or(0, str::len);
        span.start + length..span.end - length
    }
}

/// The keys of a section.
fn keys<T: JsonSchema>() -> BTreeSet<String> {
    let schema = schemars::schema_for!(T);
    let properties = schema.get("properties").and_then(|properties| properties.as_object());
    properties.into_iter().flat_map(|properties| properties.keys().cloned()).collect()
}

/// Ranges of an address's password and parameters. Return `None` if `value` is not an address.
fn secret_of_address(value: &str) -> Option<Vec<Range<usize>>> {
    let login = value.find("://")? + 3;
    let parameters = value.find('?').map_or(value.len(), |mark| mark + 1);
    let password = value[login..].rfind('@').map(|at| login + at).and_then(|at| {
        let colon = value[login..at].find(':')?;
        Some(login + colon + 1..at)
    });
    Some(password.into_iter().chain(std::iter::once(parameters..value.len())).collect())
}

/// For a text that is not TOML: everything after a key, and every line without a key.
fn broken(text: &str) -> Vec<Range<usize>> {
    let mut hidden = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let trimmed = line.trim_start();
        let from = line.find('=').map_or(0, |equals| equals + 1);
        let is_head = trimmed.starts_with('[') && from == 0;
        if !is_head && !trimmed.starts_with('#') {
            let is_sign = |letter: char| letter.is_whitespace() || "\"'[]{}=,".contains(letter);
            for (at, letter) in line[from..].char_indices().filter(|(_, letter)| !is_sign(*letter)) {
                hidden.push(start + from + at..start + from + at + letter.len_utf8());
            }
        }
        start += line.len();
    }
    hidden
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_what_is_known_to_be_harmless_is_shown_and_everything_keeps_its_position() {
        let text = r#"
pasword = "hush"                 # mistyped, and in no table
[store]
url = "postgres://me:hush@db/x?password=hush"
kee = "hush"
[log]
level = "debug"
levl = "hush"
[systems.erp]
adapter = "tryton"
url = "https://me:hush@erp.example/a?key=hush"
pasword = "hush"
pin = 4711
password = { env = "ERP_PASSWORD" }
secret = { env = "hush!" }
token = { file = "secrets/erp" }
lookups = { tax = { "IGIC7" = "reducido" } }
note = """hush
hush"""
[flows.sales]
where = 'total > 5'
match = { customer = ["vat", "email"] }
password = "hush"
"#;
        let shown = super::text(text);
        assert_eq!(shown.len(), text.len());
        assert!(!shown.contains("hush") && !shown.contains("4711"), "{shown}");
        for kept in [
            "pasword = \"****\"                 # mistyped",
            "postgres://me:****@db/x?*",
            "level = \"debug\"",
            "adapter = \"tryton\"",
            "https://me:****@erp.example/a?***",
            "{ env = \"ERP_PASSWORD\" }",
            "{ file = \"secrets/erp\" }",
            "\"IGIC7\" = \"reducido\"",
            "where = 'total > 5'",
            "[\"vat\", \"email\"]",
        ] {
            assert!(shown.contains(kept), "{kept}: {shown}");
        }
        let lines = |text: &str| text.lines().map(str::len).collect::<Vec<_>>();
        assert_eq!(lines(&shown), lines(text));
    }

    #[test]
    fn what_slipped_below_another_head_is_hidden() {
        let slipped =
            "[systems.erp.limits]\nworkers = 2\npassword = \"hush\"\n[systems.erp.lookups]\nsecret = \"hush\"\n";
        let shown = super::text(slipped);
        assert!(shown.contains("workers = 2") && !shown.contains("hush"), "{shown}");
    }

    #[test]
    fn a_text_that_is_no_toml_is_shown_without_values() {
        let shown = super::text("[systems.erp]\nsecret = \"hush\nñ = 'é', hush\nhush\n# key\n");
        assert_eq!(shown, "[systems.erp]\nsecret = \"****\nñ = '**', ****\n****\n# key\n");
    }
}
