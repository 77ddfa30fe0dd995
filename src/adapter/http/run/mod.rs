//! The compiled program at work: requests, their answers, and the configured system that the engine sees.
//!
//! [`system`] leads: it is the [`System`](crate::port::System), and opens itself by compiling a manifest. [`pull`] and
//! [`joins`] read, [`operation`] and [`batch`] write; all of them ask through [`exchange`], which adds pace, login and
//! signature, hands the request to a [`Transport`](crate::adapter::transport::Transport) ([`network`] is the real one)
//! and evaluates the answer. Called through `adapter::open` only.
//!
//! A compiled type has its methods for work here: `compile` says what a [`Call`](super::compile::Call) is, [`call`]
//! makes it a request.

mod answer;
mod auth;
mod batch;
mod call;
mod evaluate;
mod exchange;
mod joins;
mod network;
mod oauth1;
mod oauth2;
mod operation;
mod pace;
mod pages;
mod payload;
mod pull;
mod system;
mod tls;
mod unexpected;
mod variables;
mod writing;

pub use network::Network;
pub use system::open;
