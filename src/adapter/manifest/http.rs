//! The tables of an adapter with driver `http`, as written in the file.

use std::num::NonZeroU32;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    Body, Driver, Formula, Setting, Text,
    cursor::CursorSpec,
    units::{Size, Span},
};
use crate::{failure::Class, port::Op};

/// An adapter with driver `http`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the manifest reads what all drivers share; here it stands for the schema")]
pub struct HttpAdapter {
    pub driver: Driver,
    /// One line for people.
    pub summary: String,
    /// What a system of this kind is configured with.
    #[serde(default)]
    pub settings: IndexMap<String, Setting>,
    pub http: Http,
    /// By name: `product`, `stock`, ...
    #[serde(default)]
    pub entities: IndexMap<String, EntitySpec>,
}

/// Table `http`: what all requests share.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// Address that paths are appended to.
    pub base: Text,
    /// Headers of every request.
    pub headers: Option<Body>,
    /// Path below `base` that requests which name none are posted to.
    pub post: Option<Text>,
    #[serde(default)]
    pub send: Send,
    #[serde(default)]
    pub receive: Receive,
    /// Requests under way at once (default 4).
    pub concurrency: Option<NonZeroU32>,
    pub rate: Option<RateSpec>,
    /// For a whole exchange (default `30s`).
    pub timeout: Option<Span>,
    /// Most bytes of an answer (default `32MiB`).
    pub max_body: Option<Size>,
    /// Most values (of objects and lists, and these themselves) in an answer, or in all pages of a join (default 1000000).
    pub max_values: Option<NonZeroU32>,
    /// Redirects of GET requests followed, within the same host (default none).
    #[serde(default)]
    pub redirects: u8,
    /// Whether the system takes an encoded `/` or `\\` in a segment of a path for a character of the value. Without it such a
    /// value is refused with its record (default false).
    #[serde(default)]
    pub slashes: bool,
    pub auth: Option<Auth>,
    /// What failures mean; the first that matches, else by status.
    #[serde(default)]
    pub errors: Vec<ErrorRule>,
    /// A request that changes nothing and is refused where the credentials may only read, such as a batch of nothing.
    /// `vaiven check` sends it to systems that flows write to.
    pub probe: Option<ProbeSpec>,
}

/// How a body is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Send {
    #[default]
    Json,
    /// `application/x-www-form-urlencoded`: nested members as `a[b]`.
    Form,
    Xml,
    /// `multipart/form-data`: members as for a form; a member `{ filename, content, type }` is a file, `content` in base64.
    Multipart,
}

/// How an answer is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Receive {
    #[default]
    Json,
    Xml,
    Text,
}

/// Requests allowed in a span of time.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateSpec {
    pub per_second: Option<NonZeroU32>,
    pub per_minute: Option<NonZeroU32>,
    /// Requests that may leave at once after a pause (default 1).
    pub burst: Option<NonZeroU32>,
}

/// How requests are authorised. Secrets are usable here, in `base` and in `headers`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Auth {
    Basic(Basic),
    /// `Authorization: Bearer ...`
    Bearer(Text),
    Header(HeaderAuth),
    /// Names and values added to every query.
    Query(Body),
    Oauth1(Oauth1),
    Oauth2(Oauth2),
    Session(Box<SessionSpec>),
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Basic {
    pub user: Text,
    pub password: Text,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeaderAuth {
    pub name: String,
    pub value: Text,
}

/// OAuth 1.0a with HMAC-SHA256; one-legged without `token`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Oauth1 {
    pub consumer_key: Text,
    pub consumer_secret: Text,
    pub token: Option<Text>,
    pub token_secret: Option<Text>,
}

/// OAuth 2: client credentials, or a refresh token.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Oauth2 {
    /// Path or address the token is asked from.
    pub token_url: Text,
    pub client_id: Text,
    pub client_secret: Text,
    pub scope: Option<Text>,
    /// The service may give another one with every use of it, which is kept in the state for the next time.
    pub refresh_token: Option<Text>,
}

/// A login whose result goes with every request; one per process, again when it expires.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SessionSpec {
    pub login: LoginSpec,
    /// Variables from the answer (`body`, `headers`, `status`).
    #[serde(default)]
    pub capture: IndexMap<String, Formula>,
    /// Headers of every request, with the captured variables.
    pub headers: Option<Body>,
    /// Query of every request, with the captured variables.
    pub query: Option<Body>,
    /// Condition on an answer: the session is no longer good (default `status == 401`).
    pub expired: Option<Formula>,
    /// Condition on the login's answer: it was refused.
    pub failed: Option<Formula>,
    /// How many seconds the session lives, from the login's answer (`body.expires_in`): it is renewed before that.
    pub life: Option<Formula>,
}

/// What a failure means.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ErrorRule {
    /// Condition: `status`, `headers`, `body`, `text`, `op`, `retry_after`.
    pub when: Formula,
    pub class: Class,
    /// Canonical field the failure is about.
    pub field: Option<Text>,
    /// What the system said.
    pub message: Option<Text>,
}

/// Defines a structure that holds a request in addition to its own keys. Serde's `flatten` would lose the places of
/// its contents.
macro_rules! with_request {
    ($(#[$outer:meta])* $name:ident { $($(#[$inner:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$outer])*
        #[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            /// Path below `base`, for a GET request; one of `get`, `post`, `put`, `patch`, `delete` says the method.
            pub get: Option<Text>,
            pub post: Option<Text>,
            pub put: Option<Text>,
            pub patch: Option<Text>,
            pub delete: Option<Text>,
            /// Table of the query; what is `()` is left out.
            pub query: Option<Body>,
            /// Table of headers; what is `()` is left out.
            pub headers: Option<Body>,
            pub body: Option<Body>,
            /// Instead of `http.slashes`.
            pub slashes: Option<bool>,
            /// Instead of `http.send`.
            pub send: Option<Send>,
            /// Instead of `http.receive`.
            pub receive: Option<Receive>,
            /// What failures of this request mean, before `http.errors`.
            pub errors: Vec<ErrorRule>,
            $($(#[$inner])* pub $field: $type,)*
        }

        impl $name {
            /// The request's own keys.
            #[must_use]
            pub fn request(&self) -> RequestSpec<'_> {
                RequestSpec {
                    get: self.get.as_ref(),
                    post: self.post.as_ref(),
                    put: self.put.as_ref(),
                    patch: self.patch.as_ref(),
                    delete: self.delete.as_ref(),
                    query: self.query.as_ref(),
                    headers: self.headers.as_ref(),
                    body: self.body.as_ref(),
                    slashes: self.slashes,
                    send: self.send,
                    receive: self.receive,
                    errors: &self.errors,
                }
            }
        }
    };
}

/// The keys of a request, in whatever table they are.
#[derive(Clone, Copy, Debug)]
pub struct RequestSpec<'a> {
    pub get: Option<&'a Text>,
    pub post: Option<&'a Text>,
    pub put: Option<&'a Text>,
    pub patch: Option<&'a Text>,
    pub delete: Option<&'a Text>,
    pub query: Option<&'a Body>,
    pub headers: Option<&'a Body>,
    pub body: Option<&'a Body>,
    pub slashes: Option<bool>,
    pub send: Option<Send>,
    pub receive: Option<Receive>,
    pub errors: &'a [ErrorRule],
}

impl RequestSpec<'_> {
    /// Whether no key of a request is written.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        let targets = [self.get, self.post, self.put, self.patch, self.delete];
        targets.iter().all(Option::is_none) && self.query.is_none() && self.headers.is_none() && self.body.is_none()
    }
}

with_request! {
    /// The login call of a session.
    LoginSpec {}
}

with_request! {
    /// A write that changes nothing.
    ProbeSpec {}
}

/// One kind of business object of the system.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EntitySpec {
    /// Path or expression in a row; its text is the external id.
    pub id: Formula,
    /// The row's version or modification mark.
    pub version: Option<Formula>,
    /// An update must carry every field.
    #[serde(default)]
    pub replaces: bool,
    /// For price or stock that live on a part of another entity: `product.variants`; never created or deleted.
    pub facet_of: Option<String>,
    /// Condition on a row (its members, or the whole as `row`): others do not count.
    pub keep: Option<Formula>,
    /// The ids are all values that the system allows: for those of this lookup (`tax`), or for those of a setting
    /// (`settings.currency`; of a list or a map each one). `vaiven check` compares both.
    pub values_of: Option<String>,
    pub list: Option<ListSpec>,
    pub read: Option<ReadSpec>,
    pub find: Option<FindSpec>,
    pub create: Option<WriteSpec>,
    pub update: Option<WriteSpec>,
    pub delete: Option<WriteSpec>,
    /// Create and update in one, told apart by `op`; stands in for the one of them that is not written.
    pub save: Option<WriteSpec>,
    pub batch: Option<BatchSpec>,
}

with_request! {
    /// Listing of all objects, or of those changed since the cursor.
    ListSpec {
        /// Where the rows are in the answer (default `body`).
        rows: Option<Formula>,
        /// Without it everything comes in one answer.
        pages: Option<PagesSpec>,
        cursor: Option<CursorSpec>,
        /// A delta lists the newest first and ends with the page that shows a row older than the watermark less its overlap: for
        /// systems that sort by time and cannot filter by it. Needs `cursor` and `pages`.
        newest_first: bool,
        /// How long at most only deltas are read, whatever the flow's `full` says, where a cursor tells what is new and not what
        /// has changed or gone: `"1h"`. Needs `cursor`.
        whole: Option<Span>,
        /// A full listing holds every object (default true).
        complete: Option<bool>,
        /// The entity's rows within a listed one (`row`), after the joins.
        split: Option<Formula>,
        /// Bulk reads of children for the page just read.
        join: Vec<JoinSpec>,
    }
}

/// How a listing goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// `page.number`
    Number,
    /// `page.offset`
    Offset,
    /// `page.after`: the key of the last row, `()` at first
    Keyset,
    /// The answer gives the address of the next page.
    Link,
    /// `page.cursor`: a mark the answer gives, `()` at first
    Cursor,
}

/// Table `pages`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PagesSpec {
    pub by: By,
    /// Rows of a page, as `page.size` (default: what the engine asks for).
    pub size: Option<NonZeroU32>,
    /// Number of the first page (default 1).
    pub first: Option<u32>,
    /// Rows announced for the whole listing: fewer are an error.
    pub total: Option<Text>,
    /// Pages announced for the whole listing.
    pub pages: Option<Text>,
    /// Keyset: expression on the last row (default the id).
    pub key: Option<Formula>,
    /// Link, cursor: expression giving the next page's address or mark, or `()`.
    pub next: Option<Formula>,
    /// Reaching it is an error (default 10000).
    pub max_pages: Option<u64>,
}

with_request! {
    /// Reads children of the rows just read and puts them on their rows.
    JoinSpec {
        /// Where the children are in the answer (default `body`).
        rows: Option<Formula>,
        /// Path or expression on the child ...
        on: Option<Formula>,
        /// ... that equals this of the row (default the id).
        to: Option<Formula>,
        /// Member of the row that takes the list of children.
        into: Option<Text>,
        /// A single child or `()` instead of a list.
        one: bool,
        /// Condition on `rows` and `ids`.
        when: Option<Formula>,
        /// One request per `item` of this list instead of one for the page. Without `on` the items are rows and the answer is
        /// that row's children; with it the children of all answers are told apart by it.
        for_each: Option<Formula>,
        pages: Option<PagesSpec>,
    }
}

/// Joins of a read or a lookup.
pub type Joins = super::joins::Joins<JoinSpec>;

with_request! {
    /// Reading by id.
    ReadSpec {
        rows: Option<Formula>,
        /// Ids of one request (default 1).
        max: Option<NonZeroU32>,
        join: Joins,
    }
}

with_request! {
    /// Looking an object up after a create without an answer.
    FindSpec {
        rows: Option<Formula>,
        /// Condition on `row`: it is ours. Proves that the filter filters.
        r#where: Option<Formula>,
        /// What was created since the intent is listed (`since`), `where` finds ours.
        scan: bool,
        pages: Option<PagesSpec>,
        join: Joins,
    }
}

with_request! {
    /// Create, update or delete: one request, or `steps`.
    WriteSpec {
        /// Expression on the answer, or over the captures of steps: the external id.
        id: Option<Formula>,
        /// Expression on the answer: the object as stored, in the shape that the listing gives.
        row: Option<Formula>,
        version: Option<Formula>,
        /// List name to an expression giving part key to id (or to an object with `id`).
        parts: IndexMap<String, Formula>,
        /// Condition on the answer: counts as done.
        ignore: Option<Formula>,
        steps: Vec<StepSpec>,
    }
}

with_request! {
    /// One request of an operation.
    StepSpec {
        name: Option<Text>,
        /// The step only looks: it is done again by every attempt, so that later conditions see what is there now (default: a
        /// `get` without `for_each`).
        reads: Option<bool>,
        /// Condition; otherwise the step is left out.
        when: Option<Formula>,
        /// List: the step is done for each `item` (`item_index`), and each captured variable is a list with a value per item.
        for_each: Option<Formula>,
        /// Where the rows are in the answer (default `body`), of a step that reads all `pages`; `rows` in `capture`.
        rows: Option<Formula>,
        pages: Option<PagesSpec>,
        /// Variables from the answer, for later steps.
        capture: IndexMap<String, Formula>,
        /// Condition on the answer: counts as done.
        ignore: Option<Formula>,
    }
}

with_request! {
    /// Many writes in one request.
    BatchSpec {
        /// Most writes of a request.
        max: Option<NonZeroU32>,
        /// Used for these instead of `create`, `update`, `delete`.
        ops: Vec<Op>,
        /// Each write's element (default its body).
        item: Option<Body>,
        /// Writes of different value go in different requests.
        group: Option<Formula>,
        results: Option<Results>,
        /// Condition on `result` and `item`: they belong together.
        r#match: Option<Formula>,
        /// Expression on `result`: `()`, false or empty when it went well.
        error: Option<Formula>,
        /// Expression on `result`: class of the error (default `rejected`).
        class: Option<Formula>,
        /// Expression on `result`: what the system said.
        message: Option<Formula>,
        /// Expression on `result`: canonical field the error is about.
        field: Option<Formula>,
        id: Option<Formula>,
        row: Option<Formula>,
        version: Option<Formula>,
        parts: IndexMap<String, Formula>,
    }
}

/// Where a batch's results are in the answer.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Results {
    pub create: Option<Formula>,
    pub update: Option<Formula>,
    pub delete: Option<Formula>,
    /// One list for all, in the order of `items`.
    pub all: Option<Formula>,
}
