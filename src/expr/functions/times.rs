//! Dates and times. Formats are those of strftime, zones are IANA names.

use rhai::{Dynamic, Engine};

use super::{Res, fail, operators::as_text};
use crate::{expr::convert::kind, model::time};

pub(super) fn register(engine: &mut Engine) {
    engine.register_fn("date", |x: Dynamic, format: &str| {
        given("date", &x)?.map_or(Ok(Dynamic::UNIT), |text| {
            or_fail("date", time::parse_date_as(&text, format)).map(|day| Dynamic::from(day.to_string()))
        })
    });
    engine.register_fn("datetime", |x: Dynamic, format: &str, zone: &str| {
        let zone = or_fail("datetime", time::zone(zone))?;
        given("datetime", &x)?.map_or(Ok(Dynamic::UNIT), |text| {
            let parsed = time::parse_time_as(&text, format, Some(zone));
            or_fail("datetime", parsed).map(|time| Dynamic::from(time::canonical(time)))
        })
    });
    engine.register_fn("format_datetime", |x: Dynamic, format: &str, zone: &str| {
        let zone = or_fail("format_datetime", time::zone(zone))?;
        given("format_datetime", &x)?.map_or(Ok(Dynamic::UNIT), |text| {
            let parsed = time::parse_time(&text, None).or_else(|_| {
                // A canonical date counts as its midnight.
                time::parse_date(&text).map(|day| day.and_time(chrono::NaiveTime::MIN).and_utc())
            });
            let zone = if text.len() == 10 { chrono_tz::Tz::UTC } else { zone };
            let formatted = parsed.and_then(|parsed| time::format(parsed, format, zone));
            or_fail("format_datetime", formatted).map(Dynamic::from)
        })
    });
}

/// The text. Return `None` for `()` and empty texts, which stay `()`.
fn given(function: &str, value: &Dynamic) -> Res<Option<String>> {
    if value.is_unit() {
        return Ok(None);
    }
    match as_text(value) {
        Some(text) => Ok(Some(text).filter(|text| !text.trim().is_empty())),
        None => fail(format!("{function}() needs a text, not {}", kind(value))),
    }
}

fn or_fail<T>(function: &str, result: Result<T, time::TimeError>) -> Res<T> {
    result.or_else(|error| fail(format!("{function}(): {error}")))
}
