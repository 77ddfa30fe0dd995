//! Plain paths: `sku`, `brand.name`, `lines[0].id`, `["Precio Venta"]`. They are looked up directly, without the
//! expression engine.

use std::fmt;

use serde_json::Value;

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Member(String),
    Item(usize),
}

/// Steps from a value down to one of its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    pub steps: Vec<Step>,
}

/// What was found in place of a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("missing member `{0}`")]
    Missing(String),
    #[error("`{at}` is {found}, not {expected}")]
    Kind { at: String, found: &'static str, expected: &'static str },
}

impl Path {
    /// Read a path. Return `None` if the text is not a path. `wild` also accepts member names that an expression
    /// could not write: `@id`, `#text`, `tax-class`, `dc:title`.
    #[must_use]
    pub fn parse(text: &str, wild: bool) -> Option<Self> {
        let mut steps = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            if let Some(inner) = rest.strip_prefix('[') {
                let (step, after) = bracket(inner)?;
                steps.push(step);
                rest = after;
            } else {
                let name = if steps.is_empty() { rest } else { rest.strip_prefix('.')? };
                let end = name.find(['.', '[']).unwrap_or(name.len());
                let (name, after) = name.split_at(end);
                if !steps.is_empty() && !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit()) {
                    steps.push(Step::Item(name.parse().ok()?));
                } else if is_name(name, wild) {
                    steps.push(Step::Member(name.to_owned()));
                } else {
                    return None;
                }
                rest = after;
            }
        }
        (!steps.is_empty()).then_some(Self { steps })
    }

    /// The value at the path.
    pub fn get<'v>(&self, value: &'v Value) -> Result<&'v Value, PathError> {
        walk(value, &self.steps, 0, self)
    }

    /// The value below the first step. The first step names the variable that has `value`.
    pub(super) fn get_below<'v>(&self, value: &'v Value) -> Result<&'v Value, PathError> {
        walk(value, &self.steps[1..], 1, self)
    }

    /// The name of the first step.
    #[must_use]
    pub fn root(&self) -> Option<&str> {
        match self.steps.first() {
            Some(Step::Member(name)) => Some(name),
            _ => None,
        }
    }

    /// Put a value at the path, and create missing objects on the way. Lists are not created: return false if a
    /// step needs one.
    pub fn put(&self, target: &mut serde_json::Map<String, Value>, value: Value) -> bool {
        let Some((Step::Member(last), way)) = self.steps.split_last() else { return false };
        let mut at = target;
        for step in way {
            let Step::Member(name) = step else { return false };
            let next = at.entry(name.clone()).or_insert_with(|| Value::Object(serde_json::Map::new()));
            match next {
                Value::Object(members) => at = members,
                _ => return false,
            }
        }
        at.insert(last.clone(), value);
        true
    }

    fn upto(&self, count: usize) -> String {
        Self { steps: self.steps[..count].to_vec() }.to_string()
    }
}

fn walk<'v>(value: &'v Value, steps: &[Step], done: usize, path: &Path) -> Result<&'v Value, PathError> {
    let mut at = value;
    for (index, step) in steps.iter().enumerate() {
        let wrong = |expected| {
            let above = if done + index == 0 { "the row".to_owned() } else { path.upto(done + index) };
            PathError::Kind { at: above, found: super::json_kind(at), expected }
        };
        at = match (step, at) {
            (Step::Member(name), Value::Object(members)) => members.get(name),
            (Step::Item(number), Value::Array(items)) => items.get(*number),
            (Step::Member(_), _) => return Err(wrong("an object")),
            (Step::Item(_), _) => return Err(wrong("a list")),
        }
        .ok_or_else(|| PathError::Missing(path.upto(done + index + 1)))?;
    }
    Ok(at)
}

fn bracket(inner: &str) -> Option<(Step, &str)> {
    if let Some(quote) = inner.chars().next().filter(|c| *c == '"' || *c == '\'') {
        let (name, after) = inner[1..].split_once(quote)?;
        let after = after.strip_prefix(']')?;
        return (!name.contains('\\')).then(|| (Step::Member(name.to_owned()), after));
    }
    let (number, after) = inner.split_once(']')?;
    (!number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
        .then(|| number.parse().ok())
        .flatten()
        .map(|number| (Step::Item(number), after))
}

fn is_name(name: &str, wild: bool) -> bool {
    let mut characters = name.chars();
    let Some(first) = characters.next() else { return false };
    let start = first.is_alphabetic() || first == '_' || first == '@' || first == '#' && wild;
    start && characters.all(|c| c.is_alphanumeric() || c == '_' || wild && matches!(c, '-' | ':' | '@' | '#'))
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.steps.iter().enumerate() {
            match step {
                Step::Member(name) if !is_name(name, true) => write!(f, "[\"{name}\"]")?,
                Step::Member(name) if index == 0 => f.write_str(name)?,
                Step::Member(name) => write!(f, ".{name}")?,
                Step::Item(number) => write!(f, "[{number}]")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn plain_paths_are_distinguished_from_expressions() {
        for text in ["sku", "brand.name", "a.0.b", "lines[0].id", "[\"Precio Venta\"]", "a['x y'].b", "año", "@id"] {
            assert!(Path::parse(text, false).is_some(), "{text}");
        }
        for text in ["", "a + b", "a.b()", "a-b", "\"x\"", "12", "a..b", "a.", ".a", "a[b]", "-1", "x ?? y"] {
            assert!(Path::parse(text, false).is_none(), "{text}");
        }
        assert!(Path::parse("tax-class", true).is_some());
    }

    #[test]
    fn a_path_is_strict() {
        let row = json!({ "brand": { "name": "x" }, "lines": [{ "id": 1 }], "none": null });
        let get = |text: &str| Path::parse(text, true).unwrap().get(&row).cloned().map_err(|e| e.to_string());
        assert_eq!(get("brand.name"), Ok(json!("x")));
        assert_eq!(get("lines.0.id"), Ok(json!(1)));
        assert_eq!(get("none"), Ok(json!(null)));
        assert_eq!(get("brand.nme"), Err("missing member `brand.nme`".into()));
        assert_eq!(get("lines[1]"), Err("missing member `lines[1]`".into()));
        assert_eq!(get("none.x"), Err("`none` is (), not an object".into()));
    }

    #[test]
    fn a_value_is_put_where_the_path_says() {
        let mut row = serde_json::Map::new();
        assert!(Path::parse("a.b", false).unwrap().put(&mut row, json!(1)));
        assert!(Path::parse("a.c", false).unwrap().put(&mut row, json!(2)));
        assert!(!Path::parse("a.b.c", false).unwrap().put(&mut row, json!(2)));
        assert_eq!(Value::Object(row), json!({ "a": { "b": 1, "c": 2 } }));
    }
}
