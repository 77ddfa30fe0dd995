//! Which job goes first. A lane is a number, 0 foremost; claims take the foremost lane that has due work.

use super::publish::sold_out;
use crate::mapping::Fields;

/// Orders and what belongs to them, and articles that can no longer be sold.
pub(super) const URGENT: i16 = 0;
pub(super) const STOCK: i16 = 1;
const PRICE: i16 = 2;
const REST: i16 = 3;

/// Lane of a change by what delaying it costs: an oversold article or a late order first, texts last.
pub(super) fn of(entity: &str, after: &Fields) -> i16 {
    match entity {
        "order" | "customer" | "shipment" => URGENT,
        "stock" if sold_out(after) => URGENT,
        "stock" => STOCK,
        "price" => PRICE,
        _ => REST,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn fields(value: &Value) -> Fields {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn going_to_zero_overtakes_every_other_stock_change() {
        assert_eq!(of("stock", &fields(&json!({"quantity": "0"}))), URGENT);
        assert_eq!(of("stock", &fields(&json!({"levels": [{"location": "A", "quantity": "0"}]}))), URGENT);
        assert!(of("stock", &fields(&json!({"quantity": "4"}))) > URGENT);
        assert!(of("product", &Fields::new()) > of("price", &Fields::new()));
    }
}
