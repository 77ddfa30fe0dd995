//! Reads the shop's side by SQL from its tables and views.

use std::collections::BTreeMap;

use sqlx::{Row, SqliteConnection};

use super::{
    Side,
    company::{options, text},
    number, seen,
};

/// Read what the shop shows.
///
/// # Errors
/// If the database fails.
pub async fn read(shop: &mut SqliteConnection, duplicates: &mut Vec<String>) -> sqlx::Result<Side> {
    let mut side = Side::default();
    let families = "SELECT c.*, coalesce(p.slug, '') AS parent FROM categories c \
                    LEFT JOIN categories p ON p.id = c.parent_id WHERE c.slug <> 'uncategorized'";
    for row in sqlx::query(families).fetch_all(&mut *shop).await? {
        let fact = format!("«{}» below «{}»", seen(&text(&row, "name")?), code(&text(&row, "parent")?));
        side.put("categories", code(&text(&row, "slug")?), fact);
    }
    articles(shop, &mut side, duplicates).await?;
    let people = "SELECT * FROM customers WHERE role = 'customer'";
    for row in sqlx::query(people).fetch_all(&mut *shop).await? {
        let fact = format!(
            "{} {}, {}, {}, {} {} {}",
            text(&row, "first_name")?,
            text(&row, "last_name")?,
            text(&row, "company")?,
            text(&row, "phone")?,
            text(&row, "address")?,
            text(&row, "postcode")?,
            text(&row, "city")?,
        );
        side.put("customers", text(&row, "email")?.to_lowercase(), seen(&fact));
    }
    orders(shop, &mut side).await?;
    papers(shop, &mut side, duplicates).await?;
    Ok(side)
}

/// The shop has no codes for categories: their slugs hold the ERP's codes.
fn code(slug: &str) -> String {
    slug.to_uppercase()
}

async fn articles(shop: &mut SqliteConnection, side: &mut Side, duplicates: &mut Vec<String>) -> sqlx::Result<()> {
    let products = "SELECT p.*, (SELECT group_concat(c.slug) FROM product_categories pc \
                    JOIN categories c ON c.id = pc.category_id WHERE pc.product_id = p.id) AS families \
                    FROM products p WHERE p.type <> 'variation' AND p.status = 'publish'";
    for row in sqlx::query(products).fetch_all(&mut *shop).await? {
        let sku = text(&row, "sku")?;
        let tax = match text(&row, "tax_class")?.as_str() {
            "" | "standard" => "IVA21",
            "reduced-rate" => "IVA10",
            "super-reduced-rate" => "IVA4",
            "igic-7" => "IGIC7",
            "igic-3" => "IGIC3",
            "zero-rate" => "EXENTO",
            _ => "unknown",
        };
        if side.kinds.get("products").is_some_and(|known| known.contains_key(&sku)) {
            duplicates.push(format!("product {sku} is in the shop twice"));
        }
        let fact = format!("in {}, tax {tax}, for sale", code(&text(&row, "families")?));
        side.put("products", sku.clone(), fact);
        side.put("texts", sku, format!("«{}» {}", seen(&text(&row, "name")?), seen(&text(&row, "description")?)));
    }
    let mut chosen: BTreeMap<i64, BTreeMap<String, String>> = BTreeMap::new();
    for row in sqlx::query("SELECT * FROM variation_options").fetch_all(&mut *shop).await? {
        chosen.entry(row.try_get("variation_id")?).or_default().insert(text(&row, "name")?, text(&row, "value")?);
    }
    let none = BTreeMap::new();
    let sellable = "SELECT v.*, coalesce(p.sku, v.sku) AS product FROM products v LEFT JOIN products p ON p.id = v.parent_id \
                    WHERE v.status = 'publish' AND coalesce(p.status, 'publish') = 'publish' AND v.type <> 'variable'";
    for row in sqlx::query(sellable).fetch_all(&mut *shop).await? {
        let sku = text(&row, "sku")?;
        if side.kinds.get("variants").is_some_and(|known| known.contains_key(&sku)) {
            duplicates.push(format!("article {sku} is in the shop twice"));
        }
        let fact = format!(
            "of {}, {}, {} kg, EAN {}",
            text(&row, "product")?,
            options(chosen.get(&row.try_get("id")?).unwrap_or(&none)),
            number(&text(&row, "weight")?),
            text(&row, "gtin")?
        );
        side.put("variants", sku.clone(), fact);
        side.put("prices", sku.clone(), number(&text(&row, "regular_price")?));
        let quantity: Option<i64> = row.try_get("stock_quantity")?;
        side.put("stock", sku, quantity.map_or("unmanaged".to_owned(), |quantity| quantity.to_string()));
    }
    Ok(())
}

async fn orders(shop: &mut SqliteConnection, side: &mut Side) -> sqlx::Result<()> {
    let sales = "SELECT o.*, c.email AS account, json_extract(o.doc, '$.billing.postcode') AS postcode, \
                 json_extract(o.doc, '$.billing.city') AS city FROM orders o LEFT JOIN customers c ON c.id = o.customer_id";
    for row in sqlx::query(sales).fetch_all(&mut *shop).await? {
        let order = text(&row, "number")?;
        let account = text(&row, "account")?.to_lowercase();
        let fact = format!(
            "{} {}, tax {}, shipping {}, {}, to {} {}",
            number(&text(&row, "total")?),
            text(&row, "currency")?,
            number(&text(&row, "total_tax")?),
            number(&text(&row, "shipping_total")?),
            if account.is_empty() { "guest".to_owned() } else { format!("account {account}") },
            text(&row, "postcode")?,
            seen(&text(&row, "city")?),
        );
        side.put("orders", order.clone(), fact);
        side.put("order status", order, text(&row, "status")?);
    }
    let lines = "SELECT o.number, l.id, l.sku, CAST(l.quantity AS TEXT) AS quantity, l.total FROM order_lines l \
                 JOIN orders o ON o.id = l.order_id";
    for row in sqlx::query(lines).fetch_all(&mut *shop).await? {
        let line: i64 = row.try_get("id")?;
        let key = format!("{}/{line}", text(&row, "number")?);
        let fact = format!(
            "{} × {} = {}",
            number(&text(&row, "quantity")?),
            text(&row, "sku")?,
            number(&text(&row, "total")?)
        );
        side.put("order lines", key, fact);
    }
    Ok(())
}

/// What a customer sees of an order in addition to its state: metadata that themes show, with one note for each.
async fn papers(shop: &mut SqliteConnection, side: &mut Side, duplicates: &mut Vec<String>) -> sqlx::Result<()> {
    let shown = "SELECT o.number, m.value->>'$.value.number' AS paper, m.value->>'$.key' AS name, \
                 m.value->>'$.value.carrier' AS carrier, m.value->>'$.value.tracking' AS tracking, \
                 m.value->>'$.value.total' AS total, m.value->>'$.value.currency' AS currency, \
                 m.value->>'$.value.tax' AS tax, m.value->>'$.value.url' AS url, \
                 (SELECT count(*) FROM notes n WHERE n.order_id = o.id AND n.doc->>'$.customer_note' \
                     AND instr(n.doc->>'$.note', m.value->>'$.value.number')) AS notes \
                 FROM orders o, json_each(o.doc, '$.meta_data') m WHERE m.value->>'$.key' LIKE '\\_%' ESCAPE '\\'";
    for row in sqlx::query(shown).fetch_all(&mut *shop).await? {
        let (order, paper) = (text(&row, "number")?, text(&row, "paper")?);
        let (kind, fact) = if text(&row, "name")?.starts_with("_shipment_") {
            ("shipments", format!("{order}, {} {}", text(&row, "carrier")?, text(&row, "tracking")?))
        } else {
            let (total, tax) = (number(&text(&row, "total")?), number(&text(&row, "tax")?));
            let fact =
                format!("{order}, {total} {} of which tax {tax}, {}", text(&row, "currency")?, text(&row, "url")?);
            ("invoices", fact)
        };
        let notes: i64 = row.try_get("notes")?;
        if notes != 1 {
            duplicates.push(format!("the customer was told {notes} times of {paper}"));
        }
        side.put(kind, paper, fact);
    }
    Ok(())
}
