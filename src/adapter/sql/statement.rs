//! SQL text with named parameters. `:name` outside quotes, comments and casts becomes the database's own
//! placeholder; a list becomes one placeholder per item. Values are always bound, never pasted.

use serde_json::Value;

use super::lexer::{Lexer, Token};

/// The database for which a statement is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Sqlite,
    Postgres,
    MySql,
}

/// One command, split at its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    pieces: Vec<Piece>,
    dialect: Dialect,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Parameter {
        name: String,
        /// Whether it is used in `:name IS [NOT] NULL`, where PostgreSQL cannot determine a type.
        null_test: bool,
    },
}

/// A statement ready to run: with placeholders in the dialect's style and the values in their order.
#[derive(Clone, Debug, PartialEq)]
pub struct Bound {
    pub sql: String,
    /// Parameter name (for messages) and value.
    pub values: Vec<(String, Value)>,
}

impl Statement {
    /// # Errors
    /// If there is more than one command, a placeholder that is not `:name`, or a quote or comment that is not
    /// closed.
    pub fn parse(sql: &str, dialect: Dialect) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut text = String::new();
        let mut ended = false;
        let mut empty = true;
        let mut lexer = Lexer::new(sql, dialect);
        while let Some(token) = lexer.next_token()? {
            let blank = matches!(token, Token::Blank(_));
            if ended && !blank {
                return Err("holds more than one command; write one command per statement".to_owned());
            }
            empty &= blank;
            match token {
                Token::End => ended = true,
                Token::Blank(piece) | Token::Text(piece) => text.push_str(piece),
                Token::Parameter(name) => {
                    if !text.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut text)));
                    }
                    pieces.push(Piece::Parameter { name: name.to_owned(), null_test: null_test_follows(lexer.rest()) });
                }
                Token::Foreign(mark) => {
                    return Err(format!("has the placeholder `{mark}`; parameters are written `:name`"));
                }
            }
        }
        if empty {
            return Err("is empty".to_owned());
        }
        let text = text.trim_end();
        if !text.is_empty() {
            pieces.push(Piece::Text(text.to_owned()));
        }
        Ok(Self { pieces, dialect })
    }

    /// Names of the parameters in order, each as often as it occurs.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Parameter { name, .. } => Some(name.as_str()),
            Piece::Text(_) => None,
        })
    }

    /// Whether it is one of the commands that every database can plan.
    pub fn is_plain(&self) -> bool {
        let Some(Piece::Text(text)) = self.pieces.first() else { return false };
        let word = text.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
        matches!(word.as_str(), "SELECT" | "INSERT" | "UPDATE" | "DELETE" | "WITH")
    }

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

/// Digits and decimals of a plain JSON number with a fraction, if MySQL can hold it.
fn decimal_shape(value: &Value) -> Option<(usize, usize)> {
    let Value::Number(number) = value else { return None };
    let text = number.to_string();
    let (whole, fraction) = text.trim_start_matches('-').split_once('.')?;
    let plain = fraction.bytes().all(|byte| byte.is_ascii_digit());
    (plain && whole.len() + fraction.len() <= 65 && fraction.len() <= 30)
        .then_some((whole.len() + fraction.len(), fraction.len()))
}

fn null_test_follows(rest: &str) -> bool {
    let mut words = rest.split_ascii_whitespace().map(|word| word.trim_end_matches([')', ',', ';']));
    let mut next = || words.next().map(str::to_ascii_uppercase);
    if !rest.starts_with(|letter: char| letter.is_ascii_whitespace()) || next().as_deref() != Some("IS") {
        return false;
    }
    match next().as_deref() {
        Some("NULL") => true,
        Some("NOT") => next().as_deref() == Some("NULL"),
        _ => false,
    }
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
    fn quotes_comments_and_casts_are_left_alone() {
        let sql = "SELECT ':a', \"x:b\", y::date, 'it''s :c' -- :d\n, /* :e */ :f";
        for dialect in [Dialect::Sqlite, Dialect::Postgres, Dialect::MySql] {
            let statement = Statement::parse(sql, dialect).unwrap();
            assert_eq!(statement.names().collect::<Vec<_>>(), ["f"], "{dialect:?}");
        }
        let body = "SELECT $tag$ :a ; $tag$, E'\\' :b', ARRAY[:c]";
        assert_eq!(Statement::parse(body, Dialect::Postgres).unwrap().names().collect::<Vec<_>>(), ["c"]);
        let body = "SELECT '\\' :a', `:b`, @x := 1 # :c\n, :d";
        assert_eq!(Statement::parse(body, Dialect::MySql).unwrap().names().collect::<Vec<_>>(), ["d"]);
        let body = "SELECT [a :b], '\\', :c";
        assert_eq!(Statement::parse(body, Dialect::Sqlite).unwrap().names().collect::<Vec<_>>(), ["c"]);
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
    fn only_one_command_is_taken() {
        assert!(Statement::parse("DELETE FROM a; DROP TABLE b", Dialect::Sqlite).unwrap_err().contains("one command"));
        assert!(Statement::parse("SELECT 1; -- done\n", Dialect::Sqlite).is_ok());
        assert!(Statement::parse("SELECT ';'", Dialect::Sqlite).is_ok());
        assert!(Statement::parse("  ", Dialect::Sqlite).unwrap_err().contains("empty"));
    }

    #[test]
    fn placeholders_that_are_not_named_are_refused() {
        for (sql, dialect) in [
            ("SELECT ?", Dialect::Sqlite),
            ("SELECT ?", Dialect::MySql),
            ("SELECT $1", Dialect::Postgres),
            ("SELECT @x", Dialect::Sqlite),
        ] {
            assert!(Statement::parse(sql, dialect).unwrap_err().contains(":name"), "{sql}");
        }
        assert!(Statement::parse("SELECT a ? 'b'", Dialect::Postgres).is_ok());
    }

    #[test]
    fn an_open_quote_is_refused() {
        for sql in ["SELECT 'a", "SELECT \"a", "SELECT /* a"] {
            assert!(Statement::parse(sql, Dialect::Sqlite).unwrap_err().contains("not closed"), "{sql}");
        }
    }

    #[test]
    fn a_fraction_stays_exact_in_mysql() {
        let values: Value = serde_json::from_str(r#"{ "a": 12.50, "b": 3 }"#).unwrap();
        let bound = bind("UPDATE t SET q = q + :a, n = :b", Dialect::MySql, &values);
        assert_eq!(bound.sql, "UPDATE t SET q = q + CAST(? AS DECIMAL(4,2)), n = ?");
    }
}
