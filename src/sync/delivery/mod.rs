//! Brings jobs to their targets: claims a batch, looks before it writes, keeps the intent, sends, learns from the answer. Called by
//! `engine` (workers) and `preview` (undo).

mod blame;
mod crossed;
mod follow_up;
mod goods;
pub(in crate::sync) mod prepare;
mod record;
mod worker;

pub use self::worker::Tally;
pub(in crate::sync) use self::worker::{alive, batch, fences, sole, work};
