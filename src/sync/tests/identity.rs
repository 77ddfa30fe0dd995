//! First contact adopts what is there, asks where it is not sure, and does as a person decides.

use super::*;
use crate::{
    store::{LinkState, RecordId},
    sync::{
        identity::{LinkError, Links, Named, review},
        routing::{Guests, MatchRule},
    },
};

fn rule(field: &str) -> MatchRule {
    MatchRule { field: field.into(), weak: false }
}

/// Customers of a shop for an ERP, matched by these rules.
async fn sales(rules: Vec<MatchRule>) -> Stage {
    let mut sales = flow("sales", "shop", "erp", &["customer"]);
    sales.matches.insert("customer".into(), rules);
    Stage::new(vec![sales]).await
}

fn person(code: &str, vat: &str, email: &str) -> Value {
    json!({"code": code, "kind": "person", "name": format!("Nombre de {code}"), "vat": vat, "email": email})
}

impl Stage {
    async fn customer(&self, key: &str) -> Named {
        let record = self.store.record("customer", key).await.unwrap().unwrap();
        Named { record, entity: "customer".into(), key: key.into() }
    }

    fn links(&self) -> Links<'_> {
        let context = self.engine.context();
        Links { store: &self.store, routes: &context.routes, entities: &context.entities, now: context.env.now() }
    }

    /// Causes of what waits.
    async fn causes(&self) -> Vec<String> {
        let filter = JobFilter { states: vec![JobState::Parked], ..JobFilter::default() };
        self.store.jobs(&filter).await.unwrap().into_iter().filter_map(|job| job.cause.map(String::from)).collect()
    }

    /// Code and name of the ERP's customers.
    fn customers(&self) -> Vec<(String, String)> {
        let text = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
        self.erp.rows("customer").iter().map(|row| (text(row, "code"), text(row, "name"))).collect()
    }

    /// Delivers what there is, without reading anything again.
    async fn released(&self) -> PassSummary {
        let scope: Scope = "sales/customer/NOBODY".parse().unwrap();
        self.engine.once(Some(&scope), RunKind::Delta, &CancellationToken::new()).await.unwrap()
    }

    async fn id_at_erp(&self, record: RecordId) -> Option<String> {
        self.store.externals("erp", &[record]).await.unwrap().remove(&record)
    }
}

#[tokio::test]
async fn a_customer_whom_the_erp_has_is_adopted_by_his_tax_number_and_it_is_known_why() {
    let stage = sales(vec![rule("vat"), rule("email")]).await;
    stage.erp.put("customer", "7", &person("430001", "B12345674", "old@example.com"));
    stage.shop.put("customer", "1", &person("C-1", "ES B-12.345.674", "new@example.com"));
    assert!(stage.once().await.is_clean());
    assert_eq!(stage.customers().len(), 1, "nobody was created");
    let ties = stage.store.ties(&[stage.customer("430001").await.record]).await.unwrap();
    let link = ties.values().next().unwrap().links["shop"].clone();
    assert_eq!((link.rule.as_deref(), link.score, link.state), (Some("vat"), Some(50), LinkState::Linked));
}

#[tokio::test]
async fn where_two_records_match_one_creation_waits_until_a_person_says_which() {
    for chosen in [Some("430001"), Some("430002"), None] {
        let stage = sales(vec![rule("email")]).await;
        stage.erp.put("customer", "1", &person("430001", "", "info@example.com"));
        stage.erp.put("customer", "2", &person("430002", "", "info@example.com"));
        stage.shop.put("customer", "9", &person("C-9", "", "other@example.com"));
        stage.once().await;
        stage.shop.put("customer", "1", &person("C-1", "", "INFO@example.com"));
        stage.once().await;
        assert_eq!(stage.causes().await, ["review:customer=C-1"]);
        assert_eq!(stage.customers().len(), 3);
        let named = stage.customer("C-1").await;
        let routes = &stage.engine.context().routes;
        let shown = review(&stage.store, routes, &named, "erp", None).await.unwrap().unwrap();
        let shown: Vec<_> =
            shown.candidates.iter().map(|(one, why, score)| (&*one.key, &*why.fields, *score)).collect();
        assert_eq!(shown, [("430001", &["email".to_owned()][..], 100), ("430002", &["email".to_owned()][..], 100)]);

        if let Some(chosen) = chosen {
            stage.links().join(&named, &stage.customer(chosen).await, false).await.unwrap();
        } else {
            let others = [stage.customer("430001").await.record, stage.customer("430002").await.record];
            stage.links().part(&named, &others).await.unwrap();
        }
        assert!(!stage.states().await.contains(&JobState::Parked), "released with the word itself");
        assert!(stage.released().await.is_clean(), "{chosen:?}");
        let names: Vec<String> = stage.customers().into_iter().map(|(_, name)| name).collect();
        assert_eq!(names.iter().filter(|name| *name == "Nombre de C-1").count(), 1, "{chosen:?}: {names:?}");
        assert_eq!(names.len(), if chosen.is_some() { 3 } else { 4 });
        // Nothing of it is asked again, nor done again.
        let written = stage.erp.written();
        assert!(stage.full().await.is_clean());
        assert_eq!(stage.erp.written(), written);
    }
}

#[tokio::test]
async fn whichever_side_is_read_first_nothing_is_written_to_one_of_two_that_match() {
    // The ERP is read after the shop's customer is known: its first row is taken for him, then the second tells that it may be wrong.
    let stage = sales(vec![rule("email")]).await;
    stage.erp.put("customer", "1", &person("430001", "", "info@example.com"));
    stage.erp.put("customer", "2", &person("430002", "", "info@example.com"));
    stage.shop.put("customer", "1", &person("C-1", "", "info@example.com"));
    for system in ["shop", "erp"] {
        stage
            .engine
            .pull(NewRun::new(system, "customer", RunKind::Full, "test"), &CancellationToken::new())
            .await
            .unwrap();
    }
    stage.once().await;
    assert_eq!((stage.causes().await, stage.erp.written()), (vec!["review:customer=C-1".to_owned()], 0));

    let (named, other) = (stage.customer("C-1").await, stage.customer("430002").await);
    let refused = stage.links().join(&named, &other, false).await.unwrap_err();
    assert!(matches!(refused, LinkError::Both { .. }), "{refused}");
    let own = stage.links().split(&named, "erp").await.unwrap();
    assert_eq!(own.as_deref(), Some("430001"), "by the key it has there");
    stage.once().await;
    assert_eq!((stage.causes().await, stage.erp.written()), (vec!["review:customer=C-1".to_owned()], 0));
    stage.links().join(&named, &other, false).await.unwrap();
    assert!(stage.released().await.is_clean());
    let names: Vec<String> = stage.customers().into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, ["Nombre de 430001", "Nombre de C-1"]);
}

#[tokio::test]
async fn a_weak_rule_alone_asks_a_person() {
    let stage = sales(vec![rule("vat"), MatchRule { field: "phone".into(), weak: true }]).await;
    let mut there = person("430001", "", "a@example.com");
    there["phone"] = "+34 912 345 678".into();
    stage.erp.put("customer", "1", &there);
    let mut new = person("C-1", "", "b@example.com");
    new["phone"] = "912345678".into();
    stage.shop.put("customer", "1", &new);
    stage.once().await;
    assert_eq!((stage.causes().await, stage.customers().len()), (vec!["review:customer=C-1".to_owned()], 1));
}

#[tokio::test]
async fn a_second_account_of_a_customer_waits_and_can_be_made_one_with_him() {
    let stage = sales(vec![rule("vat")]).await;
    stage.erp.put("customer", "7", &person("430001", "B12345674", "a@example.com"));
    stage.shop.put("customer", "1", &person("C-1", "B12345674", "a@example.com"));
    assert!(stage.once().await.is_clean());
    stage.shop.put("customer", "2", &person("C-2", "B12345674", "b@example.com"));
    stage.once().await;
    assert_eq!(stage.causes().await, ["review:customer=C-2"]);
    let (second, first) = (stage.customer("C-2").await, stage.customer("430001").await);
    stage.links().join(&second, &first, true).await.unwrap();
    assert!(stage.released().await.is_clean());
    assert_eq!(stage.id_at_erp(second.record).await.as_deref(), Some("7"), "his orders are the customer's");
    // What is edited in the second account goes nowhere, and is not read as a stranger.
    let written = stage.erp.written();
    stage.shop.put("customer", "2", &person("C-2", "B12345674", "c@example.com"));
    assert!(stage.once().await.is_clean());
    assert_eq!((stage.customers().len(), stage.erp.written()), (1, written));

    stage.links().part(&second, &[first.record]).await.unwrap();
    assert!(stage.released().await.is_clean());
    assert_eq!(stage.customers().len(), 2, "taken apart again, it is a customer of its own");
}

#[tokio::test]
async fn of_two_new_accounts_of_one_person_only_the_first_is_created_unasked() {
    let stage = sales(vec![rule("email")]).await;
    stage.shop.put("customer", "1", &person("C-1", "", "ana@example.com"));
    stage.shop.put("customer", "2", &person("C-2", "", "ana@example.com"));
    stage.once().await;
    assert_eq!((stage.causes().await, stage.customers().len()), (vec!["review:customer=C-2".to_owned()], 1));
}

#[tokio::test]
async fn a_match_field_that_is_empty_or_was_emptied_matches_nobody() {
    let stage = sales(vec![rule("vat")]).await;
    stage.erp.put("customer", "1", &person("430001", "", "a@example.com"));
    stage.erp.put("customer", "2", &person("430002", "B12345674", "b@example.com"));
    stage.shop.put("customer", "1", &person("C-1", "", "c@example.com"));
    assert!(stage.once().await.is_clean());
    assert_eq!(stage.customers().len(), 3);
    stage.erp.put("customer", "2", &person("430002", "", "b@example.com"));
    stage.engine.pull(NewRun::new("erp", "customer", RunKind::Full, "test"), &CancellationToken::new()).await.unwrap();
    stage.shop.put("customer", "2", &person("C-2", "B12345674", "d@example.com"));
    assert!(stage.once().await.is_clean());
    assert_eq!(stage.customers().len(), 4);
}

#[tokio::test]
async fn while_a_link_is_paused_nothing_goes_either_way_and_nothing_is_lost() {
    let mut back = flow("account", "erp", "shop", &["product"]);
    back.fields.insert("product".into(), ["brand".to_owned()].into());
    back.owners.insert("product.brand".into(), "erp".into());
    let stage = Stage::new(vec![flow("catalog", "shop", "erp", &["product"]), back]).await;
    let shown = |name: &str, brand: &str| json!({"sku": "H-1", "name": {"es": name}, "brand": brand, "active": true});
    stage.shop.put("product", "1", &shown("Martillo", ""));
    assert!(stage.once().await.is_clean());
    let id = stage.erp.rows("product")[0]["id"].as_str().unwrap().to_owned();
    let named = Named {
        record: stage.store.record("product", "H-1").await.unwrap().unwrap(),
        entity: "product".into(),
        key: "H-1".into(),
    };
    for at in [None, Some("erp"), Some("shop")] {
        stage.links().set(&named, at, LinkState::Paused).await.unwrap();
        let (before, label) = (stage.erp.written() + stage.shop.written(), format!("at {at:?}"));
        stage.shop.put("product", "1", &shown(&label, ""));
        stage.erp.put("product", &id, &shown("Martillo", &label));
        assert!(!stage.once().await.is_clean(), "it waits {label}");
        assert_eq!(stage.causes().await, ["paused:product=H-1", "paused:product=H-1"], "{label}");
        assert_eq!(stage.erp.written() + stage.shop.written(), before, "{label}");
        stage.links().set(&named, None, LinkState::Linked).await.unwrap();
        assert!(!stage.states().await.contains(&JobState::Parked), "released with the word itself");
        assert!(stage.released().await.is_clean(), "{label}");
        assert_eq!(stage.erp.rows("product")[0]["name"]["es"], *label, "{label}");
        assert_eq!(stage.shop.rows("product")[0]["brand"], *label, "{label}");
    }
}

#[tokio::test]
async fn what_is_ignored_is_neither_written_nor_waited_for() {
    let stage = sales(vec![rule("email")]).await;
    stage.erp.put("customer", "1", &person("430001", "", "test@example.com"));
    stage.erp.put("customer", "2", &person("430002", "", "test@example.com"));
    stage.once().await;
    stage.shop.put("customer", "1", &person("TEST", "", "test@example.com"));
    stage.once().await;
    let named = stage.customer("TEST").await;
    stage.links().set(&named, Some("erp"), LinkState::Ignored).await.unwrap();
    assert!(stage.released().await.is_clean());
    stage.shop.put("customer", "1", &person("TEST", "", "test2@example.com"));
    assert!(stage.once().await.is_clean());
    assert_eq!((stage.customers().len(), stage.erp.written()), (2, 0));
    stage.links().set(&named, Some("erp"), LinkState::Linked).await.unwrap();
    assert!(stage.released().await.is_clean());
    assert_eq!(stage.customers().len(), 3);
}

#[tokio::test]
async fn what_a_target_lost_is_made_again_once_its_link_is_forgotten() {
    let stage = sales(Vec::new()).await;
    stage.shop.put("customer", "1", &person("C-1", "", "a@example.com"));
    assert!(stage.once().await.is_clean());
    let id = stage.erp.rows("customer")[0]["id"].as_str().unwrap().to_owned();
    stage.erp.remove("customer", &id);
    stage.shop.put("customer", "1", &person("C-1", "", "b@example.com"));
    stage.once().await;
    assert_eq!(stage.states().await, [JobState::Dead], "customers are not made again by themselves");
    assert_eq!(stage.links().split(&stage.customer("C-1").await, "erp").await.unwrap(), None);
    assert!(stage.released().await.is_clean());
    assert_eq!(stage.customers().len(), 1);
}

/// A shop that sells to guests, with customers at the ERP.
async fn selling_to(guests: Guests) -> Stage {
    let mut sales = flow("sales", "shop", "erp", &["customer", "order"]);
    sales.matches.insert("customer".into(), vec![rule("vat"), rule("email")]);
    sales.guests = Some(guests);
    let stage = Stage::new(vec![sales]).await;
    stage.erp.put("customer", "1", &person("430001", "B12345674", "ana@example.com"));
    stage.erp.put("customer", "2", &person("430002", "", "twice@example.com"));
    stage.erp.put("customer", "3", &person("430003", "", "twice@example.com"));
    stage.erp.put("customer", "4", &person("VARIOS", "", ""));
    stage
}

fn bought(number: &str, email: &str, vat: &str) -> Value {
    json!({"number": number, "status": "paid", "currency": "EUR", "tax_included": false, "email": email,
        "billing": {"vat": vat}, "totals": {"gross": "20"},
        "lines": [{"line": "1", "sku": "H-1", "quantity": "2", "unit_price": "10", "total": "20"}]})
}

#[tokio::test]
async fn a_guests_order_is_the_customers_who_is_recognised_else_the_one_for_all_else_nobodys() {
    let one = || Some("VARIOS".to_owned());
    for (guests, expected) in [
        (Guests { matched: true, ..Guests::default() }, [Some("430001"), Some("430001"), None, None]),
        (Guests { one: one(), ..Guests::default() }, [Some("VARIOS"); 4]),
        (
            Guests { matched: true, one: one(), ..Guests::default() },
            [Some("430001"), Some("430001"), Some("VARIOS"), Some("VARIOS")],
        ),
        (Guests::default(), [None; 4]),
    ] {
        let stage = selling_to(guests.clone()).await;
        stage.shop.put("order", "1", &bought("1001", "ANA@example.com", ""));
        stage.shop.put("order", "2", &bought("1002", "other@example.com", "ES-B12345674"));
        stage.shop.put("order", "3", &bought("1003", "twice@example.com", ""));
        stage.shop.put("order", "4", &bought("1004", "", ""));
        assert!(stage.once().await.is_clean(), "{guests:?}");
        let mut orders = stage.erp.rows("order");
        orders.sort_by_key(|order| order["number"].to_string());
        for (order, expected) in orders.iter().zip(expected) {
            let expected = match expected {
                Some(key) => json!(stage.customer(key).await.record),
                None => Value::Null,
            };
            assert_eq!(order.get("customer").cloned().unwrap_or_default(), expected, "{guests:?} {}", order["number"]);
        }
    }
}

#[tokio::test]
async fn a_guests_order_does_not_change_hands() {
    let stage = selling_to(Guests { matched: true, ..Guests::default() }).await;
    stage.shop.put("order", "1", &bought("1001", "ana@example.com", ""));
    assert!(stage.once().await.is_clean());
    let ana = json!(stage.customer("430001").await.record);
    stage.erp.put("customer", "1", &person("430001", "B12345674", "new@example.com"));
    stage.erp.put("customer", "9", &person("430009", "", "ana@example.com"));
    let mut shipped = bought("1001", "ana@example.com", "");
    shipped["status"] = "shipped".into();
    stage.shop.put("order", "1", &shipped);
    assert!(stage.full().await.is_clean());
    let order = &stage.erp.rows("order")[0];
    assert_eq!((&order["customer"], &order["status"]), (&ana, &json!("shipped")));
}

#[tokio::test]
async fn a_guest_whom_nobody_knows_becomes_a_customer_once() {
    let stage = selling_to(Guests { matched: true, created: true, one: None }).await;
    let named = |number: &str, email: &str, name: &str| {
        let mut order = bought(number, email, "");
        order["billing"]["name"] = name.into();
        order
    };
    stage.shop.put("order", "1", &named("1001", "ana@example.com", "Ana"));
    stage.shop.put("order", "2", &named("1002", "eva@example.com", "Eva"));
    stage.shop.put("order", "3", &named("1003", "EVA@example.com", "Eva"));
    stage.shop.put("order", "4", &named("1004", "nameless@example.com", ""));
    stage.shop.put("order", "5", &named("1005", "twice@example.com", "Dos"));
    stage.once().await;
    assert_eq!(stage.causes().await, ["review:customer=guest-1005"], "two may be he");
    let made = || stage.customers().into_iter().filter(|(code, _)| code.starts_with("guest")).collect::<Vec<_>>();
    assert_eq!(made(), [("guest-1002".to_owned(), "Eva".to_owned())]);
    let eva = json!(stage.customer("guest-1002").await.record);
    let of = |number: &str| stage.erp.rows("order").into_iter().find(|order| order["number"] == number).unwrap();
    assert_eq!((&of("1002")["customer"], &of("1003")["customer"]), (&eva, &eva));
    assert!(of("1004").get("customer").is_none_or(Value::is_null), "an order without a name makes nobody");

    // No listing of accounts takes him for gone, nothing is written of him to the shop, and the next order is his.
    stage.links().set(&stage.customer("guest-1005").await, None, LinkState::Ignored).await.unwrap();
    stage.shop.put("order", "6", &named("1006", "eva@example.com", "Eva"));
    assert!(stage.full().await.is_clean());
    assert_eq!((made().len(), stage.shop.written()), (1, 0));
    assert_eq!(of("1006")["customer"], eva);
}
