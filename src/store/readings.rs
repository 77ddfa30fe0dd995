//! Readings: table family `reading`. What the listings of an entity of a system have proven.
//!
//! Called by `sync::pull`, which lists, by `sync::stock`, which offers no more than is proven, by
//! `sync::engine`, which asks what was read before something joined, and by `sync::preview`, which compares mappings.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{
    RecordId, Result, StoreError,
    database::Database,
    sql::{Arg, Row, Tx, args},
    values::{json, micros, parse, time},
};

/// The versions of mapping and adapter that turn a system's rows into objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MappingRevision {
    pub mapping: u64,
    pub adapter: u64,
}

/// Up to which delivery a source's stock figures are known to include the orders that arrived. Counted by the
/// store's counter, which each delivery raises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StockEvidence {
    /// The figures include the orders of deliveries up to this number.
    pub since: i64,
    /// When the last listing began, whatever it returned.
    pub listed: i64,
    /// By target: orders still to be delivered that the target already had when the first listing began, though we
    /// had not sent them there.
    pub had: BTreeMap<String, BTreeSet<RecordId>>,
}

/// When the last reading of a shop's orders began, and when the last one before it began whose orders all stock
/// figures take into account. Counted as [`StockEvidence`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderReadings {
    pub before: i64,
    pub last: i64,
}

/// What a listing proves once its last page is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proven {
    Stock(StockEvidence),
    Orders(OrderReadings),
}

/// All that is known of the readings of one entity of one system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Whether it was read completely at least once. From then on, existing objects are known, and are not created
    /// again.
    pub is_adopted: bool,
    /// The mapping revision of the last full reading that succeeded.
    pub revision: Option<MappingRevision>,
    /// When the last full reading that succeeded began.
    pub whole_at: Option<DateTime<Utc>>,
    pub stock: Option<StockEvidence>,
    pub orders: Option<OrderReadings>,
}

/// Table family `reading`. Called by `sync::stock`, `sync::pull`, `sync::engine` and `sync::preview`.
///
/// Each method that writes is idempotent.
///
/// # Errors
///
/// Those of [`Store`](super::Store).
#[async_trait]
pub trait ReadingStore: Send + Sync {
    /// Return what is known of an entity; it is empty if the entity was never read.
    async fn reading(&self, system: &str, entity: &str) -> Result<Reading>;

    /// Return the beginning of the last reading of a shop's orders that all stock figures take into account.
    async fn heard(&self, shop: &str, entity: &str) -> Result<Option<i64>>;

    /// Store that everything was read once.
    async fn set_adopted(&self, system: &str, entity: &str) -> Result<()>;

    /// Store the mapping revision of the last full reading.
    async fn set_revision(&self, system: &str, entity: &str, revision: MappingRevision) -> Result<()>;

    /// Store when the last full reading began.
    async fn set_whole(&self, system: &str, entity: &str, at: DateTime<Utc>) -> Result<()>;

    /// Store what is proven without a page; [`PageCommit::proven`](super::PageCommit::proven) stores it together
    /// with one.
    async fn set_proven(&self, system: &str, entity: &str, proven: &Proven) -> Result<()>;

    /// Store that all stock figures take the reading of a shop's orders into account that began at `heard`.
    async fn set_heard(&self, shop: &str, entity: &str, heard: i64) -> Result<()>;
}

/// A statement that sets columns of one row; it inserts the row if there is none.
macro_rules! set {
    ($columns:literal, $values:literal, $set:literal) => {
        concat!(
            "INSERT INTO reading (system, entity, ",
            $columns,
            ") VALUES ($1, $2, ",
            $values,
            ") ON CONFLICT (system, entity) DO UPDATE SET ",
            $set
        )
    };
}

const SET_STOCK: &str = set!(
    "stock_since, stock_listed, stock_had",
    "$3, $4, $5",
    "stock_since = excluded.stock_since, stock_listed = excluded.stock_listed, stock_had = excluded.stock_had"
);
const SET_ORDERS: &str = set!(
    "orders_before, orders_last",
    "$3, $4",
    "orders_before = excluded.orders_before, orders_last = excluded.orders_last"
);

/// The statement that stores what is proven, and its parameters.
fn statement(system: &str, entity: &str, proven: &Proven) -> Result<(&'static str, Vec<Arg>)> {
    Ok(match proven {
        Proven::Stock(evidence) => {
            (SET_STOCK, args![system, entity, evidence.since, evidence.listed, json(&evidence.had)?])
        }
        Proven::Orders(readings) => (SET_ORDERS, args![system, entity, readings.before, readings.last]),
    })
}

/// Store what is proven, inside a transaction.
pub(super) async fn write_proven(tx: &mut Tx, system: &str, entity: &str, proven: &Proven) -> Result<()> {
    let (sql, args) = statement(system, entity, proven)?;
    tx.execute("store what a reading proves", sql, args).await.map(drop)
}

#[async_trait]
impl ReadingStore for Database {
    async fn reading(&self, system: &str, entity: &str) -> Result<Reading> {
        const SQL: &str = "SELECT adopted, mapping, adapter, whole_at, stock_since, stock_listed, stock_had, \
            orders_before, orders_last FROM reading WHERE system = $1 AND entity = $2";
        let mut found = self.pool.read("read what readings have proven", SQL, args![system, entity]).await?;
        found.first_mut().map_or_else(|| Ok(Reading::default()), |row| reading(row, &|| format!("{system}/{entity}")))
    }

    async fn heard(&self, shop: &str, entity: &str) -> Result<Option<i64>> {
        const SQL: &str = "SELECT orders_heard FROM reading WHERE system = $1 AND entity = $2";
        let mut found = self.pool.read("read what stock has heard of", SQL, args![shop, entity]).await?;
        let Some(row) = found.first_mut() else { return Ok(None) };
        row.int_or_null(0)
    }

    async fn set_adopted(&self, system: &str, entity: &str) -> Result<()> {
        const SQL: &str = set!("adopted", "1", "adopted = 1");
        self.pool.execute("store a first reading", SQL, args![system, entity]).await.map(drop)
    }

    async fn set_revision(&self, system: &str, entity: &str, revision: MappingRevision) -> Result<()> {
        const SQL: &str = set!("mapping, adapter", "$3, $4", "mapping = excluded.mapping, adapter = excluded.adapter");
        let args = args![system, entity, revision.mapping.to_string(), revision.adapter.to_string()];
        self.pool.execute("store what was read with", SQL, args).await.map(drop)
    }

    async fn set_whole(&self, system: &str, entity: &str, at: DateTime<Utc>) -> Result<()> {
        const SQL: &str = set!("whole_at", "$3", "whole_at = excluded.whole_at");
        self.pool.execute("store a whole reading", SQL, args![system, entity, micros(at)]).await.map(drop)
    }

    async fn set_proven(&self, system: &str, entity: &str, proven: &Proven) -> Result<()> {
        let (sql, args) = statement(system, entity, proven)?;
        self.pool.execute("store what a reading proves", sql, args).await.map(drop)
    }

    async fn set_heard(&self, shop: &str, entity: &str, heard: i64) -> Result<()> {
        const SQL: &str = set!("orders_heard", "$3", "orders_heard = excluded.orders_heard");
        self.pool.execute("store what stock has heard of", SQL, args![shop, entity, heard]).await.map(drop)
    }
}

fn reading(row: &mut Row, name: &impl Fn() -> String) -> Result<Reading> {
    let version = |text: Option<String>, column| match text {
        None => Ok(None),
        Some(text) => text.parse::<u64>().map(Some).map_err(|error| StoreError::Row {
            table: "reading",
            column,
            row: name(),
            problem: error.to_string(),
        }),
    };
    let (mapping, adapter) = (version(row.text_or_null(1)?, "mapping")?, version(row.text_or_null(2)?, "adapter")?);
    let stock = match (row.int_or_null(4)?, row.int_or_null(5)?) {
        (Some(since), Some(listed)) => {
            let had = row.text_or_null(6)?.map(|had| parse(&had, "reading", "stock_had", name)).transpose()?;
            Some(StockEvidence { since, listed, had: had.unwrap_or_default() })
        }
        _ => None,
    };
    Ok(Reading {
        is_adopted: row.int(0)? != 0,
        revision: mapping.zip(adapter).map(|(mapping, adapter)| MappingRevision { mapping, adapter }),
        whole_at: row.int_or_null(3)?.map(time),
        stock,
        orders: row.int_or_null(7)?.zip(row.int_or_null(8)?).map(|(before, last)| OrderReadings { before, last }),
    })
}
