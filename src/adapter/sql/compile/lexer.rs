//! Splits SQL just enough to know what is quoted, commented or cast.

use super::statement::Dialect;

/// A piece of SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token<'a> {
    /// White space and comments.
    Blank(&'a str),
    Text(&'a str),
    /// `:name`, without the colon.
    Parameter(&'a str),
    /// A placeholder in another style.
    Foreign(&'a str),
    /// `;`
    End,
}

/// Reads tokens from the front of the text.
#[derive(Debug)]
pub struct Lexer<'a> {
    rest: &'a str,
    dialect: Dialect,
    /// The character just before `rest`. It distinguishes a cast from a parameter, and `E'..'` from `'..'`.
    before: char,
}

impl<'a> Lexer<'a> {
    #[must_use]
    pub fn new(sql: &'a str, dialect: Dialect) -> Self {
        Self { rest: sql, dialect, before: ' ' }
    }

    /// The part that was not read yet.
    #[must_use]
    pub fn rest(&self) -> &'a str {
        self.rest
    }

    /// # Errors
    /// If a quote or a comment is not closed.
    pub fn next_token(&mut self) -> Result<Option<Token<'a>>, String> {
        let Some(first) = self.rest.chars().next() else { return Ok(None) };
        let second = self.rest[first.len_utf8()..].chars().next().unwrap_or(' ');
        let token = match first {
            ';' => {
                self.take(1);
                Token::End
            }
            _ if first.is_whitespace() => Token::Blank(self.take(first.len_utf8())),
            '-' if second == '-' => self.line_comment(),
            '#' if self.dialect == Dialect::MySql => self.line_comment(),
            '/' if second == '*' => {
                let length = self.block_comment()?;
                Token::Blank(self.take(length))
            }
            '\'' => {
                let escapes = match self.dialect {
                    Dialect::MySql => true,
                    Dialect::Postgres => matches!(self.before, 'e' | 'E'),
                    Dialect::Sqlite => false,
                };
                self.quoted('\'', escapes)?
            }
            '"' => self.quoted('"', self.dialect == Dialect::MySql)?,
            '`' => self.quoted('`', false)?,
            '[' if self.dialect == Dialect::Sqlite => self.quoted(']', false)?,
            '$' if self.dialect == Dialect::Postgres => self.dollar()?,
            ':' if second == ':' || second == '=' => Token::Text(self.take(2)),
            ':' if second.is_ascii_alphabetic() || second == '_' => {
                let length = word_length(&self.rest[1..]);
                Token::Parameter(&self.take(1 + length)[1..])
            }
            '?' if self.dialect != Dialect::Postgres => self.foreign(),
            '$' if self.dialect == Dialect::Sqlite => self.foreign(),
            '@' if self.dialect == Dialect::Sqlite => self.foreign(),
            _ => Token::Text(self.take(first.len_utf8())),
        };
        Ok(Some(token))
    }

    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(length);
        self.before = taken.chars().next_back().unwrap_or(self.before);
        self.rest = rest;
        taken
    }

    fn foreign(&mut self) -> Token<'a> {
        let length = 1 + word_length(&self.rest[1..]);
        Token::Foreign(self.take(length))
    }

    fn line_comment(&mut self) -> Token<'a> {
        let length = self.rest.find('\n').map_or(self.rest.len(), |at| at + 1);
        Token::Blank(self.take(length))
    }

    /// Only PostgreSQL nests comments.
    fn block_comment(&self) -> Result<usize, String> {
        let nests = self.dialect == Dialect::Postgres;
        let bytes = self.rest.as_bytes();
        let (mut depth, mut at) = (1_usize, 2);
        while at + 1 < bytes.len() {
            match &bytes[at..at + 2] {
                b"*/" => {
                    depth -= 1;
                    at += 2;
                    if depth == 0 {
                        return Ok(at);
                    }
                }
                b"/*" if nests => {
                    depth += 1;
                    at += 2;
                }
                _ => at += 1,
            }
        }
        Err("has a comment that is not closed".to_owned())
    }

    /// A doubled quote stands for itself. With `escapes`, a backslash takes the next character with it.
    fn quoted(&mut self, close: char, escapes: bool) -> Result<Token<'a>, String> {
        let mut letters = self.rest.char_indices().skip(1).peekable();
        while let Some((at, letter)) = letters.next() {
            if escapes && letter == '\\' {
                letters.next();
            } else if letter == close {
                if letters.peek().is_some_and(|(_, next)| *next == close) {
                    letters.next();
                } else {
                    return Ok(Token::Text(self.take(at + close.len_utf8())));
                }
            }
        }
        Err(format!("has a quote {close} that is not closed"))
    }

    /// `$tag$ .. $tag$`, or a placeholder `$1`.
    fn dollar(&mut self) -> Result<Token<'a>, String> {
        let inner = &self.rest[1..];
        if inner.starts_with(|letter: char| letter.is_ascii_digit()) {
            return Ok(self.foreign());
        }
        let tag = word_length(inner);
        if !inner[tag..].starts_with('$') {
            return Ok(Token::Text(self.take(1)));
        }
        let mark = &self.rest[..tag + 2];
        let body = &self.rest[mark.len()..];
        let end = body.find(mark).ok_or_else(|| format!("has a quote {mark} that is not closed"))?;
        Ok(Token::Text(self.take(mark.len() * 2 + end)))
    }
}

fn word_length(text: &str) -> usize {
    text.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count()
}
