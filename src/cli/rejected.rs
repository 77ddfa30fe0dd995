//! `vaiven rejected`: rows, and answers to our own writes, that could not be read; with the reason and the place in
//! the mapping.

use std::path::Path;

use serde::Serialize;

use super::{Ending, app, output, session::Session};
use crate::{config::OpenedConfig, mapping::Translate, store::Rejection};

/// A row that could not be read.
#[derive(Serialize)]
pub struct Line {
    pub system: String,
    pub entity: String,
    /// The key of the row, if it can be read.
    pub key: Option<String>,
    /// Where the mapping defines the field: `mappings/web/order.toml:7:1`.
    pub place: Option<String>,
    /// Whether it came in a file, which is moved away once it has been read.
    pub handed: bool,
    #[serde(flatten)]
    pub row: Rejection,
}

pub async fn rejected(system: Option<&str>, limit: u32, session: &Session) -> anyhow::Result<Ending> {
    let Session { config, store, output, .. } = session;
    let most = if limit == 0 { u32::MAX } else { limit };
    let rows = store.rejections(system, most).await?;
    // Rows may remain of a system that is no longer configured.
    if let Some(system) = system.filter(|_| rows.is_empty()) {
        app::known_system(system, config)?;
    }
    let plan = if rows.is_empty() { None } else { session.opened() };
    let lines: Vec<Line> = rows.into_iter().map(|row| Line::new(row, plan.as_ref())).collect();
    output.show(&lines, |lines| text(lines, system, limit))?;
    Ok(if lines.iter().any(|line| !line.row.dismissed) { Ending::Attention } else { Ending::Fine })
}

impl Line {
    /// Add the place of the row's field, if the mapping can be opened.
    pub fn new((system, entity, mut row): (String, String, Rejection), plan: Option<&OpenedConfig>) -> Self {
        // If the mapping has put the place into the reason, take it from there.
        let said = row.reason.split_once(": ").filter(|(place, _)| is_place(place));
        let (said, reason) = said.map(|(place, rest)| (place.to_owned(), rest.to_owned())).unzip();
        if let Some(reason) = reason {
            row.reason = reason;
        }
        // The field has a column of its own: remove it from the reason.
        let named = row.field.as_deref().and_then(|field| row.reason.strip_prefix(field)?.strip_prefix(": "));
        if let Some(reason) = named.map(str::to_owned) {
            row.reason = reason;
        }
        let field = row.field.as_deref().map(|field| format!(" (field {field})"));
        if let Some(end) = field.and_then(|field| row.reason.strip_suffix(&field).map(str::len)) {
            row.reason.truncate(end);
        }
        let mapping = plan.and_then(|plan| plan.mappings.get(&(system.clone(), entity.clone())));
        let of_field = |mapping: &dyn Translate| mapping.place(row.field.as_deref()?);
        let place = said.or_else(|| of_field(mapping?.as_ref()));
        let capabilities = plan.and_then(|plan| plan.systems.get(&system)?.capabilities(&entity));
        let handed = capabilities.is_some_and(|capabilities| capabilities.handed);
        Self { key: row.key().map(str::to_owned), system, entity, place, handed, row }
    }

    /// The name of the row for people.
    pub fn name(&self) -> String {
        match (&self.row.id, &self.key) {
            (Some(id), Some(key)) if id != key => format!("{id} ({key})"),
            (Some(name), _) | (None, Some(name)) => name.clone(),
            (None, None) => self.row.position.clone(),
        }
    }

    /// Why it cannot be read, with field and place.
    pub fn why(&self) -> String {
        let field = self.row.field.as_deref().map(|field| format!("{field}: ")).unwrap_or_default();
        let place = self.place.as_deref().map(|place| format!(" ({place})")).unwrap_or_default();
        format!("{field}{}{place}", self.row.reason)
    }
}

/// `FILE:LINE:COLUMN`
fn is_place(text: &str) -> bool {
    let mut pieces = text.rsplitn(3, ':');
    let numbers = pieces.by_ref().take(2).filter(|piece| piece.parse::<u32>().is_ok()).count();
    numbers == 2 && pieces.next().is_some_and(|file| Path::new(file).extension().is_some_and(|kind| kind == "toml"))
}

fn text(lines: &[Line], system: Option<&str>, limit: u32) -> String {
    if lines.is_empty() {
        return system
            .map_or("Every row could be read.".to_owned(), |system| format!("Every row of {system} could be read."));
    }
    let rows = lines.iter().map(|line| {
        [
            format!("{}/{}", line.system, line.entity),
            line.name(),
            line.row.field.clone().unwrap_or_default(),
            format!("{}{}", line.row.reason, if line.row.dismissed { " (put aside)" } else { "" }),
            line.place.clone().unwrap_or_default(),
            line.row.position.clone(),
        ]
    });
    let table = output::table(["from", "row", "field", "why it could not be read", "mapping", "seen at"], rows);
    let more = if limit > 0 && lines.len() >= usize::try_from(limit).unwrap_or(usize::MAX) {
        format!("\n(the first {limit}; more with --limit)")
    } else {
        String::new()
    };
    let files = if lines.iter().any(|line| line.handed) {
        " Rows that came in a file are read again when the file is there again: put it back from `done/`, or hand over a new one."
    } else {
        ""
    };
    format!(
        "{table}{more}\n\nCorrect the row or the mapping, then `vaiven resync FLOW/ENTITY/ROW` reads it again; or put it \
         aside: `vaiven rows dismiss SYSTEM/ENTITY ROW`.{files}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(reason: &str) -> Line {
        let row = Rejection {
            position: "page 1 row 3".into(),
            id: Some("17".into()),
            field: Some("sku".into()),
            reason: reason.into(),
            cause: None,
            articles: None,
            likes: Some(vec![("vat".into(), "B12345674".into()), (String::new(), "C-7".into())]),
            dismissed: false,
        };
        Line::new(("shop".into(), "customer".into(), row), None)
    }

    #[test]
    fn the_place_that_a_reason_begins_with_has_a_column_of_its_own() {
        let line = row("mappings/web/order.toml:7:12: the row has no `sku`");
        assert_eq!(line.place.as_deref(), Some("mappings/web/order.toml:7:12"));
        assert_eq!(line.row.reason, "the row has no `sku`");
        let bare = row("12:30: no time");
        assert_eq!((bare.place, bare.row.reason.as_str()), (None, "12:30: no time"));
    }

    #[test]
    fn the_field_is_not_shown_twice() {
        assert_eq!(row("sku: holds a NUL character").why(), "sku: holds a NUL character");
        assert_eq!(row("no number (field sku)").row.reason, "no number");
        assert_eq!(row("no number (field name)").row.reason, "no number (field name)");
    }

    #[test]
    fn a_row_is_named_by_its_id_and_key_and_by_no_match_value() {
        let line = row("no");
        assert_eq!(line.name(), "17 (C-7)");
        assert!(!serde_json::to_string(&line).unwrap().contains("B12345674"), "a tax number is a person's");
    }
}
