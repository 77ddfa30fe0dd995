//! Authorisation as the file declares it. Logins are made by `run`, which keeps their results.

use serde_json::json;

use super::{
    call::Call,
    texts::{ANSWER, Compiler},
};
use crate::{
    adapter::manifest::{
        Formula,
        http::{self as manifest, SessionSpec},
    },
    expr::{Expr, KnownNames, Template},
    load::{LoadError, Place},
};

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

/// A login.
#[derive(Debug)]
pub struct Login {
    pub kind: Kind,
    pub expired: Expr,
}

#[derive(Debug)]
pub enum Kind {
    Session(Box<Session>),
    Oauth2(Box<Oauth2>),
}

#[derive(Debug)]
pub struct Session {
    pub call: Call,
    pub capture: Vec<(String, Expr)>,
    pub headers: Option<Template>,
    pub query: Option<Template>,
    pub failed: Option<Expr>,
    pub life: Option<Expr>,
}

/// Compiled table `oauth2`.
#[derive(Debug)]
pub struct Oauth2 {
    pub token_url: Template,
    pub id: Template,
    pub secret: Template,
    pub scope: Option<Template>,
    pub refresh: Option<Template>,
}

impl Auth {
    /// # Errors
    /// If a template is wrong or a variable is unknown.
    pub fn compile(spec: Option<&manifest::Auth>, compiler: &Compiler) -> Result<Self, LoadError> {
        let known = compiler.with_secrets(compiler.known(&[]));
        let text = |text| compiler.text(text, &known);
        Ok(match spec {
            None => Self::None,
            Some(manifest::Auth::Basic(basic)) => {
                Self::Basic { user: text(&basic.user)?, password: text(&basic.password)? }
            }
            Some(manifest::Auth::Bearer(token)) => Self::Bearer(text(token)?),
            Some(manifest::Auth::Header(header)) => {
                Self::Header { name: header.name.to_lowercase(), value: text(&header.value)? }
            }
            Some(manifest::Auth::Query(table)) => {
                Self::Query(compiler.table(Some(table), &known)?.unwrap_or_else(|| Template::constant(json!({}))))
            }
            Some(manifest::Auth::Oauth1(spec)) => Self::Oauth1 {
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
            Some(manifest::Auth::Oauth2(spec)) => Self::Login(Box::new(Login {
                kind: Kind::Oauth2(Box::new(Oauth2::compile(spec, compiler)?)),
                expired: expired(None, compiler)?,
            })),
            Some(manifest::Auth::Session(spec)) => Self::Login(Box::new(session(spec, compiler, &known)?)),
        })
    }
}

impl Oauth2 {
    /// # Errors
    /// If a template is wrong or a variable is unknown.
    pub fn compile(spec: &manifest::Oauth2, compiler: &Compiler) -> Result<Self, LoadError> {
        let known = compiler.with_secrets(compiler.known(&[]));
        let text = |text| compiler.text(text, &known);
        Ok(Self {
            token_url: text(&spec.token_url)?,
            id: text(&spec.client_id)?,
            secret: text(&spec.client_secret)?,
            scope: spec.scope.as_ref().map(text).transpose()?,
            refresh: spec.refresh_token.as_ref().map(text).transpose()?,
        })
    }
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
    })
}

fn expired(formula: Option<&Formula>, compiler: &Compiler) -> Result<Expr, LoadError> {
    let known = compiler.known(&ANSWER);
    match formula {
        Some(formula) => compiler.formula(formula, &known),
        None => Expr::compile("status == 401", &Place::start(&compiler.file), &known),
    }
}
