//! The form in which a source writes its times: format and zone of a cursor. Compiling writes a time and reads it
//! back, so writing and reading stand here too.

use chrono::{
    DateTime, MappedLocalTime, NaiveDate, NaiveDateTime, NaiveTime, Offset as _, SecondsFormat, TimeDelta, TimeZone,
    Utc,
    format::{Fixed, Item, Numeric, StrftimeItems},
};
use chrono_tz::Tz;

use crate::{
    adapter::manifest::{CursorKind, CursorSpec, Text},
    load::{LoadError, Place, SourceFile},
};

/// Reads the times of a source, and writes times in the form that the source expects.
#[derive(Clone, Debug)]
pub struct Clock {
    format: Option<String>,
    zone: Option<Tz>,
    send: Option<String>,
}

/// A time as written: with an offset, or as local time of a zone.
enum Written {
    Instant(DateTime<Utc>),
    Local(NaiveDateTime),
}

impl Clock {
    /// # Errors
    /// If the zone is unknown. For a cursor of times, also if strftime does not know the format, if the format
    /// names no day, or if it needs a zone and none is given.
    pub fn compile(spec: &CursorSpec, file: &std::sync::Arc<SourceFile>) -> Result<Self, LoadError> {
        let zone = match &spec.zone {
            None => None,
            Some(zone) => Some(zone.0.as_ref().parse::<Tz>().map_err(|_| {
                LoadError::new(&Place::of(file, &zone.0), format!("unknown time zone `{}`", zone.0.as_ref()))
                    .help("an IANA name such as `Europe/Madrid` or `UTC`")
            })?),
        };
        let refused =
            |text: &Text, problem: &str| LoadError::new(&Place::of(file, &text.0), format!("the format {problem}"));
        if spec.kind == CursorKind::Time {
            // Writing a time in a format that strftime does not know would panic.
            let unknown = |text: &&Text| StrftimeItems::new(text.0.as_ref()).any(|item| item == Item::Error);
            if let Some(text) = spec.format.iter().chain(&spec.send).find(unknown) {
                return Err(refused(text, "is no strftime format").help("such as \"%Y-%m-%d %H:%M:%S\""));
            }
            if let Some(text) = &spec.format {
                // Write a time in the format and read it back: this shows what the format can express.
                let format = text.0.as_ref();
                match parsed(&DateTime::UNIX_EPOCH.format(format).to_string(), format) {
                    None => return Err(refused(text, "names no day").help("such as \"%Y-%m-%d %H:%M:%S\"")),
                    Some(Written::Local(_)) if zone.is_none() && !says_utc(format) => {
                        let hint =
                            "add `zone = \"Europe/Madrid\"` (or \"UTC\"), or the offset to the format: `%z`, `%:z`";
                        return Err(refused(text, "names no offset, and the cursor no `zone`").help(hint));
                    }
                    Some(_) => {}
                }
            }
        }
        Ok(Self {
            format: spec.format.as_ref().map(|text| text.0.as_ref().clone()),
            zone,
            send: spec.send.as_ref().or(spec.format.as_ref()).map(|text| text.0.as_ref().clone()),
        })
    }

    /// A time of the source. Return `None` if the text does not have its format and zone.
    pub fn read(&self, text: &str) -> Option<DateTime<Utc>> {
        let written = match &self.format {
            Some(format) => parsed(text, format)?,
            None => match DateTime::parse_from_rfc3339(text) {
                Ok(time) => Written::Instant(time.to_utc()),
                Err(_) => ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d"]
                    .iter()
                    .find_map(|format| parsed(text, format))?,
            },
        };
        match written {
            Written::Instant(time) => Some(time),
            Written::Local(naive) if self.zone.is_none() && self.format.as_deref().is_some_and(says_utc) => {
                Some(naive.and_utc())
            }
            Written::Local(naive) => local(naive, self.zone?),
        }
    }

    /// A time in the form that the source expects in a request.
    pub fn write(&self, time: DateTime<Utc>) -> String {
        match (&self.send, self.zone) {
            (Some(format), Some(zone)) if has_offset(format) => time.with_timezone(&zone).format(format).to_string(),
            (Some(format), Some(zone)) => earliest_after(time, zone).format(format).to_string(),
            (Some(format), None) => time.format(format).to_string(),
            (None, _) => time.to_rfc3339_opts(SecondsFormat::AutoSi, true),
        }
    }
}

/// Read a text of this format. Without a time of day it is the midnight of its day, so nothing of that day is
/// missed.
fn parsed(text: &str, format: &str) -> Option<Written> {
    if let Ok(time) = DateTime::parse_from_str(text, format) {
        return Some(Written::Instant(time.to_utc()));
    }
    if let Ok(time) = NaiveDateTime::parse_from_str(text, format) {
        return Some(Written::Local(time));
    }
    let day = NaiveDate::parse_from_str(text, format).ok()?;
    Some(Written::Local(day.and_time(NaiveTime::MIN)))
}

/// Whether a format ends with a literal `Z`, which means UTC as a zone does. The name that `%Z` stands for is not
/// read.
fn says_utc(format: &str) -> bool {
    matches!(StrftimeItems::new(format).last(), Some(Item::Literal(text)) if text.ends_with('Z'))
}

/// Whether a format writes the offset, or seconds that need no offset.
fn has_offset(format: &str) -> bool {
    StrftimeItems::new(format).any(|item| {
        matches!(
            item,
            Item::Fixed(
                Fixed::TimezoneName
                    | Fixed::TimezoneOffset
                    | Fixed::TimezoneOffsetColon
                    | Fixed::TimezoneOffsetDoubleColon
                    | Fixed::TimezoneOffsetTripleColon
                    | Fixed::TimezoneOffsetColonZ
                    | Fixed::TimezoneOffsetZ
                    | Fixed::RFC2822
                    | Fixed::RFC3339
            ) | Item::Numeric(Numeric::Timestamp, _)
        )
    })
}

/// The earliest local time that a clock of the zone shows at `time` or later. If the clock is set back soon after
/// `time`, it shows earlier local times again, and a source that compares local times would miss what changes then.
fn earliest_after(time: DateTime<Utc>, zone: Tz) -> NaiveDateTime {
    /// In quarters of an hour: no clock was ever set back by more than a day.
    const FURTHEST: i32 = 24 * 4;
    let offset = |time: DateTime<Utc>| zone.offset_from_utc_datetime(&time.naive_utc()).fix().local_minus_utc();
    let start = time.with_timezone(&zone).naive_local();
    let quarters = (0..FURTHEST).map(|number| time + TimeDelta::minutes(15) * number);
    let Some(mut before) = quarters.into_iter().find(|one| offset(*one + TimeDelta::minutes(15)) < offset(*one)) else {
        return start;
    };
    let mut after = before + TimeDelta::minutes(15);
    while after - before > TimeDelta::seconds(1) {
        let between = before + (after - before) / 2;
        if offset(between) < offset(before) { after = between } else { before = between }
    }
    start.min(after.with_timezone(&zone).naive_local())
}

/// The earlier of two possible times: if a watermark is too early, rows are read twice; if it is too late, rows are
/// lost.
fn local(naive: NaiveDateTime, zone: Tz) -> Option<DateTime<Utc>> {
    match zone.from_local_datetime(&naive) {
        MappedLocalTime::Single(time) | MappedLocalTime::Ambiguous(time, _) => Some(time.to_utc()),
        // The clock skipped this time: it can only be an hour off.
        MappedLocalTime::None => {
            zone.from_local_datetime(&(naive - TimeDelta::hours(1))).earliest().map(|time| time.to_utc())
        }
    }
}
