//! What a system holds of an object right now, for people who ask. Nothing is stored, and nothing is picked up.

use serde_json::Value;

use crate::{
    failure::Failure,
    mapping::{Fields, Pulled, RefBy},
    model::EntitySpec,
    port::{PageToken, PullRequest, SourceRow, System},
    store::{Replica, Result},
    sync::{
        context::{Context, outcome},
        pull::observe,
    },
};

const PAGE_ROWS: usize = 1000;

/// What a system showed.
#[derive(Clone, Debug, PartialEq)]
pub struct Live {
    pub system: String,
    pub id: String,
    /// Whether its whole listing was read, because it cannot be read by key.
    pub listed: bool,
    /// The object's fields, or why they could not be read. References are record numbers; a reference to something
    /// unknown is the system's own text. `None` if the system has no such object.
    pub fields: std::result::Result<Option<Fields>, String>,
}

/// Read an object at its system. `replica` is what is known of it.
///
/// # Errors
/// If the store fails. A failure of the system is reported in the result.
pub async fn live(context: &Context, replica: &Replica) -> Result<Live> {
    let (system, entity, id) = (&replica.system, &replica.entity, &replica.id);
    let result = |listed, fields| Live { system: system.clone(), id: id.clone(), listed, fields };
    let (Some(endpoint), Some(mapping)) = (context.systems.get(system), context.mapping(system, entity)) else {
        return Ok(result(false, Err(format!("the configuration has no mapping for {entity} of {system}"))));
    };
    let capabilities = endpoint.capabilities(entity).cloned().unwrap_or_default();
    let (listed, found) = if capabilities.read {
        let rows = endpoint.read(entity, std::slice::from_ref(id)).await;
        (false, rows.map(|rows| rows.into_iter().find(|row| row.id == *id)))
    } else if capabilities.list {
        (true, in_listing(endpoint.read_only().unwrap_or_else(|| endpoint.clone()).as_ref(), entity, id).await)
    } else {
        return Ok(result(false, Err(format!("{system} cannot be read"))));
    };
    let read = found.and_then(|row| {
        row.map(|row| {
            crate::sync::context::canonical(&context.entities, mapping.as_ref(), entity, &row.body.into_value())
        })
        .transpose()
    });
    let fields = match read {
        Ok(Some(pulled)) => {
            let spec = context.entities.get(entity).map(|spec| &**spec);
            Ok(Some(referring(context, spec, system, &replica.fields, pulled).await?))
        }
        Ok(None) => Ok(None),
        Err(failure) => Err(outcome::describe(&failure)),
    };
    Ok(result(listed, fields))
}

async fn in_listing(system: &dyn System, entity: &str, id: &str) -> std::result::Result<Option<SourceRow>, Failure> {
    let mut at: Option<PageToken> = None;
    let mut found = None;
    loop {
        let request = PullRequest { entity, since: None, page: at.as_ref(), limit: PAGE_ROWS };
        let page = system.pull(&request).await?;
        // If there are several, the last one counts.
        found = page.rows.into_iter().rfind(|row| row.id == id).or(found);
        at = page.next;
        if at.is_none() {
            return Ok(found);
        }
    }
}

/// Fill in the references. No record is created for what is unknown.
async fn referring(
    context: &Context,
    spec: Option<&EntitySpec>,
    system: &str,
    known: &Fields,
    mut pulled: Pulled,
) -> Result<Fields> {
    let mut whole = Value::Object(std::mem::take(&mut pulled.fields));
    for reference in &pulled.refs {
        let (word, record) = match &reference.by {
            RefBy::Id(id) => {
                let there = context.store.replicas_by_id(system, &reference.entity, std::slice::from_ref(id)).await?;
                (format!("{} {id}", reference.entity), there.first().map(|replica| replica.record))
            }
            RefBy::Key(key) => (key.clone(), context.store.record(&reference.entity, key).await?),
        };
        if let Some(slot) = whole.pointer_mut(&reference.pointer) {
            *slot = record.map_or_else(|| Value::from(word), Value::from);
        }
    }
    if let Value::Object(fields) = whole {
        pulled.fields = fields;
    }
    observe::as_known(spec, known, &mut pulled);
    Ok(pulled.fields)
}
