//! Which job goes first. A priority is a number, 0 foremost; claims take the foremost priority that has due work.

use serde_json::Value;

use crate::mapping::Fields;

/// Orders and what belongs to them, and articles that can no longer be sold.
pub(in crate::sync) const URGENT: i16 = 0;
pub(in crate::sync) const STOCK: i16 = 1;
const PRICE: i16 = 2;
const REST: i16 = 3;

/// Return the priority of a change by what its delay would cost: an oversold article or a late order comes first,
/// texts come last.
pub(in crate::sync) fn of(entity: &str, after: &Fields) -> i16 {
    match entity {
        "order" | "customer" | "shipment" => URGENT,
        "stock" if sold_out(after) => URGENT,
        "stock" => STOCK,
        "price" => PRICE,
        _ => REST,
    }
}

/// Whether none of the stock can be sold.
fn sold_out(stock: &Fields) -> bool {
    let zero = |value: &Value| value.as_str().is_some_and(|text| text == "0" || text.starts_with('-'));
    match (stock.get("quantity"), stock.get("levels").and_then(Value::as_array)) {
        (Some(quantity), _) => zero(quantity),
        (None, Some(levels)) => levels.iter().all(|level| level.get("quantity").is_none_or(zero)),
        (None, None) => false,
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
