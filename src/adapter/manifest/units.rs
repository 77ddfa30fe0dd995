//! Durations and sizes as adapters write them: `30s`, `2m`, `32MiB`.

use std::{fmt, time::Duration};

use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};

/// A length of time: a whole number with `ms`, `s`, `m`, `h` or `d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(with = "String")]
pub struct Span(pub Duration);

/// A size: a whole number with `B`, `KiB`, `MiB` or `GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(with = "String")]
pub struct Size(pub usize);

/// How far a window reaches back before the watermark: a length of time, or a count for version counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(untagged)]
pub enum Overlap {
    Time(#[schemars(with = "String")] Duration),
    Count(i64),
}

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = units.iter().find(|(name, _)| *name == unit.trim()).map(|(_, factor)| *factor)?;
    number.parse::<u64>().ok()?.checked_mul(factor)
}

fn time(text: &str) -> Option<Duration> {
    let units = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
    parse(text, &units).map(Duration::from_millis)
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        time(&text)
            .map(Self)
            .ok_or_else(|| D::Error::custom("a length of time is written like \"500ms\", \"30s\", \"2m\" or \"1h\""))
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let units = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
        let bytes = parse(&text, &units).and_then(|bytes| usize::try_from(bytes).ok());
        bytes.map(Self).ok_or_else(|| D::Error::custom("a size is written like \"512KiB\" or \"32MiB\""))
    }
}

impl<'de> Deserialize<'de> for Overlap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OverlapVisitor)
    }
}

struct OverlapVisitor;

impl Visitor<'_> for OverlapVisitor {
    type Value = Overlap;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a length of time like \"2m\", or a whole number")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Overlap, E> {
        time(text)
            .map(Overlap::Time)
            .ok_or_else(|| E::custom("a length of time is written like \"30s\", \"2m\" or \"1h\""))
    }

    fn visit_i64<E: Error>(self, count: i64) -> Result<Overlap, E> {
        Ok(Overlap::Count(count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_sizes_need_their_unit() {
        assert_eq!(time("90s"), Some(Duration::from_secs(90)));
        assert_eq!(time("2m"), Some(Duration::from_mins(2)));
        assert_eq!(time("250ms"), Some(Duration::from_millis(250)));
        for wrong in ["", "5", "1.5s", "s", "5 weeks", "-1s"] {
            assert_eq!(time(wrong), None, "{wrong}");
        }
    }
}
