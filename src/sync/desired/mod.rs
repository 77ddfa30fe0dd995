//! What a target should have of a record, and the write that leads there. Decided from the store's rows alone: asks no
//! system.
//!
//! Called by `brakes`, `delivery` and `preview`; calls `routing`, `context`, `conflict`, `identity` and `stock`.

mod batch;
mod decide;
pub(in crate::sync) mod differing;
mod known;
mod loaded;
mod proven;
pub(in crate::sync) mod qualify;
pub(in crate::sync) mod state;
mod step;
pub(in crate::sync) mod verdict;

pub(in crate::sync) use self::{
    batch::{Batch, FollowUp, Wait},
    decide::{End, Snapshot, assume_sent, assume_unseen, decide, desired_of, outlook, taken_on},
    known::{Known, Prepared, Task, begun, failed, in_conflict, is_untold, unable, wait_until},
    loaded::Loaded,
    step::{Looked, Needs, Round, Step, next_step},
};
