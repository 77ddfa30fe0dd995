//! Authorisation: static credentials, signatures, and logins that are made once, shared and renewed.

use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::{Decimal, prelude::ToPrimitive as _};
use secrecy::SecretString;
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;

use super::{
    call::{self, Answer, Call, Draft},
    compile::{ANSWER, Compiler},
    config::{self, SessionSpec},
    evaluate::Verb,
    exchange::Exchange,
    oauth1,
    oauth2::Oauth2,
};
use crate::{
    adapter::Formula,
    expr::{Expr, ExprError, KnownNames, Scope, Template, text_of},
    failure::{Class, Failure},
    load::{LoadError, Place},
    model::{decimal, percent},
};

/// How long a refused login is not tried again: many requests at once must not lock an account.
const REFUSED: TimeDelta = TimeDelta::seconds(30);

/// How long before its end a token is renewed. If a tenth of its life is shorter than this, that tenth counts: a
/// short-lived token must be used for most of its life.
const MARGIN: TimeDelta = TimeDelta::seconds(60);

/// Compiled table `auth`.
#[derive(Debug)]
pub enum Auth {
    None,
    Basic { user: Template, password: Template },
    Bearer(Template),
    Header { name: String, value: Template },
    Query(Template),
    Oauth1 { key: Template, secret: Template, token: Option<(Template, Template)> },
    Login(Box<Login>),
}

/// A login and its current result.
#[derive(Debug)]
pub struct Login {
    kind: Kind,
    expired: Expr,
    state: Mutex<State>,
}

#[derive(Debug)]
enum Kind {
    Session(Box<Session>),
    Oauth2(Box<Oauth2>),
}

#[derive(Debug)]
struct Session {
    call: Call,
    capture: Vec<(String, Expr)>,
    headers: Option<Template>,
    query: Option<Template>,
    failed: Option<Expr>,
    life: Option<Expr>,
}

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

impl Auth {
    /// # Errors
    /// If a template is wrong or a variable is unknown.
    pub fn compile(spec: Option<&config::Auth>, compiler: &Compiler) -> Result<Self, LoadError> {
        let known = compiler.with_secrets(compiler.known(&[]));
        let text = |text| compiler.text(text, &known);
        Ok(match spec {
            None => Self::None,
            Some(config::Auth::Basic(basic)) => {
                Self::Basic { user: text(&basic.user)?, password: text(&basic.password)? }
            }
            Some(config::Auth::Bearer(token)) => Self::Bearer(text(token)?),
            Some(config::Auth::Header(header)) => {
                Self::Header { name: header.name.to_lowercase(), value: text(&header.value)? }
            }
            Some(config::Auth::Query(table)) => {
                Self::Query(compiler.table(Some(table), &known)?.unwrap_or_else(|| Template::constant(json!({}))))
            }
            Some(config::Auth::Oauth1(spec)) => Self::Oauth1 {
                key: text(&spec.consumer_key)?,
                secret: text(&spec.consumer_secret)?,
                token: match (&spec.token, &spec.token_secret) {
                    (Some(token), Some(secret)) => Some((text(token)?, text(secret)?)),
                    (None, None) => None,
                    (Some(one), None) | (None, Some(one)) => {
                        return Err(LoadError::new(&compiler.place(one), "`token` and `token_secret` belong together"));
                    }
                },
            },
            Some(config::Auth::Oauth2(spec)) => Self::Login(Box::new(Login {
                kind: Kind::Oauth2(Box::new(Oauth2::compile(spec, compiler)?)),
                expired: expired(None, compiler)?,
                state: Mutex::default(),
            })),
            Some(config::Auth::Session(spec)) => Self::Login(Box::new(session(spec, compiler, &known)?)),
        })
    }

    /// The current credentials. Log in if there are none.
    ///
    /// # Errors
    /// `Auth` if the login is refused, `Transient` if it has no answer.
    pub async fn pass(&self, exchange: &Exchange) -> Result<Pass, Failure> {
        let Self::Login(login) = self else { return Ok(Pass::default()) };
        let mut state = login.state.lock().await;
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
    /// Those of [`Auth::pass`].
    pub async fn renewed(&self, old: &Pass, exchange: &Exchange) -> Result<Pass, Failure> {
        let Self::Login(login) = self else { return Ok(old.clone()) };
        let mut state = login.state.lock().await;
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
        match self {
            Self::Login(login) => login.expired.eval_bool(&answer.scope(scope)).unwrap_or(false),
            _ => false,
        }
    }

    #[must_use]
    pub fn has_login(&self) -> bool {
        matches!(self, Self::Login(_))
    }

    /// Headers and query of an authorised request. `url` must be complete except for the query added here.
    ///
    /// # Errors
    /// If an expression has no value.
    pub fn sign(&self, pass: &Pass, draft: &Draft, url: &str, exchange: &Exchange) -> Result<Signed, ExprError> {
        let scope = exchange.confidential();
        let authorization =
            |value: String| Signed { headers: vec![("authorization".into(), value)], query: Vec::new() };
        Ok(match self {
            Self::None => Signed::default(),
            Self::Basic { user, password } => {
                let pair = format!("{}:{}", user.render_text(&scope)?, password.render_text(&scope)?);
                authorization(format!("Basic {}", STANDARD.encode(pair)))
            }
            Self::Bearer(token) => authorization(format!("Bearer {}", token.render_text(&scope)?)),
            Self::Header { name, value } => {
                Signed { headers: vec![(name.clone(), value.render_text(&scope)?)], query: Vec::new() }
            }
            Self::Query(table) => {
                Signed { headers: Vec::new(), query: percent::pairs(&call::query(Some(table), &scope)?) }
            }
            Self::Oauth1 { key, secret, token } => {
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
            Self::Login(login) => login.sign(pass, &scope)?,
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

fn session(spec: &SessionSpec, compiler: &Compiler, known: &KnownNames) -> Result<Login, LoadError> {
    let at = spec.login.request();
    let place = [at.get, at.post, at.put, at.patch, at.delete]
        .into_iter()
        .flatten()
        .next()
        .map_or_else(|| Place::start(&compiler.file), |text| compiler.place(text));
    let after = known.clone().and(spec.capture.keys().cloned());
    let answer = compiler.known(&ANSWER);
    Ok(Login {
        kind: Kind::Session(Box::new(Session {
            call: Call::compile(at, compiler, known, &place)?,
            capture: compiler.formulas(&spec.capture, &answer)?,
            headers: compiler.headers(spec.headers.as_ref(), &after)?,
            query: compiler.table(spec.query.as_ref(), &after)?,
            failed: compiler.formula_if(spec.failed.as_ref(), &answer)?,
            life: compiler.formula_if(spec.life.as_ref(), &answer)?,
        })),
        expired: expired(spec.expired.as_ref(), compiler)?,
        state: Mutex::default(),
    })
}

fn expired(formula: Option<&Formula>, compiler: &Compiler) -> Result<Expr, LoadError> {
    let known = compiler.known(&ANSWER);
    match formula {
        Some(formula) => compiler.formula(formula, &known),
        None => Expr::compile("status == 401", &Place::start(&compiler.file), &known),
    }
}
