//! Reservations: table family `held`. Orders that the stock's source cannot know of yet, and the quantities that
//! are kept back from sale for them.
//!
//! Called by `sync::stock`, which computes and releases the quantities, by `sync::desired`, which subtracts them,
//! and by `sync::delivery`, which stores them.

use std::collections::BTreeMap;

use async_trait::async_trait;
use rust_decimal::Decimal;

use super::{
    RecordId, Replica, Result, StoreError,
    database::Database,
    replicas::select_replicas,
    sql::{args, rows},
};
use crate::model::decimal;

/// Table family `held`: stock that is reserved. Called by `sync::stock`, `sync::desired` and `sync::delivery`.
///
/// # Errors
///
/// Those of [`Store`](super::Store).
#[async_trait]
pub trait StockStore: Send + Sync {
    /// Return the live replicas at `shop` of `entity` that `target` may not have taken into account yet, ordered by
    /// record: those with an open job or an open conflict there, and those that a delivery with a number above
    /// `since` has written there (without `since`: none of these).
    async fn unreserved_orders(
        &self,
        entity: &str,
        shop: &str,
        target: &str,
        since: Option<i64>,
    ) -> Result<Vec<Replica>>;

    /// Return the quantities that are kept back from a system's stock.
    async fn reservations(&self, system: &str) -> Result<BTreeMap<RecordId, Decimal>>;

    /// Store the quantities to keep back, and delete those that are zero. Idempotent. Two transactions if there are
    /// both kinds.
    async fn reserve(&self, system: &str, quantities: &[(RecordId, Decimal)]) -> Result<()>;
}

#[async_trait]
impl StockStore for Database {
    async fn unreserved_orders(
        &self,
        entity: &str,
        shop: &str,
        target: &str,
        since: Option<i64>,
    ) -> Result<Vec<Replica>> {
        // Each branch except the small table of conflicts has an index of its own; the planner must not have to
        // guess which branch is narrow.
        const SQL: &str = select_replicas!(
            "FROM (SELECT record FROM job WHERE target = $2 AND entity = $3 AND state < 2 \
                UNION SELECT record FROM job WHERE target = $2 AND entity = $3 AND state = 2 \
                UNION SELECT record FROM job WHERE target = $2 AND entity = $3 AND state = 3 \
                UNION SELECT c.record FROM conflict c, replica t \
                    WHERE t.record = c.record AND t.system = $2 AND t.entity = $3 \
                UNION SELECT record FROM replica WHERE system = $2 AND entity = $3 AND written > 0 AND written > $4) o \
             CROSS JOIN replica r WHERE r.record = o.record AND r.system = $1 AND r.entity = $3 AND r.gone_at IS NULL \
                AND r.fields IS NOT NULL ORDER BY r.record"
        );
        let (shop, target, entity) = (self.name(shop).await?, self.name(target).await?, self.name(entity).await?);
        let args = args![shop, target, entity, since.unwrap_or(i64::MAX)];
        let found = self.pool.read("look for orders in flight", SQL, args).await?;
        self.replicas_in(found).await
    }

    async fn reservations(&self, system: &str) -> Result<BTreeMap<RecordId, Decimal>> {
        const SQL: &str = "SELECT record, quantity FROM held WHERE system = $1";
        let system = self.name(system).await?;
        let mut reservations = BTreeMap::new();
        for mut row in self.pool.read("read what is held", SQL, args![system]).await? {
            let (record, text) = (row.id::<RecordId>(0)?, row.text(1)?);
            let quantity = decimal::parse(&text).ok_or_else(|| StoreError::Row {
                table: "held",
                column: "quantity",
                row: record.to_string(),
                problem: format!("`{text}` is not a decimal"),
            })?;
            reservations.insert(record, quantity);
        }
        Ok(reservations)
    }

    async fn reserve(&self, system: &str, quantities: &[(RecordId, Decimal)]) -> Result<()> {
        const LET_GO: &str = "DELETE FROM held WHERE system = $2 \
            AND record IN (SELECT CAST(j.value->>0 AS BIGINT) FROM json_each($1) j)";
        const RESERVE: &str = "INSERT INTO held (system, record, quantity) \
            SELECT $2, CAST(j.value->>0 AS BIGINT), j.value->>1 FROM json_each($1) j WHERE true \
            ON CONFLICT (system, record) DO UPDATE SET quantity = excluded.quantity";
        let system = self.name(system).await?;
        // Every worker uses the same order, so that two workers cannot wait for each other's rows.
        let quantities: BTreeMap<RecordId, Decimal> = quantities.iter().copied().collect();
        let (reserved, free): (Vec<_>, Vec<_>) = quantities.into_iter().partition(|(_, quantity)| !quantity.is_zero());
        if !reserved.is_empty() {
            let lines = rows(reserved.into_iter().map(|(record, quantity)| (record, decimal::canonical(quantity))))?;
            self.pool.execute("reserve stock", RESERVE, args![lines, system]).await?;
        }
        if !free.is_empty() {
            let lines = rows(free.into_iter().map(|(record, _)| [record]))?;
            self.pool.execute("let stock go", LET_GO, args![lines, system]).await?;
        }
        Ok(())
    }
}
