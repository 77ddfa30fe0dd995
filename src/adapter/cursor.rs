//! Watermarks: how the greatest time (or counter) seen becomes the start of the next listing. Shared by the drivers.

use std::str::FromStr;

use chrono::{DateTime, MappedLocalTime, NaiveDateTime, SecondsFormat, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Number, Value};

use super::{Formula, Text, units::Overlap};
use crate::{
    expr::{Expr, Known, text_of},
    load::{LoadError, Place, SourceFile},
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
    /// How the source writes the time (strftime); without it ISO 8601.
    pub format: Option<Text>,
    /// Zone of times that name none (IANA name).
    pub zone: Option<Text>,
    /// How far a listing reaches back before the watermark: `"2m"`, or a number for counters.
    pub overlap: Option<Overlap>,
    /// How the time is sent (strftime); without it `format`, else RFC 3339.
    pub send: Option<Text>,
}

/// A compiled [`CursorSpec`].
#[derive(Clone, Debug)]
pub struct Cursor {
    pub field: Expr,
    kind: CursorKind,
    format: Option<String>,
    zone: Option<Tz>,
    overlap: Overlap,
    send: Option<String>,
}

impl Cursor {
    /// # Errors
    /// An unknown zone, an overlap that does not fit the kind, a wrong expression.
    pub fn compile(spec: &CursorSpec, file: &std::sync::Arc<SourceFile>) -> Result<Self, LoadError> {
        let place = Place::of(file, &spec.field.0);
        let zone = match &spec.zone {
            None => None,
            Some(zone) => Some(zone.0.as_ref().parse::<Tz>().map_err(|_| {
                LoadError::new(&Place::of(file, &zone.0), format!("unknown time zone `{}`", zone.0.as_ref()))
                    .help("an IANA name such as `Europe/Madrid` or `UTC`")
            })?),
        };
        let overlap = match (spec.kind, spec.overlap) {
            (CursorKind::Time, None) => Overlap::Time(std::time::Duration::ZERO),
            (CursorKind::Number | CursorKind::Text, None) => Overlap::Count(0),
            (CursorKind::Time, Some(Overlap::Count(_))) => {
                return Err(LoadError::new(&place, "the overlap of a time is a length of time").help("such as \"2m\""));
            }
            (CursorKind::Number, Some(Overlap::Time(_))) => {
                return Err(LoadError::new(&place, "the overlap of a counter is a whole number"));
            }
            (CursorKind::Text, Some(_)) => {
                return Err(LoadError::new(&place, "a cursor of kind `text` has no overlap"));
            }
            (_, Some(overlap)) => overlap,
        };
        Ok(Self {
            field: Expr::compile(spec.field.0.as_ref(), &place, &Known::any())?,
            kind: spec.kind,
            format: spec.format.as_ref().map(|text| text.0.as_ref().clone()),
            zone,
            overlap,
            send: spec.send.as_ref().or(spec.format.as_ref()).map(|text| text.0.as_ref().clone()),
        })
    }

    /// The watermark of a row's value, in the form it is stored in; nothing for `()` and empty text.
    ///
    /// # Errors
    /// When the value is not what the cursor says it is.
    pub fn mark(&self, value: &Value) -> Result<Option<String>, String> {
        let text = match value {
            Value::Null => return Ok(None),
            Value::String(text) if text.trim().is_empty() => return Ok(None),
            value => text_of(value).ok_or("the cursor's field is neither text nor number")?,
        };
        let mark = match self.kind {
            CursorKind::Text => Some(text.clone()),
            CursorKind::Number => Decimal::from_str(text.trim()).ok().map(|number| number.normalize().to_string()),
            CursorKind::Time => self.time(text.trim()).map(|time| time.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
        };
        match mark {
            Some(mark) => Ok(Some(mark)),
            None if self.kind == CursorKind::Time => {
                Err(format!("`{text}` is no time of the cursor's format and zone"))
            }
            None => Err(format!("`{text}` is no number")),
        }
    }

    /// The later of two watermarks.
    #[must_use]
    pub fn later(&self, one: Option<String>, other: Option<String>) -> Option<String> {
        let (Some(a), Some(b)) = (&one, &other) else { return one.or(other) };
        let first = match self.kind {
            CursorKind::Text => a >= b,
            CursorKind::Number => Decimal::from_str(a).ok() >= Decimal::from_str(b).ok(),
            CursorKind::Time => stored(a) >= stored(b),
        };
        if first { one } else { other }
    }

    /// The watermark of a listing of several pages: less the time between its first request and its last answer. What was changed on
    /// a page that had been read already is dated after the listing began, and it began no earlier than that, whatever the
    /// source's clock shows. A counter tells nothing of when: it is to be listed in its own order.
    #[must_use]
    pub fn paged(&self, mark: Option<String>, began: DateTime<Utc>, ended: DateTime<Utc>) -> Option<String> {
        let mark = mark?;
        if self.kind != CursorKind::Time {
            return Some(mark);
        }
        let took = (ended - began).max(TimeDelta::zero());
        let time = stored(&mark)?.checked_sub_signed(took).unwrap_or(DateTime::<Utc>::MIN_UTC);
        Some(time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }

    /// What `cursor` stands for in a request: the watermark less the overlap, in the form the source wants.
    ///
    /// # Errors
    /// When what was stored is no watermark of this kind (the adapter has changed).
    pub fn start(&self, since: &str) -> Result<Value, String> {
        let foreign =
            || format!("the stored watermark `{since}` does not fit the adapter's cursor; pull everything once");
        match (self.kind, self.overlap) {
            (CursorKind::Time, overlap) => {
                let time = stored(since).ok_or_else(foreign)?;
                let back = match overlap {
                    Overlap::Time(span) => TimeDelta::from_std(span).unwrap_or(TimeDelta::MAX),
                    Overlap::Count(_) => TimeDelta::zero(),
                };
                Ok(Value::from(self.written(time.checked_sub_signed(back).unwrap_or(DateTime::<Utc>::MIN_UTC))))
            }
            (CursorKind::Number, overlap) => {
                let number = Decimal::from_str(since).map_err(|_| foreign())?;
                let back = if let Overlap::Count(count) = overlap { Decimal::from(count) } else { Decimal::ZERO };
                let start = number.checked_sub(back).ok_or_else(foreign)?.normalize().to_string();
                Number::from_str(&start).map(Value::Number).map_err(|_| foreign())
            }
            (CursorKind::Text, _) => Ok(Value::from(since)),
        }
    }

    /// A time as the source wants it, less the overlap; for listings of what was made since.
    #[must_use]
    pub fn since(&self, time: DateTime<Utc>) -> String {
        let back = match self.overlap {
            Overlap::Time(span) => TimeDelta::from_std(span).unwrap_or(TimeDelta::MAX),
            Overlap::Count(_) => TimeDelta::zero(),
        };
        self.written(time.checked_sub_signed(back).unwrap_or(DateTime::<Utc>::MIN_UTC))
    }

    #[must_use]
    pub fn is_time(&self) -> bool {
        self.kind == CursorKind::Time
    }

    fn written(&self, time: DateTime<Utc>) -> String {
        match (&self.send, self.zone) {
            (Some(format), Some(zone)) => time.with_timezone(&zone).format(format).to_string(),
            (Some(format), None) => time.format(format).to_string(),
            (None, _) => time.to_rfc3339_opts(SecondsFormat::AutoSi, true),
        }
    }

    fn time(&self, text: &str) -> Option<DateTime<Utc>> {
        let naive = match &self.format {
            Some(format) => match DateTime::parse_from_str(text, format) {
                Ok(time) => return Some(time.to_utc()),
                Err(_) => NaiveDateTime::parse_from_str(text, format).ok()?,
            },
            None => match DateTime::parse_from_rfc3339(text) {
                Ok(time) => return Some(time.to_utc()),
                Err(_) => ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"]
                    .iter()
                    .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())?,
            },
        };
        // A literal `Z` in the format says UTC as much as the zone does.
        let utc = self.zone.is_none() && self.format.as_deref().is_some_and(|format| format.ends_with('Z'));
        if utc { Some(naive.and_utc()) } else { local(naive, self.zone?) }
    }
}

fn stored(mark: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(mark).ok().map(|time| time.to_utc())
}

/// The earlier of two readings: a watermark that is too early costs a second reading, one too late loses rows.
fn local(naive: NaiveDateTime, zone: Tz) -> Option<DateTime<Utc>> {
    match zone.from_local_datetime(&naive) {
        MappedLocalTime::Single(time) | MappedLocalTime::Ambiguous(time, _) => Some(time.to_utc()),
        // A time the clock skipped: it can only have been meant an hour off.
        MappedLocalTime::None => {
            zone.from_local_datetime(&(naive - TimeDelta::hours(1))).earliest().map(|time| time.to_utc())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn cursor(toml: &str) -> Result<Cursor, LoadError> {
        let file = SourceFile::new("a.toml", toml);
        Cursor::compile(&crate::load::parse(&file)?, &file)
    }

    #[test]
    fn a_local_time_becomes_utc_and_goes_back_with_the_overlap() {
        let cursor =
            cursor("field = \"at\"\nformat = \"%Y-%m-%d %H:%M:%S\"\nzone = \"Europe/Madrid\"\noverlap = \"2m\"\n")
                .unwrap();
        let mark = cursor.mark(&json!("2026-07-01 12:00:00")).unwrap();
        assert_eq!(mark.as_deref(), Some("2026-07-01T10:00:00Z"));
        assert_eq!(cursor.start("2026-07-01T10:00:00Z"), Ok(json!("2026-07-01 11:58:00")));
        // The hour that is there twice, and the one that is not there.
        assert_eq!(cursor.mark(&json!("2026-10-25 02:30:00")).unwrap().as_deref(), Some("2026-10-25T00:30:00Z"));
        assert_eq!(cursor.mark(&json!("2026-03-29 02:30:00")).unwrap().as_deref(), Some("2026-03-29T00:30:00Z"));
        assert!(cursor.mark(&json!("yesterday")).is_err());
        assert_eq!(cursor.mark(&json!(null)), Ok(None));
    }

    #[test]
    fn iso_times_need_no_format_and_counters_no_clock() {
        let iso = cursor("field = \"at\"\n").unwrap();
        assert_eq!(
            iso.mark(&json!("2026-07-01T12:00:00.5+02:00")).unwrap().as_deref(),
            Some("2026-07-01T10:00:00.500Z")
        );
        assert!(iso.mark(&json!("2026-07-01T12:00:00")).is_err(), "a time without zone is not guessed");
        let counter = cursor("field = \"v\"\nkind = \"number\"\noverlap = 5\n").unwrap();
        assert_eq!(counter.later(Some("9".into()), Some("10".into())).as_deref(), Some("10"));
        assert_eq!(counter.start("12"), Ok(json!(7)));
        assert!(counter.start("2026-07-01T10:00:00Z").is_err());
        let text = cursor("field = \"v\"\nkind = \"text\"\n").unwrap();
        assert_eq!(text.later(Some("a9".into()), Some("a10".into())).as_deref(), Some("a9"));
    }

    #[test]
    fn a_zone_or_overlap_that_does_not_fit_is_refused_with_its_place() {
        let error = cursor("field = \"at\"\nzone = \"Madrid\"\n").unwrap_err().to_string();
        assert!(error.starts_with("a.toml:2:") && error.contains("Madrid"), "{error}");
        assert!(cursor("field = \"at\"\noverlap = 5\n").is_err());
        assert!(cursor("field = \"at\"\nkind = \"number\"\noverlap = \"5s\"\n").is_err());
    }
}
