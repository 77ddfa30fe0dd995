//! Reads one page of every entity, as the flows would read it: finds what cannot be read or mapped, what the
//! mapping names and rows never have, and what the flows' `where` makes of the rows.

use std::{collections::BTreeSet, sync::Arc};

use super::Line;
use crate::{
    config::OpenedConfig,
    mapping::Fields,
    port::{PullRequest, System},
    sync,
};

/// Number of rows of a page that are checked.
const ROWS: usize = 50;

/// Lines and warnings.
#[derive(Default)]
pub(super) struct Looked {
    pub lines: Vec<Line>,
    pub warnings: Vec<String>,
}

/// Read a page of each entity that flows read from or write to this system.
pub(super) async fn look(plan: &OpenedConfig, system: &Arc<dyn System>) -> Looked {
    // A check must not pick anything up.
    let read_only = system.read_only();
    let reader = read_only.as_ref().unwrap_or(system);
    let mut looked = Looked::default();
    let entities: BTreeSet<&str> = (plan.mappings.keys())
        .filter(|(name, entity)| {
            name == system.name() && system.capabilities(entity).is_some_and(|capabilities| capabilities.list)
        })
        .map(|(_, entity)| entity.as_str())
        .collect();
    for entity in entities {
        let request = PullRequest { entity, since: None, page: None, limit: ROWS };
        match reader.pull(&request).await {
            Ok(page) => {
                let unreadable = page.errors.first().map(|error| format!("{}: {}", error.position, error.reason));
                let rows = page.rows.into_iter().take(ROWS).map(|row| (row.position, row.body.into_value())).collect();
                Page { plan, system: system.name(), entity, rows, unreadable }.evaluate(&mut looked);
            }
            Err(failure) => {
                looked.lines.push(line(system.name(), format!("first page of {entity}"), Some(failure.to_string())))
            }
        }
    }
    looked
}

fn line(system: &str, what: String, problem: Option<String>) -> Line {
    Line { subject: system.to_owned(), what, problem }
}

/// What was read of one entity.
struct Page<'a> {
    plan: &'a OpenedConfig,
    system: &'a str,
    entity: &'a str,
    /// Each row with its position.
    rows: Vec<(String, serde_json::Value)>,
    /// The first row that could not be read at all.
    unreadable: Option<String>,
}

impl Page<'_> {
    fn evaluate(self, looked: &mut Looked) {
        let Self { plan, system, entity, rows, unreadable } = self;
        let Some(mapping) = plan.mappings.get(&(system.to_owned(), entity.to_owned())) else { return };
        let count = rows.len();
        let what = format!("first page of {entity}: {}", super::output::count(count as u64, "row"));
        let mut refused = unreadable.into_iter().collect::<Vec<_>>();
        let mut mapped: Vec<Fields> = Vec::new();
        let mut first = None;
        for (position, row) in &rows {
            match sync::canonical(&plan.entities, mapping.as_ref(), entity, row) {
                Ok(pulled) => mapped.push(pulled.fields),
                Err(failure) => {
                    first.get_or_insert_with(|| format!("{position}: {failure}"));
                }
            }
        }
        let unmapped = count - mapped.len();
        refused.extend(first.map(|first| format!("{unmapped} of {count} cannot be mapped; the first, {first}")));
        // If one row is refused, the row is wrong; if all are, the mapping is.
        let hopeless = mapped.is_empty() && !refused.is_empty();
        looked.lines.push(line(system, what, hopeless.then(|| refused.join("; "))));
        if !hopeless {
            looked.warnings.extend(refused.into_iter().map(|refused| format!("{system}/{entity}: {refused}")));
        }
        let values: Vec<&serde_json::Value> = rows.iter().map(|(_, row)| row).collect();
        looked.warnings.extend(mapping.unseen(&values).into_iter().map(|unseen| {
            format!(
                "{}: `{}`, from which field {} of {system}/{entity} is read, is in no row ({} read)",
                unseen.place,
                unseen.member,
                unseen.field,
                super::output::count(count as u64, "row")
            )
        }));
        if let Some(spec) = plan.entities.get(entity) {
            let read_by = plan.routes.flows().iter().filter(|flow| flow.from == system);
            for flow in read_by.filter(|flow| flow.entities.iter().any(|carried| carried == entity)) {
                let admitted = mapped.iter().map(|fields| sync::admits(flow, entity, spec, fields));
                let admitted: Vec<bool> = match admitted.collect::<Result<_, _>>() {
                    Ok(admitted) => admitted,
                    Err(failure) => {
                        let what = format!("what flow {} brings", flow.name);
                        looked.lines.push(line(system, what, Some(failure.to_string())));
                        continue;
                    }
                };
                if !admitted.is_empty() && !admitted.contains(&true) {
                    looked.warnings.push(format!(
                        "flow {}: `where` matches no row of {system}/{entity} ({} read)",
                        flow.name,
                        super::output::count(admitted.len() as u64, "row")
                    ));
                }
            }
        }
    }
}
