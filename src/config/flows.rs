//! `[flows.x]`: which entities go where and when, and who owns what.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{
    Deserialize,
    de::{IntoDeserializer as _, value::StrDeserializer},
};

use super::brakes::BrakesSection;
use crate::{
    adapter::Span,
    load::{LoadError, Node, Place, Spanned},
    sync::{DeletePolicy, DriftPolicy, MissingPolicy, Schedule},
};

/// Routing rule: which entities go from which system to which others, when, and who owns what.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FlowSection {
    /// In order: what comes first is pulled and delivered first.
    #[schemars(with = "Vec<String>")]
    pub entities: Vec<Spanned<String>>,
    /// The system they are read from.
    #[schemars(with = "String")]
    pub from: Spanned<String>,
    /// The systems they are written to.
    #[schemars(with = "Vec<String>")]
    pub to: Vec<Spanned<String>>,
    /// Cron expression of five fields, or six with seconds first: when to pull what changed. Without it only by command.
    #[schemars(with = "Option<String>")]
    pub every: Option<Spanned<String>>,
    /// Cron expression of five fields, or six with seconds first: when to pull everything, which finds deletions and drift.
    #[schemars(with = "Option<String>")]
    pub full: Option<Spanned<String>>,
    /// Zone of both, an IANA name. Default UTC.
    #[schemars(with = "Option<String>")]
    pub timezone: Option<Spanned<String>>,
    /// Condition on the canonical fields: only records for which it holds are created or kept at the targets. One for all
    /// entities, or by entity.
    #[serde(rename = "where")]
    #[schemars(with = "Option<OneOrEach<String>>")]
    pub filter: Option<Spanned<Node>>,
    /// `entity.field`, or `entity` for all its fields that no line names, to the system that owns it, or to `shared`: then
    /// changes of both sides are merged. Fields not named belong to `from`.
    #[serde(default)]
    #[schemars(with = "IndexMap<String, String>")]
    pub owners: IndexMap<Spanned<String>, Spanned<String>>,
    /// By entity: fields that tell whether two records are one, such as `vat` or `variants.barcode`; the first that finds any
    /// decides. One that is `weak` never decides: a person is asked.
    #[serde(default, rename = "match")]
    #[schemars(with = "IndexMap<String, Vec<MatchSection>>")]
    pub matches: IndexMap<Spanned<String>, Vec<Spanned<Node>>>,
    /// Whose orders are that name no customer: `keep` (nobody's, the default), `match` (a customer's who has their e-mail address,
    /// tax number or telephone number), `create` (the same, else a new customer's), `{ one = "KEY" }` (that customer's), or `{ match = true, one = "KEY" }`.
    #[schemars(with = "Option<GuestsSection>")]
    pub guests: Option<Spanned<Node>>,
    /// What happens when a system edits a field that another owns: `repair`, `accept` or `report`. For all entities, or by
    /// entity or `entity.field`.
    #[schemars(with = "Option<OneOrEach<DriftPolicy>>")]
    pub drift: Option<Spanned<Node>>,
    /// Who decides where both sides changed a shared field differently: `manual`, or `prefer SYSTEM`. For all entities, or by
    /// entity or `entity.field`.
    #[schemars(with = "Option<OneOrEach<String>>")]
    pub conflicts: Option<Spanned<Node>>,
    /// What happens at the targets when the source no longer has a record. For all entities, or by entity.
    #[schemars(with = "Option<OneOrEach<DeletePolicy>>")]
    pub on_delete: Option<Spanned<Node>>,
    /// How long a record that a complete pull no longer shows is left alone at the targets: `24h`. Default `0s`.
    pub grace: Option<Span>,
    /// What one run may do at a target before a person has a look. `false`: anything.
    #[schemars(with = "Option<BrakesSection>")]
    pub brakes: Option<Spanned<Node>>,
    /// What happens when a target lost a record that the source still has. For all entities, or by entity.
    #[schemars(with = "Option<OneOrEach<MissingPolicy>>")]
    pub on_missing: Option<Spanned<Node>>,
    /// By entity: the fields carried. Default: all that both sides know.
    #[serde(default)]
    #[schemars(with = "IndexMap<String, Vec<String>>")]
    pub fields: IndexMap<Spanned<String>, Vec<Spanned<String>>>,
    /// By entity: the states that the source may say at targets that have the record, whoever owns the field; the furthest that
    /// anybody may say counts. Default: those it has, where it owns the field.
    #[serde(default)]
    #[schemars(with = "IndexMap<String, Vec<String>>")]
    pub states: IndexMap<Spanned<String>, Vec<Spanned<String>>>,
    /// What becomes of a line (or other item) that names no article, such as a gift card: `text` sends it as the target's line of
    /// text (the default), `hold` lets the record wait. For all entities, or by entity.
    #[schemars(with = "Option<OneOrEach<ArticlePolicy>>")]
    pub without_article: Option<Spanned<Node>>,
    /// What the targets are shown of the source's stock.
    #[schemars(with = "Option<StockSection>")]
    pub stock: Option<Spanned<StockSection>>,
}

/// What becomes of an item that names no article.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ArticlePolicy {
    /// It is sent as a text.
    Text,
    /// The record waits.
    Hold,
}

/// What the targets are shown of the source's stock.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StockSection {
    /// Kept back from sale: a whole number, or a decimal as text. Default 0.
    #[schemars(with = "Option<NumberOrText>")]
    pub buffer: Option<Spanned<Node>>,
    /// Whether what is sold in orders that the source cannot know of yet is subtracted. Default: where orders flow from the target
    /// to a system.
    #[schemars(with = "Option<bool>")]
    pub in_flight: Option<Spanned<bool>>,
    /// Which of the source's figures is published: `available` (the default), which is what is on hand less what is reserved; or
    /// `on_hand`, for targets that allot what is ordered by themselves.
    pub figure: Option<Figure>,
    /// Locations that count, in the order in which they are sold from. Default: all.
    #[schemars(with = "Option<Vec<String>>")]
    pub locations: Option<Spanned<Vec<Spanned<String>>>>,
    /// Expression for what there is to sell, before orders in flight and buffer. Variables: the fields of `stock` with
    /// quantities as numbers, `on_hand`, `reserved` and `available` (sums over the locations that count). Default: `available`,
    /// which is `on_hand - reserved` where the source does not say it.
    #[schemars(with = "Option<String>")]
    pub quantity: Option<Spanned<String>>,
}

/// A figure of a source's stock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    Available,
    OnHand,
}

/// For the schema.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum NumberOrText {
    Number(u64),
    Text(String),
}

/// For the schema.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum GuestsSection {
    Word(String),
    One { r#match: Option<bool>, one: Option<String> },
}

/// For the schema.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum MatchSection {
    Field(String),
    Rule { field: String, weak: Option<bool> },
}

/// For the schema: one value for all entities, or a table with one for each.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum OneOrEach<T> {
    One(T),
    Each(IndexMap<String, T>),
}

/// The values by entity; `*` stands for all entities.
pub fn each(node: &Spanned<Node>) -> Vec<(&str, &Spanned<Node>)> {
    match node.get_ref() {
        Node::Table(members) => members.iter().map(|(entity, value)| (entity.as_str(), value)).collect(),
        _ => vec![("*", node)],
    }
}

/// The variant that a text names.
pub fn choice<T: for<'de> Deserialize<'de>>(node: &Spanned<Node>, place: &Place) -> Result<T, LoadError> {
    let text = node.get_ref().as_text().unwrap_or_default();
    let deserializer: StrDeserializer<'_, serde::de::value::Error> = text.into_deserializer();
    T::deserialize(deserializer).map_err(|error| LoadError::new(place, error.to_string().replace("variant", "value")))
}

/// A schedule of five fields (minute, hour, day of month, month, day of week), of six fields with seconds first, or
/// a nickname such as `@daily`.
pub fn schedule(text: &str, zone: chrono_tz::Tz, place: &Place) -> Result<Schedule, LoadError> {
    const HELP: &str = "minute hour day-of-month month day-of-week, for example \"*/5 * * * *\" or \"30 3 * * Mon\"";
    let fields: Vec<&str> = text.split_whitespace().collect();
    let full = match fields.as_slice() {
        [nickname] if nickname.starts_with('@') => text.to_owned(),
        // The crate expects seconds first.
        [minute, hour, day, month, weekday] => {
            format!("0 {minute} {hour} {day} {month} {}", weekdays(weekday))
        }
        [second, minute, hour, day, month, weekday] => {
            format!("{second} {minute} {hour} {day} {month} {}", weekdays(weekday))
        }
        fields => {
            let count = fields.len();
            return Err(LoadError::new(
                place,
                format!("cron expression `{text}` has {count} fields instead of five or six"),
            )
            .help(HELP));
        }
    };
    let schedule = full.parse().map_err(|error: cron::error::Error| {
        LoadError::new(place, format!("cron expression `{text}`: {error}")).help(HELP)
    })?;
    Ok(Schedule { schedule, zone })
}

/// Cron counts weekdays from Sunday = 0 (or 7); the crate counts from Sunday = 1.
fn weekdays(field: &str) -> String {
    let (days, step) = field.split_once('/').map_or((field, None), |(days, step)| (days, Some(step)));
    let number = |text: &str| match text.parse::<u8>() {
        Ok(day) if day <= 7 => ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"][usize::from(day)].to_owned(),
        _ => text.to_owned(),
    };
    let days: Vec<String> =
        days.split(',').map(|range| range.split('-').map(number).collect::<Vec<_>>().join("-")).collect();
    let days = days.join(",");
    step.map_or(days.clone(), |step| format!("{days}/{step}"))
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};

    use super::*;
    use crate::load::SourceFile;

    fn table(text: &str) -> Result<Schedule, LoadError> {
        schedule(text, chrono_tz::UTC, &Place::start(&SourceFile::new("vaiven.toml", "")))
    }

    fn next(text: &str) -> String {
        let from: DateTime<Utc> = "2026-11-23T18:02:00Z".parse().unwrap();
        table(text).unwrap().schedule.after(&from).next().unwrap().to_rfc3339()
    }

    #[test]
    fn five_fields_mean_what_cron_means() {
        assert_eq!(next("*/5 * * * *"), "2026-11-23T18:05:00+00:00");
        // 2026-11-23 is a Monday; 0 and 7 are Sunday.
        assert_eq!(next("0 3 * * 1"), "2026-11-30T03:00:00+00:00");
        assert_eq!(next("0 3 * * 0"), "2026-11-29T03:00:00+00:00");
        assert_eq!(next("0 3 * * 7"), "2026-11-29T03:00:00+00:00");
        assert_eq!(next("0 3 * * 1-5"), "2026-11-24T03:00:00+00:00");
        assert_eq!(next("@daily"), "2026-11-24T00:00:00+00:00");
        assert_eq!(next("*/10 * * * * *"), "2026-11-23T18:02:10+00:00", "six begin with seconds");
    }

    #[test]
    fn other_counts_of_fields_are_refused_with_an_example() {
        for text in ["* * * * * * *", "* * *", "", "61 * * * *"] {
            let error = table(text).unwrap_err().to_string();
            assert!(error.contains("cron expression") && error.contains("*/5 * * * *"), "{error}");
        }
    }
}
