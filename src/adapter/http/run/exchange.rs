//! The requests of one system: limited in rate, authorised, evaluated.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use secrecy::ExposeSecret;
use serde_json::Value;

use super::{
    answer::Answer,
    auth::{Authorisation, Pass, Signed},
    call::{self, Draft},
    evaluate::{self, Verb},
    pace::Pace,
    payload,
};
use crate::{
    adapter::{
        http::compile::{Call, Compiler, Rule, Shared},
        manifest::{
            SettingValue, Settings,
            http::{self as manifest, Http, Receive},
        },
        run::{fatal, mask::Mask, rejected, segment},
        transport::{Method, Request, Transport, TransportError},
        world::World,
    },
    env::Env,
    expr::{Expr, ExprError, SETTINGS, Scope},
    failure::{Class, Failure},
    load::LoadError,
    model::percent,
    port::logins::Logins,
};

/// Sends requests to one system and receives its answers.
pub struct Exchange {
    /// The system's name.
    pub system: String,
    pub env: Env,
    pub logins: Arc<dyn Logins>,
    /// The secrets to remove from every message.
    pub mask: Arc<Mask>,
    /// Number of requests sent.
    sent: AtomicU64,
    transport: Arc<dyn Transport>,
    pub pace: Pace,
    /// Maximum number of requests under way at once.
    pub concurrency: usize,
    base: String,
    headers: Vec<(String, String)>,
    pub timeout: Duration,
    max_body: usize,
    /// Maximum number of values in an answer.
    pub max_values: usize,
    redirects: u8,
    auth: Authorisation,
    rules: Vec<Rule>,
    settings: Vec<(String, Value)>,
    secrets: Vec<(String, Value)>,
    /// The settings as one object, without and with the secrets.
    public: Value,
    whole: Value,
}

/// Makes requests for one purpose, with the variables that they see.
#[derive(Clone, Copy)]
pub struct Requester<'a> {
    pub exchange: &'a Exchange,
    pub verb: Verb,
    pub scope: &'a Scope<'a>,
}

/// Shows neither settings nor secrets.
impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("auth", &self.auth).finish_non_exhaustive()
    }
}

impl Exchange {
    /// # Errors
    /// What is wrong in table `http`.
    pub fn open(
        name: &str,
        http: &Http,
        compiler: &Compiler,
        settings: &Settings,
        world: &World,
    ) -> Result<Self, LoadError> {
        if let Some(manifest::Auth::Oauth2(oauth2)) = &http.auth
            && let (Some(token), Some(problem)) = (&oauth2.refresh_token, world.logins.refusal())
        {
            let message = format!("system {name} logs in with a refresh token, which the service may replace");
            return Err(LoadError::new(&compiler.place(token), message).help(problem));
        }
        let mut plain = Vec::new();
        let mut secret = Vec::new();
        for (name, value) in settings.iter() {
            match value {
                SettingValue::Plain(value) => plain.push((name.to_owned(), value.clone())),
                SettingValue::Secret(value) => secret.push((name.to_owned(), Value::from(value.expose_secret()))),
            }
        }
        let shared = Shared::compile(http, compiler)?;
        let mut exchange = Self {
            system: name.to_owned(),
            logins: Arc::clone(&world.logins),
            mask: Arc::new(Mask::new(settings)),
            env: world.env.clone(),
            sent: AtomicU64::new(0),
            transport: Arc::clone(&world.transport),
            pace: Pace::new(world.env.clone(), shared.concurrency, shared.rate),
            concurrency: shared.concurrency,
            base: String::new(),
            headers: Vec::new(),
            timeout: shared.timeout,
            max_body: shared.max_body,
            max_values: shared.max_values,
            redirects: shared.redirects,
            auth: Authorisation::new(shared.auth),
            rules: shared.rules,
            public: Value::Object(plain.iter().cloned().collect()),
            whole: Value::Object(plain.iter().chain(&secret).cloned().collect()),
            settings: plain,
            secrets: secret,
        };
        let (base, headers) = {
            let scope = exchange.confidential();
            let at = |error: ExprError| LoadError::new(&shared.place, error.to_string());
            let base = shared.base.render_text(&scope).map_err(at)?;
            (base.trim_end_matches('/').to_owned(), call::headers(shared.headers.as_ref(), &scope).map_err(at)?)
        };
        if reqwest::Url::parse(&base).ok().is_none_or(|url| !url.has_host()) {
            return Err(LoadError::new(&shared.place, "this does not give an address such as `https://host/path`"));
        }
        exchange.base = base;
        exchange.headers = headers;
        Ok(exchange)
    }

    /// Number of requests sent, including logins and redirects.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// A setting that is not a secret.
    #[must_use]
    pub fn setting(&self, name: &str) -> Option<&Value> {
        self.public.get(name)
    }

    /// The settings as variables.
    #[must_use]
    pub fn scope(&self) -> Scope<'_> {
        let mut scope = Scope::new().with(SETTINGS, &self.public);
        for (name, value) in &self.settings {
            scope = scope.with(name.as_str(), value);
        }
        scope
    }

    /// The settings and the secrets as variables.
    #[must_use]
    pub fn confidential(&self) -> Scope<'_> {
        self.confide(self.scope())
    }

    /// Add the secrets as further variables, for headers only.
    fn confide<'a>(&'a self, mut scope: Scope<'a>) -> Scope<'a> {
        for (name, value) in &self.secrets {
            scope = scope.with(name.as_str(), value);
        }
        scope.with(SETTINGS, &self.whole)
    }

    /// A requester for one purpose, whose requests see these variables.
    #[must_use]
    pub fn requester<'a>(&'a self, verb: Verb, scope: &'a Scope<'a>) -> Requester<'a> {
        Requester { exchange: self, verb, scope }
    }

    /// Send one request without authorisation: a login.
    pub(super) async fn unsigned(&self, draft: &Draft, receive: Receive) -> Result<Answer, Failure> {
        self.exchange(draft, None, receive, Verb::Login).await
    }

    /// The failure that an answer means. Return `None` if it is a success.
    pub(super) fn evaluate(
        &self,
        answer: &Answer,
        call: Option<&Call>,
        verb: Verb,
        scope: &Scope<'_>,
    ) -> Option<Failure> {
        let own = call.map_or(&[][..], |call| &call.rules);
        evaluate::evaluate(answer, own, &self.rules, verb, scope).map(|failure| self.clean(failure))
    }

    /// Check that something answers at the base address.
    pub async fn reach(&self) -> Result<(), Failure> {
        let draft =
            Draft { method: Method::Get, target: String::new(), query: Vec::new(), headers: Vec::new(), payload: None };
        self.exchange(&draft, None, Receive::Text, Verb::Read).await.map(|_| ())
    }

    /// Log in. Return `None` if there is no login.
    pub async fn login(&self) -> Option<Result<(), Failure>> {
        if !self.auth.has_login() {
            return None;
        }
        Some(self.auth.pass(self).await.map(|_| ()).map_err(|failure| self.clean(failure)))
    }

    /// The failure if an expression of the adapter has no value before anything was asked of the system.
    pub(super) fn wrong(&self, error: &ExprError) -> Failure {
        self.clean(fatal(error.clone()))
    }

    fn unsendable(&self, error: ExprError, verb: Verb) -> Failure {
        // If a request is for one object, the value is that object's fault; if it is for all, a setting is wrong.
        let mut failure = match verb {
            Verb::Login | Verb::List => fatal(error),
            Verb::Read | Verb::Find | Verb::Create | Verb::Update | Verb::Delete => rejected(error),
        };
        failure.message = format!("the request cannot be made: {}", failure.message);
        self.clean(failure)
    }

    async fn exchange(
        &self,
        draft: &Draft,
        pass: Option<&Pass>,
        receive: Receive,
        verb: Verb,
    ) -> Result<Answer, Failure> {
        let mut url = self.address(draft);
        let mut left = if draft.method == Method::Get { self.redirects } else { 0 };
        loop {
            let permit = self.pace.enter().await;
            // Sign right before sending, because a signature contains the time.
            let request = self.request(draft, &url, pass).map_err(|error| self.wrong(&error))?;
            let (method, place) = (request.method, format!("{} {}", request.method, request.path()));
            self.sent.fetch_add(1, Ordering::Relaxed);
            let sent = self.transport.send(request).await;
            drop(permit);
            let response =
                sent.map_err(|error: TransportError| self.clean(evaluate::unanswered(&error, verb, &place)))?;
            if left > 0
                && matches!(response.status, 301 | 302 | 303 | 307 | 308)
                && let Some(next) = response.header("location").and_then(|to| self.same_host(&url, to))
            {
                left -= 1;
                url = next;
                continue;
            }
            let wait = response.header("retry-after").and_then(|wait| evaluate::retry_after(wait, self.env.now()));
            let decoded = payload::decoded(receive, &response, self.max_values).await;
            return Ok(Answer::of(&response, (receive, decoded), method, &url, wait).masked(Arc::clone(&self.mask)));
        }
    }

    fn request(&self, draft: &Draft, url: &str, pass: Option<&Pass>) -> Result<Request, ExprError> {
        let signed = match pass {
            Some(pass) => self.auth.sign(pass, draft, url, self)?,
            None => Signed::default(),
        };
        let mut url = url.to_owned();
        add_query(&mut url, &signed.query);
        let mut headers: Vec<(String, String)> = Vec::new();
        if let Some(payload) = &draft.payload {
            headers.push(("content-type".into(), payload.content_type.clone()));
        }
        for (name, value) in self.headers.iter().chain(&draft.headers).chain(&signed.headers) {
            segment::header(value).map_err(|cause| ExprError {
                expression: name.as_str().into(),
                place: "headers".into(),
                cause: cause.to_owned(),
                of_value: true,
            })?;
            headers.retain(|(known, _)| known != name);
            headers.push((name.clone(), value.clone()));
        }
        Ok(Request {
            method: draft.method,
            url,
            headers,
            body: draft.payload.as_ref().map_or_else(Bytes::new, |payload| payload.bytes.clone()),
            timeout: self.timeout,
            max_body: self.max_body,
        })
    }

    /// Turn an address from an answer into the target of a request.
    ///
    /// # Errors
    /// If it is not on the configured server, or is not an address.
    fn own(&self, link: &str) -> Result<String, String> {
        if link.contains(|c: char| c.is_control() || c.is_whitespace() || c == '\\') {
            return Err("the link to the next page has characters in it that no address has".to_owned());
        }
        let base = reqwest::Url::parse(&self.base).map_err(|error| error.to_string())?;
        let url = match reqwest::Url::parse(link) {
            Ok(url) => url,
            // Without a scheme, `//` names another host.
            Err(_) if link.starts_with("//") => {
                base.join(link).map_err(|_| "the link to the next page is no address")?
            }
            // This is a whole path already: after `base`, the path of `base` would occur twice.
            Err(_) if is_below(link, base.path()) => return Ok(format!("{}{link}", origin(&self.base))),
            Err(_) => return Ok(link.to_owned()),
        };
        if url.origin() != base.origin() || !url.username().is_empty() || url.password().is_some() {
            let shown = |url: &reqwest::Url| format!("{}://{}", url.scheme(), url.host_str().unwrap_or_default());
            return Err(format!(
                "the link to the next page leads to {}{}, but links are followed on {}{} only; see whether the system knows \
                 its own public address, or page by number",
                shown(&url),
                url.port().map_or(String::new(), |port| format!(":{port}")),
                shown(&base),
                base.port().map_or(String::new(), |port| format!(":{port}")),
            ));
        }
        Ok(url.to_string())
    }

    /// The address of a request. Requests never leave the configured host, wherever an answer points.
    fn address(&self, draft: &Draft) -> String {
        let mut url = if draft.target.starts_with("http://") || draft.target.starts_with("https://") {
            let rest = draft.target.split_once("://").map_or("", |(_, rest)| rest);
            let path = rest.find(['/', '?']).map_or("/", |at| &rest[at..]);
            format!("{}{path}", origin(&self.base))
        } else if draft.target.is_empty() || draft.target.starts_with(['/', '?']) {
            format!("{}{}", self.base, draft.target)
        } else {
            format!("{}/{}", self.base, draft.target)
        };
        add_query(&mut url, &draft.query);
        url
    }

    fn same_host(&self, from: &str, to: &str) -> Option<String> {
        let next = reqwest::Url::parse(from).ok()?.join(to).ok()?.to_string();
        (origin(&next) == origin(&self.base)).then_some(next)
    }

    /// Remove secrets from a failure, because a system may repeat what it was sent.
    pub fn clean(&self, failure: Failure) -> Failure {
        self.mask.failure(failure)
    }
}

impl Requester<'_> {
    /// Send the requests of an adapter's call until an answer is not a failure, or `ignore` accepts it.
    ///
    /// # Errors
    /// By the adapter's rules and the status; see [`evaluate`].
    pub async fn call(&self, call: &Call, ignore: Option<&Expr>) -> Result<Answer, Failure> {
        let draft = self.draft(call, self.exchange.env.entropy.next_u64())?;
        self.send(&draft, call, ignore).await
    }

    /// Like [`Requester::call`], but to an address that the last answer gave, if it is on the configured server.
    ///
    /// # Errors
    /// Those of [`Requester::call`].
    pub async fn follow(&self, address: &str, call: &Call) -> Result<Answer, Failure> {
        let exchange = self.exchange;
        let draft = self.draft(call, exchange.env.entropy.next_u64())?;
        let target = exchange.own(address).map_err(|problem| exchange.clean(Failure::new(Class::Fatal, problem)))?;
        let draft = Draft { target, query: Vec::new(), ..draft };
        self.send(&draft, call, None).await
    }

    /// Check that a call can be made.
    ///
    /// # Errors
    /// Those of [`Requester::call`] that occur before anything is sent.
    pub fn sendable(&self, call: &Call) -> Result<(), Failure> {
        self.draft(call, 0).map(drop)
    }

    /// The same requester with other variables.
    #[must_use]
    pub fn with<'b>(&'b self, scope: &'b Scope<'b>) -> Requester<'b> {
        self.exchange.requester(self.verb, scope)
    }

    fn draft(&self, call: &Call, nonce: u64) -> Result<Draft, Failure> {
        let draft = call.draft(self.scope, &self.exchange.confide(self.scope.child()), nonce);
        draft.map_err(|error| self.exchange.unsendable(error, self.verb))
    }

    async fn send(&self, draft: &Draft, call: &Call, ignore: Option<&Expr>) -> Result<Answer, Failure> {
        let Self { exchange, verb, scope } = *self;
        let mut pass = exchange.auth.pass(exchange).await.map_err(|failure| exchange.clean(failure))?;
        let mut answer = exchange.exchange(draft, Some(&pass), call.receive, verb).await?;
        if exchange.auth.is_expired(&answer, scope) {
            pass = exchange.auth.renewed(&pass, exchange).await.map_err(|failure| exchange.clean(failure))?;
            answer = exchange.exchange(draft, Some(&pass), call.receive, verb).await?;
            if exchange.auth.is_expired(&answer, scope) {
                let failure = answer.failure(Class::Auth, "the session is refused right after the login");
                return Err(exchange.clean(failure));
            }
        }
        if ignore.is_some_and(|ignore| ignore.eval_bool(&answer.scope(scope)).unwrap_or(false)) {
            return Ok(answer);
        }
        match exchange.evaluate(&answer, Some(call), verb, scope) {
            Some(failure) => Err(failure),
            None => Ok(answer),
        }
    }
}

/// Whether an address without a host begins with the segments of a path that is not empty.
fn is_below(link: &str, path: &str) -> bool {
    let path = path.trim_end_matches('/');
    let rest = link.strip_prefix(path).filter(|_| !path.is_empty());
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#']))
}

fn origin(url: &str) -> &str {
    let start = url.find("://").map_or(0, |at| at + 3);
    url[start..].find(['/', '?', '#']).map_or(url, |end| &url[..start + end])
}

fn add_query(url: &mut String, pairs: &[(String, String)]) {
    if !pairs.is_empty() {
        url.push(if url.contains('?') { '&' } else { '?' });
        url.push_str(&percent::join(pairs));
    }
}
