//! Texts that become part of an address.

use rhai::{Array, Dynamic, Engine};

use super::{Res, fail};
use crate::{
    expr::{
        convert::{self, Segments, kind},
        text_of,
    },
    model::percent,
};

pub(super) fn register(engine: &mut Engine) {
    engine.register_fn("urlencode", |x: Dynamic| match scalar(&x) {
        Some(text) => Ok(percent::encode(&text)),
        None => fail(format!("urlencode() needs a text, not {}", kind(&x))),
    });
    engine.register_fn("path", |segments: Array| path(&segments));
    engine.register_fn("path", |a: Dynamic| path(&list_or(a)));
    engine.register_fn("path", |a: Dynamic, b: Dynamic| path(&[a, b]));
    engine.register_fn("path", |a: Dynamic, b: Dynamic, c: Dynamic| path(&[a, b, c]));
    engine.register_fn("path", |a: Dynamic, b: Dynamic, c: Dynamic, d: Dynamic| path(&[a, b, c, d]));
    engine.register_fn("path", |a: Dynamic, b: Dynamic, c: Dynamic, d: Dynamic, e: Dynamic| path(&[a, b, c, d, e]));
    engine.register_fn("path", |a: Dynamic, b: Dynamic, c: Dynamic, d: Dynamic, e: Dynamic, f: Dynamic| {
        path(&[a, b, c, d, e, f])
    });
}

/// Segments of a path, one per argument. The use of the path decides what a segment may contain.
fn path(segments: &[Dynamic]) -> Res<Dynamic> {
    let texts = segments.iter().map(|segment| match scalar(segment) {
        Some(text) => Ok(text),
        None => fail(format!("path() needs texts, not {}", kind(segment))),
    });
    Ok(Dynamic::from(Segments(texts.collect::<Res<_>>()?)))
}

fn list_or(value: Dynamic) -> Vec<Dynamic> {
    match value.try_cast_result::<Array>() {
        Ok(list) => list,
        Err(one) => vec![one],
    }
}

/// Text of a text, number or boolean.
fn scalar(value: &Dynamic) -> Option<String> {
    text_of(&convert::from_dynamic(value).ok()??)
}
