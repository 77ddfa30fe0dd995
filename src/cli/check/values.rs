//! Checks the values that lookups write and settings name against those that a system allows.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    config::OpenedConfig,
    failure::Failure,
    port::{PullRequest, System, ValuesOf},
};

/// Values that a system would refuse, or take for something else: one sentence for each lookup and entity that is
/// written there, and for each setting.
///
/// # Errors
/// If the list of allowed values cannot be read.
pub async fn unknown(plan: &OpenedConfig, system: &dyn System) -> Result<Vec<String>, Failure> {
    let mut problems = Vec::new();
    for list in system.value_lists() {
        match &list.of {
            ValuesOf::Lookup(lookup) => problems.extend(of_lookup(plan, system, &list.entity, lookup).await?),
            ValuesOf::Setting { said, .. } if said.is_empty() => {}
            ValuesOf::Setting { name, said } => {
                let allowed = values(system, &list.entity).await?;
                problems.extend(of_setting(system.name(), &list.entity, name, said, &allowed));
            }
        }
    }
    Ok(problems)
}

async fn of_lookup(plan: &OpenedConfig, system: &dyn System, list: &str, lookup: &str) -> Result<Vec<String>, Failure> {
    let mut problems = Vec::new();
    let mut allowed: Option<BTreeSet<String>> = None;
    for ((_, entity), mapping) in plan.mappings.iter().filter(|((name, _), _)| name == system.name()) {
        let is_written = plan.routes.flows().iter().any(|flow| {
            flow.to.iter().any(|to| to == system.name()) && flow.entities.iter().any(|carried| carried == entity)
        });
        let Some(written) = mapping.written_values().remove(lookup).filter(|_| is_written) else { continue };
        if allowed.is_none() {
            allowed = Some(values(system, list).await?);
        }
        let missing = missing(&written, allowed.as_ref());
        if !missing.is_empty() {
            problems.push(format!(
                "{} has no {list} {}, which lookup {lookup} writes for {entity}; add it there, or name another under \
                 [systems.{}.lookups.{lookup}]",
                system.name(),
                missing.join(", "),
                system.name()
            ));
        }
    }
    Ok(problems)
}

fn of_setting(system: &str, list: &str, setting: &str, said: &[String], allowed: &BTreeSet<String>) -> Option<String> {
    let missing: Vec<String> =
        said.iter().filter(|value| !allowed.contains(*value)).map(|value| format!("`{value}`")).collect();
    let shown: Vec<&str> = allowed.iter().take(SHOWN).map(String::as_str).collect();
    let more = if allowed.len() > SHOWN { ", ..." } else { "" };
    let there = if shown.is_empty() { "none".to_owned() } else { shown.join(", ") + more };
    (!missing.is_empty()).then(|| {
        format!(
            "{system} has no {list} {}, which setting {setting} says; it has {there}: add it there, or name another \
             under [systems.{system}]",
            missing.join(", ")
        )
    })
}

/// Maximum number of allowed values that are named.
const SHOWN: usize = 10;

fn missing(written: &BTreeMap<String, String>, allowed: Option<&BTreeSet<String>>) -> Vec<String> {
    let is_missing = |value: &String| allowed.is_some_and(|allowed| !allowed.contains(value));
    let missing = written.iter().filter(|(_, value)| is_missing(value));
    missing.map(|(canonical, value)| format!("`{value}` (for {canonical})")).collect()
}

/// Ids of all objects of a listing.
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

    #[test]
    fn a_setting_that_the_system_does_not_allow_is_named_with_what_it_allows() {
        let allowed = BTreeSet::from(["EUR".to_owned(), "GBP".to_owned()]);
        let said = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>();
        assert_eq!(of_setting("shop", "currency", "currency", &said(&["EUR"]), &allowed), None);
        assert_eq!(
            of_setting("shop", "currency", "currency", &said(&["EUR", "USD"]), &allowed).as_deref(),
            Some(
                "shop has no currency `USD`, which setting currency says; it has EUR, GBP: add it there, or name \
                 another under [systems.shop]"
            )
        );
    }
}
