//! Problems of a file, shown with their places.

use std::{fmt, sync::Arc};

use miette::{Diagnostic, LabeledSpan, SourceCode};

use super::{Place, SourceFile, suggest::suggestion};

/// Maximum number of problems of one file that are shown.
const MAX_PROBLEMS: usize = 100;

/// One thing that is wrong in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub place: Place,
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// Everything found wrong in one or more files; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadError {
    pub problems: Vec<Problem>,
}

impl LoadError {
    pub fn new(place: &Place, message: impl Into<String>) -> Self {
        Self { problems: vec![Problem { place: place.clone(), message: message.into(), help: None }] }
    }

    /// Say what to do about it (to the last problem).
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        if let Some(problem) = self.problems.last_mut() {
            problem.help = Some(help.into());
        }
        self
    }

    /// The problem of a word that is not one of `known`, with the nearest of them: `unknown entity `prodct`, did
    /// you mean `product`?`.
    pub fn unknown<'a>(
        place: &Place,
        what: &str,
        word: &str,
        known: impl IntoIterator<Item = &'a str> + Clone,
    ) -> Self {
        let mut error = Self::new(place, format!("unknown {what} `{word}`"));
        if let Some(problem) = error.problems.last_mut() {
            problem.help = suggestion(word, known);
        }
        error
    }

    /// Add another file's or step's problems.
    pub fn absorb(&mut self, other: Self) {
        self.problems.extend(other.problems);
    }

    /// Keep no more of one file than a person reads: its first `MAX_PROBLEMS` problems, and the number of the
    /// others.
    #[must_use]
    pub fn bounded(self) -> Self {
        let mut files: Vec<(Arc<str>, usize, Place)> = Vec::new();
        let mut problems = Vec::new();
        for problem in self.problems {
            let name = &problem.place.file.name;
            let at = files.iter().position(|(file, ..)| **file == **name).unwrap_or_else(|| {
                files.push((name.as_str().into(), 0, problem.place.clone()));
                files.len() - 1
            });
            files[at].1 += 1;
            files[at].2 = problem.place.clone();
            if files[at].1 <= MAX_PROBLEMS {
                problems.push(problem);
            }
        }
        problems.extend(files.into_iter().filter(|(_, count, _)| *count > MAX_PROBLEMS).map(|(_, count, place)| {
            Problem {
                place,
                message: format!("this is the last of {} more problems of this file", count - MAX_PROBLEMS),
                help: None,
            }
        }));
        Self { problems }
    }

    /// Run every step and report the problems of all that failed.
    pub fn collect<T>(results: impl IntoIterator<Item = Result<T, Self>>) -> Result<Vec<T>, Self> {
        let mut good = Vec::new();
        let mut bad: Option<Self> = None;
        for result in results {
            match (result, &mut bad) {
                (Ok(value), _) => good.push(value),
                (Err(error), None) => bad = Some(error),
                (Err(error), Some(all)) => all.absorb(error),
            }
        }
        bad.map_or(Ok(good), Err)
    }

    pub(crate) fn from_toml(file: &Arc<SourceFile>, error: &toml::de::Error) -> Self {
        let place = Place::new(file, error.span().unwrap_or(0..0));
        let message = error.message().trim();
        for (start, what) in [("unknown field `", "key"), ("unknown variant `", "value")] {
            if let Some((word, rest)) = message.strip_prefix(start).and_then(|rest| rest.split_once('`')) {
                // serde lists the words it expected in back quotes.
                let known: Vec<&str> = rest.split('`').skip(1).step_by(2).collect();
                return Self::unknown(&place.narrowed(word), what, word, known);
            }
        }
        let message = message.replace("missing field", "missing key").replace('\n', ", ");
        Self::new(&place, message)
    }
}

impl Place {
    /// If the place is the line, the table that holds the word, or that table's header: narrow it to the word
    /// itself.
    fn narrowed(self, word: &str) -> Self {
        let written = self.file.text.get(self.span.clone()).unwrap_or_default();
        let within = written.find(word).map(|at| self.span.start + at);
        match within.or_else(|| self.key_below(word)) {
            Some(at) => Self::new(&self.file, at..at + word.len()),
            None => self,
        }
    }

    /// Where a key gets its value in the lines below this place.
    fn key_below(&self, word: &str) -> Option<usize> {
        let mut at = self.span.start;
        for line in self.file.text.get(at..)?.split_inclusive('\n') {
            let rest = line.trim_start().strip_prefix(word).map(str::trim_start);
            if rest.is_some_and(|rest| rest.starts_with('=')) {
                return Some(at + line.len() - line.trim_start().len());
            }
            at += line.len();
        }
        None
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)?;
        match &self.help {
            Some(help) => write!(f, ", {help}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for LoadError {}

impl std::error::Error for Problem {}

impl Diagnostic for Problem {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.place)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let span = (self.place.span.start, self.place.span.len());
        Some(Box::new(std::iter::once(LabeledSpan::new(Some("here".into()), span.0, span.1))))
    }
}

/// The first problem carries the rendering; the others are related to it.
impl Diagnostic for LoadError {
    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(self.problems.iter().skip(1).map(|problem| problem as &dyn Diagnostic)))
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.problems.first().and_then(Diagnostic::help)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.problems.first().and_then(Diagnostic::source_code)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.problems.first().and_then(Diagnostic::labels)
    }
}

impl SourceCode for Place {
    fn read_span<'a>(
        &'a self,
        span: &miette::SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn miette::SpanContents<'a> + 'a>, miette::MietteError> {
        let inner = self.file.text.as_str().read_span(span, before, after)?;
        Ok(Box::new(miette::MietteSpanContents::new_named(
            self.file.name.clone(),
            inner.data(),
            *inner.span(),
            inner.line(),
            inner.column(),
            inner.line_count(),
        )))
    }
}
