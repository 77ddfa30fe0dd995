//! The compiled program at work: transactions on a database, and the configured system that the engine sees.
//!
//! [`system`] leads: it is the [`System`](crate::port::System), and opens itself by compiling a manifest. [`reading`]
//! and [`writing`] are its work, [`checking`] is `vaiven check`; [`binding`] puts values into statements, [`database`]
//! runs them, [`sqlite`], [`postgres`] and [`mysql`] turn values into columns and back. Called through `adapter::open`
//! only.

mod binding;
mod checking;
mod database;
mod failure;
mod mysql;
mod numeric;
mod postgres;
mod reading;
mod sqlite;
mod system;
mod value;
mod writing;

pub use system::open;
