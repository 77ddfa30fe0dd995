//! `brakes` of a flow: what one run may do at a target before a person must look at it.

use indexmap::IndexMap;
use rust_decimal::Decimal;
use schemars::JsonSchema;

use crate::{
    load::{LoadError, Node, Place, Spanned},
    model::decimal,
    sync::{Allowed, Brake, Brakes},
};

/// For the schema: `false` switches all of them off.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
pub enum BrakesSection {
    All(bool),
    Each(Each),
}

/// Those that are not named keep their defaults.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub struct Each {
    /// Records that may go away at a target: be deleted, unpublished, or lose a variant. Default `5%`.
    pub delete: Option<Limit>,
    /// By how much of itself a price may change; `40%` when not said otherwise. Every price beyond it counts.
    pub price_change: Option<PriceChange>,
    /// Prices that may become zero or go missing. Default 0.
    pub zero_price: Option<Limit>,
    /// Articles that may run out of stock. Default `20%`.
    pub zero_stock: Option<Limit>,
    /// Records that may lose a required text, such as their name, in a language or in all, or a field about a person. Default
    /// `1%`.
    pub emptied: Option<Limit>,
    /// Customers that may get another e-mail address. Default `5%`.
    pub email_change: Option<Limit>,
    /// Orders that may be cancelled or paid back. Default 20.
    pub order_end: Option<Limit>,
    /// Orders that may go on though they had ended, or become paid though it is known that they are not. Default 0.
    pub order_state: Option<Limit>,
    /// Records that may change in the first whole reading after their mapping or adapter has changed. Default `10%`.
    pub mapping_change: Option<Limit>,
    /// Objects that may be created at a target because it, a flow, an entity, a field, a filter or a match rule has joined a
    /// configuration that runs already. Default 20.
    pub join: Option<Limit>,
}

/// A number of records; `5%` of what the target holds; or `false`.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
pub enum Limit {
    Count(u64),
    Share(String),
    Off(bool),
}

/// `40%`, or that and how many prices may change by more; or `false`.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
pub enum PriceChange {
    Beyond(String),
    Both {
        /// Percent of itself by which a price may change.
        beyond: Option<String>,
        /// Prices that may change by more. Default 0.
        allowed: Option<Limit>,
    },
    Off(bool),
}

/// Read the brakes of a flow, and report everything that is wrong at once. `place` gives the place of a value.
pub fn brakes(node: &Spanned<Node>, place: &dyn Fn(&Spanned<Node>) -> Place) -> Result<Brakes, LoadError> {
    const HELP: &str = "for example { delete = \"5%\", zero_price = 0, zero_stock = false }";
    let members = match node.get_ref() {
        Node::Boolean(true) => return Ok(Brakes::default()),
        node if is_off(node) => return Ok(Brakes::off()),
        Node::Table(members) => members,
        other => {
            let problem = format!("`brakes` is a table, or false, not a {}", other.kind());
            return Err(LoadError::new(&place(node), problem).help(HELP));
        }
    };
    let mut brakes = Brakes::default();
    let problems: Vec<LoadError> =
        members.iter().filter_map(|(name, value)| set(&mut brakes, name, value, place).err()).collect();
    LoadError::collect(problems.into_iter().map(Err::<(), _>)).map(|_| brakes)
}

fn set(
    brakes: &mut Brakes,
    name: &str,
    value: &Spanned<Node>,
    place: &dyn Fn(&Spanned<Node>) -> Place,
) -> Result<(), LoadError> {
    let Some(brake) = Brake::ALL.into_iter().find(|brake| brake.as_str() == name) else {
        return Err(LoadError::unknown(&place(value), "brake", name, Brake::ALL.map(Brake::as_str)));
    };
    let allowed = match brake {
        Brake::PriceChange => price_change(brakes, value, place)?,
        _ => limit(value.get_ref(), &place(value))?,
    };
    match allowed {
        Some(allowed) => brakes.allowed.insert(brake, allowed),
        None => brakes.allowed.remove(&brake),
    };
    Ok(())
}

fn price_change(
    brakes: &mut Brakes,
    value: &Spanned<Node>,
    place: &dyn Fn(&Spanned<Node>) -> Place,
) -> Result<Option<Allowed>, LoadError> {
    const HELP: &str = "for example \"40%\", or { beyond = \"40%\", allowed = 10 }";
    let wrong = || {
        let problem = "`price_change` is the share of itself by which a price may change";
        Err(LoadError::new(&place(value), problem).help(HELP))
    };
    match value.get_ref() {
        node if is_off(node) => Ok(None),
        Node::Text(text) => match percent(text) {
            Some(percent) => {
                brakes.beyond = percent;
                Ok(Some(Allowed::Count(0)))
            }
            None => wrong(),
        },
        Node::Table(members) => both(brakes, members, place),
        _ => wrong(),
    }
}

fn both(
    brakes: &mut Brakes,
    members: &IndexMap<String, Spanned<Node>>,
    place: &dyn Fn(&Spanned<Node>) -> Place,
) -> Result<Option<Allowed>, LoadError> {
    let mut allowed = Some(Allowed::Count(0));
    for (name, value) in members {
        match name.as_str() {
            "allowed" => allowed = limit(value.get_ref(), &place(value))?,
            "beyond" => {
                brakes.beyond = value
                    .get_ref()
                    .as_text()
                    .and_then(percent)
                    .ok_or_else(|| LoadError::new(&place(value), "`beyond` is a share, such as \"40%\""))?;
            }
            _ => return Err(LoadError::unknown(&place(value), "key", name, ["beyond", "allowed"])),
        }
    }
    Ok(allowed)
}

fn limit(node: &Node, place: &Place) -> Result<Option<Allowed>, LoadError> {
    const HELP: &str = "a number of records (0, 10), a share of what the target holds (\"5%\"), or false";
    let wrong = |problem: String| LoadError::new(place, problem).help(HELP);
    match node {
        node if is_off(node) => Ok(None),
        Node::Integer(count) => match u64::try_from(*count) {
            Ok(count) => Ok(Some(Allowed::Count(count))),
            Err(_) => Err(wrong(format!("{count} records cannot be a limit"))),
        },
        Node::Text(text) => match percent(text).filter(|percent| *percent <= Decimal::ONE_HUNDRED) {
            Some(percent) => Ok(Some(Allowed::Share(percent))),
            None => Err(wrong(format!("`{text}` is no limit"))),
        },
        other => Err(wrong(format!("a {} is no limit", other.kind()))),
    }
}

fn is_off(node: &Node) -> bool {
    *node == Node::Boolean(false) || node.as_text() == Some("off")
}

/// `5%`, `0.5 %`.
fn percent(text: &str) -> Option<Decimal> {
    let number = text.trim().strip_suffix('%')?.trim_end();
    decimal::parse(number).filter(|percent| !percent.is_sign_negative())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::SourceFile;

    fn read(text: &str) -> Result<Brakes, String> {
        #[derive(serde::Deserialize)]
        struct File {
            brakes: Spanned<Node>,
        }
        let source = SourceFile::new("vaiven.toml", text);
        let file: File = toml::from_str(text).unwrap();
        brakes(&file.brakes, &|node| Place::new(&source, node.span())).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_not_said_keeps_its_default() {
        let read =
            read("brakes = { delete = \"2.5%\", zero_price = 3, email_change = false, zero_stock = \"off\" }").unwrap();
        let mut expected = Brakes::default();
        expected.allowed.insert(Brake::Delete, Allowed::Share("2.5".parse().unwrap()));
        expected.allowed.insert(Brake::ZeroPrice, Allowed::Count(3));
        expected.allowed.remove(&Brake::EmailChange);
        expected.allowed.remove(&Brake::ZeroStock);
        assert_eq!(read, expected);
    }

    #[test]
    fn false_switches_all_of_them_off() {
        assert_eq!(read("brakes = false").unwrap(), Brakes::off());
        assert_eq!(read("brakes = true").unwrap(), Brakes::default());
    }

    #[test]
    fn a_price_change_is_a_share_and_a_number() {
        let read = |text: &str| {
            let brakes = read(&format!("brakes = {{ price_change = {text} }}")).unwrap();
            (brakes.beyond.to_string(), brakes.allowed.get(&Brake::PriceChange).map(ToString::to_string))
        };
        assert_eq!(read("\"25%\""), ("25".into(), Some("0".into())));
        assert_eq!(read("{ beyond = \"200 %\", allowed = \"1%\" }"), ("200".into(), Some("1%".into())));
        assert_eq!(read("{ allowed = 10 }"), ("40".into(), Some("10".into())));
        assert_eq!(read("false").1, None);
    }

    #[test]
    fn everything_wrong_is_reported_with_its_place_and_what_would_be_right() {
        let error = read("brakes = { delet = \"5%\", zero_stock = -1, emptied = \"five\" }").unwrap_err();
        for part in [
            "vaiven.toml:1:20: unknown brake `delet`, did you mean `delete`?",
            "vaiven.toml:1:39: -1 records cannot be a limit",
            "`five` is no limit, a number of records (0, 10), a share of what the target holds (\"5%\"), or false",
        ] {
            assert!(error.contains(part), "{error}");
        }
        assert!(read("brakes = { price_change = 40 }").unwrap_err().contains("for example \"40%\""));
        assert!(read("brakes = { price_change = { above = \"40%\" } }").unwrap_err().contains("unknown key `above`"));
        assert!(read("brakes = { delete = \"105%\" }").unwrap_err().contains("`105%` is no limit"));
        assert!(read("brakes = \"5%\"").unwrap_err().contains("`brakes` is a table, or false, not a text"));
    }
}
