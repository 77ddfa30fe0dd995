//! What would happen, and what happened: plan, apply, undo, mapping diff, what a record should be, what a system shows
//! now.
//!
//! Called by the command line alone; calls every room before it but `identity`.

mod apply;
mod desired_state;
mod live;
pub mod plan;
mod undo;

#[cfg(test)]
pub(in crate::sync) use self::apply::alone;
pub use self::{
    apply::{Applied, ApplyError, Told, apply},
    desired_state::{DesiredObject, DesiredState, desired_state},
    live::{Live, live},
    undo::{Left, Restored, UndoError, Undone, undo},
};
