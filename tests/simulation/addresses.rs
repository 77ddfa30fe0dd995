//! Addresses of customers, as both model systems keep them. Each side gives ids of its own, lists addresses in no fixed
//! order, and writes to the address with the given id, whichever customer it belongs to. An address without an id is
//! added.

use serde_json::{Value, json};

use crate::models::{Customer, Model, id_of, items};

/// One address of a customer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Address {
    /// Its name at its side, unique for a customer.
    pub code: String,
    pub city: String,
}

impl Model {
    /// Adds an address to a customer and returns its id.
    pub fn add_address(&mut self, customer: u64, address: Address) -> u64 {
        let id = self.id();
        self.customers.get_mut(&customer).unwrap().addresses.insert(id, address);
        id
    }

    /// Carries out the `addresses` of a request that writes a customer.
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

    /// The `addresses` of a customer's row.
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
