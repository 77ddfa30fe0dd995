//! The interface's answers when it does not do what was asked.

use axum::http::StatusCode;
use serde_json::{Value, json};

/// Why a request fails.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{}: {}", .0.code, .0.message)]
    Refused(Box<Refusal>),
    #[error("sandbox database: {0}")]
    Database(#[from] sqlx::Error),
    #[error("sandbox database holds a document that is not JSON: {0}")]
    Document(#[from] serde_json::Error),
}

pub type Result<T> = std::result::Result<T, Error>;

/// An error in the interface's form: status, code, message and `data`.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub status: StatusCode,
    pub code: String,
    pub message: String,
    pub data: Value,
}

impl Refusal {
    pub fn new(status: u16, code: &str, message: impl Into<String>) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, code: code.into(), message: message.into(), data: json!({ "status": status.as_u16() }) }
    }

    /// Add a member to `data`.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.data[name] = value.into();
        self
    }

    #[must_use]
    pub fn body(&self) -> Value {
        json!({ "code": self.code, "message": self.message, "data": self.data })
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}

/// End a request with a refusal.
pub fn refuse<T>(status: u16, code: &str, message: impl Into<String>) -> Result<T> {
    Err(Refusal::new(status, code, message).into())
}

/// Refuse an id in the address that belongs to nothing. `status` is 404 when reading or deleting and 400 when
/// writing.
pub fn invalid_id<T>(status: u16, what: &str) -> Result<T> {
    refuse(status, &format!("woocommerce_rest_{what}_invalid_id"), "Invalid ID.")
}
