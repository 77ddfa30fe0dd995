//! The shop's SQLite file, and one transaction on it. `schema.sql` describes the tables.

use std::{path::Path, str::FromStr};

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeZone as _, Utc};
use chrono_tz::Tz;
use rust_decimal::Decimal;
use serde_json::{Map, Value, json};
use sqlx::{
    AssertSqlSafe, Connection, Row, Sqlite, SqliteConnection, Transaction,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

use super::{
    hooks::Event,
    refusal::{Error, Result},
};

/// Members of an object.
pub type Doc = Map<String, Value>;

const VERSION: i64 = 1;

/// Create a missing file, readable for its owner only, because it holds keys and personal data.
fn create(path: &Path) -> std::io::Result<()> {
    let mut create = std::fs::OpenOptions::new();
    create.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut create, 0o600);
    match create.open(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Open the file, and create the tables of a new one.
pub async fn open(path: &Path) -> Result<SqliteConnection> {
    create(path).map_err(sqlx::Error::Io)?;
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(std::time::Duration::from_secs(10));
    let mut conn = SqliteConnection::connect_with(&options).await?;
    let version: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut conn).await?;
    if version == 0 {
        let mut tx = conn.begin().await?;
        sqlx::raw_sql(include_str!("schema.sql")).execute(&mut *tx).await?;
        let first = json!({ "id": 15, "name": "Uncategorized", "slug": "uncategorized", "parent": 0,
            "description": "", "display": "default", "menu_order": 0 });
        sqlx::query("INSERT INTO categories (id, doc) VALUES (15, ?)")
            .bind(first.to_string())
            .execute(&mut *tx)
            .await?;
        let admin = json!({ "date_created_gmt": stamp(chrono::DateTime::UNIX_EPOCH.naive_utc()), "date_modified_gmt": null,
            "email": "admin@example.test", "first_name": "", "last_name": "", "role": "administrator",
            "username": "admin", "billing": super::orders::blank_address(true),
            "shipping": super::orders::blank_address(false), "is_paying_customer": false, "meta_data": [] });
        sqlx::query("INSERT INTO customers (id, doc) VALUES (1, ?)").bind(admin.to_string()).execute(&mut *tx).await?;
        // Objects of all kinds draw their ids from few sequences, so an id never shows what it belongs to.
        sqlx::raw_sql(
            "INSERT INTO sequences (name, last) VALUES ('post', 9), ('term', 15), ('attribute', 0), ('user', 1), \
             ('line', 0), ('meta', 20), ('note', 0), ('webhook', 0); PRAGMA user_version = 1",
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
    } else if version != VERSION {
        return Err(Error::Database(sqlx::Error::Configuration(
            format!("{} has layout {version}; this sandbox knows {VERSION}", path.display()).into(),
        )));
    }
    Ok(conn)
}

/// The settings of the shop.
#[derive(Clone, Debug)]
pub struct Site {
    pub zone: Tz,
    pub currency: String,
    pub prices_include_tax: bool,
    /// Whether amounts of lines are kept unrounded and only the order's sums are rounded.
    pub round_at_subtotal: bool,
    /// Country whose taxes apply if an order names none.
    pub country: String,
    /// Statuses of orders in addition to the shop's own.
    pub order_statuses: Vec<String>,
}

impl Site {
    /// Number of decimals with which amounts of lines are kept.
    pub fn kept(&self) -> u32 {
        if self.round_at_subtotal { super::text::EXACT } else { super::text::CENTS }
    }

    /// The shop's local time, as the interface writes it.
    pub fn local(&self, gmt: &Value) -> Value {
        gmt.as_str()
            .and_then(|text| NaiveDateTime::from_str(text).ok())
            .map_or(Value::Null, |utc| stamp(utc.and_utc().with_timezone(&self.zone).naive_local()).into())
    }

    /// A request's time in UTC. It is in the shop's zone unless it names another; a date alone is its midnight.
    pub fn utc(&self, text: &str) -> Option<String> {
        let (time, zoned) = match super::query::moment(text) {
            Some(given) => given,
            None => (NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_time(NaiveTime::MIN), false),
        };
        let utc = if zoned { time } else { self.zone.from_local_datetime(&time).earliest()?.naive_utc() };
        Some(stamp(utc))
    }

    pub fn symbol(&self) -> &str {
        match self.currency.as_str() {
            "EUR" => "€",
            "GBP" => "£",
            "USD" => "$",
            other => other,
        }
    }
}

/// `YYYY-MM-DDTHH:MM:SS`
pub fn stamp(time: NaiveDateTime) -> String {
    time.format("%Y-%m-%dT%H:%M:%S").to_string()
}

/// A table of documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    Products,
    Categories,
    Tags,
    Attributes,
    Customers,
    Orders,
    Refunds,
    Notes,
    Webhooks,
}

impl Table {
    pub fn name(self) -> &'static str {
        match self {
            Self::Products => "products",
            Self::Categories => "categories",
            Self::Tags => "tags",
            Self::Attributes => "attributes",
            Self::Customers => "customers",
            Self::Orders => "orders",
            Self::Refunds => "refunds",
            Self::Notes => "notes",
            Self::Webhooks => "webhooks",
        }
    }
}

/// The work of one request: all of it is kept, or nothing.
pub struct Tx<'c> {
    pub db: Transaction<'c, Sqlite>,
    pub now: DateTime<Utc>,
    pub site: &'c Site,
    /// Address of the request, without a path: `http://127.0.0.1:8080`.
    pub base: String,
    /// Events to send to webhooks once the work is kept.
    pub events: Vec<Event>,
    /// Webhooks that were just subscribed.
    pub pings: Vec<i64>,
    /// A number that nobody can guess, for order keys.
    pub random: u64,
    /// Number of decimals with which amounts of orders are shown (`dp`).
    pub places: u32,
}

impl Tx<'_> {
    pub fn stamp(&self) -> String {
        stamp(self.now.naive_utc())
    }

    /// The next id of a sequence.
    pub async fn next(&mut self, sequence: &str) -> Result<i64> {
        Ok(sqlx::query_scalar("UPDATE sequences SET last = last + 1 WHERE name = ? RETURNING last")
            .bind(sequence)
            .fetch_one(&mut *self.db)
            .await?)
    }

    pub async fn get(&mut self, table: Table, id: i64) -> Result<Option<Doc>> {
        let sql = format!("SELECT doc FROM {} WHERE id = ?", table.name());
        let doc: Option<String> = sqlx::query_scalar(AssertSqlSafe(sql)).bind(id).fetch_optional(&mut *self.db).await?;
        Ok(doc.map(|doc| serde_json::from_str(&doc)).transpose()?)
    }

    pub async fn put(&mut self, table: Table, id: i64, doc: &Doc) -> Result<()> {
        let sql = format!(
            "INSERT INTO {} (id, doc) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET doc = excluded.doc",
            table.name()
        );
        sqlx::query(AssertSqlSafe(sql)).bind(id).bind(serde_json::to_string(doc)?).execute(&mut *self.db).await?;
        Ok(())
    }

    pub async fn remove(&mut self, table: Table, id: i64) -> Result<()> {
        let sql = format!("DELETE FROM {} WHERE id = ?", table.name());
        sqlx::query(AssertSqlSafe(sql)).bind(id).execute(&mut *self.db).await?;
        Ok(())
    }

    /// Ids, in ascending order, for which `condition` holds. Its parameters are bound as text or number.
    pub async fn ids(&mut self, table: Table, condition: &str, bind: &[Value]) -> Result<Vec<i64>> {
        let sql = format!("SELECT id FROM {} WHERE {condition} ORDER BY id", table.name());
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for value in bind {
            query = match value.as_i64() {
                Some(number) => query.bind(number),
                None => query.bind(value.as_str().unwrap_or_default().to_owned()),
            };
        }
        query.fetch_all(&mut *self.db).await?.into_iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    /// Set `date_modified_gmt` of `doc`, as every save does.
    pub fn touch(&self, doc: &mut Doc) {
        doc.insert("date_modified_gmt".into(), self.stamp().into());
    }

    /// Merge `given` (`[{key, value}]`, or with `id`) into the `meta_data` of `doc` as the interface does: into the
    /// entry with this id, or else into the first with this key. A null value removes the entry.
    pub async fn merge_meta(&mut self, doc: &mut Doc, given: &Value) -> Result<()> {
        let mut metas = doc.get("meta_data").and_then(Value::as_array).cloned().unwrap_or_default();
        for meta in given.as_array().into_iter().flatten() {
            let (id, key) = (meta["id"].as_i64(), meta["key"].as_str().unwrap_or_default());
            let found = metas.iter().position(|have| match id {
                Some(id) => have["id"].as_i64() == Some(id),
                None => have["key"] == key,
            });
            let value = meta.get("value").cloned().unwrap_or_default();
            match found {
                Some(at) if value.is_null() => {
                    metas.remove(at);
                }
                Some(at) => metas[at]["value"] = value,
                None if value.is_null() || key.is_empty() => {}
                None => {
                    let id = self.next("meta").await?;
                    metas.push(json!({ "id": id, "key": key, "value": value }));
                }
            }
        }
        doc.insert("meta_data".into(), metas.into());
        Ok(())
    }

    /// Tax rate of a class in a country, in percent; absent if the shop charges none.
    pub async fn tax_rate(
        &mut self,
        class: &str,
        country: &str,
        state: &str,
    ) -> Result<Option<(i64, String, Decimal)>> {
        let row: Option<(i64, String, String)> = sqlx::query_as(
            "SELECT id, name, percent FROM tax_rates WHERE class = ?1 AND country IN (?2, '') AND state IN (?3, '') \
             ORDER BY country DESC, state DESC LIMIT 1",
        )
        .bind(class)
        .bind(country)
        .bind(state)
        .fetch_optional(&mut *self.db)
        .await?;
        Ok(row.map(|(id, name, percent)| (id, name, percent.parse().unwrap_or_default())))
    }
}
