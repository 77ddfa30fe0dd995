//! Shows errors: to people with the line of the file if there is one, to programs as JSON.

use std::{
    error::Error,
    fmt,
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
};

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, SourceCode};
use serde_json::json;

use super::output;
use crate::{
    load::{LoadError, Problem},
    printable,
    store::StoreError,
};

/// Print an error to standard error.
pub fn error(error: &anyhow::Error, json: bool) -> ExitCode {
    let text = if json { machine(error) } else { human(error, output::colours(io::stderr().is_terminal())) };
    // If this cannot be printed, nobody can be informed.
    let _ = writeln!(io::stderr().lock(), "{}", text.trim_end());
    ExitCode::from(if is_of_the_configuration(error) { CONFIGURATION } else { 1 })
}

/// `EX_CONFIG` of sysexits: starting again does not help, so a supervisor does not restart the daemon.
const CONFIGURATION: u8 = 78;

/// A problem of the configuration as a whole, which has no single place.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Misconfigured(pub String);

fn is_of_the_configuration(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let load = cause.downcast_ref::<LoadError>();
        // A mistyped word of a command is not a problem of the configuration.
        load.is_some_and(|load| load.problems.iter().any(|problem| !problem.place.file.is_typed()))
            || cause.is::<Misconfigured>()
            || matches!(cause.downcast_ref::<StoreError>(), Some(StoreError::Foreign { .. }))
    })
}

/// The error for people. It has no colours if the text contains terminal control characters: none of these may look
/// like ours.
pub fn human(error: &anyhow::Error, colours: bool) -> String {
    let plain = rendered(error, false);
    let printed = printable::text(&plain);
    if colours && printed == plain { rendered(error, true) } else { printed.into_owned() }
}

fn rendered(error: &anyhow::Error, colours: bool) -> String {
    match error.downcast_ref::<LoadError>() {
        Some(load) => {
            let theme = if colours { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
            let handler = GraphicalReportHandler::new_themed(theme).with_width(120).with_links(false);
            let mut text = String::new();
            for problem in &load.problems {
                if handler.render_report(&mut text, &Shown(problem)).is_err() {
                    text.push_str(&problem.to_string());
                }
            }
            let count = load.problems.len();
            if count == 1 { text } else { format!("{text}{count} problems") }
        }
        None => format!("error: {}", printable::cut(&chain(error), printable::MESSAGE)),
    }
}

fn machine(error: &anyhow::Error) -> String {
    let problems = error.downcast_ref::<LoadError>().map(|load| {
        let problems = load.problems.iter().map(|problem| {
            let (line, column) = problem.place.file.line_column(problem.place.span.start);
            json!({ "file": problem.place.file.name, "line": line, "column": column, "message": problem.message, "help": problem.help })
        });
        problems.collect::<Vec<_>>()
    });
    printable::json(&json!({ "error": chain(error), "problems": problems }).to_string()).into_owned()
}

/// The error and its causes. Causes that the text of an error already contains are not repeated.
fn chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

/// A problem whose place is shown by the excerpt of its line, not by its text.
struct Shown<'a>(&'a Problem);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without a text there is no excerpt.
        if self.0.place.file.text.is_empty() {
            write!(f, "{}: {}", self.0.place.file.name, self.0.message)
        } else {
            f.write_str(&self.0.message)
        }
    }
}

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error for Shown<'_> {}

impl Diagnostic for Shown<'_> {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.0.help()
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        (!self.0.place.file.text.is_empty()).then_some(&self.0.place as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.source_code().and_then(|_| self.0.labels())
    }
}
