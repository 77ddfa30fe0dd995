//! What can be sold: reservations for orders that a source cannot know of yet, and the figures that a target is to show. Knows the
//! rooms before it; called by `desired`, `pull` and `delivery`.

pub(in crate::sync) mod availability;
pub(in crate::sync) mod evidence;
pub(in crate::sync) mod goods;
pub(in crate::sync) mod increments;
mod obstacles;
pub(in crate::sync) mod reservations;

pub(in crate::sync) use self::obstacles::{Obstacle, Obstacles, Unread};
