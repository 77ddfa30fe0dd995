//! Brings jobs to their targets: claims a batch, looks before it writes, keeps the intent, sends, learns from the answer. Called by
//! `engine` (workers) and `preview` (undo).

mod after;
mod alone;
mod crossed;
mod deliver;
mod goods;
mod learn;
pub(in crate::sync) mod prepare;

pub use self::deliver::Tally;
pub(in crate::sync) use self::deliver::{alive, batch, fences, sole, work};
