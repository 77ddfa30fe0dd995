//! Lists and objects. Nothing is changed in place; closures get the items one by one.

use rhai::{Array, Dynamic, Engine, FnPtr, Map, NativeCallContext};

use super::{
    Res, fail, looking,
    operators::{as_number, as_text, compare, equal},
    size::{self, Growth},
};
use crate::{
    expr::{
        convert::{self, kind},
        path::{Path, Step},
    },
    model::decimal,
};

pub(super) fn register(engine: &mut Engine) {
    looking("len").register_into_engine(engine, |list: &mut Array| count(list.len()));
    looking("len").register_into_engine(engine, |object: &mut Map| count(object.len()));
    engine.register_get("len", |list: &mut Array| count(list.len()));
    looking("is_empty").register_into_engine(engine, |list: &mut Array| list.is_empty());
    looking("is_empty").register_into_engine(engine, |object: &mut Map| object.is_empty());
    looking("contains").register_into_engine(engine, |list: &mut Array, item: Dynamic| contains(list, &item));
    looking("contains").register_into_engine(engine, |object: &mut Map, name: &str| object.contains_key(name));
    looking("index_of").register_into_engine(engine, |list: &mut Array, item: Dynamic| -> Res<i64> {
        for (index, other) in list.iter().enumerate() {
            if equal(other, &item)? {
                return Ok(count(index));
            }
        }
        Ok(-1)
    });
    looking("get").register_into_engine(engine, |object: &mut Map, name: &str| {
        object.get(name).cloned().unwrap_or(Dynamic::UNIT)
    });
    engine.register_fn("get", |(): (), _: &str| Dynamic::UNIT);
    looking("get").register_into_engine(engine, |list: &mut Array, index: i64| {
        usize::try_from(index).ok().and_then(|index| list.get(index).cloned()).unwrap_or(Dynamic::UNIT)
    });
    looking("first").register_into_engine(engine, |list: &mut Array| list.first().cloned().unwrap_or(Dynamic::UNIT));
    looking("last").register_into_engine(engine, |list: &mut Array| list.last().cloned().unwrap_or(Dynamic::UNIT));
    looking("keys").register_into_engine(engine, |object: &mut Map| {
        object.keys().map(|name| Dynamic::from(name.to_string())).collect::<Array>()
    });
    looking("values").register_into_engine(engine, |object: &mut Map| object.values().cloned().collect::<Array>());
    looking("entries").register_into_engine(engine, |object: &mut Map| {
        object.iter().map(|(name, value)| entry(name, value)).collect::<Array>()
    });
    engine.register_fn("merge", |mut a: Map, b: Map| {
        a.extend(b);
        a
    });
    engine.register_fn("flatten", |list: Array| {
        list.into_iter()
            .flat_map(|item| if item.is_array() { item.cast::<Array>() } else { vec![item] })
            .collect::<Array>()
    });
    engine.register_fn("chunk", |list: Array, size: i64| -> Res<Array> {
        match usize::try_from(size) {
            Ok(size @ 1..) => Ok(list.chunks(size).map(|part| Dynamic::from_array(part.to_vec())).collect()),
            _ => fail("chunk() needs a size of at least 1"),
        }
    });
    engine.register_fn("reverse", |list: Array| list.into_iter().rev().collect::<Array>());
    engine.register_fn("sort", sort);
    engine.register_fn("unique", unique);
    looking("join").register_into_engine(engine, |list: &mut Array, separator: &str| join(list, separator));
    looking("pluck").register_into_engine(engine, |list: &mut Array, path: &str| pluck(list, path));
    looking("where_eq")
        .register_into_engine(engine, |list: &mut Array, path: &str, asked: Dynamic| where_eq(list, path, &asked));
    looking("index_by").register_into_engine(engine, |list: &mut Array, path: &str| index_by(list, path));
    register_closures(engine);
    register_single(engine);
}

/// Treat a single object as a list of one, because XML shows a single child like this even if there could be
/// several. Only `len` and `is_empty` still count the object's members; use `list` for these, and for children that
/// may be texts.
fn register_single(engine: &mut Engine) {
    engine.register_fn("list", |any: Dynamic| {
        if any.is_array() {
            return any.cast::<Array>();
        }
        let is_nothing = any.is_unit() || as_text(&any).is_some_and(|text| text.is_empty());
        if is_nothing { Array::new() } else { vec![any] }
    });
    for name in ["first", "last"] {
        engine.register_fn(name, |one: Map| one);
    }
    engine.register_fn("map", |ctx: NativeCallContext, one: Map, closure: FnPtr| -> Res<Array> {
        Ok(vec![closure.call_within_context::<Dynamic>(&ctx, (Dynamic::from_map(one),))?])
    });
    engine.register_fn("filter", |ctx: NativeCallContext, one: Map, closure: FnPtr| -> Res<Array> {
        let one = Dynamic::from_map(one);
        Ok(if holds("filter", &ctx, &closure, &one)? { vec![one] } else { Array::new() })
    });
    engine.register_fn("find", |ctx: NativeCallContext, one: Map, closure: FnPtr| -> Res<Dynamic> {
        let one = Dynamic::from_map(one);
        Ok(if holds("find", &ctx, &closure, &one)? { one } else { Dynamic::UNIT })
    });
    for name in ["some", "all"] {
        engine.register_fn(name, move |ctx: NativeCallContext, one: Map, closure: FnPtr| -> Res<bool> {
            holds(name, &ctx, &closure, &Dynamic::from_map(one))
        });
    }
    engine.register_fn("pluck", |one: Map, path: &str| pluck(&[one.into()], path));
    engine.register_fn("where_eq", |one: Map, path: &str, asked: Dynamic| where_eq(&[one.into()], path, &asked));
    engine.register_fn("index_by", |one: Map, path: &str| index_by(&[one.into()], path));
}

fn pluck(list: &[Dynamic], path: &str) -> Res<Array> {
    let path = parsed("pluck", path)?;
    list.iter().map(|item| dig("pluck", item, &path)).collect()
}

fn where_eq(list: &[Dynamic], path: &str, asked: &Dynamic) -> Res<Array> {
    let path = parsed("where_eq", path)?;
    let mut found = Array::new();
    for item in list {
        if equal(&dig("where_eq", item, &path)?, asked)? {
            found.push(item.clone());
        }
    }
    Ok(found)
}

fn index_by(list: &[Dynamic], path: &str) -> Res<Map> {
    let path = parsed("index_by", path)?;
    let mut index = Map::new();
    for item in list {
        let member = dig("index_by", item, &path)?;
        let name = as_text(&member).or_else(|| as_number(&member).map(decimal::canonical));
        let Some(name) = name else {
            return fail(format!("index_by() needs texts or numbers to index by, not {}", kind(&member)));
        };
        if index.insert(name.into(), item.clone()).is_some() {
            return fail("index_by(): two items have the same value there");
        }
    }
    Ok(index)
}

/// These take the list by value: if a closure looked at a list that is borrowed while the closure runs, it would
/// never end.
fn register_closures(engine: &mut Engine) {
    engine.register_fn("map", |ctx: NativeCallContext, list: Array, closure: FnPtr| -> Res<Array> {
        let mut growth = Growth::default();
        let mut made = Array::with_capacity(list.len());
        for item in list {
            let item = closure.call_within_context::<Dynamic>(&ctx, (item,))?;
            growth.add(&item)?;
            made.push(item);
        }
        Ok(made)
    });
    engine.register_fn("filter", |ctx: NativeCallContext, list: Array, closure: FnPtr| -> Res<Array> {
        let mut kept = Array::new();
        for item in list {
            if holds("filter", &ctx, &closure, &item)? {
                kept.push(item);
            }
        }
        Ok(kept)
    });
    engine.register_fn("find", |ctx: NativeCallContext, list: Array, closure: FnPtr| -> Res<Dynamic> {
        for item in list {
            if holds("find", &ctx, &closure, &item)? {
                return Ok(item);
            }
        }
        Ok(Dynamic::UNIT)
    });
    engine.register_fn("some", |ctx: NativeCallContext, list: Array, closure: FnPtr| -> Res<bool> {
        for item in &list {
            if holds("some", &ctx, &closure, item)? {
                return Ok(true);
            }
        }
        Ok(false)
    });
    engine.register_fn("all", |ctx: NativeCallContext, list: Array, closure: FnPtr| -> Res<bool> {
        for item in &list {
            if !holds("all", &ctx, &closure, item)? {
                return Ok(false);
            }
        }
        Ok(true)
    });
}

fn holds(function: &str, ctx: &NativeCallContext<'_>, closure: &FnPtr, item: &Dynamic) -> Res<bool> {
    let answer = closure.call_within_context::<Dynamic>(ctx, (item.clone(),))?;
    match answer.as_bool() {
        Ok(flag) => Ok(flag),
        Err(_) => fail(format!("the closure of {function}() gives {}, not a boolean", kind(&answer))),
    }
}

fn count(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

fn contains(list: &Array, item: &Dynamic) -> Res<bool> {
    for other in list {
        if equal(other, item)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn entry(name: &str, value: &Dynamic) -> Dynamic {
    let mut entry = Map::new();
    entry.insert("key".into(), Dynamic::from(name.to_owned()));
    entry.insert("value".into(), value.clone());
    Dynamic::from_map(entry)
}

/// The items in order; of equal items the first is kept.
fn unique(list: Array) -> Res<Array> {
    let mut seen = std::collections::HashSet::new();
    let mut kept = Array::new();
    for item in list {
        let same = match as_number(&item) {
            Some(number) => decimal::canonical(number),
            None => match convert::from_dynamic(&item) {
                Ok(value) => value.unwrap_or_default().to_string(),
                Err(cause) => return fail(format!("unique(): an item {cause}")),
            },
        };
        if seen.insert(same) {
            kept.push(item);
        }
    }
    Ok(kept)
}

fn sort(mut list: Array) -> Res<Array> {
    for pair in list.windows(2) {
        compare("sort", &pair[0], &pair[1])?;
    }
    list.sort_by(|a, b| compare("sort", a, b).unwrap_or(std::cmp::Ordering::Equal));
    Ok(list)
}

fn join(list: &Array, separator: &str) -> Res<String> {
    let mut parts = Vec::with_capacity(list.len());
    let mut length = 0_usize;
    for item in list {
        let text = convert::from_dynamic(item).ok().flatten().and_then(|value| convert::text_of(&value));
        match text {
            Some(text) => {
                length = length.saturating_add(text.len() + separator.len());
                size::text(length)?;
                parts.push(text);
            }
            None => return fail(format!("join() needs texts, numbers or booleans, not {}", kind(item))),
        }
    }
    Ok(parts.join(separator))
}

fn parsed(function: &str, path: &str) -> Res<Path> {
    match Path::parse(path, true) {
        Some(path) => Ok(path),
        None => fail(format!("{function}(): the path is none")),
    }
}

/// The member of an item at a path. A missing member is an error.
fn dig(function: &str, item: &Dynamic, path: &Path) -> Res<Dynamic> {
    let mut at = item.clone();
    for step in &path.steps {
        let next = match step {
            Step::Member(name) => at.read_lock::<Map>().and_then(|members| members.get(name.as_str()).cloned()),
            Step::Item(index) => at.read_lock::<Array>().and_then(|items| items.get(*index).cloned()),
        };
        at = match next {
            Some(next) => next,
            None => return fail(format!("{function}(): an item lacks `{path}`")),
        };
    }
    Ok(at)
}
