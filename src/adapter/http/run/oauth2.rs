//! OAuth 2: a token for client credentials, or for a refresh token, which a service may replace each time it is
//! used.

use std::time::Duration;

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use super::{
    answer::Answer,
    auth::{refusal, until},
    call::Draft,
    evaluate::Verb,
    exchange::Exchange,
    payload,
};
use crate::{
    adapter::{
        http::compile::Oauth2,
        manifest::http::{Receive, Send},
        transport::Method,
    },
    expr::Template,
    failure::{Class, Failure},
    port::logins::{LoginId, Renewal},
};

/// How long a renewal may take in addition to its one request. After that, others consider the renewing process
/// dead.
const SLACK: Duration = Duration::from_secs(60);

/// The answer to a token request.
struct Granted {
    access: Value,
    until: Option<DateTime<Utc>>,
}

impl Oauth2 {
    /// A token, and when to renew it. `unkept` is a refresh token that was given and could not be stored yet: it is
    /// the only valid one.
    ///
    /// # Errors
    /// `Auth` if the service refuses, `Transient` if it does not answer or its refresh token cannot be stored.
    pub async fn token(
        &self,
        unkept: &mut Option<SecretString>,
        exchange: &Exchange,
    ) -> Result<(Value, Option<DateTime<Utc>>), Failure> {
        let scope = exchange.confidential();
        let text = |template: &Template| template.render_text(&scope).map_err(|error| exchange.wrong(&error));
        let client = text(&self.id)?;
        let mut form = json!({ "client_id": client, "client_secret": text(&self.secret)? });
        let configured = self.refresh.as_ref().map(text).transpose()?.filter(|token| !token.is_empty());
        let granted = if let Some(configured) = configured {
            let login = LoginId::of(&client, &configured);
            // Nobody else may use the same token meanwhile: it is valid for one use.
            let span = exchange.timeout.saturating_add(SLACK);
            let mut renewal = exchange.logins.renew(&exchange.system, &login, span).await?;
            let token = RefreshToken { configured: &configured, renewal: renewal.as_mut(), unkept };
            let granted = self.refresh(form, token, exchange).await;
            renewal.end().await;
            granted?
        } else {
            form["grant_type"] = "client_credentials".into();
            let answer = self.ask(form, exchange).await?;
            granted(&answer, exchange)?
        };
        Ok((granted.access, granted.until))
    }

    async fn refresh(
        &self,
        mut form: Value,
        mut token: RefreshToken<'_>,
        exchange: &Exchange,
    ) -> Result<Granted, Failure> {
        token.keep().await?;
        let shown = token.latest().to_owned();
        exchange.mask.add(&shown);
        form["refresh_token"] = shown.as_str().into();
        form["grant_type"] = "refresh_token".into();
        let answer = self.ask(form, exchange).await.map_err(|mut failure| {
            if failure.class == Class::Auth {
                failure.message.push_str(if shown == token.configured {
                    "; if the refresh token of the configuration was used elsewhere or has ended, write a newly issued one there"
                } else {
                    "; the refresh token that the service gave last is no longer good: write a newly issued one into the \
                     configuration"
                });
            }
            failure
        })?;
        // Store the next token whatever else is wrong with the answer: the token that was shown is used up.
        if let Some(next) = answer.body.get("refresh_token").and_then(Value::as_str).filter(|next| *next != shown) {
            exchange.mask.add(next);
            *token.unkept = Some(next.into());
            token.keep().await?;
        }
        granted(&answer, exchange)
    }

    async fn ask(&self, mut form: Value, exchange: &Exchange) -> Result<Answer, Failure> {
        let scope = exchange.confidential();
        let text = |template: &Template| template.render_text(&scope).map_err(|error| exchange.wrong(&error));
        if let Some(asked) = &self.scope {
            form["scope"] = text(asked)?.into();
        }
        let payload = payload::encode(Send::Form, &form, 0).map_err(|problem| Failure::new(Class::Fatal, problem))?;
        let draft = Draft {
            method: Method::Post,
            target: text(&self.token_url)?,
            query: Vec::new(),
            headers: vec![("accept".into(), "application/json".into())],
            payload: Some(payload),
        };
        let answer = exchange.unsigned(&draft, Receive::Json).await?;
        match exchange.evaluate(&answer, None, Verb::Login, &scope) {
            Some(failure) => Err(refusal(failure)),
            None => Ok(answer),
        }
    }
}

/// A refresh token: the configured one and its successors.
struct RefreshToken<'a> {
    configured: &'a str,
    renewal: &'a mut dyn Renewal,
    unkept: &'a mut Option<SecretString>,
}

impl RefreshToken<'_> {
    /// The newest token, which is the valid one, if there is any.
    fn latest(&self) -> &str {
        self.renewal.kept().map_or(self.configured, |kept| kept.expose_secret())
    }

    /// Make a new token durable. Until then it is neither used nor forgotten.
    async fn keep(&mut self) -> Result<(), Failure> {
        if let Some(token) = self.unkept {
            self.renewal.keep(token).await.map_err(|mut failure| {
                failure.message.push_str(
                    "; the service gave a new refresh token, which this process holds until it can be kept: mend that \
                     without stopping it",
                );
                failure
            })?;
            *self.unkept = None;
        }
        Ok(())
    }
}

fn granted(answer: &Answer, exchange: &Exchange) -> Result<Granted, Failure> {
    let Some(token) = answer.body.get("access_token").and_then(Value::as_str) else {
        return Err(answer.failure(Class::Auth, "the answer to the token request holds no access_token"));
    };
    exchange.mask.add(token);
    let until = answer.body.get("expires_in").and_then(|life| until(exchange.env.now(), life));
    Ok(Granted { access: json!({ "access_token": token }), until })
}
