//! Dates and times in canonical form: `2026-03-01` and, in UTC, `2026-03-01T09:30:00Z`.

use chrono::{
    DateTime, LocalResult, NaiveDate, NaiveDateTime, Offset as _, SecondsFormat, TimeDelta, TimeZone, Utc,
    format::{Item, StrftimeItems},
};
use chrono_tz::Tz;

/// Why a text is not a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    #[error("the text is not a date in this form")]
    Date,
    #[error("the text is not a time in this form")]
    Time,
    #[error("the time has no zone; name one")]
    NoZone,
    #[error("unknown time zone")]
    Zone,
    #[error("the format is not a strftime format")]
    Format,
}

/// Write a time as it stands in a canonical object.
#[must_use]
pub fn canonical(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// A zone by its IANA name.
pub fn zone(name: &str) -> Result<Tz, TimeError> {
    name.parse().map_err(|_| TimeError::Zone)
}

/// An ISO date, also the date of an ISO time.
pub fn parse_date(text: &str) -> Result<NaiveDate, TimeError> {
    let text = text.trim();
    let day = text.get(..10).filter(|_| text.len() == 10 || matches!(text.as_bytes().get(10), Some(b'T' | b' ')));
    day.and_then(|day| NaiveDate::parse_from_str(day, "%Y-%m-%d").ok()).ok_or(TimeError::Date)
}

/// An ISO time. A time without offset is in `zone`; without a zone it is an error.
pub fn parse_time(text: &str, zone: Option<Tz>) -> Result<DateTime<Utc>, TimeError> {
    let text = text.trim();
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.to_utc());
    }
    for format in ["%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f %#z"] {
        if let Ok(time) = DateTime::parse_from_str(text, format) {
            return Ok(time.to_utc());
        }
    }
    let naive = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"]
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok());
    in_zone(naive.ok_or(TimeError::Time)?, zone)
}

/// A time in a strftime format. If the format has no offset, the time is in `zone`.
pub fn parse_time_as(text: &str, format: &str, zone: Option<Tz>) -> Result<DateTime<Utc>, TimeError> {
    check_format(format)?;
    let text = text.trim();
    if let Ok(time) = DateTime::parse_from_str(text, format) {
        return Ok(time.to_utc());
    }
    let naive = NaiveDateTime::parse_from_str(text, format).ok();
    let naive = naive.or_else(|| NaiveDate::parse_from_str(text, format).ok().and_then(|day| day.and_hms_opt(0, 0, 0)));
    in_zone(naive.ok_or(TimeError::Time)?, zone)
}

/// A date in a strftime format.
pub fn parse_date_as(text: &str, format: &str) -> Result<NaiveDate, TimeError> {
    check_format(format)?;
    let text = text.trim();
    let date = NaiveDate::parse_from_str(text, format);
    date.or_else(|_| NaiveDateTime::parse_from_str(text, format).map(|time| time.date())).map_err(|_| TimeError::Date)
}

/// Write the time in a strftime format and a zone.
pub fn format(time: DateTime<Utc>, format: &str, zone: Tz) -> Result<String, TimeError> {
    check_format(format)?;
    Ok(time.with_timezone(&zone).format(format).to_string())
}

/// Refuse a format that chrono could not print.
pub fn check_format(format: &str) -> Result<(), TimeError> {
    if StrftimeItems::new(format).any(|item| matches!(item, Item::Error)) { Err(TimeError::Format) } else { Ok(()) }
}

/// Whether a text is a date of zeros, which some databases use for "no date": `0000-00-00`, `00/00/0000 00:00`.
#[must_use]
pub fn is_zero(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    digits >= 8 && text.chars().all(|c| matches!(c, '0' | '-' | '/' | '.' | ':' | ' ' | 'T' | 'Z'))
}

/// Interpret a local time. If it occurs twice, take the earlier one. If the clock skips it, assume a clock that had
/// not been changed yet.
fn in_zone(naive: NaiveDateTime, zone: Option<Tz>) -> Result<DateTime<Utc>, TimeError> {
    let zone = zone.ok_or(TimeError::NoZone)?;
    match zone.from_local_datetime(&naive) {
        LocalResult::Single(time) | LocalResult::Ambiguous(time, _) => Ok(time.to_utc()),
        LocalResult::None => {
            // No clock skips more than a day.
            let before =
                (1..=24).find_map(|hours| zone.from_local_datetime(&(naive - TimeDelta::hours(hours))).latest());
            let offset = before.ok_or(TimeError::Time)?.offset().fix();
            Ok((naive - offset).and_utc())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_become_utc() {
        let madrid = zone("Europe/Madrid").ok();
        let read = |text: &str, zone| parse_time(text, zone).map(canonical);
        assert_eq!(read("2026-07-01T10:00:00+02:00", None).as_deref(), Ok("2026-07-01T08:00:00Z"));
        assert_eq!(read("2026-07-01 10:00:00", madrid).as_deref(), Ok("2026-07-01T08:00:00Z"));
        assert_eq!(read("2026-01-01T10:00", madrid).as_deref(), Ok("2026-01-01T09:00:00Z"));
        assert_eq!(read("2026-01-01T10:00:00.250Z", None).as_deref(), Ok("2026-01-01T10:00:00.250Z"));
        assert_eq!(read("2026-01-01 10:00:00+00", None).as_deref(), Ok("2026-01-01T10:00:00Z"));
        assert_eq!(read("2026-01-01T10:00:00", None), Err(TimeError::NoZone));
        assert_eq!(read("yesterday", madrid), Err(TimeError::Time));
    }

    #[test]
    fn a_time_that_a_clock_change_skips_or_repeats_is_read() {
        let madrid = zone("Europe/Madrid").ok();
        assert_eq!(parse_time("2026-03-29T02:30:00", madrid).map(canonical).as_deref(), Ok("2026-03-29T01:30:00Z"));
        assert_eq!(parse_time("2026-10-25T02:30:00", madrid).map(canonical).as_deref(), Ok("2026-10-25T00:30:00Z"));
    }

    #[test]
    fn formats_are_checked_before_they_are_used() {
        assert_eq!(parse_date_as("01.03.2026", "%d.%m.%Y").map(|d| d.to_string()).as_deref(), Ok("2026-03-01"));
        assert_eq!(parse_date_as("01.03.2026", "%d.%!"), Err(TimeError::Format));
        let time = parse_time("2026-03-01T09:30:00Z", None).unwrap();
        assert_eq!(format(time, "%d/%m/%y %H:%M", zone("Europe/Madrid").unwrap()).as_deref(), Ok("01/03/26 10:30"));
        assert_eq!(format(time, "%Q", Tz::UTC), Err(TimeError::Format));
    }
}
