//! How much one run of a flow may do to a target before a person has looked at it.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

/// A kind of damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Brake {
    /// An object, or a part of one, goes away: it is deleted, or no longer shown.
    Delete,
    /// A price changes by more than the allowed percentage.
    PriceChange,
    /// A price becomes zero, or goes missing.
    ZeroPrice,
    /// Something that could be bought no longer can.
    ZeroStock,
    /// A required text becomes empty, in one language or in all, or what is known of a person does.
    Emptied,
    /// A customer gets another e-mail address.
    EmailChange,
    /// An order is cancelled, or its money is paid back.
    OrderEnd,
    /// An order that has ended goes on, or something becomes paid that is known to be unpaid.
    OrderState,
    /// An object changes in the first full reading after its mapping or adapter has changed.
    MappingChange,
    /// An object is created at a target because a target, flow, field or rule has joined.
    Join,
}

impl Brake {
    pub const ALL: [Self; 10] = [
        Self::Delete,
        Self::PriceChange,
        Self::ZeroPrice,
        Self::ZeroStock,
        Self::Emptied,
        Self::EmailChange,
        Self::OrderEnd,
        Self::OrderState,
        Self::MappingChange,
        Self::Join,
    ];

    /// The word used in the configuration, in the store and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::PriceChange => "price_change",
            Self::ZeroPrice => "zero_price",
            Self::ZeroStock => "zero_stock",
            Self::Emptied => "emptied",
            Self::EmailChange => "email_change",
            Self::OrderEnd => "order_end",
            Self::OrderState => "order_state",
            Self::MappingChange => "mapping_change",
            Self::Join => "join",
        }
    }
}

/// How many records of one run may violate a brake at a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// This many.
    Count(u64),
    /// Percent of what the target holds of the entity; [`FEW`] are always allowed.
    Share(Decimal),
}

/// A percentage of a very small number says nothing: this many records never trip a brake.
pub const FEW: u64 = 3;

impl Allowed {
    /// Whether `violations` are too many for a target that holds `base` records.
    pub(in crate::sync) fn is_exceeded(self, violations: u64, base: u64) -> bool {
        match self {
            Self::Count(count) => violations > count,
            Self::Share(percent) => {
                let share = Decimal::from(violations).checked_mul(Decimal::ONE_HUNDRED);
                let limit = percent.checked_mul(Decimal::from(base));
                violations > FEW && share.zip(limit).is_none_or(|(share, limit)| share > limit)
            }
        }
    }
}

impl std::fmt::Display for Allowed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Share(percent) => write!(f, "{}%", percent.normalize()),
        }
    }
}

/// The brakes of a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brakes {
    /// A brake that is missing here is off.
    pub allowed: BTreeMap<Brake, Allowed>,
    /// By how many percent a price may change before the change counts.
    pub beyond: Decimal,
}

impl Default for Brakes {
    fn default() -> Self {
        let allowed = BTreeMap::from([
            (Brake::Delete, Allowed::Share(Decimal::from(5))),
            (Brake::PriceChange, Allowed::Count(0)),
            (Brake::ZeroPrice, Allowed::Count(0)),
            (Brake::ZeroStock, Allowed::Share(Decimal::from(20))),
            (Brake::Emptied, Allowed::Share(Decimal::ONE)),
            (Brake::EmailChange, Allowed::Share(Decimal::from(5))),
            (Brake::OrderEnd, Allowed::Count(20)),
            (Brake::OrderState, Allowed::Count(0)),
            (Brake::MappingChange, Allowed::Share(Decimal::TEN)),
            (Brake::Join, Allowed::Count(20)),
        ]);
        Self { allowed, beyond: Decimal::from(40) }
    }
}

impl Brakes {
    #[must_use]
    pub fn off() -> Self {
        Self { allowed: BTreeMap::new(), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_next_to_nothing_never_trips() {
        let share = Allowed::Share(Decimal::from(5));
        assert!(!share.is_exceeded(1, 3) && !share.is_exceeded(3, 3));
        assert!(share.is_exceeded(4, 10), "40 %");
        assert!(!share.is_exceeded(50, 1000) && share.is_exceeded(51, 1000), "the share itself is allowed");
        assert!(Allowed::Share("0.5".parse().unwrap()).is_exceeded(6, 1000));
    }

    #[test]
    fn a_number_is_meant_as_it_is() {
        assert!(Allowed::Count(0).is_exceeded(1, 3));
        assert!(!Allowed::Count(10).is_exceeded(10, 10) && Allowed::Count(10).is_exceeded(11, 1_000_000));
    }
}
