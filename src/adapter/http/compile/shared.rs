//! What all requests of an adapter share: table `http`, compiled.

use std::{num::NonZeroU32, time::Duration};

use super::{
    auth::Auth,
    call::{Rule, rules},
    texts::Compiler,
};
use crate::{
    adapter::manifest::http::{Http, RateSpec},
    expr::Template,
    load::{LoadError, Place},
};

/// Compiled table `http`.
#[derive(Debug)]
pub struct Shared {
    pub base: Template,
    /// Where `base` is written.
    pub place: Place,
    pub headers: Option<Template>,
    /// Maximum number of requests under way at once.
    pub concurrency: usize,
    pub rate: Option<Rate>,
    pub timeout: Duration,
    pub max_body: usize,
    /// Maximum number of values in an answer.
    pub max_values: usize,
    pub redirects: u8,
    pub auth: Auth,
    pub rules: Vec<Rule>,
}

/// Number of requests allowed in a time span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub count: NonZeroU32,
    pub per: Duration,
    /// Number of requests that may be sent at once after a pause.
    pub burst: NonZeroU32,
}

impl Shared {
    /// # Errors
    /// If a template is wrong, or keys are missing or contradict one another.
    pub fn compile(http: &Http, compiler: &Compiler) -> Result<Self, LoadError> {
        let known = compiler.with_secrets(compiler.known(&[]));
        Ok(Self {
            base: compiler.text(&http.base, &known)?,
            place: compiler.place(&http.base),
            headers: compiler.headers(http.headers.as_ref(), &known)?,
            concurrency: http.concurrency.map_or(4, |number| usize::try_from(number.get()).unwrap_or(usize::MAX)),
            rate: rate(http.rate.as_ref(), compiler)?,
            timeout: http.timeout.map_or(Duration::from_secs(30), |span| span.0),
            max_body: http.max_body.map_or(32 << 20, |size| size.0),
            max_values: http
                .max_values
                .map_or(crate::json::MOST_VALUES, |most| usize::try_from(most.get()).unwrap_or(usize::MAX)),
            redirects: http.redirects,
            auth: Auth::compile(http.auth.as_ref(), compiler)?,
            rules: rules(&http.errors, compiler, compiler.known(&[]))?,
        })
    }
}

fn rate(spec: Option<&RateSpec>, compiler: &Compiler) -> Result<Option<Rate>, LoadError> {
    let Some(spec) = spec else { return Ok(None) };
    let (count, per) = match (spec.per_second, spec.per_minute) {
        (Some(count), None) => (count, Duration::from_secs(1)),
        (None, Some(count)) => (count, Duration::from_mins(1)),
        _ => {
            let at = Place::start(&compiler.file);
            return Err(LoadError::new(&at, "`http.rate` needs one of `per_second` and `per_minute`"));
        }
    };
    Ok(Some(Rate { count, per, burst: spec.burst.unwrap_or(NonZeroU32::MIN) }))
}
