//! A compiled cursor. What it does with the values of rows stands in `run/cursor.rs`.

use chrono::TimeDelta;

use super::clock::Clock;
use crate::{
    adapter::manifest::{CursorKind, CursorSpec, Overlap},
    expr::{Expr, KnownNames},
    load::{LoadError, Place, SourceFile},
};

/// A compiled [`CursorSpec`].
#[derive(Clone, Debug)]
pub struct Cursor {
    pub field: Expr,
    pub kind: CursorKind,
    pub clock: Clock,
    pub overlap: Overlap,
    pub ahead: TimeDelta,
}

/// How far a time may lie in the future, unless the adapter sets `ahead`.
const AHEAD: TimeDelta = TimeDelta::minutes(5);

impl Cursor {
    /// `row` holds the names that the expression on a row may use.
    ///
    /// # Errors
    /// If the zone is unknown, the format names no moment, the overlap does not fit the kind, or the expression is
    /// wrong.
    pub fn compile(spec: &CursorSpec, file: &std::sync::Arc<SourceFile>, row: &KnownNames) -> Result<Self, LoadError> {
        let place = Place::of(file, &spec.field.0);
        let overlap = match (spec.kind, spec.overlap) {
            (CursorKind::Time, None) => Overlap::Time(std::time::Duration::ZERO),
            (CursorKind::Number | CursorKind::Text, None) => Overlap::Count(0),
            (CursorKind::Time, Some(Overlap::Count(_))) => {
                return Err(LoadError::new(&place, "the overlap of a time is a length of time").help("such as \"2m\""));
            }
            (CursorKind::Number, Some(Overlap::Time(_))) => {
                return Err(LoadError::new(&place, "the overlap of a counter is a whole number"));
            }
            (CursorKind::Text, Some(_)) => {
                return Err(LoadError::new(&place, "a cursor of kind `text` has no overlap"));
            }
            (_, Some(overlap)) => overlap,
        };
        Ok(Self {
            field: Expr::compile(spec.field.0.as_ref(), &place, row)?,
            kind: spec.kind,
            clock: Clock::compile(spec, file)?,
            overlap,
            ahead: spec.ahead.map_or(AHEAD, |span| TimeDelta::from_std(span.0).unwrap_or(TimeDelta::MAX)),
        })
    }

    /// How far a listing of times reaches back before the watermark. Return `None` for counters and texts.
    #[must_use]
    pub fn reaches_back(&self) -> Option<std::time::Duration> {
        match self.overlap {
            Overlap::Time(overlap) => Some(overlap),
            Overlap::Count(_) => None,
        }
    }

    #[must_use]
    pub fn is_time(&self) -> bool {
        self.kind == CursorKind::Time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(toml: &str) -> Result<Cursor, LoadError> {
        let file = SourceFile::new("a.toml", toml);
        Cursor::compile(&crate::load::parse(&file)?, &file, &KnownNames::any())
    }

    #[test]
    fn a_format_that_names_no_moment_is_refused_with_its_place_and_what_to_add() {
        for (format, problem, hint) in [
            ("%Y-%m-%d %H:%M:%S", "names no offset", "`zone = "),
            ("%Y-%m-%d", "names no offset", "`zone = "),
            ("%Y-%m-%d %H:%M %Z", "names no offset", "`zone = "),
            ("%H:%M:%S", "names no day", "%Y-%m-%d"),
            ("%Y-%m", "names no day", "%Y-%m-%d"),
            ("%Y-%Q", "is no strftime format", "%Y-%m-%d"),
        ] {
            let error = cursor(&format!("field = \"at\"\nformat = \"{format}\"\n")).unwrap_err();
            let hinted = error.problems.iter().find_map(|problem| problem.help.clone()).unwrap_or_default();
            let message = error.to_string();
            assert!(
                message.starts_with("a.toml:2:10") && message.contains(problem) && hinted.contains(hint),
                "{message}: {hinted}"
            );
        }
        assert!(cursor("field = \"at\"\nsend = \"%Q\"\n").is_err());
        for fine in ["%Y-%m-%dT%H:%M:%S%.fZ", "%Y-%m-%d %H:%M:%S %z", "%d/%m/%Y %H:%M%:z", "%s", "%+"] {
            assert!(cursor(&format!("field = \"at\"\nformat = \"{fine}\"\n")).is_ok(), "{fine}");
        }
        assert!(cursor("field = \"n\"\nkind = \"text\"\nformat = \"%Y\"\n").is_ok(), "a text has no clock");
    }

    #[test]
    fn a_zone_or_overlap_that_does_not_fit_is_refused_with_its_place() {
        let error = cursor("field = \"at\"\nzone = \"Madrid\"\n").unwrap_err().to_string();
        assert!(error.starts_with("a.toml:2:") && error.contains("Madrid"), "{error}");
        assert!(cursor("field = \"at\"\noverlap = 5\n").is_err());
        assert!(cursor("field = \"at\"\nkind = \"number\"\noverlap = \"5s\"\n").is_err());
    }
}
