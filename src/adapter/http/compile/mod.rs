//! The manifest's tables, checked and compiled: what can be asked of each entity, and how. Nothing is sent from here,
//! and no answer is read; what is wrong in the file is told with its place.
//!
//! [`entity`] leads: it compiles an entity with its listing, reads, lookup and writes. [`shared`] is what all requests
//! have in common, [`call`] one request, [`texts`] every expression and template. Called by `run`, which carries the
//! program out, and by nobody else.

mod auth;
mod batch;
mod call;
mod entity;
mod joins;
mod operation;
mod pages;
mod shared;
mod texts;
mod variables;

pub use auth::{Auth, Kind, Login, Oauth2, Session};
pub use batch::{Batch, Places};
pub use call::{Call, Rule};
pub use entity::{Entity, List, Lookup, Named, Read, entities, word};
pub use joins::{Join, Listing};
pub use operation::{Form, Operation, Step};
pub use pages::Pager;
pub use shared::{Rate, Shared};
pub use texts::Compiler;
pub use variables::AnswerFields;
