//! Brakes: what no run does to a target before a person has looked at it.
//!
//! Whether a job violates a brake depends on its target alone: on what is there, and on what would be there
//! (`violation`). Whether the violating jobs may go is decided once for the run that opened them. They wait while
//! the run is under way; at its end, their number is compared with what the flow allows (`approval`). A delivery
//! looks that approval up. It then sends the write, waits, or remembers what was rejected (`evaluate`).
//!
//! Called by `pull`, `delivery`, `engine` and `preview`; calls `routing`, `context`, `conflict` and `desired`.

mod approval;
mod evaluate;
mod violation;

pub(super) use approval::{evaluate_all_pending, evaluate_pending, evaluate_run, tripped};
pub(super) use evaluate::evaluate;

use crate::sync::routing::{Flow, Routes};

/// Return the flow whose brakes apply to what a run of `system` does to `target`: one that leads there from the
/// system. If the target itself made the change necessary, it is the first flow that leads there at all.
fn flow<'a>(routes: &'a Routes, system: &'a str, target: &'a str, entity: &'a str) -> Option<&'a Flow> {
    routes.to(target, entity).find(|flow| flow.from == system).or_else(|| routes.to(target, entity).next())
}
