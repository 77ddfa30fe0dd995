//! Values of any shape with `${expr}` pieces in their texts.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{Expr, ExprError, KnownNames, Scope, json_kind, scan, text_of};
use crate::load::{LoadError, Node, Place, SourceFile, Spanned};

/// A compiled template: bodies, queries, headers, addresses.
#[derive(Clone, Debug)]
pub struct Template(Part);

#[derive(Clone, Debug)]
enum Part {
    Constant(Value),
    /// A leaf that is exactly one expression and keeps the type of its value.
    Value(Expr),
    Text(Vec<Piece>),
    List(Vec<Part>),
    Table(Vec<(String, Part)>),
}

#[derive(Clone, Debug)]
enum Piece {
    Literal(String),
    Expr(Expr),
}

impl Template {
    /// Compile a free-form part of a file.
    pub fn compile(node: &Spanned<Node>, file: &Arc<SourceFile>, known: &KnownNames) -> Result<Self, LoadError> {
        part(node, file, known).map(Self)
    }

    /// Compile a text that was written at `at`.
    pub fn text(text: &str, at: &Place, known: &KnownNames) -> Result<Self, LoadError> {
        leaf(text, at, known).map(Self)
    }

    /// A template without expressions.
    #[must_use]
    pub fn constant(value: Value) -> Self {
        Self(Part::Constant(value))
    }

    /// Whether any of its expressions uses this variable.
    #[must_use]
    pub fn names(&self, variable: &str) -> bool {
        self.0.names(variable)
    }

    /// The value. Return `None` if the template as a whole is `omit`. Members and items that are `omit` are left
    /// out.
    pub fn render(&self, scope: &Scope<'_>) -> Result<Option<Value>, ExprError> {
        self.0.render(scope, None)
    }

    /// Like [`Template::render`], but every value of an expression must pass `check`. What is written in the file
    /// need not.
    pub fn render_checked(&self, scope: &Scope<'_>, check: Check) -> Result<Option<Value>, ExprError> {
        self.0.render(scope, Some(check))
    }

    /// The pieces of a text, in order.
    pub fn bits(&self, scope: &Scope<'_>) -> Result<Vec<Bit>, ExprError> {
        match &self.0 {
            Part::Constant(Value::String(text)) => Ok(vec![Bit::Literal(text.clone())]),
            Part::Value(expr) => expr.eval_bits(scope, true),
            Part::Text(pieces) => {
                let mut bits = Vec::new();
                for (index, piece) in pieces.iter().enumerate() {
                    match piece {
                        Piece::Literal(literal) => bits.push(Bit::Literal(literal.clone())),
                        Piece::Expr(expr) => bits.extend(expr.eval_bits(scope, index == 0)?),
                    }
                }
                Ok(bits)
            }
            Part::Constant(_) | Part::List(_) | Part::Table(_) => {
                self.render_text(scope).map(|text| vec![Bit::Literal(text)])
            }
        }
    }

    /// The value as text. `()`, lists and objects are errors.
    pub fn render_text(&self, scope: &Scope<'_>) -> Result<String, ExprError> {
        match &self.0 {
            Part::Value(expr) => expr.eval_text(scope),
            other => match other.render(scope, None)? {
                Some(Value::String(text)) => Ok(text),
                value => {
                    let value = value.unwrap_or_default();
                    text_of(&value).ok_or_else(|| ExprError {
                        expression: "".into(),
                        place: String::new(),
                        cause: format!("gives {}, not a text", json_kind(&value)),
                        of_value: false,
                    })
                }
            },
        }
    }
}

/// A piece of an address or of a file's name, with its origin: what a value contains never counts as written by the
/// adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bit {
    /// Written in the file.
    Literal(String),
    /// The value of an expression.
    Value(String),
    /// Segments that `path()` joined.
    Segments(Vec<String>),
}

/// Whether a value is allowed where it is put. The error says what is wrong with it and shows no data.
pub type Check = fn(&Value) -> Result<(), &'static str>;

impl Part {
    fn names(&self, variable: &str) -> bool {
        match self {
            Self::Constant(_) => false,
            Self::Value(expr) => expr.names(variable),
            Self::Text(pieces) => pieces.iter().any(|piece| matches!(piece, Piece::Expr(expr) if expr.names(variable))),
            Self::List(items) => items.iter().any(|item| item.names(variable)),
            Self::Table(members) => members.iter().any(|(_, member)| member.names(variable)),
        }
    }

    fn render(&self, scope: &Scope<'_>, check: Option<Check>) -> Result<Option<Value>, ExprError> {
        let checked = |expr: &Expr, value: &Value| match check {
            Some(check) => check(value).map_err(|problem| ExprError { of_value: true, ..expr.error(problem) }),
            None => Ok(()),
        };
        Ok(Some(match self {
            Self::Constant(value) => value.clone(),
            Self::Value(expr) => {
                let value = expr.eval_or_omit(scope)?;
                value.iter().try_for_each(|value| checked(expr, value))?;
                return Ok(value);
            }
            Self::Text(pieces) => {
                let mut text = String::new();
                for piece in pieces {
                    match piece {
                        Piece::Literal(literal) => text.push_str(literal),
                        Piece::Expr(expr) => {
                            let value = Value::from(expr.eval_text(scope)?);
                            checked(expr, &value)?;
                            text.push_str(value.as_str().unwrap_or_default());
                        }
                    }
                }
                Value::String(text)
            }
            Self::List(items) => {
                let mut list = Vec::with_capacity(items.len());
                for item in items {
                    list.extend(item.render(scope, check)?);
                }
                Value::Array(list)
            }
            Self::Table(members) => {
                let mut object = Map::with_capacity(members.len());
                for (name, member) in members {
                    if let Some(value) = member.render(scope, check)? {
                        object.insert(name.clone(), value);
                    }
                }
                Value::Object(object)
            }
        }))
    }

    /// Turn parts without expressions into constants.
    fn folded(self) -> Self {
        match self {
            Self::List(items) if items.iter().all(|item| matches!(item, Self::Constant(_))) => Self::Constant(
                items
                    .into_iter()
                    .filter_map(|item| if let Self::Constant(v) = item { Some(v) } else { None })
                    .collect(),
            ),
            Self::Table(members) if members.iter().all(|(_, member)| matches!(member, Self::Constant(_))) => {
                Self::Constant(Value::Object(
                    members
                        .into_iter()
                        .filter_map(
                            |(name, member)| if let Self::Constant(v) = member { Some((name, v)) } else { None },
                        )
                        .collect(),
                ))
            }
            other => other,
        }
    }
}

fn part(node: &Spanned<Node>, file: &Arc<SourceFile>, known: &KnownNames) -> Result<Part, LoadError> {
    match node.as_ref() {
        Node::Text(text) => leaf(text, &Place::of(file, node), known),
        Node::List(items) => {
            LoadError::collect(items.iter().map(|item| part(item, file, known))).map(|items| Part::List(items).folded())
        }
        Node::Table(members) => LoadError::collect(
            members.iter().map(|(name, member)| part(member, file, known).map(|part| (name.clone(), part))),
        )
        .map(|members| Part::Table(members).folded()),
        plain => Ok(Part::Constant(plain.to_json())),
    }
}

fn leaf(text: &str, at: &Place, known: &KnownNames) -> Result<Part, LoadError> {
    let mut pieces = pieces(text, at, known)?;
    Ok(match pieces.pop() {
        None => Part::Constant(Value::from("")),
        Some(Piece::Literal(literal)) if pieces.is_empty() => Part::Constant(Value::from(literal)),
        Some(Piece::Expr(expr)) if pieces.is_empty() => Part::Value(expr),
        Some(last) => {
            pieces.push(last);
            Part::Text(pieces)
        }
    })
}

fn pieces(text: &str, at: &Place, known: &KnownNames) -> Result<Vec<Piece>, LoadError> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut from = 0;
    while let Some(found) = text[from..].find("${") {
        let start = from + found;
        if text[..start].ends_with('$') && start > from {
            literal.push_str(&text[from..start - 1]);
            literal.push_str("${");
            from = start + 2;
            continue;
        }
        literal.push_str(&text[from..start]);
        if !literal.is_empty() {
            pieces.push(Piece::Literal(std::mem::take(&mut literal)));
        }
        let end = closing_brace(text, start + 2).ok_or_else(|| {
            LoadError::new(&at.inside(text, start..start + 2), "this `${` lacks its closing `}`")
                .help("`$${` writes `${`")
        })?;
        let place = at.inside(text, start + 2..end);
        pieces.push(Piece::Expr(Expr::compile(&text[start + 2..end], &place, known)?));
        from = end + 1;
    }
    literal.push_str(&text[from..]);
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    Ok(pieces)
}

/// Position of the `}` that ends the expression beginning at `from`.
fn closing_brace(text: &str, from: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut depth = 0_usize;
    let mut at = from;
    while at < bytes.len() {
        match bytes[at] {
            b'"' | b'\'' => at = scan::quoted(text, at).ok()?,
            b'{' => depth += 1,
            b'}' if depth == 0 => return Some(at),
            b'}' => depth -= 1,
            _ => {}
        }
        at += 1;
    }
    None
}
