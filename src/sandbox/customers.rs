//! Customer accounts.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{
    check::{Kind, Schema, require},
    db::{Doc, Table, Tx},
    hooks::Event,
    product_view::links,
    products::Checked,
    query::Head,
    refusal::{Result, refuse},
    text,
};

const SCHEMA: Schema = &[
    ("email", Kind::Text),
    ("first_name", Kind::Text),
    ("last_name", Kind::Text),
    ("username", Kind::Text),
    ("password", Kind::Text),
    ("billing", Kind::Object),
    ("shipping", Kind::Object),
    ("meta_data", Kind::Objects),
];

pub async fn create(tx: &mut Tx<'_>, mut params: Doc, checked: Checked) -> Result<i64> {
    checked.apply(SCHEMA, &mut params)?;
    require(&params, "email")?;
    let email = text::plain(&params["email"]);
    claim_email(tx, &email, 0).await?;
    let id = tx.next("user").await?;
    let username = match params.get("username").and_then(Value::as_str).filter(|name| !name.is_empty()) {
        Some(name) => name.to_owned(),
        None => free_username(tx, &email).await?,
    };
    let mut doc = Doc::new();
    for (name, value) in [
        ("date_created_gmt", json!(tx.stamp())),
        ("date_modified_gmt", Value::Null),
        ("email", json!(email)),
        ("first_name", json!("")),
        ("last_name", json!("")),
        ("role", json!("customer")),
        ("username", json!(username)),
        ("billing", super::orders::blank_address(true)),
        ("shipping", super::orders::blank_address(false)),
        ("is_paying_customer", json!(false)),
    ] {
        doc.insert(name.into(), value);
    }
    tx.merge_meta(&mut doc, &json!([{ "key": "default_password_nag", "value": "1" }])).await?;
    apply(tx, &mut doc, &params).await?;
    tx.put(Table::Customers, id, &doc).await?;
    tx.events.push(Event::new("customer", "created", id));
    Ok(id)
}

pub async fn update(tx: &mut Tx<'_>, id: i64, mut params: Doc, checked: Checked) -> Result<()> {
    checked.apply(SCHEMA, &mut params)?;
    let Some(mut doc) = tx.get(Table::Customers, id).await? else {
        return refuse(400, "woocommerce_rest_invalid_id", "Invalid resource ID.");
    };
    if let Some(email) = params.get("email") {
        let email = text::plain(email);
        claim_email(tx, &email, id).await?;
        doc.insert("email".into(), email.into());
    }
    apply(tx, &mut doc, &params).await?;
    tx.put(Table::Customers, id, &doc).await?;
    tx.events.push(Event::new("customer", "updated", id));
    Ok(())
}

pub async fn delete(tx: &mut Tx<'_>, id: i64, force: bool) -> Result<()> {
    if !force {
        return refuse(501, "woocommerce_rest_trash_not_supported", "Customers do not support trashing.");
    }
    if tx.get(Table::Customers, id).await?.is_none() {
        return refuse(400, "woocommerce_rest_invalid_id", "Invalid resource ID.");
    }
    tx.remove(Table::Customers, id).await?;
    tx.events.push(Event::new("customer", "deleted", id));
    Ok(())
}

async fn apply(tx: &mut Tx<'_>, doc: &mut Doc, params: &Doc) -> Result<()> {
    for name in ["first_name", "last_name"] {
        if let Some(value) = params.get(name) {
            doc.insert(name.into(), text::plain(value).into());
        }
    }
    for name in ["billing", "shipping"] {
        if let Some(given) = params.get(name) {
            super::orders::merge_address(&mut doc[name], given);
        }
    }
    if let Some(given) = params.get("meta_data") {
        tx.merge_meta(doc, given).await?;
    }
    tx.touch(doc);
    Ok(())
}

async fn claim_email(tx: &mut Tx<'_>, email: &str, id: i64) -> Result<()> {
    let valid = email.split_once('@').is_some_and(|(name, host)| {
        !name.is_empty() && host.contains('.') && !host.starts_with('.') && !host.ends_with('.') && !email.contains(' ')
    });
    if !valid {
        return refuse(400, "customer_invalid_email", "Invalid email address");
    }
    let condition = "email_key = ? AND id <> ?";
    if tx.ids(Table::Customers, condition, &[json!(email.to_lowercase()), json!(id)]).await?.is_empty() {
        return Ok(());
    }
    refuse(
        400,
        "registration-error-email-exists",
        format!("An account is already registered with {email}. Please log in or use a different email address."),
    )
}

async fn free_username(tx: &mut Tx<'_>, email: &str) -> Result<String> {
    let stem = email.split('@').next().unwrap_or("customer").to_lowercase();
    let mut name = stem.clone();
    for n in 2.. {
        if tx.ids(Table::Customers, "username = ?", &[json!(name)]).await?.is_empty() {
            break;
        }
        name = format!("{stem}{n}");
    }
    Ok(name)
}

/// Accounts of a role (`all` for any), filtered by e-mail address or search text.
pub async fn heads(tx: &mut Tx<'_>, role: &str, email: Option<&str>, search: &str) -> Result<Vec<Head>> {
    let rows: Vec<(i64, String, String, String)> = sqlx::query_as(
        "SELECT id, created, coalesce(modified, ''), username FROM customers \
         WHERE (?1 = 'all' OR role = ?1) AND (?2 = '' OR email_key = ?2) \
           AND (?3 = '' OR email LIKE '%' || ?3 || '%' OR username LIKE '%' || ?3 || '%')",
    )
    .bind(role)
    .bind(email.unwrap_or_default().to_lowercase())
    .bind(search)
    .fetch_all(&mut *tx.db)
    .await?;
    Ok(rows.into_iter().map(|(id, created, modified, name)| Head { id, created, modified, name }).collect())
}

pub fn view(tx: &Tx<'_>, id: i64, doc: &Doc) -> Value {
    let mut out = Doc::new();
    out.insert("id".into(), id.into());
    for name in ["date_created", "date_modified"] {
        let gmt = doc.get(&format!("{name}_gmt")).cloned().unwrap_or_default();
        out.insert(name.into(), tx.site.local(&gmt));
        out.insert(format!("{name}_gmt"), gmt);
    }
    for name in ["email", "first_name", "last_name", "role", "username", "billing", "shipping", "is_paying_customer"] {
        out.insert(name.into(), doc.get(name).cloned().unwrap_or_default());
    }
    let email = doc.get("email").and_then(Value::as_str).unwrap_or_default().to_lowercase();
    let digest: String = Sha256::digest(email.as_bytes()).iter().copied().map(super::auth::hex).collect();
    out.insert("avatar_url".into(), format!("https://secure.gravatar.com/avatar/{digest}?s=96&d=mm&r=g").into());
    out.insert("meta_data".into(), doc.get("meta_data").cloned().unwrap_or_default());
    out.insert("_links".into(), links(&tx.base, "customers", id));
    out.into()
}

/// Refuse an order for an account that does not exist.
pub async fn require_account(tx: &mut Tx<'_>, id: i64) -> Result<()> {
    if id == 0 || tx.get(Table::Customers, id).await?.is_some() {
        return Ok(());
    }
    refuse(400, "woocommerce_rest_invalid_customer_id", "Customer ID is invalid.")
}
