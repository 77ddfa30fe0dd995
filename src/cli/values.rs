//! Values that lookups write, against those that a system allows.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    config::Plan,
    failure::Failure,
    port::{PullRequest, System},
};

/// What a system would not take, or take for something else: one sentence for each lookup and entity that is written there.
///
/// # Errors
/// When the list of what is allowed cannot be read.
pub async fn unknown(plan: &Plan, system: &dyn System) -> Result<Vec<String>, Failure> {
    let mut told = Vec::new();
    for (lookup, list) in system.value_lists() {
        let mut allowed: Option<BTreeSet<String>> = None;
        for ((_, entity), mapping) in plan.mappings.iter().filter(|((name, _), _)| name == system.name()) {
            let is_told = plan.routes.flows().iter().any(|flow| {
                flow.to.iter().any(|to| to == system.name()) && flow.entities.iter().any(|carried| carried == entity)
            });
            let Some(written) = mapping.written_values().remove(&lookup).filter(|_| is_told) else { continue };
            if allowed.is_none() {
                allowed = Some(values(system, &list).await?);
            }
            let missing = missing(&written, allowed.as_ref());
            if !missing.is_empty() {
                told.push(format!(
                    "{} has no {list} {}, which lookup {lookup} writes for {entity}; add it there, or name another under \
                     [systems.{}.lookups.{lookup}]",
                    system.name(),
                    missing.join(", "),
                    system.name()
                ));
            }
        }
    }
    Ok(told)
}

fn missing(written: &BTreeMap<String, String>, allowed: Option<&BTreeSet<String>>) -> Vec<String> {
    let is_missing = |value: &String| allowed.is_some_and(|allowed| !allowed.contains(value));
    let missing = written.iter().filter(|(_, value)| is_missing(value));
    missing.map(|(canonical, value)| format!("`{value}` (for {canonical})")).collect()
}

/// Ids of all that a listing holds.
async fn values(system: &dyn System, list: &str) -> Result<BTreeSet<String>, Failure> {
    let mut values = BTreeSet::new();
    let mut next = None;
    loop {
        let request = PullRequest { entity: list, since: None, page: next.as_ref(), limit: 100 };
        let page = system.pull(&request).await?;
        values.extend(page.rows.into_iter().map(|row| row.id));
        match page.next {
            Some(token) => next = Some(token),
            None => return Ok(values),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_the_system_does_not_allow_is_named_with_what_it_stands_for() {
        let written = BTreeMap::from([
            ("general".to_owned(), "standard".to_owned()),
            ("super-reduced".to_owned(), "super-reduced-rate".to_owned()),
        ]);
        let allowed = BTreeSet::from(["standard".to_owned(), "zero-rate".to_owned()]);
        assert_eq!(missing(&written, Some(&allowed)), ["`super-reduced-rate` (for super-reduced)"]);
    }
}
