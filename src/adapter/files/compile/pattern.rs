//! Which files of the folder are meant.

/// A pattern for files of one subfolder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// Path below the root; empty for the root itself.
    pub folder: String,
    name: String,
}

impl Pattern {
    /// # Errors
    /// If the path leads out of the folder, or a folder's name contains wildcards.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (folder, name) = text.rsplit_once('/').unwrap_or(("", text));
        inside(text)?;
        if folder.contains(['*', '?']) {
            return Err("wildcards are for file names, not for folders".to_owned());
        }
        Ok(Self { folder: folder.to_owned(), name: name.to_owned() })
    }

    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let hidden = name.starts_with('.') && !self.name.starts_with('.');
        !hidden && wild(self.name.as_bytes(), name.as_bytes())
    }
}

/// Whether a name matches a pattern of `*` and `?`. Backtracking goes only to the last star, so the time is not
/// exponential.
fn wild(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut seen, mut star) = (0, 0, None);
    while seen < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, seen));
                at += 1;
            }
            Some(byte) if *byte == b'?' || *byte == name[seen] => {
                at += 1;
                seen += 1;
            }
            _ => match star {
                Some((back, from)) => {
                    at = back + 1;
                    seen = from + 1;
                    star = Some((back, from + 1));
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// # Errors
/// If a relative path could lead out of the folder.
pub fn inside(path: &str) -> Result<(), String> {
    if path.is_empty() || path.contains(['\\', '\0']) {
        return Err("is no name of a file".to_owned());
    }
    if path.starts_with('/') || path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err("must be a name below the folder, without `..`".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_with_stars_and_marks() {
        for (pattern, name, expected) in [
            ("precios*.csv", "precios_1.csv", true),
            ("precios*.csv", "precios.csv.tmp", false),
            ("*.csv", "a.b.csv", true),
            ("p?.csv", "p1.csv", true),
            ("p?.csv", "p.csv", false),
            ("*.csv", ".hidden.csv", false),
            ("*a*b*c", "xaxbxbxc", true),
            ("precios.csv", "Precios.csv", false),
        ] {
            assert_eq!(Pattern::parse(pattern).unwrap().matches(name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn paths_that_lead_out_are_refused() {
        for path in ["../x.csv", "/etc/passwd", "a/../../x", "", "a//b", "a\\b", "./a"] {
            assert!(Pattern::parse(path).is_err(), "{path}");
        }
        assert!(Pattern::parse("*/x.csv").is_err());
        assert_eq!(Pattern::parse("in/x.csv").unwrap().folder, "in");
    }
}
