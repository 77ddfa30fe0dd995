//! A statement with its values: each parameter becomes the database's own placeholder, and a list one placeholder per
//! item. Values are always bound, never pasted.

use serde_json::{Map, Value};

use crate::{
    adapter::{
        manifest::Settings,
        sql::compile::{Dialect, Piece, Query, SETTING, Statement},
    },
    failure::{Class, Failure},
};

/// A statement ready to run: with placeholders in the dialect's style and the values in their order.
#[derive(Clone, Debug, PartialEq)]
pub struct Bound {
    pub sql: String,
    /// Parameter name (for messages) and value.
    pub values: Vec<(String, Value)>,
}

impl Statement {
    /// Put in placeholders and collect the values.
    ///
    /// # Errors
    /// Those of `value_of` for a parameter it does not know.
    pub fn bind<E>(&self, mut value_of: impl FnMut(&str) -> Result<Value, E>) -> Result<Bound, E> {
        let mut bound = Bound { sql: String::new(), values: Vec::new() };
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => bound.sql.push_str(text),
                Piece::Parameter { name, null_test } => match value_of(name)? {
                    // `IN (NULL)` is never true, as an empty list requires.
                    Value::Array(items) if items.is_empty() => bound.sql.push_str("NULL"),
                    Value::Array(items) if !null_test => {
                        for (position, item) in items.into_iter().enumerate() {
                            if position > 0 {
                                bound.sql.push_str(", ");
                            }
                            self.placeholder(&mut bound, name, item);
                        }
                    }
                    value => {
                        // Whether a value is null does not depend on its type, so send it as text.
                        let value = if *null_test && !value.is_null() { Value::from("") } else { value };
                        self.placeholder(&mut bound, name, value);
                        if *null_test && self.dialect == Dialect::Postgres {
                            bound.sql.push_str("::text");
                        }
                    }
                },
            }
        }
        Ok(bound)
    }

    fn placeholder(&self, bound: &mut Bound, name: &str, value: Value) {
        use std::fmt::Write as _;
        let number = bound.values.len() + 1;
        match (self.dialect, decimal_shape(&value)) {
            (Dialect::Postgres, _) => {
                let _ = write!(bound.sql, "${number}");
            }
            // MySQL would read a text operand as a binary float; a cast to exactly this many digits keeps it exact.
            (Dialect::MySql, Some((digits, scale))) => {
                let _ = write!(bound.sql, "CAST(? AS DECIMAL({digits},{scale}))");
            }
            _ => bound.sql.push('?'),
        }
        bound.values.push((name.to_owned(), value));
    }
}

/// The setting that a parameter with prefix [`SETTING`] names.
pub fn setting<'a>(parameter: &str, settings: &'a Settings) -> Option<&'a Value> {
    settings.plain(parameter.strip_prefix(SETTING)?)
}

impl Query {
    /// Put in values for the parameters. Parameters that are not in `values` are settings.
    pub fn bind(&self, values: &Map<String, Value>, settings: &Settings) -> Result<Bound, Failure> {
        self.statement.bind(|name| {
            setting(name, settings)
                .or_else(|| values.get(name))
                .or_else(|| settings.plain(name))
                .cloned()
                .ok_or_else(|| self.unknown(name))
        })
    }

    /// The failure of a parameter without a value.
    pub fn unknown(&self, name: &str) -> Failure {
        Failure::new(
            Class::Fatal,
            format!(
                "{}: parameter :{name} has no value: no member of the body, binding or capture has this name",
                self.place
            ),
        )
    }
}

/// Digits and decimals of a plain JSON number with a fraction, if MySQL can hold it.
fn decimal_shape(value: &Value) -> Option<(usize, usize)> {
    let Value::Number(number) = value else { return None };
    let text = number.to_string();
    let (whole, fraction) = text.trim_start_matches('-').split_once('.')?;
    let plain = fraction.bytes().all(|byte| byte.is_ascii_digit());
    (plain && whole.len() + fraction.len() <= 65 && fraction.len() <= 30)
        .then_some((whole.len() + fraction.len(), fraction.len()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn bind(sql: &str, dialect: Dialect, values: &Value) -> Bound {
        Statement::parse(sql, dialect)
            .unwrap()
            .bind(|name| values.get(name).cloned().ok_or_else(|| name.to_owned()))
            .unwrap()
    }

    #[test]
    fn names_become_the_placeholders_of_each_database() {
        let sql = "SELECT 1 WHERE a = :a AND b = :b_2 AND c = :a";
        let values = json!({ "a": 1, "b_2": "x" });
        assert_eq!(bind(sql, Dialect::Sqlite, &values).sql, "SELECT 1 WHERE a = ? AND b = ? AND c = ?");
        assert_eq!(bind(sql, Dialect::MySql, &values).sql, "SELECT 1 WHERE a = ? AND b = ? AND c = ?");
        let bound = bind(sql, Dialect::Postgres, &values);
        assert_eq!(bound.sql, "SELECT 1 WHERE a = $1 AND b = $2 AND c = $3");
        let names: Vec<_> = bound.values.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a", "b_2", "a"]);
    }

    #[test]
    fn a_list_takes_a_placeholder_for_each_item_and_an_empty_one_matches_nothing() {
        let sql = "SELECT * FROM t WHERE id IN (:ids)";
        let bound = bind(sql, Dialect::Postgres, &json!({ "ids": ["a", "b", "c"] }));
        assert_eq!(bound.sql, "SELECT * FROM t WHERE id IN ($1, $2, $3)");
        assert_eq!(bound.values.len(), 3);
        assert_eq!(bind(sql, Dialect::Sqlite, &json!({ "ids": [] })).sql, "SELECT * FROM t WHERE id IN (NULL)");
    }

    #[test]
    fn a_null_test_needs_no_type() {
        let sql = "SELECT 1 WHERE (:c IS NULL OR d >= :c) AND :c is  not null";
        let bound = bind(sql, Dialect::Postgres, &json!({ "c": 7 }));
        assert_eq!(bound.sql, "SELECT 1 WHERE ($1::text IS NULL OR d >= $2) AND $3::text is  not null");
        assert_eq!(bound.values[0].1, json!(""));
        assert_eq!(bound.values[1].1, json!(7));
    }

    #[test]
    fn a_fraction_stays_exact_in_mysql() {
        let values: Value = serde_json::from_str(r#"{ "a": 12.50, "b": 3 }"#).unwrap();
        let bound = bind("UPDATE t SET q = q + :a, n = :b", Dialect::MySql, &values);
        assert_eq!(bound.sql, "UPDATE t SET q = q + CAST(? AS DECIMAL(4,2)), n = ?");
    }
}
