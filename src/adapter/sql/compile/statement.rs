//! SQL text with named parameters: `:name` outside quotes, comments and casts. `run` puts in placeholders and values.

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
    pub pieces: Vec<Piece>,
    pub dialect: Dialect,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    Text(String),
    Parameter {
        name: String,
        /// Whether it is used in `:name IS [NOT] NULL`, where PostgreSQL cannot determine a type.
        null_test: bool,
    },
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
    use super::*;

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
}
