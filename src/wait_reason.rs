//! What a parked job, or a row that cannot be mapped, waits for.

use std::{convert::Infallible, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::ids::RunId;

/// Beginning of [`WaitReason::Missing`].
pub const MISSING: &str = "missing:";
/// Beginning of [`WaitReason::Differs`].
pub const DIFFERS: &str = "differs:";
/// Beginning of [`WaitReason::Review`].
pub const REVIEW: &str = "review:";
/// Beginning of [`WaitReason::Taken`].
pub const TAKEN: &str = "taken:";
/// Beginning of [`WaitReason::Unread`] and [`WaitReason::UnreadRows`].
pub const UNREAD: &str = "unread:";
/// Beginning of [`WaitReason::Brake`].
pub const BRAKE: &str = "brake:run-";

/// The name of what is waited for, as the table of jobs, JSON and the commands write it: `missing:product=SKU-9`.
///
/// Display and `FromStr` are each other's reverse for every text: one that this version does not know (another version
/// may have written it) is [`Other`](Self::Other).
///
/// `entity` may be a list of sub-objects (`product.variants`), whose `key` is a sub-object's. `key` is a canonical key,
/// without one `#` and the record's number.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum WaitReason {
    /// `acceptance:order=1001`: an object that is not accepted yet where it comes from.
    Acceptance { entity: String, key: String },
    /// `article:order=1001`: an item of an object names no article, and the flow holds these back.
    Article { entity: String, key: String },
    /// `brake:run-12`: a person's decision on a run that tripped a brake.
    Brake(RunId),
    /// `conflict`: a shared field that was changed on both sides.
    Conflict,
    /// `differs:product.tax=SKU-9`: a field that costs money, which the target holds otherwise than it was sent.
    Differs { entity: String, field: String, key: String },
    /// `file:adapters/tiny.toml:31:12`: an expression of a file has no value where it is needed.
    File { place: String },
    /// `fuse:product=SKU-9`: an object that somebody else keeps changing back.
    FlapGuard { entity: String, key: String },
    /// `lookup:tax=IGIC7`: no line of the lookup table translates a value.
    Lookup { table: String, value: String },
    /// `missing:product=SKU-9`: a record, or sub-object, that the target does not have yet.
    Missing { entity: String, key: String },
    /// `orders:shop`: orders of a system that could not be read. Stock does not rise there meanwhile.
    Orders { system: String },
    /// What another version has written.
    Other(String),
    /// `paused:product=SKU-9`: the record's link to a system is paused.
    Paused { entity: String, key: String },
    /// `proof:order=1001`: an object whose amounts do not come to its total.
    Proof { entity: String, key: String },
    /// `qualifies:price.list=trade`: a value that says which object it is, and that the target has no place for.
    Qualifies { entity: String, field: String, value: Option<String> },
    /// `review:customer=C-77`: a record that may be one that is there already. A person has to say which.
    Review { entity: String, key: String },
    /// `run:12`: the end of a run that is under way.
    Run(RunId),
    /// `setup`: something is set up wrongly, and no line of a file is known.
    Setup,
    /// `taken:customer=C-77`: an object of ours has, at the target, a value which each object has for itself.
    Taken { entity: String, key: String },
    /// `holds:price.amount`: a value that the target cannot hold as long as it holds something else.
    Unheld { entity: String, field: String },
    /// `unlisted:shop/product`: an entity that has to be listed once before anything is made, and cannot be.
    Unlisted { system: String, entity: String },
    /// `unmapped:tax`: a field that cannot be mapped, for want of anything that is not known.
    Unmapped { field: String },
    /// `unread:product=SKU-9`: a row of a system that cannot be read and may be this record.
    Unread { entity: String, key: String },
    /// `unread:shop/product`: rows of a system that cannot be read, of which nobody knows what they are.
    UnreadRows { system: String, entity: String },
}

/// Constructors of reasons that name an object by its entity and key.
macro_rules! of_an_object {
    ($($name:ident: $variant:ident),+ $(,)?) => {
        impl WaitReason {
            $(#[must_use]
            pub fn $name(entity: &str, key: &str) -> Self {
                Self::$variant { entity: entity.to_owned(), key: key.to_owned() }
            })+
        }
    };
}

of_an_object! {
    acceptance: Acceptance,
    article: Article,
    flap_guard: FlapGuard,
    missing: Missing,
    paused: Paused,
    proof: Proof,
    review: Review,
    taken: Taken,
    unread: Unread,
}

impl WaitReason {
    #[must_use]
    pub fn lookup(table: &str, value: &str) -> Self {
        Self::Lookup { table: table.to_owned(), value: value.to_owned() }
    }

    #[must_use]
    pub fn orders(system: &str) -> Self {
        Self::Orders { system: system.to_owned() }
    }

    #[must_use]
    pub fn qualifies(entity: &str, field: &str, value: Option<&str>) -> Self {
        Self::Qualifies { entity: entity.to_owned(), field: field.to_owned(), value: value.map(str::to_owned) }
    }

    #[must_use]
    pub fn unheld(entity: &str, field: &str) -> Self {
        Self::Unheld { entity: entity.to_owned(), field: field.to_owned() }
    }

    #[must_use]
    pub fn differs(entity: &str, field: &str, key: &str) -> Self {
        Self::Differs { entity: entity.to_owned(), field: field.to_owned(), key: key.to_owned() }
    }

    #[must_use]
    pub fn unread_rows(system: &str, entity: &str) -> Self {
        Self::UnreadRows { system: system.to_owned(), entity: entity.to_owned() }
    }

    #[must_use]
    pub fn unlisted(system: &str, entity: &str) -> Self {
        Self::Unlisted { system: system.to_owned(), entity: entity.to_owned() }
    }

    #[must_use]
    pub fn file(place: &str) -> Self {
        Self::File { place: place.to_owned() }
    }

    /// What is put together when reasons are counted: the text up to an object's key or a value
    /// (`missing:product.variants`).
    #[must_use]
    pub fn kind(&self) -> String {
        let text = self.to_string();
        text.split_once('=').map_or(text.as_str(), |(kind, _)| kind).to_owned()
    }

    /// Whether nothing is wrong, and no person has to act: such jobs wait every day.
    #[must_use]
    pub fn is_daily(&self) -> bool {
        matches!(self, Self::Acceptance { .. })
    }

    /// The reason that a text may be; `None` if its name or its form is none of this version's.
    fn known(text: &str) -> Option<Self> {
        match text {
            "conflict" => return Some(Self::Conflict),
            "setup" => return Some(Self::Setup),
            _ => {}
        }
        let number = |text: &str| text.parse::<RunId>().ok();
        let (name, rest) = text.split_once(':')?;
        let object = rest.split_once('=').map(|(entity, key)| (entity.to_owned(), key.to_owned()));
        let field = |text: &str| text.split_once('.').map(|(entity, field)| (entity.to_owned(), field.to_owned()));
        let within = || rest.split_once('/').map(|(system, entity)| (system.to_owned(), entity.to_owned()));
        Some(match name {
            "acceptance" => object.map(|(entity, key)| Self::Acceptance { entity, key })?,
            "article" => object.map(|(entity, key)| Self::Article { entity, key })?,
            "brake" => Self::Brake(number(rest.strip_prefix("run-")?)?),
            "differs" => {
                let (path, key) = object?;
                let (entity, field) = field(&path)?;
                Self::Differs { entity, field, key }
            }
            "file" => Self::file(rest),
            "fuse" => object.map(|(entity, key)| Self::FlapGuard { entity, key })?,
            "holds" => field(rest).map(|(entity, field)| Self::Unheld { entity, field })?,
            "lookup" => object.map(|(table, value)| Self::Lookup { table, value })?,
            "missing" => object.map(|(entity, key)| Self::Missing { entity, key })?,
            "orders" => Self::orders(rest),
            "paused" => object.map(|(entity, key)| Self::Paused { entity, key })?,
            "proof" => object.map(|(entity, key)| Self::Proof { entity, key })?,
            "qualifies" => {
                let (path, value) = object.map_or((rest.to_owned(), None), |(path, value)| (path, Some(value)));
                let (entity, field) = field(&path)?;
                Self::Qualifies { entity, field, value }
            }
            "review" => object.map(|(entity, key)| Self::Review { entity, key })?,
            "run" => Self::Run(number(rest)?),
            "taken" => object.map(|(entity, key)| Self::Taken { entity, key })?,
            "unlisted" => within().map(|(system, entity)| Self::Unlisted { system, entity })?,
            "unmapped" => Self::Unmapped { field: rest.to_owned() },
            "unread" => match object {
                Some((entity, key)) => Self::Unread { entity, key },
                None => within().map(|(system, entity)| Self::UnreadRows { system, entity })?,
            },
            _ => return None,
        })
    }
}

impl fmt::Display for WaitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Acceptance { entity, key } => write!(f, "acceptance:{entity}={key}"),
            Self::Article { entity, key } => write!(f, "article:{entity}={key}"),
            Self::Brake(run) => write!(f, "{BRAKE}{run}"),
            Self::Conflict => f.write_str("conflict"),
            Self::Differs { entity, field, key } => write!(f, "{DIFFERS}{entity}.{field}={key}"),
            Self::File { place } => write!(f, "file:{place}"),
            Self::FlapGuard { entity, key } => write!(f, "fuse:{entity}={key}"),
            Self::Lookup { table, value } => write!(f, "lookup:{table}={value}"),
            Self::Missing { entity, key } => write!(f, "{MISSING}{entity}={key}"),
            Self::Orders { system } => write!(f, "orders:{system}"),
            Self::Other(text) => f.write_str(text),
            Self::Paused { entity, key } => write!(f, "paused:{entity}={key}"),
            Self::Proof { entity, key } => write!(f, "proof:{entity}={key}"),
            Self::Qualifies { entity, field, value: None } => write!(f, "qualifies:{entity}.{field}"),
            Self::Qualifies { entity, field, value: Some(value) } => write!(f, "qualifies:{entity}.{field}={value}"),
            Self::Review { entity, key } => write!(f, "{REVIEW}{entity}={key}"),
            Self::Run(run) => write!(f, "run:{run}"),
            Self::Setup => f.write_str("setup"),
            Self::Taken { entity, key } => write!(f, "{TAKEN}{entity}={key}"),
            Self::Unheld { entity, field } => write!(f, "holds:{entity}.{field}"),
            Self::Unlisted { system, entity } => write!(f, "unlisted:{system}/{entity}"),
            Self::Unmapped { field } => write!(f, "unmapped:{field}"),
            Self::Unread { entity, key } => write!(f, "{UNREAD}{entity}={key}"),
            Self::UnreadRows { system, entity } => write!(f, "{UNREAD}{system}/{entity}"),
        }
    }
}

impl FromStr for WaitReason {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let is_written_so = |reason: &Self| reason.to_string() == text;
        Ok(Self::known(text).filter(is_written_so).unwrap_or_else(|| Self::Other(text.to_owned())))
    }
}

impl From<String> for WaitReason {
    fn from(text: String) -> Self {
        let Ok(reason) = text.parse();
        reason
    }
}

impl From<WaitReason> for String {
    fn from(reason: WaitReason) -> Self {
        reason.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [(&str, &str); 24] = [
        ("acceptance:order=1001", "Acceptance"),
        ("article:order=1001", "Article"),
        ("brake:run-12", "Brake"),
        ("conflict", "Conflict"),
        ("differs:product.variants.tax=A=B", "Differs"),
        ("file:adapters/tiny.toml:31:12", "File"),
        ("fuse:product=SKU-9", "FlapGuard"),
        ("holds:price.amount", "Unheld"),
        ("lookup:tax=IGIC=7", "Lookup"),
        ("missing:product.variants=A=B/c#1", "Missing"),
        ("orders:shop", "Orders"),
        ("paused:product=SKU-9", "Paused"),
        ("proof:order=1001", "Proof"),
        ("qualifies:price.group", "Qualifies"),
        ("qualifies:price.list=trade", "Qualifies"),
        ("review:customer=C-77", "Review"),
        ("run:12", "Run"),
        ("setup", "Setup"),
        ("system:erp", "Other"),
        ("taken:customer=C-77", "Taken"),
        ("unlisted:shop/product", "Unlisted"),
        ("unmapped:tax", "Unmapped"),
        ("unread:product=a/b", "Unread"),
        ("unread:shop/product", "UnreadRows"),
    ];

    #[test]
    fn every_reason_is_read_back_as_the_one_that_was_written() {
        for (text, variant) in ALL {
            let Ok(reason) = text.parse::<WaitReason>();
            assert!(format!("{reason:?}").starts_with(variant), "{text}: {reason:?}");
            assert_eq!(reason.to_string(), text);
        }
    }

    #[test]
    fn reasons_of_one_kind_are_put_together_whatever_object_they_name() {
        let kind = |text: &str| WaitReason::from(text.to_owned()).kind();
        assert_eq!(kind("missing:product.variants=A=B"), "missing:product.variants");
        assert_eq!((kind("conflict"), kind("run:12")), ("conflict".into(), "run:12".into()));
    }

    proptest! {
        #[test]
        fn a_text_of_another_version_is_written_as_it_was(
            name in prop::sample::select(ALL.map(|(text, _)| text.split(':').next().unwrap()).to_vec()),
            rest in "[:a-z0-9=./#+ -]{0,12}",
        ) {
            let text = format!("{name}{rest}");
            prop_assert_eq!(WaitReason::from(text.clone()).to_string(), text);
        }

        #[test]
        fn an_object_is_known_by_any_key(entity in "[a-z_]{1,8}(\\.[a-z_]{1,8})?", key in ".{0,12}") {
            let reason = WaitReason::missing(&entity, &key);
            prop_assert_eq!(WaitReason::from(reason.to_string()), reason);
        }
    }
}
