//! What can be sold: reservations for orders that the source of the stock cannot know of yet, and the availability
//! that a target should show.
//!
//! Called by `desired`, `pull`, `delivery`, `engine` and `preview`; calls `routing` and `context`.

pub(in crate::sync) mod availability;
pub(in crate::sync) mod evidence;
pub(in crate::sync) mod goods;
pub(in crate::sync) mod increments;
mod obstacles;
pub(in crate::sync) mod reservations;

pub(in crate::sync) use self::obstacles::{Obstacle, Obstacles, UnreadOrders};
