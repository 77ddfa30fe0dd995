//! Authorisation: static credentials, signatures, and logins that are made once, shared and renewed.

use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::{Decimal, prelude::ToPrimitive as _};
use secrecy::SecretString;
use serde_json::{Map, Value};
use tokio::sync::Mutex;

use super::{
    answer::Answer,
    call::{self, Draft},
    evaluate::Verb,
    exchange::Exchange,
    oauth1,
};
use crate::{
    adapter::http::compile::{Auth, Kind, Login, Session},
    expr::{ExprError, Scope, text_of},
    failure::{Class, Failure},
    model::{decimal, percent},
};

/// How long a refused login is not tried again: many requests at once must not lock an account.
const REFUSED: TimeDelta = TimeDelta::seconds(30);

/// How long before its end a token is renewed. If a tenth of its life is shorter than this, that tenth counts: a
/// short-lived token must be used for most of its life.
const MARGIN: TimeDelta = TimeDelta::seconds(60);

#[derive(Default)]
struct State {
    /// Incremented by every login.
    generation: u64,
    pass: Option<(Value, Option<DateTime<Utc>>)>,
    /// A refresh token that the last login gave, until it is stored.
    unkept: Option<SecretString>,
    refused: Option<(DateTime<Utc>, String)>,
}

/// Captured values are credentials.
impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("generation", &self.generation).finish_non_exhaustive()
    }
}

/// The credentials of a request.
#[derive(Clone, Default)]
pub struct Pass {
    pub generation: u64,
    captured: Value,
}

/// The authorisation of a system's requests, with the current result of its login.
#[derive(Debug)]
pub struct Authorisation {
    auth: Auth,
    state: Mutex<State>,
}

impl Authorisation {
    #[must_use]
    pub fn new(auth: Auth) -> Self {
        Self { auth, state: Mutex::default() }
    }

    /// The current credentials. Log in if there are none.
    ///
    /// # Errors
    /// `Auth` if the login is refused, `Transient` if it has no answer.
    pub async fn pass(&self, exchange: &Exchange) -> Result<Pass, Failure> {
        let Auth::Login(login) = &self.auth else { return Ok(Pass::default()) };
        let mut state = self.state.lock().await;
        if let Some((captured, until)) = &state.pass
            && until.is_none_or(|until| exchange.env.now() < until)
        {
            return Ok(Pass { generation: state.generation, captured: captured.clone() });
        }
        login.renew(&mut state, exchange).await
    }

    /// New credentials instead of `old`. Requests whose session expired at the same time share one login.
    ///
    /// # Errors
    /// Those of [`Authorisation::pass`].
    pub async fn renewed(&self, old: &Pass, exchange: &Exchange) -> Result<Pass, Failure> {
        let Auth::Login(login) = &self.auth else { return Ok(old.clone()) };
        let mut state = self.state.lock().await;
        match &state.pass {
            Some((captured, _)) if state.generation != old.generation => {
                Ok(Pass { generation: state.generation, captured: captured.clone() })
            }
            _ => login.renew(&mut state, exchange).await,
        }
    }

    /// Whether an answer shows that the session is no longer valid.
    #[must_use]
    pub fn is_expired(&self, answer: &Answer, scope: &Scope<'_>) -> bool {
        match &self.auth {
            Auth::Login(login) => login.expired.eval_bool(&answer.scope(scope)).unwrap_or(false),
            _ => false,
        }
    }

    #[must_use]
    pub fn has_login(&self) -> bool {
        matches!(self.auth, Auth::Login(_))
    }

    /// Headers and query of an authorised request. `url` must be complete except for the query added here.
    ///
    /// # Errors
    /// If an expression has no value.
    pub fn sign(&self, pass: &Pass, draft: &Draft, url: &str, exchange: &Exchange) -> Result<Signed, ExprError> {
        let scope = exchange.confidential();
        let authorization =
            |value: String| Signed { headers: vec![("authorization".into(), value)], query: Vec::new() };
        Ok(match &self.auth {
            Auth::None => Signed::default(),
            Auth::Basic { user, password } => {
                let pair = format!("{}:{}", user.render_text(&scope)?, password.render_text(&scope)?);
                authorization(format!("Basic {}", STANDARD.encode(pair)))
            }
            Auth::Bearer(token) => authorization(format!("Bearer {}", token.render_text(&scope)?)),
            Auth::Header { name, value } => {
                Signed { headers: vec![(name.clone(), value.render_text(&scope)?)], query: Vec::new() }
            }
            Auth::Query(table) => {
                Signed { headers: Vec::new(), query: percent::pairs(&call::query(Some(table), &scope)?) }
            }
            Auth::Oauth1 { key, secret, token } => {
                let token = match token {
                    Some((token, secret)) => Some((token.render_text(&scope)?, secret.render_text(&scope)?)),
                    None => None,
                };
                let (key, secret) = (key.render_text(&scope)?, secret.render_text(&scope)?);
                let credentials = oauth1::Credentials {
                    consumer_key: &key,
                    consumer_secret: &secret,
                    token: token.as_ref().map(|(token, secret)| (token.as_str(), secret.as_str())),
                };
                let form = draft.payload.as_ref().map_or(&[][..], |payload| &payload.form);
                authorization(credentials.header(draft.method, url, form, &oauth1::Stamp::new(&exchange.env)))
            }
            Auth::Login(login) => login.sign(pass, &scope)?,
        })
    }
}

/// What authorisation adds to a request.
#[derive(Default)]
pub struct Signed {
    pub headers: Vec<(String, String)>,
    pub query: Vec<(String, String)>,
}

impl Login {
    fn sign(&self, pass: &Pass, scope: &Scope<'_>) -> Result<Signed, ExprError> {
        let scope = scope.child().with_members(&pass.captured);
        Ok(match &self.kind {
            Kind::Session(session) => Signed {
                headers: call::headers(session.headers.as_ref(), &scope)?,
                query: percent::pairs(&call::query(session.query.as_ref(), &scope)?),
            },
            Kind::Oauth2(_) => {
                let token = pass.captured.get("access_token").and_then(Value::as_str).unwrap_or_default();
                Signed { headers: vec![("authorization".into(), format!("Bearer {token}"))], query: Vec::new() }
            }
        })
    }

    async fn renew(&self, state: &mut State, exchange: &Exchange) -> Result<Pass, Failure> {
        let now = exchange.env.now();
        if let Some((at, message)) = &state.refused
            && now < *at + REFUSED
        {
            return Err(Failure::new(Class::Auth, message.clone()));
        }
        state.pass = None;
        let done = match &self.kind {
            Kind::Session(session) => session.log_in(exchange).await,
            Kind::Oauth2(oauth2) => oauth2.token(&mut state.unkept, exchange).await,
        };
        match done {
            Ok((captured, until)) => {
                state.generation += 1;
                state.refused = None;
                state.pass = Some((captured.clone(), until));
                Ok(Pass { generation: state.generation, captured })
            }
            Err(failure) => {
                if failure.class == Class::Auth {
                    state.refused = Some((now, failure.message.clone()));
                }
                Err(failure)
            }
        }
    }
}

impl Session {
    /// Log in. Return the captured variables, and the time to renew them if the answer shows it.
    async fn log_in(&self, exchange: &Exchange) -> Result<(Value, Option<DateTime<Utc>>), Failure> {
        let scope = exchange.confidential();
        let draft =
            self.call.draft(&scope, &scope, exchange.env.entropy.next_u64()).map_err(|error| exchange.wrong(&error))?;
        let answer = exchange.unsigned(&draft, self.call.receive).await?;
        if let Some(failure) = exchange.evaluate(&answer, Some(&self.call), Verb::Login, &scope) {
            return Err(refusal(failure));
        }
        let seen = answer.scope(&scope);
        // If the condition cannot be evaluated, the answer is not a valid login either.
        if self.failed.as_ref().is_some_and(|failed| failed.eval_bool(&seen).unwrap_or(true)) {
            return Err(answer.failure(Class::Auth, "the login was refused: check user and password"));
        }
        let (mut captured, mut missing) = (Map::new(), None);
        for (name, expr) in &self.capture {
            match expr.eval(&seen) {
                Ok(value) => drop(captured.insert(name.clone(), value)),
                Err(error) => missing = Some(format!("the answer to the login holds no `{name}`: {}", error.cause)),
            }
        }
        let captured = Value::Object(captured);
        exchange.mask.add_all(&captured);
        if let Some(missing) = missing {
            return Err(answer.failure(Class::Auth, &missing));
        }
        // If the life of a token is unknown, the token is used until it is refused.
        let life = self.life.as_ref().and_then(|life| life.eval(&seen).ok());
        Ok((captured, life.and_then(|life| until(exchange.env.now(), &life))))
    }
}

/// A refused login is a problem of the credentials or the address, never of a record, whatever the reason.
pub(super) fn refusal(mut failure: Failure) -> Failure {
    if matches!(failure.class, Class::Rejected | Class::Missing | Class::Conflict) {
        failure.class = Class::Auth;
    }
    failure
}

/// When to renew something that lives for `life` seconds. Return `None` if `life` is not a duration.
pub(super) fn until(now: DateTime<Utc>, life: &Value) -> Option<DateTime<Utc>> {
    let seconds = decimal::parse(text_of(life)?.trim())?;
    let millis = seconds.checked_mul(Decimal::ONE_THOUSAND)?.to_i64().filter(|millis| *millis > 0)?;
    let life = TimeDelta::try_milliseconds(millis)?;
    now.checked_add_signed(life - MARGIN.min(life / 10))
}
