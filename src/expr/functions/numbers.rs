//! Numbers: exact, rounded only where the name says so.

use rhai::{Array, Dynamic, Engine, ImmutableString};
use rust_decimal::{Decimal, RoundingStrategy, prelude::ToPrimitive};

use super::{
    Res, fail,
    operators::{as_number, as_text, compare},
};
use crate::{
    expr::convert::{self, LongNumber, kind},
    model::{codes::minor_digits, decimal},
};

pub(super) fn register(engine: &mut Engine) {
    engine.register_fn("decimal", |x: Dynamic| to_decimal("decimal", &x));
    engine.register_fn("number", |x: Dynamic| to_decimal("number", &x));
    engine.register_fn("decimal", |x: Dynamic, mark: ImmutableString| match as_text(&x) {
        Some(text) => localized(&text, &mark),
        None => to_decimal("decimal", &x),
    });
    engine.register_fn("integer", |x: Dynamic| integer(&x));
    engine.register_fn("text", |x: Dynamic| text(&x));
    engine.register_fn("fixed", |x: Dynamic, places: i64| {
        let number = to_decimal("fixed", &x)?;
        let rounded = rounded(number, places)?;
        Ok::<_, Box<rhai::EvalAltResult>>(format!("{rounded:.width$}", width = usize::try_from(places).unwrap_or(0)))
    });
    engine.register_fn("round", |x: Dynamic| to_decimal("round", &x).and_then(|number| rounded(number, 0)));
    engine.register_fn("round", |x: Dynamic, places: i64| to_decimal("round", &x).and_then(|n| rounded(n, places)));
    engine.register_fn("floor", |x: Dynamic| to_decimal("floor", &x).map(|number| number.floor()));
    engine.register_fn("ceiling", |x: Dynamic| to_decimal("ceiling", &x).map(|number| number.ceil()));
    engine.register_fn("abs", |x: Dynamic| match as_number(&x) {
        Some(number) => Ok(Dynamic::from_decimal(number.abs())),
        None => fail(format!("abs() needs a number, not {}", kind(&x))),
    });
    engine.register_fn("min", |a: Dynamic, b: Dynamic| {
        compare("min", &a, &b).map(|order| if order.is_le() { a } else { b })
    });
    engine.register_fn("max", |a: Dynamic, b: Dynamic| {
        compare("max", &a, &b).map(|order| if order.is_ge() { a } else { b })
    });
    engine.register_fn("cents", |x: Dynamic| {
        let amount = to_decimal("cents", &x)?;
        let cents = amount.checked_mul(Decimal::ONE_HUNDRED).map(|cents| cents.normalize());
        match cents.filter(Decimal::is_integer).and_then(|cents| cents.to_i64()) {
            Some(cents) => Ok(cents),
            None => fail("the amount is not a whole number of cents; round it first"),
        }
    });
    engine.register_fn("digits", |currency: Dynamic| match as_text(&currency) {
        Some(code) => Ok(i64::from(minor_digits(&code.to_uppercase()))),
        None => fail(format!("digits() needs the code of a currency, not {}", kind(&currency))),
    });
    engine.register_fn("from_cents", |x: Dynamic| {
        let cents = integer(&x)?;
        Ok::<_, Box<rhai::EvalAltResult>>(Decimal::new(cents, 2))
    });
    super::looking("sum").register_into_engine(engine, |items: &mut Array| sum(items));
    engine.register_fn("bool", |x: Dynamic| to_bool(&x));
    engine.register_fn("ok", |x: Dynamic| !x.is_unit() && as_text(&x).is_none_or(|text| !text.is_empty()));
}

/// The decimal of a number, or of a text with a decimal point.
pub(super) fn to_decimal(function: &str, value: &Dynamic) -> Res<Decimal> {
    if let Some(number) = as_number(value) {
        return Ok(number);
    }
    if value.is::<LongNumber>() {
        return fail(format!("{function}(): the number has more than 28 digits"));
    }
    match as_text(value) {
        Some(text) => match decimal::parse(text.trim()) {
            Some(number) => Ok(number),
            None => fail(format!(
                "{function}(): the text is not a number with a decimal point (or has more than 28 digits)"
            )),
        },
        None => fail(format!("{function}() needs a number or a text, not {}", kind(value))),
    }
}

/// The number in a text with this decimal mark. The other mark, blanks and apostrophes between groups of three
/// digits are dropped.
fn localized(text: &str, mark: &str) -> Res<Decimal> {
    let group = match mark {
        "," => '.',
        "." => ',',
        _ => return fail("decimal(): the decimal mark is \",\" or \".\""),
    };
    let text = text.trim();
    let (whole, fraction) = text.split_once(mark).map_or((text, None), |(whole, fraction)| (whole, Some(fraction)));
    let is_group = |c: char| c == group || matches!(c, ' ' | '\u{a0}' | '\u{202f}' | '\'' | '\u{2019}');
    let mut groups = whole.split(is_group);
    let first = groups.next().unwrap_or_default();
    let mut digits = first.to_owned();
    let mut grouped = false;
    for next in groups {
        grouped = true;
        if next.len() != 3 || !next.bytes().all(|b| b.is_ascii_digit()) {
            return fail(format!("decimal(): the text is not a number with `{mark}` as its decimal mark"));
        }
        digits.push_str(next);
    }
    let lead = first.trim_start_matches(['-', '+']).len();
    if let Some(fraction) = fraction {
        digits.push('.');
        digits.push_str(fraction);
    }
    match decimal::parse(&digits) {
        Some(number) if !grouped || (1..=3).contains(&lead) => Ok(number),
        _ => fail(format!("decimal(): the text is not a number with `{mark}` as its decimal mark")),
    }
}

fn integer(value: &Dynamic) -> Res<i64> {
    if let Ok(integer) = value.as_int() {
        return Ok(integer);
    }
    let number = to_decimal("integer", value)?;
    match number.is_integer().then(|| number.to_i64()).flatten() {
        Some(integer) => Ok(integer),
        None => fail("integer(): the number has a fraction or is too large"),
    }
}

fn text(value: &Dynamic) -> Res<String> {
    match convert::from_dynamic(value).ok().flatten().and_then(|value| convert::text_of(&value)) {
        Some(text) => Ok(text),
        None => fail(format!("text() needs a number, boolean or text, not {}", kind(value))),
    }
}

fn rounded(number: Decimal, places: i64) -> Res<Decimal> {
    match u32::try_from(places) {
        Ok(places @ 0..=28) => Ok(number.round_dp_with_strategy(places, RoundingStrategy::MidpointAwayFromZero)),
        _ => fail("the number of decimal places is 0 to 28"),
    }
}

fn sum(items: &Array) -> Res<Dynamic> {
    let mut total = Decimal::ZERO;
    for item in items {
        let Some(number) = as_number(item) else {
            return fail(format!("sum() needs numbers, not {}", kind(item)));
        };
        total = match total.checked_add(number) {
            Some(total) => total,
            None => return fail("the sum has more than 28 digits"),
        };
    }
    Ok(match total.is_integer().then(|| total.to_i64()).flatten() {
        Some(integer) if items.iter().all(Dynamic::is_int) => Dynamic::from_int(integer),
        _ => Dynamic::from_decimal(total),
    })
}

fn to_bool(value: &Dynamic) -> Res<bool> {
    if value.is_unit() {
        return Ok(false);
    }
    if let Ok(flag) = value.as_bool() {
        return Ok(flag);
    }
    let word = as_number(value).map(decimal::canonical).or_else(|| as_text(value));
    match word.map(|word| word.trim().to_lowercase()).as_deref() {
        Some("true" | "1" | "yes") => Ok(true),
        Some("false" | "0" | "no" | "") => Ok(false),
        _ => fail("bool(): the value is none of true, false, 1, 0, yes, no"),
    }
}
