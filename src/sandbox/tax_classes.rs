//! Tax classes: those of a new shop, those of tax rates, and those that somebody created.

use serde_json::{Value, json};

use super::{
    check::{Kind, check, require},
    db::{Doc, Tx},
    refusal::{Result, refuse},
    text,
};

/// The setting that holds the shop's own list.
const SETTING: &str = "tax_classes";
/// The slug of the standard class, which has none of its own.
const STANDARD: &str = "standard";

#[derive(Clone, Debug)]
struct Class {
    slug: String,
    name: String,
}

impl Class {
    fn new(slug: &str, name: &str) -> Self {
        Self { slug: slug.to_owned(), name: name.to_owned() }
    }

    fn standard() -> Self {
        Self::new(STANDARD, "Standard rate")
    }

    fn view(&self, tx: &Tx<'_>) -> Value {
        let all = format!("{}/wp-json/wc/v3/taxes/classes", tx.base);
        json!({ "slug": self.slug, "name": self.name, "_links": { "collection": [{ "href": all }] } })
    }
}

pub async fn list(tx: &mut Tx<'_>) -> Result<Value> {
    let classes = known(tx).await?;
    Ok(std::iter::once(Class::standard()).chain(classes).map(|class| class.view(tx)).collect())
}

/// One class, which the real shop shows as a list of one.
pub async fn one(tx: &mut Tx<'_>, slug: &str) -> Result<Value> {
    let found = known(tx).await?.into_iter().find(|class| class.slug == text::slug(slug));
    match found.or_else(|| (slug == STANDARD).then(Class::standard)) {
        Some(class) => Ok(json!([class.view(tx)])),
        None => refuse(404, "woocommerce_rest_tax_class_invalid_slug", "Invalid slug."),
    }
}

/// Create a class with this name. Return its slug and how it is shown.
pub async fn create(tx: &mut Tx<'_>, mut params: Doc) -> Result<(String, Value)> {
    require(&params, "name")?;
    check(&[("name", Kind::Text)], &mut params)?;
    let name = params.get("name").map(text::plain).unwrap_or_default();
    if name.is_empty() {
        return refuse(400, "woocommerce_rest_tax_class_invalid_name", "Tax class requires a valid name");
    }
    let mut classes = known(tx).await?;
    if classes.iter().any(|class| class.name == name) {
        return refuse(400, "woocommerce_rest_tax_class_exists", "Tax class already exists");
    }
    let slug = text::slug(&name);
    if slug.is_empty() {
        return refuse(400, "woocommerce_rest_tax_class_slug_invalid", "Tax class slug is invalid");
    }
    if classes.iter().any(|class| class.slug == slug) {
        return refuse(400, "woocommerce_rest_tax_class_slug_exists", "Tax class slug already exists");
    }
    let made = Class { slug: slug.clone(), name };
    let shown = made.view(tx);
    classes.push(made);
    keep(tx, &classes).await?;
    Ok((slug, shown))
}

/// Delete a class with its rates. There is no trash for it, and the standard class cannot be deleted.
pub async fn delete(tx: &mut Tx<'_>, slug: &str, force: bool) -> Result<Value> {
    if !force {
        return refuse(501, "woocommerce_rest_trash_not_supported", "Taxes do not support trashing.");
    }
    let slug = text::slug(slug);
    let (gone, left): (Vec<Class>, Vec<Class>) = known(tx).await?.into_iter().partition(|class| class.slug == slug);
    let Some(gone) = gone.first() else {
        return refuse(400, "woocommerce_rest_invalid_tax_class", "Invalid tax class");
    };
    sqlx::query("DELETE FROM tax_rates WHERE class = ?").bind(&slug).execute(&mut *tx.db).await?;
    keep(tx, &left).await?;
    Ok(gone.view(tx))
}

/// The class of a product as it is stored. The standard class is stored as an empty text, and so is one that the
/// shop does not know.
pub async fn stored(tx: &mut Tx<'_>, doc: &Doc) -> Result<String> {
    let class = text::slug(doc["tax_class"].as_str().unwrap_or_default());
    let is_parents = class == "parent" && doc["type"] == "variation";
    let is_known = is_parents || (class != STANDARD && known(tx).await?.iter().any(|known| known.slug == class));
    Ok(if is_known { class } else { String::new() })
}

/// All classes but the standard one.
async fn known(tx: &mut Tx<'_>) -> Result<Vec<Class>> {
    let kept: Option<String> = sqlx::query_scalar("SELECT value FROM settings WHERE name = ?")
        .bind(SETTING)
        .fetch_optional(&mut *tx.db)
        .await?;
    let mut classes = match kept {
        Some(kept) => {
            let kept: Vec<(String, String)> = serde_json::from_str(&kept)?;
            kept.iter().map(|(slug, name)| Class::new(slug, name)).collect()
        }
        None => vec![Class::new("reduced-rate", "Reduced rate"), Class::new("zero-rate", "Zero rate")],
    };
    let rated: Vec<String> =
        sqlx::query_scalar("SELECT DISTINCT class FROM tax_rates WHERE class <> '' ORDER BY class")
            .fetch_all(&mut *tx.db)
            .await?;
    for slug in rated {
        if classes.iter().all(|class| class.slug != slug) {
            let words = slug.replace('-', " ");
            let name: String =
                words.chars().take(1).flat_map(char::to_uppercase).chain(words.chars().skip(1)).collect();
            classes.push(Class::new(&slug, &name));
        }
    }
    Ok(classes)
}

async fn keep(tx: &mut Tx<'_>, classes: &[Class]) -> Result<()> {
    let kept: Vec<(&str, &str)> = classes.iter().map(|class| (class.slug.as_str(), class.name.as_str())).collect();
    sqlx::query(
        "INSERT INTO settings (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    )
    .bind(SETTING)
    .bind(serde_json::to_string(&kept)?)
    .execute(&mut *tx.db)
    .await?;
    Ok(())
}
