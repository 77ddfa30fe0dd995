//! `vaiven check` of a database: the server prepares every statement, because it knows whether tables and columns
//! exist. What flows write is tried as far as possible without a trace. Overlaps are compared with the transactions
//! that are open now.

use std::time::Duration;

use super::{
    database::{Mode, Session},
    failure::{Phase, QueryError},
    system::SqlSystem,
};
use crate::{
    adapter::sql::compile::{Dialect, Query},
    failure::Failure,
    port::Checked,
};

impl SqlSystem {
    /// Check the connection, the statements and the overlaps.
    pub(super) async fn try_out(&self) -> Vec<Checked> {
        let mut session = match self.begin(Mode::Read, &self.name).await {
            Ok(session) => session,
            Err(failure) => return vec![Checked::new::<(), _>("connection", Err(failure))],
        };
        let mut lines = vec![Checked::new("connection", Ok::<_, Failure>(()))];
        for entity in self.entities.values() {
            let queries = entity.queries();
            let mut problems = Vec::new();
            for query in &queries {
                problems.extend(self.prepare(&mut session, query, "").await.err());
            }
            lines.push(Checked {
                what: format!("{} statements of {}", queries.len(), entity.name),
                problem: (!problems.is_empty()).then(|| problems.join("; ")),
                caution: None,
            });
        }
        lines.extend(self.open_transactions(&mut session).await);
        lines
    }

    /// Prepare the statements that write these entities, in a session that may write, without running them.
    pub(super) async fn try_writing(&self, entities: &[&str]) -> Vec<Checked> {
        let written = || self.entities.values().filter(|entity| entities.contains(&entity.name.as_str()));
        if written().all(|entity| entity.writing.queries().is_empty()) {
            return Vec::new();
        }
        let mut session = match self.begin(Mode::Write, &self.name).await {
            Ok(session) => session,
            Err(failure) => return vec![Checked::new::<(), _>("may be written to", Err(failure))],
        };
        let mut problems: Vec<String> =
            session.touch().await.err().map(|error| error.to_string()).into_iter().collect();
        for query in written().flat_map(|entity| entity.writing.queries()) {
            // PostgreSQL checks rights only when it plans a statement to run, as it does for `EXPLAIN`.
            let explain = self.database.dialect() == Dialect::Postgres && query.statement.is_plain();
            problems.extend(self.prepare(&mut session, query, if explain { "EXPLAIN " } else { "" }).await.err());
        }
        let problem = (!problems.is_empty()).then(|| problems.join("; "));
        // The session is dropped, so nothing of it remains.
        vec![Checked { what: "may be written to".to_owned(), problem, caution: None }]
    }

    /// Let the server prepare a statement. If `before` is `EXPLAIN`, run it with that prefix.
    async fn prepare(&self, session: &mut Session, query: &Query, before: &str) -> Result<(), String> {
        let message = |error: QueryError| error.into_failure(&query.place, Phase::Running).to_string();
        let mut bound =
            query.statement.bind(|_| Ok::<_, Failure>(serde_json::Value::Null)).map_err(|f| f.to_string())?;
        bound.sql.insert_str(0, before);
        // In PostgreSQL a refused statement would end the transaction without this mark.
        session.mark().await.map_err(|error| message(error.into()))?;
        let tried = if before.is_empty() {
            session.prepare(bound.sql).await.map_err(QueryError::from)
        } else {
            session.run(bound, self.limits).await.map(drop)
        };
        session.undo().await.map_err(|error| message(error.into()))?;
        tried.map_err(message)
    }

    /// If a transaction is open for longer than a listing reaches back, the listing misses what that transaction
    /// commits.
    async fn open_transactions(&self, session: &mut Session) -> Option<Checked> {
        let open = session.longest_transaction().await.ok()??;
        let overlaps = self.entities.values().filter_map(|entity| {
            let overlap = entity.list.as_ref()?.cursor.as_ref()?.reaches_back()?;
            Some((entity.name.as_str(), overlap))
        });
        Some(Checked { what: "open transactions".to_owned(), problem: None, caution: caution(open, overlaps) })
    }
}

fn caution<'e>(open: Duration, overlaps: impl Iterator<Item = (&'e str, Duration)>) -> Option<String> {
    let short = overlaps.filter(|(_, overlap)| *overlap < open);
    let short: Vec<String> = short.map(|(entity, overlap)| format!("{entity} ({} s)", overlap.as_secs())).collect();
    (!short.is_empty()).then(|| {
        format!(
            "a transaction is open there for {} s, and listings reach back less: {}; what it commits is seen by the next \
             full pull alone. Raise `overlap` in the adapter",
            open.as_secs(),
            short.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        adapter::{Given, Manifest, SettingValue, World, http::Network},
        env::Env,
        load::{Place, SourceFile},
        port::{System, logins::InMemory},
    };

    async fn opened(folder: &std::path::Path, entities: &str, url: &str) -> Arc<dyn System> {
        let pool = sqlx::SqlitePool::connect(&format!("sqlite://{}/erp.db?mode=rwc", folder.display())).await.unwrap();
        sqlx::query("CREATE TABLE IF NOT EXISTS item (id INTEGER PRIMARY KEY, sku TEXT)").execute(&pool).await.unwrap();
        pool.close().await;
        let text = format!(
            "driver = \"sql\"\nsummary = \"x\"\n[settings]\nfile = {{ kind = \"path\" }}\n[sql]\nurl = \"{url}\"\n{entities}"
        );
        let manifest = Manifest::load(SourceFile::new("adapters/erp.toml", text)).unwrap();
        let place = Place::start(&manifest.file);
        let given = Given { value: SettingValue::Plain("erp.db".into()), place: place.clone() };
        let settings = manifest.check_settings(&[("file".to_owned(), given)].into_iter().collect(), &place).unwrap();
        let world = World {
            env: Env::system(),
            transport: Arc::new(Network::new().unwrap()),
            folder: folder.to_owned(),
            logins: Arc::new(InMemory::default()),
        };
        crate::adapter::open("erp", &manifest, &settings, &world).unwrap()
    }

    const ITEMS: &str = "[entities.product]\nid = \"id\"\n[entities.product.list]\nquery = \"SELECT id, sku FROM item\"\n\
                         [entities.product.create]\nquery = \"INSERT INTO item (sku) VALUES (:sku) RETURNING id\"\n";

    #[tokio::test]
    async fn a_statement_that_the_server_refuses_is_named_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let wrong = ITEMS.replace("INTO item (sku)", "INTO item (reference)");
        let system = opened(folder.path(), &wrong, "sqlite://${file}").await;
        let lines = system.check().await;
        let problem = lines.iter().find_map(|line| line.problem.as_deref()).unwrap();
        assert!(problem.contains("adapters/erp.toml:12:") && problem.contains("reference"), "{problem}");
        assert_eq!(lines.len(), 2, "the connection and one entity: {lines:?}");
    }

    #[tokio::test]
    async fn trying_leaves_no_trace() {
        let folder = tempfile::tempdir().unwrap();
        let system = opened(folder.path(), ITEMS, "sqlite://${file}").await;
        let lines = [system.check().await, system.check_writing(&["product"]).await].concat();
        assert!(lines.len() == 3 && lines.iter().all(|line| line.problem.is_none()), "{lines:?}");
        let pool = sqlx::SqlitePool::connect(&format!("sqlite://{}/erp.db", folder.path().display())).await.unwrap();
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM item").fetch_one(&pool).await.unwrap();
        assert_eq!(count, 0);
    }

    #[tokio::test]
    async fn a_database_that_may_only_be_read_is_noticed_where_it_is_to_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let system = opened(folder.path(), ITEMS, "sqlite://${file}?mode=ro").await;
        assert!(system.check().await.iter().all(|line| line.problem.is_none()));
        let lines = system.check_writing(&["product"]).await;
        assert!(lines[0].problem.as_ref().unwrap().contains("readonly"), "{lines:?}");
        assert!(system.check_writing(&["price"]).await.is_empty(), "nothing is brought there");
    }

    #[test]
    fn an_overlap_shorter_than_an_open_transaction_is_a_caution() {
        let overlaps = || [("product", Duration::from_secs(5)), ("price", Duration::from_mins(2))].into_iter();
        let message = caution(Duration::from_mins(1), overlaps()).unwrap();
        assert!(
            message.contains("60 s") && message.contains("product (5 s)") && !message.contains("price"),
            "{message}"
        );
        assert_eq!(caution(Duration::from_secs(4), overlaps()), None);
    }
}
