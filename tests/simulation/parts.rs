//! Addresses of a customer: each side gives ids of its own, shows them in no order, and writes to whatever id it is given,
//! whosever it is. What is sent without an id is one more.

use serde_json::{Value, json};

use crate::models::{Customer, Model, id_of, items};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Address {
    /// What it is called at its side; only one of each customer is called so.
    pub code: String,
    pub city: String,
}

impl Model {
    pub fn add_address(&mut self, customer: u64, address: Address) -> u64 {
        let id = self.id();
        self.customers.get_mut(&customer).unwrap().addresses.insert(id, address);
        id
    }

    pub fn save_addresses(&mut self, customer: u64, sent: &Value) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        for item in items(sent) {
            let id = id_of(&item["id"]);
            let known = self.customers.values_mut().find_map(|customer| customer.addresses.get_mut(&id));
            let Some(known) = known else {
                self.add_address(customer, Address { code: text(&item["code"]), city: text(&item["city"]) });
                continue;
            };
            if let Some(code) = item["code"].as_str() {
                code.clone_into(&mut known.code);
            }
            if item.get("city").is_some() {
                known.city = text(&item["city"]);
            }
        }
    }

    pub fn show_addresses(&self, customer: &Customer) -> Value {
        let mut shown: Vec<Value> = customer
            .addresses
            .iter()
            .map(|(id, address)| json!({"id": id, "code": address.code, "city": address.city}))
            .collect();
        // The order depends on what was written last, anywhere.
        let turn = usize::try_from(self.writes).unwrap() % shown.len().max(1);
        shown.rotate_left(turn);
        Value::Array(shown)
    }
}
