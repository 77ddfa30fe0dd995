//! A compiled request with its values: what is sent, before address and authorisation are added.

use serde_json::{Value, json};

use super::payload::{self, Payload};
use crate::{
    adapter::{
        http::compile::Call,
        run::segment::{self, Slashes},
        transport::Method,
    },
    expr::{ExprError, Scope, Template, text_of},
    model::{canonical, flaw, percent},
};

impl Call {
    /// The request's own parts, before the address, authorisation and common headers are added. `confidential` also
    /// has the secrets; it is for headers only.
    ///
    /// # Errors
    /// If an expression has no value, or a value is not allowed where it should be sent.
    pub fn draft(&self, scope: &Scope<'_>, confidential: &Scope<'_>, nonce: u64) -> Result<Draft, ExprError> {
        let plain =
            |cause: String| ExprError { expression: "body".into(), place: self.place.clone(), cause, of_value: true };
        let payload = match &self.body {
            Some(body) => match body.render(scope)? {
                Some(value) => {
                    flaw::unsendable(&value).map_err(plain)?;
                    Some(payload::encode(self.send, &value, nonce).map_err(plain)?)
                }
                None => None,
            },
            None => None,
        };
        Ok(Draft {
            method: self.method,
            target: self.target(scope)?,
            query: percent::pairs(&query(self.query.as_ref(), scope)?),
            headers: headers(self.headers.as_ref(), confidential)?,
            payload,
        })
    }

    /// Identify what is requested: by address, query and body.
    ///
    /// # Errors
    /// If an expression has no value.
    pub fn fingerprint(&self, scope: &Scope<'_>) -> Result<String, ExprError> {
        let query = query(self.query.as_ref(), scope)?;
        let body = self.body.as_ref().map_or(Ok(None), |body| body.render(scope))?;
        Ok(canonical::fingerprint(&json!([self.target(scope)?, query, body.unwrap_or_default()])))
    }

    fn target(&self, scope: &Scope<'_>) -> Result<String, ExprError> {
        let slashes = if self.slashes { Slashes::Encoded } else { Slashes::Refused };
        segment::address(&self.target.bits(scope)?, slashes).map_err(|cause| ExprError {
            expression: self.written.clone(),
            place: self.place.clone(),
            cause,
            of_value: true,
        })
    }
}

/// Render the table of a query.
///
/// # Errors
/// If an expression has no value, or a value contains a control character.
pub fn query(table: Option<&Template>, scope: &Scope<'_>) -> Result<Value, ExprError> {
    table.map_or(Ok(Value::Null), |table| table.render_checked(scope, segment::sendable).map(Option::unwrap_or_default))
}

/// Names (in lower case) and values of a table of headers. `()` is left out.
///
/// # Errors
/// If an expression has no value, or a value is not allowed in a header.
pub fn headers(table: Option<&Template>, scope: &Scope<'_>) -> Result<Vec<(String, String)>, ExprError> {
    let Some(table) = table else { return Ok(Vec::new()) };
    let values = table.render_checked(scope, segment::sendable)?.unwrap_or_default();
    let named = values.as_object().into_iter().flatten().filter_map(|(name, value)| Some((name, text_of(value)?)));
    named
        .map(|(name, value)| match segment::header(&value) {
            Ok(()) => Ok((name.to_lowercase(), value)),
            Err(cause) => Err(ExprError {
                expression: name.as_str().into(),
                place: "headers".into(),
                cause: cause.to_owned(),
                of_value: true,
            }),
        })
        .collect()
}

/// A request without the parts that all requests share.
#[derive(Clone)]
pub struct Draft {
    pub method: Method,
    /// A path, or an address of which only path and query are used.
    pub target: String,
    pub query: Vec<(String, String)>,
    pub headers: Vec<(String, String)>,
    pub payload: Option<Payload>,
}
