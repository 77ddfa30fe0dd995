//! What the drivers share for running a compiled program: watermarks, the end of a listing, values that become part of
//! an address or a name, foreign bytes and XML, secrets in messages.
//!
//! Called by the drivers' own `run`. It calls [`compile`](super::compile) and [`manifest`](super::manifest).

pub mod charset;
pub mod course;
mod cursor;
mod evaluate;
pub mod mask;
pub mod segment;
pub mod unreached;
pub mod xml;

pub use evaluate::{base_scope, fatal, rejected, write_scope};
