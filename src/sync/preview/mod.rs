//! What would happen, and what happened: plan, apply, undo, mapping diff, what a record should be, what a system
//! shows now.
//!
//! Called by the command line alone; calls every room before it but `identity`.

mod apply;
mod desired_state;
mod live;
pub mod plan;
mod undo;

#[cfg(test)]
pub(in crate::sync) use self::apply::{ApplyError, alone};
pub use self::{
    apply::{Applied, UnappliedWrite, apply},
    desired_state::{DesiredObject, DesiredState, desired_state},
    live::live,
    undo::{Undone, undo},
};
