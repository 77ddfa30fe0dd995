//! States that earlier versions have written. (SQLite's are proven beside the code that opens them.)

use std::path::Path;

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, migrate::Migrator};
use vaiven::internals::store::{self, MappingRevision, OrderReadings, Reading, RecordId, RunKind};

use super::backend::{at, postgres_schema};

/// What versions before step 21 noted of their readings.
const NOTES: &str = "INSERT INTO note VALUES ('adopted:shop/order', 'true'), \
    ('reader:erp/stock', '{\"mapping\":18446744073709551615,\"adapter\":9223372036854775809}'), \
    ('whole:erp/stock', '\"2027-01-15T08:00:09.000000Z\"'), \
    ('read:erp/stock', '{\"since\":3,\"listed\":5,\"had\":{\"shop\":[7,9]}}'), \
    ('read:shop/order', '{\"before\":2,\"last\":4}'), ('heard:shop', '4'), \
    ('fired:catalog', '\"2027-01-15T08:00:05+00:00\"'), ('fired-full:catalog', '\"2027-01-15T08:00:01+00:00\"')";

#[tokio::test]
async fn a_postgresql_state_of_every_earlier_schema_is_brought_up_to_date_with_what_it_knew_of_readings() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/postgres/migrations");
    let all = Migrator::new(folder).await.unwrap();
    for known in 1..all.migrations.len() {
        let Some(url) = postgres_schema().await else { return };
        let mut connection = PgConnection::connect(&url).await.unwrap();
        let early = all.migrations[..known].to_vec();
        let early = Migrator { migrations: early.into(), ..Migrator::DEFAULT };
        early.run_direct(None, &mut connection, false).await.unwrap();
        connection.execute(AssertSqlSafe(NOTES)).await.unwrap();
        connection.close().await.unwrap();

        let store = store::open(&url).await.unwrap();
        let orders = Some(OrderReadings { before: 2, last: 4 });
        let expected = Reading { is_adopted: true, orders, ..Reading::default() };
        assert_eq!(store.reading("shop", "order").await.unwrap(), expected, "from step {known}");
        let reading = store.reading("erp", "stock").await.unwrap();
        let revision = MappingRevision { mapping: u64::MAX, adapter: 9_223_372_036_854_775_809 };
        assert_eq!((reading.revision, reading.whole_at), (Some(revision), Some(at(9))), "from step {known}");
        let stock = reading.stock.unwrap();
        assert_eq!((stock.since, stock.listed), (3, 5), "from step {known}");
        assert_eq!(stock.had["shop"].iter().copied().collect::<Vec<_>>(), [7, 9].map(RecordId), "from step {known}");
        assert_eq!(store.heard("shop", "order").await.unwrap(), Some(4), "from step {known}");
        assert_eq!(store.fired("catalog", RunKind::Delta).await.unwrap(), Some(at(5)), "from step {known}");
        assert_eq!(store.fired("catalog", RunKind::Full).await.unwrap(), Some(at(1)), "from step {known}");
        assert!(store.notes("").await.unwrap().is_empty(), "from step {known}");
    }
}
