//! One expression language for adapters, mappings, filters and conditions: exact decimals, strict, without side effects.

/// A compiled expression.
#[derive(Clone, Debug)]
pub struct Expr;
