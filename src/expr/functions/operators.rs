//! Operators: checked, exact, and without silent mixing of texts and numbers.

use std::cmp::Ordering;

use rhai::{Array, Dynamic, Engine, Map};
use rust_decimal::Decimal;

use super::{Res, fail};
use crate::expr::convert::{LongNumber, kind};

pub(super) fn register(engine: &mut Engine) {
    engine.register_fn("+", |a: Dynamic, b: Dynamic| plus(a, b));
    engine.register_fn("-", |a: Dynamic, b: Dynamic| {
        arithmetic("-", &a, &b, i64::checked_sub, |a, b| exact(a.checked_sub(b)))
    });
    engine.register_fn("*", |a: Dynamic, b: Dynamic| {
        arithmetic("*", &a, &b, i64::checked_mul, |a, b| exact(a.checked_mul(b)))
    });
    engine.register_fn("/", |a: Dynamic, b: Dynamic| {
        let (a, b) = (operand("/", &a)?, operand("/", &b)?);
        if b.is_zero() {
            fail("division by zero")
        } else {
            exact(a.checked_div(b)).map(|d| Dynamic::from_decimal(d.normalize()))
        }
    });
    engine.register_fn("%", |a: Dynamic, b: Dynamic| {
        let zero = operand("%", &b)?.is_zero();
        if zero {
            return fail("division by zero");
        }
        arithmetic("%", &a, &b, i64::checked_rem, |a, b| exact(a.checked_rem(b)))
    });
    engine.register_fn("-", |a: Dynamic| match a.as_int() {
        Ok(integer) => {
            integer.checked_neg().map_or_else(|| fail("the number is too large"), |n| Ok(Dynamic::from_int(n)))
        }
        Err(_) => operand("-", &a).map(|d| Dynamic::from_decimal(-d)),
    });
    engine.register_fn("+", |a: Dynamic| operand("+", &a).map(|_| a));
    engine.register_fn("!", |a: Dynamic| match a.as_bool() {
        Ok(flag) => Ok(!flag),
        Err(_) => fail(format!("`!` is for booleans, not for {}", kind(&a))),
    });
    engine.register_fn("==", |a: Dynamic, b: Dynamic| equal(&a, &b));
    engine.register_fn("!=", |a: Dynamic, b: Dynamic| equal(&a, &b).map(|same| !same));
    engine.register_fn("<", |a: Dynamic, b: Dynamic| compare("<", &a, &b).map(Ordering::is_lt));
    engine.register_fn("<=", |a: Dynamic, b: Dynamic| compare("<=", &a, &b).map(Ordering::is_le));
    engine.register_fn(">", |a: Dynamic, b: Dynamic| compare(">", &a, &b).map(Ordering::is_gt));
    engine.register_fn(">=", |a: Dynamic, b: Dynamic| compare(">=", &a, &b).map(Ordering::is_ge));
    engine.register_fn("type_of", |a: Dynamic| kind(&a).trim_start_matches("a ").trim_start_matches("an ").to_owned());
}

/// The number, if it can be used in calculations.
pub(super) fn as_number(value: &Dynamic) -> Option<Decimal> {
    value.as_int().map(Decimal::from).or_else(|_| value.as_decimal()).ok()
}

/// A text, also when it came from indexing a text.
pub(super) fn as_text(value: &Dynamic) -> Option<String> {
    if let Ok(character) = value.as_char() {
        return Some(character.into());
    }
    value.read_lock::<rhai::ImmutableString>().map(|text| text.to_string())
}

/// Compare numbers by value, texts by letter, objects and lists by their members. Texts, numbers and booleans are
/// never compared with one another: the result would be false if somebody forgot to convert.
pub(super) fn equal(a: &Dynamic, b: &Dynamic) -> Res<bool> {
    if a.is_unit() || b.is_unit() {
        return Ok(a.is_unit() && b.is_unit());
    }
    if let (Some(a), Some(b)) = (as_number(a), as_number(b)) {
        return Ok(a == b);
    }
    if let (Ok(a), Ok(b)) = (a.as_bool(), b.as_bool()) {
        return Ok(a == b);
    }
    if let (Some(a), Some(b)) = (a.read_lock::<rhai::ImmutableString>(), b.read_lock::<rhai::ImmutableString>()) {
        return Ok(*a == *b);
    }
    if let (Some(a), Some(b)) = (as_text(a), as_text(b)) {
        return Ok(a == b);
    }
    if let (Some(a), Some(b)) = (a.read_lock::<Array>(), b.read_lock::<Array>()) {
        return equal_lists(&a, &b);
    }
    if let (Some(a), Some(b)) = (a.read_lock::<Map>(), b.read_lock::<Map>()) {
        return equal_objects(&a, &b);
    }
    if let (Some(a), Some(b)) = (a.read_lock::<LongNumber>(), b.read_lock::<LongNumber>()) {
        return Ok(*a == *b);
    }
    if a.is::<LongNumber>() || b.is::<LongNumber>() {
        return fail("a number of more than 28 digits cannot be compared");
    }
    fail(format!("{} and {} are never equal; convert one with text(), decimal() or bool()", kind(a), kind(b)))
}

fn equal_lists(a: &Array, b: &Array) -> Res<bool> {
    if a.len() != b.len() {
        return Ok(false);
    }
    for (a, b) in a.iter().zip(b) {
        if !equal(a, b)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn equal_objects(a: &Map, b: &Map) -> Res<bool> {
    if a.len() != b.len() {
        return Ok(false);
    }
    for (name, a) in a {
        match b.get(name) {
            Some(b) if equal(a, b)? => {}
            _ => return Ok(false),
        }
    }
    Ok(true)
}

pub(super) fn compare(operator: &str, a: &Dynamic, b: &Dynamic) -> Res<Ordering> {
    if let (Some(a), Some(b)) = (as_number(a), as_number(b)) {
        return Ok(a.cmp(&b));
    }
    if let (Some(a), Some(b)) = (as_text(a), as_text(b)) {
        return Ok(a.cmp(&b));
    }
    fail(format!("`{operator}` cannot compare {} with {}", kind(a), kind(b)))
}

fn plus(a: Dynamic, b: Dynamic) -> Res<Dynamic> {
    if let (Some(a), Some(b)) = (as_text(&a), as_text(&b)) {
        return Ok(Dynamic::from(a + b.as_str()));
    }
    if a.is_array() && b.is_array() {
        let mut list = a.cast::<Array>();
        list.extend(b.cast::<Array>());
        return Ok(Dynamic::from_array(list));
    }
    if a.is_map() && b.is_map() {
        let mut object = a.cast::<Map>();
        object.extend(b.cast::<Map>());
        return Ok(Dynamic::from_map(object));
    }
    if as_text(&a).is_some() || as_text(&b).is_some() {
        return fail(format!("`+` cannot join {} and {}; convert one with text() or decimal()", kind(&a), kind(&b)));
    }
    arithmetic("+", &a, &b, i64::checked_add, |a, b| exact(a.checked_add(b)))
}

/// Integers stay integers. If either side is a decimal, the result is a decimal.
fn arithmetic(
    operator: &str,
    a: &Dynamic,
    b: &Dynamic,
    integers: fn(i64, i64) -> Option<i64>,
    decimals: fn(Decimal, Decimal) -> Res<Decimal>,
) -> Res<Dynamic> {
    if let (Ok(a), Ok(b)) = (a.as_int(), b.as_int()) {
        return match integers(a, b) {
            Some(result) => Ok(Dynamic::from_int(result)),
            None => fail("the result is too large for an integer"),
        };
    }
    decimals(operand(operator, a)?, operand(operator, b)?).map(Dynamic::from_decimal)
}

fn operand(operator: &str, value: &Dynamic) -> Res<Decimal> {
    match as_number(value) {
        Some(number) => Ok(number),
        None => fail(format!("`{operator}` needs numbers, not {}; decimal() makes one of a text", kind(value))),
    }
}

fn exact(result: Option<Decimal>) -> Res<Decimal> {
    result.map_or_else(|| fail("the result has more than 28 digits"), Ok)
}
