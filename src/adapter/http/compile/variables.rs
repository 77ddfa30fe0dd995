//! The variables of a write, and the expressions on what it leaves behind.

use crate::expr::Expr;

/// Names of a write's variables.
pub const WRITE: [&str; 13] = [
    "op", "body", "whole", "wanted", "before", "key", "id", "parts", "held", "dropped", "yielding", "changed", "found",
];

/// Expressions for what a write left behind.
#[derive(Clone, Debug, Default)]
pub struct AnswerFields {
    pub id: Option<Expr>,
    pub row: Option<Expr>,
    pub version: Option<Expr>,
    pub child_ids: Vec<(String, Expr)>,
}
