//! What people do in the shop, and waiting until the daemon has synchronised both sides. Whatever is created in the
//! shop carries the mark of its step in its own metadata, so an interrupted step never creates it twice.

use axum::http::Method;
use serde_json::{Value, json};
use sqlx::Row;

use super::World;
use crate::{
    demo::generate::{Person, Seed, person},
    sandbox::{Checkout, Error},
};

/// Metadata key of the marks.
const MARK: &str = "demo_step";

impl World {
    /// Wait until everything on sale in the ERP can be bought.
    pub(super) async fn until_open(&mut self) -> anyhow::Result<String> {
        let patience = self.patience("the first sync");
        loop {
            let expected: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM formato f JOIN articulo a ON a.id = f.articulo_id WHERE a.web AND NOT a.baja",
            )
            .fetch_one(&mut self.erp)
            .await?;
            let there: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM products WHERE type <> 'variable' AND status = 'publish' AND regular_price <> '' \
                 AND manage_stock = 1",
            )
            .fetch_one(&mut self.shelves)
            .await?;
            if there >= expected {
                return Ok(format!("the shop is open: {there} products with price and stock"));
            }
            patience.wait().await?;
        }
    }

    /// Wait until every order of the shop is in the ERP.
    pub(super) async fn until_arrived(&mut self) -> anyhow::Result<String> {
        let patience = self.patience("the shop's orders to reach the ERP");
        loop {
            let placed: Vec<String> =
                sqlx::query_scalar("SELECT number FROM orders").fetch_all(&mut self.shelves).await?;
            let arrived: Vec<String> =
                sqlx::query_scalar("SELECT DISTINCT numero_web FROM pedido").fetch_all(&mut self.erp).await?;
            if placed.iter().all(|number| arrived.contains(number)) {
                return Ok(format!("all {} orders of the shop are in the ERP", placed.len()));
            }
            patience.wait().await?;
        }
    }

    /// Let people open accounts.
    pub async fn register(&mut self, step: u32, count: u32) -> anyhow::Result<String> {
        for number in 0..count {
            let mark = format!("{step}-{number}");
            let known: i64 = sqlx::query_scalar("SELECT count(*) FROM customer_meta WHERE key = ? AND value = ?")
                .bind(MARK)
                .bind(&mark)
                .fetch_one(&mut self.shelves)
                .await?;
            if known == 0 {
                let who = person(&self.seed.fork(3), 10_000 + u64::from(step) * 10 + u64::from(number), number == 2);
                let address = billing(&who);
                let body = json!({ "email": who.email, "first_name": who.first, "last_name": who.last, "billing": address,
                    "shipping": delivery(&who), "meta_data": [{ "key": MARK, "value": mark }] });
                self.shop.staff(Method::POST, "/customers", body).await?;
            }
        }
        Ok(format!("shop: {count} new customers"))
    }

    /// Let people buy: guests and people with an account.
    pub async fn buy(&mut self, step: u32, seed: &mut Seed, guests: u32, accounts: u32) -> anyhow::Result<String> {
        for number in 0..guests + accounts {
            let mut seed = seed.fork(u64::from(number));
            let mark = format!("{step}-{number}");
            let patience = self.patience("something to buy in the shop");
            loop {
                let known: i64 = sqlx::query_scalar("SELECT count(*) FROM order_meta WHERE key = ? AND value = ?")
                    .bind(MARK)
                    .bind(&mark)
                    .fetch_one(&mut self.shelves)
                    .await?;
                if known > 0 {
                    break;
                }
                let Some(checkout) = self.fill_cart(&mut seed, number >= guests, step, &mark).await? else {
                    patience.wait().await?;
                    continue;
                };
                match self.shop.place_order(&checkout).await {
                    Ok(_) => break,
                    // The article was sold out or withdrawn since the customer saw it: try again with another
                    // choice.
                    Err(Error::Refused(_)) => patience.wait().await?,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(format!("shop: {} orders ({guests} by guests)", guests + accounts))
    }

    async fn fill_cart(
        &mut self,
        seed: &mut Seed,
        account: bool,
        step: u32,
        mark: &str,
    ) -> anyhow::Result<Option<Checkout>> {
        let goods = sqlx::query(
            "SELECT v.sku, v.stock_quantity FROM products v LEFT JOIN products p ON p.id = v.parent_id WHERE v.type <> 'variable' \
             AND v.status = 'publish' AND coalesce(p.status, 'publish') = 'publish' AND v.price <> '' \
             AND v.stock_quantity >= 4 ORDER BY v.id",
        )
        .fetch_all(&mut self.shelves)
        .await?;
        if goods.is_empty() {
            return Ok(None);
        }
        let mut lines: Vec<(String, i64)> = Vec::new();
        for _ in 0..seed.between(1, 4) {
            let sku: String = seed.pick(&goods).try_get("sku")?;
            if lines.iter().all(|(known, _)| *known != sku) {
                lines.push((sku, i64::try_from(seed.between(1, 3))?));
            }
        }
        let mut checkout = Checkout {
            lines,
            delivery: Some(("Envío 24 h".to_owned(), seed.pick(&["3.72", "4.13", "0.00"]).to_string())),
            payment: seed.pick(&["redsys", "bacs", "cod"]).to_string(),
            note: if seed.chance(30) { "Entregar por la mañana, por favor".to_owned() } else { String::new() },
            meta: json!([{ "key": MARK, "value": mark }]),
            ..Checkout::default()
        };
        if account {
            let accounts: Vec<i64> = sqlx::query_scalar("SELECT id FROM customers WHERE role = 'customer' ORDER BY id")
                .fetch_all(&mut self.shelves)
                .await?;
            if accounts.is_empty() {
                return Ok(None);
            }
            let id = *seed.pick(&accounts);
            let account = self.shop.staff(Method::GET, &format!("/customers/{id}"), Value::Null).await?;
            checkout.customer = Some(id);
            checkout.billing = account["billing"].clone();
            checkout.billing["email"] = account["email"].clone();
        } else {
            let who = person(&self.seed.fork(4), 20_000 + u64::from(step), false);
            checkout.billing = billing(&who);
            checkout.shipping = delivery(&who);
        }
        Ok(Some(checkout))
    }
}

fn billing(who: &Person) -> Value {
    json!({ "first_name": who.first, "last_name": who.last, "company": who.company.clone().unwrap_or_default(),
        "address_1": who.billing.street, "address_2": who.billing.line2.clone().unwrap_or_default(),
        "city": who.billing.town, "state": who.billing.province, "postcode": who.billing.postcode, "country": "ES",
        "email": who.email, "phone": who.phone })
}

fn delivery(who: &Person) -> Value {
    let address = who.delivery.as_ref().unwrap_or(&who.billing);
    json!({ "first_name": who.first, "last_name": who.last, "company": who.company.clone().unwrap_or_default(),
        "address_1": address.street, "address_2": address.line2.clone().unwrap_or_default(),
        "city": address.town, "state": address.province, "postcode": address.postcode, "country": "ES" })
}
