//! Names of systems, entities, lists and fields as small numbers, so that a million rows do not repeat them.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
};

use super::{
    Result, StoreError,
    sql::{Pool, args},
};

#[derive(Default)]
struct NameCache {
    ids: HashMap<String, i64>,
    texts: HashMap<i64, String>,
}

/// Dictionary of names. A name that was seen once is kept in memory, since its number never changes.
#[derive(Default)]
pub(super) struct Names {
    known: RwLock<NameCache>,
}

impl Names {
    /// Return the number of a name; give it one if it has none.
    pub(super) async fn id(&self, pool: &Pool, text: &str) -> Result<i64> {
        const FIND: &str = "SELECT id FROM name WHERE text = $1";
        const ADD: &str = "INSERT INTO name (text) VALUES ($1) ON CONFLICT DO NOTHING";
        if let Some(id) = self.known.read().unwrap_or_else(PoisonError::into_inner).ids.get(text) {
            return Ok(*id);
        }
        let mut found = pool.read("find a name", FIND, args![text]).await?;
        if found.is_empty() {
            pool.execute("add a name", ADD, args![text]).await?;
            found = pool.read("find a name", FIND, args![text]).await?;
        }
        let id = found.first().ok_or(StoreError::Stale("name"))?.int(0)?;
        self.remember(id, text.to_owned());
        Ok(id)
    }

    /// Return the name that has this number.
    pub(super) async fn text(&self, pool: &Pool, id: i64) -> Result<String> {
        if let Some(text) = self.known.read().unwrap_or_else(PoisonError::into_inner).texts.get(&id) {
            return Ok(text.clone());
        }
        let mut found = pool.read("read a name", "SELECT text FROM name WHERE id = $1", args![id]).await?;
        let row = found.first_mut().ok_or_else(|| StoreError::Row {
            table: "name",
            column: "id",
            row: id.to_string(),
            problem: "no such name; the database was changed by hand or is damaged".into(),
        })?;
        let text = row.text(0)?;
        self.remember(id, text.clone());
        Ok(text)
    }

    fn remember(&self, id: i64, text: String) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.ids.insert(text.clone(), id);
        known.texts.insert(id, text);
    }
}
