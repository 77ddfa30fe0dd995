//! Rows, and answers, that cannot be read: what is reported about them, and which records they may belong to.

use serde_json::Value;

use crate::{
    failure::Failure,
    mapping::Translate,
    store::Rejection,
    sync::{
        conflict::respelt,
        context::{Context, outcome},
        routing::{MatchRule, matches},
    },
};

/// A row, or an answer, that cannot be read.
pub(in crate::sync) struct UnreadRow<'a> {
    pub(in crate::sync) position: String,
    pub(in crate::sync) id: String,
    pub(in crate::sync) body: &'a Value,
}

/// Return what is reported about a row, or an answer, that cannot be read. `of`: system and entity.
pub(in crate::sync) fn unreadable(
    context: &Context,
    mapping: &dyn Translate,
    of: (&str, &str),
    UnreadRow { position, id, body }: UnreadRow<'_>,
    failure: Failure,
) -> Rejection {
    Rejection {
        position,
        id: Some(id),
        field: failure.field.clone(),
        reason: outcome::describe(&failure),
        cause: failure.cause.map(|cause| *cause),
        articles: mapping.named(body),
        likes: likes(context, mapping, of, body),
        dismissed: false,
    }
}

/// Return what an unreadable row shows about which record it is; `None` if it may be any.
pub(super) fn likes(
    context: &Context,
    mapping: &dyn Translate,
    of: (&str, &str),
    row: &Value,
) -> Option<Vec<(String, String)>> {
    let (system, entity) = of;
    let rules = context.routes.matches(entity);
    let glimpse = mapping.glimpse(row);
    let unread = |rule: &&MatchRule| glimpse.unread.iter().any(|field| rule.names(field));
    if rules.iter().any(unread) {
        return None;
    }
    let spec = context.entities.get(entity).map(|spec| &**spec);
    let mut likes = vec![(String::new(), glimpse.key?)];
    likes.extend(matches(spec, &rules, &glimpse.fields));
    likes.extend(respelt::values(context, system, entity, &likes[0].1));
    Some(likes)
}
