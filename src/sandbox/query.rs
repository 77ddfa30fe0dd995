//! Listing: paging, order and date filters, with the traps of the real shop. The default order is unstable: the
//! order of rows with equal dates depends on the page, so pages repeat and skip rows. Only `orderby=id` is safe.

use std::cmp::Ordering;

use chrono::{DateTime, NaiveDateTime, Utc};
use serde_json::{Value, json};

use super::{
    check::{Kind, Schema, check},
    db::{Doc, Site, stamp},
    refusal::Result,
};

/// Query parameters that every listing checks.
const LISTING: Schema = &[
    ("per_page", Kind::Range(1, 100)),
    ("page", Kind::Range(1, i64::MAX)),
    ("order", Kind::OneOf(&["asc", "desc"])),
    ("after", Kind::Time),
    ("before", Kind::Time),
    ("modified_after", Kind::Time),
    ("modified_before", Kind::Time),
    ("dates_are_gmt", Kind::Flag),
    ("include", Kind::Wholes),
    ("exclude", Kind::Wholes),
    ("offset", Kind::Whole),
];

/// A time in a query, and whether it names its zone.
pub fn moment(text: &str) -> Option<(NaiveDateTime, bool)> {
    if let Ok(zoned) = DateTime::parse_from_rfc3339(text) {
        return Some((zoned.with_timezone(&Utc).naive_utc(), true));
    }
    NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").ok().map(|time| (time, false))
}

/// What is known of a row without reading all of it.
#[derive(Clone, Debug)]
pub struct Head {
    pub id: i64,
    pub created: String,
    pub modified: String,
    pub name: String,
}

/// A checked listing request.
#[derive(Debug)]
pub struct Listing {
    pub per_page: usize,
    pub page: usize,
    offset: Option<usize>,
    order_by: String,
    descending: bool,
    include: Option<Vec<i64>>,
    exclude: Vec<i64>,
    bounds: Vec<Bound>,
}

#[derive(Debug)]
struct Bound {
    modified: bool,
    /// Whether dates are compared in the shop's local time instead of UTC.
    local: bool,
    after: bool,
    limit: String,
}

impl Listing {
    /// # Errors
    /// 400 with the names of the parameters that do not fit.
    pub fn new(query: &mut Doc, site: &Site, order_by: &str, descending: bool) -> Result<Self> {
        check(LISTING, query)?;
        let number = |name: &str| query.get(name).and_then(Value::as_i64).and_then(|n| usize::try_from(n).ok());
        let gmt = query.get("dates_are_gmt") == Some(&json!(true));
        let mut bounds = Vec::new();
        for (name, modified, after) in [
            ("after", false, true),
            ("before", false, false),
            ("modified_after", true, true),
            ("modified_before", true, false),
        ] {
            if let Some((time, zoned)) = query.get(name).and_then(Value::as_str).and_then(moment) {
                // A time with a zone is first converted to the shop's local time, even if it is then compared with
                // a UTC column.
                let time = if zoned { time.and_utc().with_timezone(&site.zone).naive_local() } else { time };
                bounds.push(Bound { modified, local: !gmt, after, limit: stamp(time) });
            }
        }
        let ids = |name: &str| {
            query.get(name).and_then(Value::as_array).map(|ids| ids.iter().filter_map(Value::as_i64).collect())
        };
        Ok(Self {
            per_page: number("per_page").unwrap_or(10),
            page: number("page").unwrap_or(1),
            offset: number("offset"),
            order_by: query.get("orderby").and_then(Value::as_str).unwrap_or(order_by).to_owned(),
            descending: query.get("order").and_then(Value::as_str).map_or(descending, |order| order == "desc"),
            include: ids("include").filter(|ids: &Vec<i64>| !ids.is_empty()),
            exclude: ids("exclude").unwrap_or_default(),
            bounds,
        })
    }

    /// Ignore the date filters, as the list of customers does.
    #[must_use]
    pub fn without_dates(mut self) -> Self {
        self.bounds.clear();
        self
    }

    /// The ids of the requested page, and the total number of rows.
    pub fn page(&self, mut heads: Vec<Head>, site: &Site) -> (Vec<i64>, usize) {
        heads.retain(|head| {
            self.include.as_ref().is_none_or(|ids| ids.contains(&head.id))
                && !self.exclude.contains(&head.id)
                && self.bounds.iter().all(|bound| bound.holds(head, site))
        });
        heads.sort_by(|a, b| {
            let order = self.compare(a, b);
            if self.descending { order.reverse() } else { order }.then_with(|| self.shuffle(a).cmp(&self.shuffle(b)))
        });
        let total = heads.len();
        let start = self.offset.unwrap_or((self.page - 1).saturating_mul(self.per_page));
        (heads.iter().skip(start).take(self.per_page).map(|head| head.id).collect(), total)
    }

    fn compare(&self, a: &Head, b: &Head) -> Ordering {
        match self.order_by.as_str() {
            "id" => a.id.cmp(&b.id),
            "modified" => a.modified.cmp(&b.modified),
            "title" | "name" | "slug" => a.name.to_lowercase().cmp(&b.name.to_lowercase()),
            "include" => {
                let place = |head: &Head| self.include.iter().flatten().position(|id| *id == head.id);
                let order = place(a).cmp(&place(b));
                if self.descending { order.reverse() } else { order }
            }
            _ => a.created.cmp(&b.created),
        }
    }

    /// Order rows of equal dates differently on every page.
    fn shuffle(&self, head: &Head) -> u64 {
        let mixed = head.id.unsigned_abs().wrapping_add(self.page as u64 * 7919).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        mixed >> 40
    }
}

impl Bound {
    fn holds(&self, head: &Head, site: &Site) -> bool {
        let gmt = if self.modified { &head.modified } else { &head.created };
        let local;
        let value = if self.local {
            local = site.local(&json!(gmt));
            local.as_str().unwrap_or_default()
        } else {
            gmt
        };
        if self.after { value > self.limit.as_str() } else { value < self.limit.as_str() }
    }
}

/// Keep only the members named in `_fields`.
pub fn only_fields(object: &mut Value, fields: &str) {
    let asked: Vec<&str> = fields.split(',').map(str::trim).collect();
    if let Value::Object(members) = object {
        members.retain(|name, _| asked.contains(&name.as_str()));
    }
}
