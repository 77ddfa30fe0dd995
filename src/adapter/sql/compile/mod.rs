//! The manifest's tables, checked and compiled for one kind of database: statements, expressions, capabilities. No
//! connection is opened from here; what is wrong in the file is told with its place.
//!
//! [`entity`] leads; [`statement`] is one command with its parameters, [`writing`] the operations. Called by `run`,
//! which knows the database, and by nobody else.

mod entity;
mod lexer;
mod statement;
mod writing;

pub use entity::{Entity, Join, List, Query, SETTING, SqlCompiler, entities};
pub use statement::{Dialect, Piece, Statement};
pub use writing::{Operation, Step};
