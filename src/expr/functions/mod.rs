//! The functions of the expression language, as `docs/adapters.md` lists them. Their errors never show data.

mod answers;
mod html;
mod lists;
mod numbers;
mod operators;
mod paths;
pub(super) mod size;
mod texts;
mod times;

pub use answers::{Answers, with_answers};
use rhai::{Dynamic, Engine, EvalAltResult, FuncRegistration, Position};

/// Result of a function.
type Res<T> = Result<T, Box<EvalAltResult>>;

/// Every function that an expression may call. Others are refused at load.
pub(super) const NAMES: &[&str] = &[
    "abs",
    "all",
    "base64",
    "blake3",
    "bool",
    "cents",
    "ceiling",
    "chunk",
    "contains",
    "date",
    "datetime",
    "decimal",
    "digits",
    "ends_with",
    "entries",
    "filter",
    "find",
    "first",
    "fixed",
    "flatten",
    "floor",
    "format_datetime",
    "from_cents",
    "get",
    "id_of",
    "index_by",
    "index_of",
    "integer",
    "is_empty",
    "join",
    "json",
    "keys",
    "last",
    "len",
    "list",
    "lower",
    "map",
    "max",
    "merge",
    "min",
    "number",
    "ok",
    "part_id",
    "parse_json",
    "path",
    "pluck",
    "replace",
    "reverse",
    "round",
    "slug",
    "some",
    "sort",
    "split",
    "starts_with",
    "strip_html",
    "sub_string",
    "sum",
    "text",
    "to_lower",
    "to_upper",
    "trim",
    "type_of",
    "unique",
    "upper",
    "urlencode",
    "values",
    "where_eq",
];

/// Register all functions.
pub(super) fn register(engine: &mut Engine) {
    answers::register(engine);
    operators::register(engine);
    numbers::register(engine);
    texts::register(engine);
    paths::register(engine);
    times::register(engine);
    lists::register(engine);
}

/// An error with this message. The message must not show data.
fn fail<T>(message: impl Into<String>) -> Res<T> {
    let message: String = message.into();
    Err(EvalAltResult::ErrorRuntime(Dynamic::from(message), Position::NONE).into())
}

/// A function that only reads its first argument, which may therefore be a variable.
fn looking(name: &str) -> FuncRegistration {
    FuncRegistration::new(name).with_purity(true)
}
