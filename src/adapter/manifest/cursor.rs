//! Table `cursor` of a listing, which all drivers with deltas have: what a watermark is, and how the source writes it.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    Formula, Text,
    units::{Overlap, Span},
};

/// What a watermark is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CursorKind {
    /// A time of the source's own clock, kept as UTC.
    #[default]
    Time,
    /// A counter that grows.
    Number,
    /// A text that grows in alphabetical order.
    Text,
}

/// Table `cursor` of a listing.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CursorSpec {
    /// Expression on a row giving its time (or counter); rows that give `()` do not move the watermark.
    pub field: Formula,
    #[serde(default)]
    pub kind: CursorKind,
    /// How the source writes the time (strftime); without it ISO 8601. A date without a time of day is its midnight.
    pub format: Option<Text>,
    /// Zone of times that name none (IANA name); a `format` without offset needs it.
    pub zone: Option<Text>,
    /// How far a listing reaches back before the watermark: `"2m"`, or a number for counters.
    pub overlap: Option<Overlap>,
    /// How far the source's clock may be ahead of ours (default `5m`): a row dated later than that is told as one from the
    /// future. No row dated later than now moves the watermark.
    pub ahead: Option<Span>,
    /// How the time is sent (strftime); without it `format`, else RFC 3339.
    pub send: Option<Text>,
}
