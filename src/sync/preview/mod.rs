//! What would happen, and what happened: plan, apply, undo, mapping diff, what a record should be, what a system shows now.
//! Called by the command line.

mod apply;
mod live;
pub mod plan;
mod undo;
mod wish;

#[cfg(test)]
pub(in crate::sync) use self::apply::alone;
pub use self::{
    apply::{Applied, ApplyError, Told, apply},
    live::{Live, live},
    undo::{Left, Restored, UndoError, Undone, undo},
    wish::{DesiredObject, DesiredState, desired_state},
};
