//! What people do in a shop, for demonstrations and tests: they register, they buy, the staff changes prices and
//! texts. It happens in the shop itself, not over HTTP, but webhooks are sent as well.

use axum::http::Method;
use serde_json::{Value, json};

use super::{
    db::{Doc, Table},
    orders,
    products::Checked,
    refusal::{Result, refuse},
    shop::Shop,
};

/// What a customer enters at the checkout.
#[derive(Clone, Debug, Default)]
pub struct Checkout {
    /// The account; absent for a guest.
    pub customer: Option<i64>,
    /// `{first_name, last_name, company, address_1, address_2, city, state, postcode, country, email, phone}`
    pub billing: Value,
    /// Like `billing` without e-mail. `Null` means the same as billing.
    pub shipping: Value,
    /// SKU and pieces.
    pub lines: Vec<(String, i64)>,
    /// Delivery method and its net price, as decimal text.
    pub delivery: Option<(String, String)>,
    /// `bacs`, `cod`, `redsys`... The order counts as paid.
    pub payment: String,
    pub note: String,
    /// Metadata that the interface shows with the order: `[{key, value}]`.
    pub meta: Value,
}

impl Shop {
    /// Let a customer buy: creates an order in `processing`, lowers the stock, adds notes and sends webhooks like a
    /// real checkout. Return the order's id.
    ///
    /// # Errors
    /// `woocommerce_rest_cart_invalid_product` (404) for an unknown SKU, and `woocommerce_rest_cart_out_of_stock`
    /// (409) if there is too little stock: a customer cannot buy what is not there.
    pub async fn place_order(&self, checkout: &Checkout) -> Result<i64> {
        let mut params = Doc::new();
        let shipping = if checkout.shipping.is_null() { &checkout.billing } else { &checkout.shipping };
        let mut lines = Vec::new();
        for (sku, quantity) in &checkout.lines {
            lines.push(json!({ "sku": sku, "quantity": quantity }));
        }
        for (name, value) in [
            ("customer_id", json!(checkout.customer.unwrap_or(0))),
            ("billing", checkout.billing.clone()),
            ("shipping", shipping.clone()),
            ("line_items", lines.into()),
            ("payment_method", json!(checkout.payment)),
            ("payment_method_title", json!(checkout.payment)),
            ("customer_note", json!(checkout.note)),
            ("set_paid", json!(true)),
        ] {
            if !value.is_null() {
                params.insert(name.into(), value);
            }
        }
        if let Some((method, cost)) = &checkout.delivery {
            let line = json!([{ "method_id": "flat_rate", "method_title": method, "total": cost }]);
            params.insert("shipping_lines".into(), line);
        }
        if checkout.meta.is_array() {
            params.insert("meta_data".into(), checkout.meta.clone());
        }
        self.within(self.base(), async |tx| {
            for (sku, quantity) in &checkout.lines {
                let key = json!(sku.trim().to_ascii_lowercase());
                let id = tx.ids(Table::Products, "sku_key = ? AND status = 'publish'", &[key]).await?.pop();
                let Some(doc) = (match id {
                    Some(id) => tx.get(Table::Products, id).await?,
                    None => None,
                }) else {
                    return refuse(404, "woocommerce_rest_cart_invalid_product", format!("There is no {sku}."));
                };
                let short = doc["manage_stock"] == true
                    && doc["backorders"] == "no"
                    && doc["stock_quantity"].as_i64().unwrap_or(0) < *quantity;
                if short || (doc["manage_stock"] != true && doc["stock_status"] == "outofstock") {
                    return refuse(409, "woocommerce_rest_cart_out_of_stock", format!("There is not enough of {sku}."));
                }
            }
            orders::create(tx, params, Checked::Strictly, "checkout").await
        })
        .await
    }

    /// Let a customer register. Return the account's id. `address` has the form of `billing` in [`Checkout`], with
    /// its e-mail address.
    ///
    /// # Errors
    /// `registration-error-email-exists` and `customer_invalid_email`, both 400.
    pub async fn register(&self, address: &Value) -> Result<i64> {
        let mut body = json!({ "billing": address, "shipping": address });
        for name in ["email", "first_name", "last_name"] {
            if let Some(value) = address.get(name) {
                body[name] = value.clone();
            }
        }
        let account = self.staff(Method::POST, "/customers", body).await?;
        Ok(account["id"].as_i64().unwrap_or_default())
    }

    /// Give an account a role, as plug-ins do (`wholesale_customer`); the interface cannot.
    ///
    /// # Errors
    /// `woocommerce_rest_invalid_id` (404) if there is no such account.
    pub async fn give_role(&self, account: i64, role: &str) -> Result<()> {
        self.within(self.base(), async |tx| {
            let Some(mut doc) = tx.get(Table::Customers, account).await? else {
                return refuse(404, "woocommerce_rest_invalid_id", "Invalid resource ID.");
            };
            doc.insert("role".into(), role.into());
            tx.put(Table::Customers, account, &doc).await
        })
        .await
    }

    /// Change members of the product or variation with this SKU: `{"regular_price": "9.90"}`, `{"name": ".."}`.
    ///
    /// # Errors
    /// `woocommerce_rest_product_invalid_id` (404) if there is none, and any refusal of the interface.
    pub async fn edit(&self, sku: &str, change: Value) -> Result<()> {
        let path = self.path_of(sku).await?;
        self.staff(Method::PUT, &path, change).await.map(|_| ())
    }

    /// The product or variation with this SKU, as the interface shows it.
    ///
    /// # Errors
    /// As [`Self::edit`].
    pub async fn article(&self, sku: &str) -> Result<Value> {
        let path = self.path_of(sku).await?;
        self.staff(Method::GET, &format!("{path}?context=edit"), Value::Null).await
    }

    /// Move an order to a status, as the staff does by hand.
    ///
    /// # Errors
    /// The interface's refusal.
    pub async fn set_order_status(&self, order: i64, status: &str) -> Result<()> {
        self.staff(Method::PUT, &format!("/orders/{order}"), json!({ "status": status })).await.map(|_| ())
    }

    /// Objects of a collection, all pages: `/products`, `/orders?status=processing`.
    ///
    /// # Errors
    /// The interface's refusal.
    pub async fn all(&self, collection: &str) -> Result<Vec<Value>> {
        let joint = if collection.contains('?') { '&' } else { '?' };
        let mut rows = Vec::new();
        for page in 1.. {
            let path = format!("{collection}{joint}per_page=100&orderby=id&order=asc&page={page}");
            let Value::Array(found) = self.staff(Method::GET, &path, Value::Null).await? else { break };
            let last = found.len() < 100;
            rows.extend(found);
            if last {
                break;
            }
        }
        Ok(rows)
    }

    async fn path_of(&self, sku: &str) -> Result<String> {
        let key = json!(sku.trim().to_ascii_lowercase());
        self.within(self.base(), async |tx| {
            let id = tx.ids(Table::Products, "sku_key = ? AND status <> 'trash'", &[key]).await?.pop();
            let Some(id) = id else { return refuse(404, "woocommerce_rest_product_invalid_id", format!("No {sku}.")) };
            let doc = tx.get(Table::Products, id).await?.unwrap_or_default();
            Ok(match doc["parent_id"].as_i64() {
                Some(parent) if doc["type"] == "variation" => format!("/products/{parent}/variations/{id}"),
                _ => format!("/products/{id}"),
            })
        })
        .await
    }
}
