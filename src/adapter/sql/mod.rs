//! Driver `sql`: SQLite, PostgreSQL, MySQL and MariaDB as sources and targets. See `docs/adapters.md`.

mod database;
mod failure;
mod lexer;
mod mysql;
mod numeric;
mod postgres;
mod sqlite;
mod statement;
mod value;
