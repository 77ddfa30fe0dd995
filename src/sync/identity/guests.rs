//! Customers made from an order: they have no account at the system that the order comes from.

/// Beginning of the ids of customers whom no account stands for but an order.
pub(in crate::sync) const MADE: &str = "guest:";

/// Whether a replica's id is that of a customer who was made of an order: its system does not know him.
pub(in crate::sync) fn is_made(id: &str) -> bool {
    id.starts_with(MADE)
}
