//! Children: table family `child`. Sub-objects with an id of their own at a system: which id stands for which child
//! of a record.
//!
//! A child is known by (system, record, list, key). Its rows at all systems share a member number. So a child whose
//! key changes at its source is still the same child at the other systems.
//!
//! Called by `sync::stock`, `sync::desired` and `sync::delivery` to resolve references, and by `sync::identity` to
//! find which record has a child already.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use async_trait::async_trait;

use super::{
    RecordId, Result,
    database::Database,
    replicas::Replicas,
    sql::{Row, Tx, args, rows},
};
use crate::mapping::Children;

/// A sub-object that has an id of its own at a system: a variant, an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    pub system: String,
    /// The field of the record that holds it: `variants`.
    pub list: String,
    /// Its canonical key, as that system shows it.
    pub key: String,
    /// The system's own id of the child.
    pub id: String,
    /// Number of the child, the same at every system, whatever key it has there.
    pub member: i64,
}

/// The object that has a child at a system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    pub record: RecordId,
    /// The system's id of the object.
    pub object: String,
    pub key: String,
    /// The child's key there.
    pub child: String,
}

/// Table family `child`: sub-objects with ids of their own. Called by `sync::identity`, `sync::stock`,
/// `sync::desired` and `sync::delivery`.
///
/// # Errors
///
/// Those of [`Store`](super::Store).
#[async_trait]
pub trait ChildStore: Send + Sync {
    /// Find the children of live objects at a system by (list, key), with the entity before the list:
    /// `product.variants`. Return the id and the record of each. If a key finds several children, it does not say
    /// which of them is meant.
    async fn child_ids(
        &self,
        system: &str,
        asked: &[(String, String)],
    ) -> Result<BTreeMap<(String, String), Vec<(String, RecordId)>>>;

    /// Find the live objects at a system that have a child of (list, id), with the entity before the list:
    /// `product.variants`. The one that has been known longest comes first.
    async fn parents(
        &self,
        system: &str,
        asked: &[(String, String)],
    ) -> Result<BTreeMap<(String, String), Vec<Parent>>>;

    /// Return the children of records at all systems.
    async fn children_of(&self, records: &[RecordId]) -> Result<BTreeMap<RecordId, Vec<Child>>>;
}

const OF_RECORDS: &str = "SELECT c.number, coalesce(c.member, c.number), c.record, c.system, c.list, c.key, c.id \
    FROM json_each($1) j CROSS JOIN child c WHERE c.record = CAST(j.value->>0 AS BIGINT) ORDER BY c.number";

/// Live objects that have a child under these ids. If the record is an alias, return the record that it is the same
/// as.
pub(super) const PARENTS: &str = "SELECT j.key, coalesce(k.same, k.id), r.id, k.key, c.key \
    FROM json_each($1) j CROSS JOIN child c CROSS JOIN replica r CROSS JOIN record k \
    WHERE c.system = $2 AND c.list = CAST(j.value->>0 AS BIGINT) AND c.id = j.value->>1 \
      AND r.record = c.record AND r.system = $2 AND r.gone_at IS NULL AND r.fields IS NOT NULL \
      AND k.id = c.record AND k.key IS NOT NULL ORDER BY c.number";

#[async_trait]
impl ChildStore for Database {
    async fn child_ids(
        &self,
        system: &str,
        asked: &[(String, String)],
    ) -> Result<BTreeMap<(String, String), Vec<(String, RecordId)>>> {
        const SQL: &str = "SELECT j.key, c.id, c.record FROM json_each($1) j CROSS JOIN child c CROSS JOIN replica r \
            WHERE c.system = $2 AND c.list = CAST(j.value->>0 AS BIGINT) AND c.key = j.value->>1 \
              AND r.record = c.record AND r.system = $2 AND r.gone_at IS NULL ORDER BY c.record, c.number";
        let system = self.name(system).await?;
        let mut keys = Vec::with_capacity(asked.len());
        for (list, key) in asked {
            keys.push((self.name(list).await?, key));
        }
        let mut child_ids: BTreeMap<(String, String), Vec<(String, RecordId)>> = BTreeMap::new();
        for mut row in self.pool.read("find children", SQL, args![rows(keys)?, system]).await? {
            let asked = asked[row.small::<usize>(0)?].clone();
            child_ids.entry(asked).or_default().push((row.text(1)?, row.id(2)?));
        }
        Ok(child_ids)
    }

    async fn parents(
        &self,
        system: &str,
        asked: &[(String, String)],
    ) -> Result<BTreeMap<(String, String), Vec<Parent>>> {
        let system = self.name(system).await?;
        let mut lines = Vec::with_capacity(asked.len());
        for (list, id) in asked {
            lines.push((self.name(list).await?, id));
        }
        let mut parents: BTreeMap<(String, String), Vec<Parent>> = BTreeMap::new();
        for mut row in self.pool.read("find whose children these are", PARENTS, args![rows(lines)?, system]).await? {
            let (at, parent) = parent(&mut row)?;
            parents.entry(asked[at].clone()).or_default().push(parent);
        }
        Ok(parents)
    }

    async fn children_of(&self, records: &[RecordId]) -> Result<BTreeMap<RecordId, Vec<Child>>> {
        let records = rows(records.iter().map(|record| [record]))?;
        let mut children: BTreeMap<RecordId, Vec<Child>> = BTreeMap::new();
        for mut row in self.pool.read("read children", OF_RECORDS, args![records]).await? {
            let line = Line::of(&mut row)?;
            let list = self.text(line.list).await?;
            // The dictionary holds `product.variants`; a record's own children are listed under `variants`.
            let list = list.split_once('.').map_or(list.as_str(), |(_, list)| list).to_owned();
            let system = self.text(line.system).await?;
            children.entry(line.record).or_default().push(Child {
                system,
                list,
                key: line.key,
                id: line.id,
                member: line.member,
            });
        }
        Ok(children)
    }
}

/// A row of [`PARENTS`]: the position in what was asked for, and the object that has the child.
pub(super) fn parent(row: &mut Row) -> Result<(usize, Parent)> {
    let at = row.small(0)?;
    Ok((at, Parent { record: row.id(1)?, object: row.text(2)?, key: row.text(3)?, child: row.text(4)? }))
}

/// A row of table `child`.
#[derive(Clone, Debug)]
struct Line {
    number: i64,
    member: i64,
    record: RecordId,
    system: i64,
    list: i64,
    key: String,
    id: String,
}

impl Line {
    fn of(row: &mut Row) -> Result<Self> {
        Ok(Self {
            number: row.int(0)?,
            member: row.int(1)?,
            record: row.id(2)?,
            system: row.int(3)?,
            list: row.int(4)?,
            key: row.text(5)?,
            id: row.text(6)?,
        })
    }
}

/// The changes that writing children makes.
#[derive(Debug, Default)]
struct Edits {
    /// Numbers of rows.
    gone: Vec<i64>,
    /// Number of the row to its new member, key and id.
    altered: BTreeMap<i64, (i64, String, String)>,
    /// Member (`None`: a new number of their own), record, list, key, id.
    new: Vec<(Option<i64>, RecordId, i64, String, String)>,
}

impl Replicas<'_> {
    /// Store the children of records as a system shows them, and return the (entity and list, key) of each child
    /// that came, went or has another key now. Lists that are not named stay as they are, and so does the id of an
    /// item that is shown without one.
    ///
    /// A child that is shown with a known id is the same child, whatever its key. A child with another id replaces
    /// the one that has its key.
    pub(super) async fn write_children(
        &self,
        tx: &mut Tx,
        shown: &[(RecordId, &Children)],
        gone: &[RecordId],
    ) -> Result<BTreeSet<(String, String)>> {
        let mut touched = BTreeSet::new();
        if shown.iter().all(|(_, children)| children.is_empty()) && gone.is_empty() {
            return Ok(touched);
        }
        let mut lists: BTreeMap<&str, i64> = BTreeMap::new();
        for list in shown.iter().flat_map(|(_, children)| children.keys()) {
            lists.insert(list, self.database.name(&self.list_name(list)).await?);
        }
        let records: BTreeSet<RecordId> = shown.iter().map(|(record, _)| *record).chain(gone.iter().copied()).collect();
        let mut known: HashMap<RecordId, Vec<Line>> = HashMap::new();
        for mut row in tx.rows("read children", OF_RECORDS, args![rows(records.iter().map(|one| [one]))?]).await? {
            let line = Line::of(&mut row)?;
            known.entry(line.record).or_default().push(line);
        }
        let mut edits = Edits::default();
        let nobody = Vec::new();
        for record in gone {
            let ours = known.get(record).into_iter().flatten().filter(|line| line.system == self.system);
            edits.gone.extend(ours.map(|line| line.number));
        }
        for (record, children) in shown {
            let known = known.get(record).unwrap_or(&nobody);
            for (name, items) in *children {
                let list = lists.get(name.as_str()).copied().unwrap_or_default();
                let keys = compare(known, (self.system, *record, list), items, &mut edits);
                touched.extend(keys.into_iter().map(|key| (self.list_name(name), key)));
            }
        }
        self.edit(tx, edits).await?;
        Ok(touched)
    }

    async fn edit(&self, tx: &mut Tx, edits: Edits) -> Result<()> {
        const FORGET: &str =
            "DELETE FROM child WHERE number IN (SELECT CAST(j.value->>0 AS BIGINT) FROM json_each($1) j)";
        const ALTER: &str = "UPDATE child \
            SET member = CAST(j.value->>1 AS BIGINT), key = j.value->>2, id = j.value->>3 \
            FROM json_each($1) j WHERE child.number = CAST(j.value->>0 AS BIGINT)";
        const INSERT: &str = "INSERT INTO child (member, record, system, list, key, id) \
            SELECT CAST(j.value->>0 AS BIGINT), CAST(j.value->>1 AS BIGINT), $2, CAST(j.value->>2 AS BIGINT), \
                j.value->>3, j.value->>4 FROM json_each($1) j";
        if !edits.gone.is_empty() {
            tx.execute("forget children", FORGET, args![rows(edits.gone.iter().map(|one| [one]))?]).await?;
        }
        if !edits.altered.is_empty() {
            let lines = edits.altered.iter().map(|(number, (member, key, id))| (number, member, key, id));
            tx.execute("alter children", ALTER, args![rows(lines)?]).await?;
        }
        if !edits.new.is_empty() {
            tx.execute("insert children", INSERT, args![rows(&edits.new)?, self.system]).await?;
        }
        Ok(())
    }
}

/// An item to be stored: its key and id, the row that it has already, its member.
struct Item<'a> {
    key: &'a str,
    id: &'a str,
    row: Option<&'a Line>,
    member: Option<i64>,
}

/// Compare a list of one record at one (system, record, list) with its known children, and return the keys that
/// came, went or changed.
fn compare(
    known: &[Line],
    (system, record, list): (i64, RecordId, i64),
    shown: &BTreeMap<String, Option<String>>,
    edits: &mut Edits,
) -> BTreeSet<String> {
    let (ours, others): (Vec<&Line>, Vec<&Line>) =
        known.iter().filter(|line| line.list == list).partition(|line| line.system == system);
    let mut items = claimed(&ours, shown);
    join(&mut items, &others, edits);

    let mut touched = BTreeSet::new();
    let kept: BTreeSet<i64> = items.iter().filter_map(|item| item.row.map(|row| row.number)).collect();
    for line in ours.iter().filter(|line| !kept.contains(&line.number)) {
        touched.insert(line.key.clone());
        edits.gone.push(line.number);
    }
    let mut members: BTreeSet<i64> = items.iter().filter_map(|item| item.member).collect();
    for item in items {
        match item.row {
            Some(row) => {
                let own = if members.insert(row.member) { row.member } else { row.number };
                let member = item.member.unwrap_or(own);
                if row.key != item.key || row.id != item.id {
                    touched.extend([row.key.clone(), item.key.to_owned()]);
                } else if row.member == member {
                    continue;
                }
                edits.altered.insert(row.number, (member, item.key.to_owned(), item.id.to_owned()));
            }
            None => {
                touched.insert(item.key.to_owned());
                edits.new.push((item.member, record, list, item.key.to_owned(), item.id.to_owned()));
            }
        }
    }
    touched
}

/// Find the known row of each item that is shown: the row with its id, else the row with its key, if that is no
/// other item's.
fn claimed<'a>(ours: &[&'a Line], shown: &'a BTreeMap<String, Option<String>>) -> Vec<Item<'a>> {
    let mut taken: BTreeSet<i64> = BTreeSet::new();
    let mut by_id: BTreeMap<&str, &Line> = BTreeMap::new();
    for (key, id) in shown {
        let same = |line: &&&Line| Some(&line.id) == id.as_ref() && !taken.contains(&line.number);
        let found = ours.iter().find(|line| same(line) && line.key == *key).or_else(|| ours.iter().find(same));
        if let Some(line) = found {
            taken.insert(line.number);
            by_id.insert(key, line);
        }
    }
    let mut items = Vec::with_capacity(shown.len());
    for (key, id) in shown {
        let row = by_id.get(key.as_str()).copied().or_else(|| {
            let of_key = |line: &&&Line| line.key == *key && !taken.contains(&line.number);
            ours.iter().find(of_key).copied().inspect(|line| {
                taken.insert(line.number);
            })
        });
        // Nothing can refer to an item whose id was never shown.
        let Some(id) = id.as_deref().or(row.map(|row| row.id.as_str())) else { continue };
        items.push(Item { key, id, row, member: None });
    }
    items
}

/// Give the items their members. An item that has a row keeps its member while another system's row has it too.
/// Else it gets the member of the child with the same key at another system, if that is no other item's.
fn join(items: &mut [Item<'_>], others: &[&Line], edits: &mut Edits) {
    let elsewhere: BTreeSet<i64> = others.iter().map(|line| line.member).collect();
    let mut taken = BTreeSet::new();
    for item in items.iter_mut() {
        let member = item.row.map(|row| row.member).filter(|member| elsewhere.contains(member));
        item.member = member.filter(|member| taken.insert(*member));
    }
    for item in items.iter_mut().filter(|item| item.member.is_none()) {
        // The key at which both were last seen to agree counts before the present key.
        let names = item.row.map(|row| row.key.as_str()).into_iter().chain([item.key]);
        let same = names
            .into_iter()
            .find_map(|name| others.iter().find(|line| line.key == name && !taken.contains(&line.member)));
        item.member = same.map(|line| line.member);
        taken.extend(item.member);
    }
    // Children of other systems that are not tied yet: three systems may agree on one child.
    for item in items.iter() {
        let Some(member) = item.member else { continue };
        let tied: BTreeSet<i64> = others.iter().filter(|line| line.member == member).map(|line| line.system).collect();
        for line in others.iter().filter(|line| line.key == item.key && !taken.contains(&line.member)) {
            if !tied.contains(&line.system) {
                edits.altered.insert(line.number, (member, line.key.clone(), line.id.clone()));
            }
        }
    }
}
