//! Brakes: what no run does to a target before a person has looked at it.
//!
//! Whether a job *offends* is a matter of its target alone: of what is there and what would be there (`offence`). Whether
//! offending jobs *go* is ruled once for the whole run that opened them: they wait while it is under way, and at its end
//! their number is compared with what the flow allows (`ruling`). A delivery asks for the ruling and goes on, waits, or
//! remembers what was rejected (`judge`).

mod approval;
mod evaluate;
mod violation;

pub(super) use approval::{evaluate_all_pending, evaluate_pending, evaluate_run, tripped};
pub(super) use evaluate::evaluate;

use crate::sync::routing::{Flow, Routes};

/// The flow whose brakes hold for what a run of `system` does to `target`: one that leads there from the system or, for what
/// the target itself made necessary, the first that leads there at all.
fn flow<'a>(routes: &'a Routes, system: &'a str, target: &'a str, entity: &'a str) -> Option<&'a Flow> {
    routes.to(target, entity).find(|flow| flow.from == system).or_else(|| routes.to(target, entity).next())
}
