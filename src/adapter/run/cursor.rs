//! Watermarks: the greatest time (or counter) seen determines the start of the next listing. Shared by the drivers.

use std::str::FromStr;

use chrono::{DateTime, NaiveDate, NaiveTime, SecondsFormat, TimeDelta, Utc};
use rust_decimal::Decimal;
use serde_json::{Number, Value};

use crate::{
    adapter::{
        compile::Cursor,
        manifest::{CursorKind, Overlap},
    },
    expr::text_of,
    model::time,
};

impl Cursor {
    /// The watermark of a row's value, in the form in which it is stored. Return `None` for `()` and an empty text.
    ///
    /// # Errors
    /// If the value is not of the cursor's kind.
    pub fn mark(&self, value: &Value) -> Result<Option<String>, String> {
        let text = match value {
            Value::Null => return Ok(None),
            Value::String(text) if text.trim().is_empty() => return Ok(None),
            value => text_of(value).ok_or("the cursor's field is neither text nor number")?,
        };
        let mark = match self.kind {
            CursorKind::Text => Some(text.clone()),
            CursorKind::Number => Decimal::from_str(text.trim()).ok().map(|number| number.normalize().to_string()),
            CursorKind::Time => {
                self.clock.read(text.trim()).map(|time| time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
            }
        };
        match mark {
            Some(mark) => Ok(Some(mark)),
            None if time::is_zero(&text) => Ok(None),
            None if self.kind == CursorKind::Time => Err("is no time of the cursor's `format` and `zone`".to_owned()),
            None => Err("is no number".to_owned()),
        }
    }

    /// Raise a listing's watermark to a row's value, unless the value lies in the future: changes made before that
    /// time would never be listed. If the value cannot be used, return the reason, for the report on the row. `()`,
    /// an empty text and a date of zeros are ignored without a reason.
    #[must_use]
    pub fn raise(&self, mark: &mut Option<String>, value: Result<Value, String>, now: DateTime<Utc>) -> Option<String> {
        let place = self.field.place();
        let undated =
            |problem: &str| Some(format!("its change date {problem}, so no delta can find it by that ({place})"));
        let seen = match value.and_then(|value| self.mark(&value)) {
            Ok(Some(seen)) => seen,
            Ok(None) => return None,
            Err(problem) => return undated(&problem),
        };
        match self.later_than(&seen, now) {
            Some(when) if when > self.ahead => Some(format!(
                "its change date {} lies in the future: either clock is wrong or the date is. It moves no watermark, and the \
                 row is read with every delta until then ({place})",
                seen.get(..16).unwrap_or(&seen)
            )),
            Some(_) => None,
            None => {
                *mark = self.later(mark.take(), Some(seen));
                None
            }
        }
    }

    /// The stored watermark from which a listing continues. Return `None` if it lies in the future: then everything
    /// is read once.
    #[must_use]
    pub fn known<'a>(&self, since: Option<&'a str>, now: DateTime<Utc>) -> Option<&'a str> {
        let future = |since: &str| self.later_than(since, now).is_some_and(|when| when > self.ahead);
        since.filter(|since| !future(since))
    }

    /// How far a watermark lies in the future. Return `None` if it does not, or is not a time.
    fn later_than(&self, mark: &str, now: DateTime<Utc>) -> Option<TimeDelta> {
        let when = match self.kind {
            CursorKind::Time => stored(mark)? - now,
            // A text that begins like a date, in any zone.
            CursorKind::Text => {
                let day = NaiveDate::parse_from_str(mark.get(..10)?, "%Y-%m-%d").ok()?;
                day.and_time(NaiveTime::MIN).and_utc() - now - TimeDelta::hours(14)
            }
            CursorKind::Number => return None,
        };
        (when > TimeDelta::zero()).then_some(when)
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

    /// The watermark of a listing of several pages: `mark` minus `took`, the time from the listing's first request
    /// to its last answer. If something changes on a page that was already read, its date is later than the
    /// beginning of the listing, and the result is not later than that beginning, whatever the source's clock
    /// shows. A counter is not a time: it must be listed in its own order.
    #[must_use]
    pub fn paged(&self, mark: Option<String>, took: TimeDelta) -> Option<String> {
        let mark = mark?;
        if self.kind != CursorKind::Time {
            return Some(mark);
        }
        let time = stored(&mark)?.checked_sub_signed(took).unwrap_or(DateTime::<Utc>::MIN_UTC);
        Some(time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }

    /// The value of `cursor` in a request: the watermark minus the overlap, in the form that the source expects.
    ///
    /// # Errors
    /// If the stored text is not a watermark of this kind (the adapter has changed).
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
                Ok(Value::from(self.clock.write(time.checked_sub_signed(back).unwrap_or(DateTime::<Utc>::MIN_UTC))))
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

    /// Whether a row's value lies before the start of a delta, which is the watermark minus the overlap. A value
    /// that cannot be used does not.
    #[must_use]
    pub fn is_before(&self, value: &Value, since: &str) -> bool {
        let Ok(Some(seen)) = self.mark(value) else { return false };
        match (self.kind, self.overlap) {
            (CursorKind::Text, _) => seen.as_str() < since,
            (CursorKind::Number, overlap) => {
                let back = if let Overlap::Count(count) = overlap { Decimal::from(count) } else { Decimal::ZERO };
                let start = Decimal::from_str(since).ok().and_then(|since| since.checked_sub(back));
                Decimal::from_str(&seen).ok().zip(start).is_some_and(|(seen, start)| seen < start)
            }
            (CursorKind::Time, overlap) => {
                let back = match overlap {
                    Overlap::Time(span) => TimeDelta::from_std(span).unwrap_or(TimeDelta::MAX),
                    Overlap::Count(_) => TimeDelta::zero(),
                };
                let start = stored(since).and_then(|since| since.checked_sub_signed(back));
                stored(&seen).zip(start).is_some_and(|(seen, start)| seen < start)
            }
        }
    }

    /// A time minus the overlap, in the form that the source expects: for listings of what was created since.
    #[must_use]
    pub fn since(&self, time: DateTime<Utc>) -> String {
        let back = match self.overlap {
            Overlap::Time(span) => TimeDelta::from_std(span).unwrap_or(TimeDelta::MAX),
            Overlap::Count(_) => TimeDelta::zero(),
        };
        self.clock.write(time.checked_sub_signed(back).unwrap_or(DateTime::<Utc>::MIN_UTC))
    }
}

fn stored(mark: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(mark).ok().map(|time| time.to_utc())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        expr::KnownNames,
        load::{LoadError, SourceFile},
    };
    use chrono_tz::Tz;
    use proptest::prelude::*;
    use serde_json::json;

    fn cursor(toml: &str) -> Result<Cursor, LoadError> {
        let file = SourceFile::new("a.toml", toml);
        Cursor::compile(&crate::load::parse(&file)?, &file, &KnownNames::any())
    }

    #[test]
    fn a_local_time_becomes_utc_and_goes_back_with_the_overlap() {
        let cursor =
            cursor("field = \"at\"\nformat = \"%Y-%m-%d %H:%M:%S\"\nzone = \"Europe/Madrid\"\noverlap = \"2m\"\n")
                .unwrap();
        let mark = cursor.mark(&json!("2026-07-01 12:00:00")).unwrap();
        assert_eq!(mark.as_deref(), Some("2026-07-01T10:00:00Z"));
        assert_eq!(cursor.start("2026-07-01T10:00:00Z"), Ok(json!("2026-07-01 11:58:00")));
        // The hour that occurs twice, and the hour that does not occur.
        assert_eq!(cursor.mark(&json!("2026-10-25 02:30:00")).unwrap().as_deref(), Some("2026-10-25T00:30:00Z"));
        assert_eq!(cursor.mark(&json!("2026-03-29 02:30:00")).unwrap().as_deref(), Some("2026-03-29T00:30:00Z"));
        assert!(cursor.mark(&json!("yesterday")).is_err());
        for nothing in [json!(null), json!(""), json!("0000-00-00 00:00:00"), json!("0000-00-00")] {
            assert_eq!(cursor.mark(&nothing), Ok(None), "{nothing}");
        }
    }

    #[test]
    fn the_hour_that_a_clock_change_repeats_is_read_from_its_beginning() {
        let zoned = |zone: &str, send: &str| {
            cursor(&format!("field = \"at\"\nformat = \"%Y-%m-%d %H:%M:%S\"\nzone = \"{zone}\"\n{send}")).unwrap()
        };
        let madrid = zoned("Europe/Madrid", "");
        let from = |cursor: &Cursor, since: &str| cursor.start(since).unwrap().as_str().unwrap().to_owned();
        // At 01:00 UTC the clock is set back from 03:00 to 02:00.
        assert_eq!(from(&madrid, "2026-10-25T00:50:00Z"), "2026-10-25 02:00:00", "02:10 comes after the first 02:50");
        assert_eq!(from(&madrid, "2026-10-25T00:00:00Z"), "2026-10-25 02:00:00");
        assert_eq!(from(&madrid, "2026-10-24T23:50:00Z"), "2026-10-25 01:50:00");
        assert_eq!(from(&madrid, "2026-10-25T01:10:00Z"), "2026-10-25 02:10:00", "what is past is not read again");
        assert_eq!(from(&madrid, "2026-10-25T02:10:00Z"), "2026-10-25 03:10:00");
        assert_eq!(from(&madrid, "2026-03-29T00:59:00Z"), "2026-03-29 01:59:00", "a clock set forward repeats nothing");
        assert_eq!(
            from(&zoned("Australia/Lord_Howe", ""), "2026-04-04T14:50:00Z"),
            "2026-04-05 01:30:00",
            "half an hour"
        );
        let sent = zoned("Europe/Madrid", "send = \"%Y-%m-%dT%H:%M:%S%:z\"\n");
        assert_eq!(from(&sent, "2026-10-25T00:50:00Z"), "2026-10-25T02:50:00+02:00", "an offset needs no more");
    }

    proptest! {
        /// A source that compares local times finds every change that comes after the watermark.
        #[test]
        fn no_change_after_the_watermark_is_before_the_local_time_that_is_sent(
            seconds in 1_577_836_800_i64..1_893_456_000, later in 0_i64..200_000, zone in 0_usize..6
        ) {
            let zone = ["Europe/Madrid", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo", "Africa/Casablanca", "UTC"][zone];
            let cursor = cursor(&format!("field = \"at\"\nformat = \"%Y-%m-%d %H:%M:%S\"\nzone = \"{zone}\"\n")).unwrap();
            let shown = |seconds: i64| {
                let time = DateTime::<Utc>::from_timestamp(seconds, 0).unwrap();
                time.with_timezone(&zone.parse::<Tz>().unwrap()).format("%Y-%m-%d %H:%M:%S").to_string()
            };
            // The mark is made from the local time that the row shows.
            let mark = cursor.mark(&json!(shown(seconds))).unwrap().unwrap();
            let sent = cursor.start(&mark).unwrap();
            prop_assert!(sent.as_str().unwrap() <= shown(seconds + later).as_str(), "{sent} for {mark}");
        }

        #[test]
        fn no_date_takes_the_watermark_past_now(offset in -100_000_000_i64..100_000_000_000, kind in any::<bool>()) {
            let now = DateTime::<Utc>::from_timestamp(1_790_000_000, 0).unwrap();
            let cursor = cursor(if kind { "field = \"at\"\nkind = \"text\"\n" } else { "field = \"at\"\n" }).unwrap();
            let Some(time) = now.checked_add_signed(TimeDelta::seconds(offset)) else { return Ok(()) };
            let mut mark = None;
            let fault = cursor.raise(&mut mark, Ok(json!(time.to_rfc3339_opts(SecondsFormat::AutoSi, true))), now);
            let day = TimeDelta::days(1);
            prop_assert!(offset <= 0 || kind || mark.is_none());
            prop_assert_eq!(mark.is_some(), time <= now || kind && time < now + day && mark.is_some());
            prop_assert!(time <= now + day + day || fault.is_some());
            prop_assert!(offset > 0 || fault.is_none());
        }

        /// Whatever a row has in place of its date, the dates of other rows count.
        #[test]
        fn no_value_ends_a_listing(text in "\\PC*|[0-9: /.TZ+-]{0,25}") {
            let now = DateTime::<Utc>::from_timestamp(1_790_000_000, 0).unwrap();
            let cursor =
                cursor("field = \"at\"\nformat = \"%Y-%m-%d %H:%M:%S\"\nzone = \"Europe/Madrid\"\n").unwrap();
            let mut mark = None;
            let odd = cursor.raise(&mut mark, Ok(json!(text)), now);
            prop_assert!(odd.is_none() || mark.is_none());
            prop_assert!(cursor.raise(&mut mark, Ok(json!("2026-09-01 10:00:00")), now).is_none());
            prop_assert!(mark.is_some());
        }
    }

    #[test]
    fn a_watermark_that_lies_in_the_future_already_is_given_up() {
        let now = DateTime::parse_from_rfc3339("2026-07-01T10:00:00Z").unwrap().to_utc();
        let cursor = cursor("field = \"at\"\nahead = \"2m\"\n").unwrap();
        assert_eq!(cursor.known(Some("2031-01-01T00:00:00Z"), now), None);
        for good in ["2026-07-01T09:00:00Z", "2026-07-01T10:01:00Z"] {
            assert_eq!(cursor.known(Some(good), now), Some(good), "{good}");
        }
        assert_eq!(cursor.known(None, now), None);
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
    fn a_date_without_a_time_of_day_is_the_midnight_of_its_zone() {
        let day = cursor("field = \"at\"\nformat = \"%Y-%m-%d\"\nzone = \"Europe/Madrid\"\n").unwrap();
        assert_eq!(day.mark(&json!("2026-07-01")).unwrap().as_deref(), Some("2026-06-30T22:00:00Z"));
        assert_eq!(day.start("2026-06-30T22:00:00Z"), Ok(json!("2026-07-01")), "the day is listed again as a whole");
        assert!(day.mark(&json!("01/07/2026")).is_err());
        let iso = cursor("field = \"at\"\nzone = \"UTC\"\n").unwrap();
        assert_eq!(iso.mark(&json!("2026-07-01")).unwrap().as_deref(), Some("2026-07-01T00:00:00Z"));
    }
}
