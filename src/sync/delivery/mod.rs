//! Brings jobs to their targets: claims a batch, looks before it writes, stores the intent, sends, and records the
//! result.
//!
//! Called by `engine`, which runs the workers, and by `preview`, for an undo; calls every room before it.

mod alive;
mod blame;
mod crossed;
mod follow_up;
mod goods;
pub(in crate::sync) mod prepare;
mod record;
mod tally;
mod worker;

pub use self::tally::Tally;
pub(in crate::sync) use self::{
    alive::{alive, fences},
    worker::{batch, sole, work},
};
