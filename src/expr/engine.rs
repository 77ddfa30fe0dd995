//! The engine that runs the expressions: with limits, and with our functions only.

use std::{
    cell::Cell,
    sync::{Arc, LazyLock},
};

use rhai::{AST, Dynamic, Engine, EvalAltResult, OptimizationLevel, ParseErrorType};

use super::{Scope, convert::Omit, functions};

/// Maximum number of steps of one evaluation; they take some tenths of a second.
const MAX_STEPS: u64 = 1_000_000;

thread_local! {
    /// Steps of the evaluation that runs on this thread.
    static STEPS: Cell<u64> = const { Cell::new(0) };
}

static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    let mut engine = Engine::new_raw();
    // Fast operators would bypass ours, which are checked and refuse to mix texts and numbers.
    engine.set_fast_operators(false);
    engine.set_optimization_level(OptimizationLevel::None);
    engine.set_fail_on_invalid_map_property(true);
    engine.set_allow_looping(false);
    engine.set_allow_shadowing(false);
    // The engine's own limit starts again in every closure call.
    engine.on_progress(|_| {
        STEPS.with(|steps| {
            steps.set(steps.get() + 1);
            (steps.get() > MAX_STEPS).then_some(Dynamic::UNIT)
        })
    });
    engine.set_max_expr_depths(64, 64);
    engine.set_max_call_levels(16);
    engine.set_max_string_size(functions::size::TEXT);
    engine.set_max_array_size(functions::size::ITEMS);
    engine.set_max_map_size(functions::size::ITEMS);
    functions::register(&mut engine);
    engine
});

#[derive(Debug)]
pub(super) struct Problem {
    /// Offset in bytes into the expression.
    pub offset: usize,
    pub message: String,
}

pub(super) fn compile(script: &str) -> Result<Arc<AST>, Problem> {
    let ast = ENGINE.compile(script).map_err(|error| {
        let position = error.position();
        let offset = offset_of(script, position.line(), position.position());
        Problem { offset, message: parse_message(&error) }
    })?;
    Ok(Arc::new(ast))
}

fn parse_message(error: &rhai::ParseError) -> String {
    match error.err_type() {
        ParseErrorType::UnexpectedEOF => "the expression ends too early".into(),
        ParseErrorType::ExprExpected(_) => "a value is missing here".into(),
        ParseErrorType::Reserved(word) => format!("`{word}` is a reserved word; write `row[\"{word}\"]` for a member"),
        other => {
            let text = other.to_string();
            text.strip_prefix("Syntax error: ").map_or(text.clone(), str::to_owned)
        }
    }
}

fn offset_of(script: &str, line: Option<usize>, column: Option<usize>) -> usize {
    let (Some(line), Some(column)) = (line, column) else { return script.len() };
    let start: usize = script.split_inclusive('\n').take(line - 1).map(str::len).sum();
    let rest = &script[start..];
    start + rest.char_indices().nth(column - 1).map_or(rest.len(), |(at, _)| at)
}

/// Run a compiled expression. The error says what went wrong and never shows a value.
pub(super) fn run(ast: &AST, variables: &[String], scope: &Scope<'_>) -> Result<Dynamic, String> {
    let mut engine_scope = rhai::Scope::with_capacity(variables.len() + 1);
    engine_scope.push_constant("omit", Dynamic::from(Omit));
    for name in variables {
        match scope.dynamic(name) {
            Some(value) => engine_scope.push_constant_dynamic(name.as_str(), value),
            None => continue,
        };
    }
    STEPS.set(0);
    ENGINE.eval_ast_with_scope::<Dynamic>(&mut engine_scope, ast).map_err(|error| message(&error))
}

fn message(error: &EvalAltResult) -> String {
    match error {
        EvalAltResult::ErrorInFunctionCall(_, _, inner, _) => message(inner),
        EvalAltResult::ErrorPropertyNotFound(name, _) | EvalAltResult::ErrorVariableNotFound(name, _) => {
            format!("missing member `{name}`")
        }
        EvalAltResult::ErrorFunctionNotFound(signature, _) => {
            format!("no function or operator fits `{}`", readable(signature))
        }
        EvalAltResult::ErrorArrayBounds(length, index, _) => format!("the list has {length} items, none at [{index}]"),
        EvalAltResult::ErrorStringBounds(..) => "the text is shorter than that".into(),
        EvalAltResult::ErrorIndexingType(..) => "this value has no items or members".into(),
        EvalAltResult::ErrorDotExpr(..) => "this value has no members".into(),
        EvalAltResult::ErrorMismatchDataType(expected, found, _) => {
            format!("{} where {} is wanted", readable(found), readable(expected))
        }
        EvalAltResult::ErrorDataRace(..) => {
            "the closure looks at what it runs over; write `map(list, |x| ...)` instead of `list.map(|x| ...)` for that"
                .into()
        }
        EvalAltResult::ErrorTerminated(..) | EvalAltResult::ErrorStackOverflow(_) => {
            "the expression takes too many steps".into()
        }
        EvalAltResult::ErrorDataTooLarge(..) => "the value grows too large".into(),
        EvalAltResult::ErrorNonPureMethodCallOnConstant(..) | EvalAltResult::ErrorAssignmentToConstant(..) => {
            "values cannot be changed".into()
        }
        // Errors of our own functions: they never show data.
        EvalAltResult::ErrorRuntime(text, _) => text.clone().into_string().unwrap_or_else(|_| "fails".into()),
        _ => "cannot be evaluated".into(),
    }
}

/// Translate the engine's names of types into the words of the documentation.
fn readable(text: &str) -> String {
    [
        ("&str | ImmutableString | String", "text"),
        ("string", "text"),
        ("i64", "integer"),
        ("int", "integer"),
        ("array", "list"),
        ("map", "object"),
        ("bool", "boolean"),
        ("()", "()"),
    ]
    .iter()
    .fold(text.to_owned(), |text, (from, to)| replace_word(&text, from, to))
}

fn replace_word(text: &str, from: &str, to: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(from) {
        let end = at + from.len();
        let bounded = !rest[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_')
            && !rest[end..].starts_with(|c: char| c.is_alphanumeric() || c == '_');
        out.push_str(&rest[..at]);
        out.push_str(if bounded { to } else { from });
        rest = &rest[end..];
    }
    out + rest
}
