//! Customers made from an order: they have no account at the system that the order comes from.

/// Prefix of the ids of customers who have no account, only an order.
pub(in crate::sync) const MADE: &str = "guest:";

/// Whether a replica's id is that of a customer who was made from an order: its system does not know the customer.
pub(in crate::sync) fn is_made(id: &str) -> bool {
    id.starts_with(MADE)
}
