//! A store in a box: a server that answers like a common shop (WooCommerce, REST interface v3), over its own SQLite
//! file, with faults on demand. It is for trying and testing configurations. It shares no code with `adapter`, so
//! neither hides the other's mistakes.
//!
//! [`Shop`] is the shop: [`Shop::open`] its file, [`Shop::serve`] it over HTTP, act as its customers and staff
//! ([`Shop::place_order`], [`Shop::register`], [`Shop::edit`]...). `schema.sql` describes the tables for checks
//! with plain SQL. Set faults by option, by [`Shop::set_faults`], or by `POST /sandbox/faults` (with the token of
//! `--control`) with `{"faults": [{"kind": "drop-after", "next": 1, "method": "POST", "path": "/orders"}]}`; `GET
//! /sandbox/requests` counts the requests received. Both answer on loopback only.

mod auth;
mod batch;
mod check;
mod customers;
mod db;
mod faults;
mod hooks;
mod line;
mod options;
mod order_lines;
mod order_view;
mod orders;
mod product_view;
mod products;
mod query;
mod refunds;
mod refusal;
mod resource;
mod routes;
mod server;
mod shop;
mod staff;
mod tax_classes;
mod terms;
mod text;
mod webhooks;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use faults::{Fault, Kind as FaultKind, Seeded};
pub use hooks::signature;
pub use options::{Options, Tax};
pub use refusal::Error;
pub use shop::Shop;
pub use staff::Checkout;

use crate::env::Env;

/// Print the address of a sandbox shop and run it until `shutdown`.
///
/// # Errors
/// If the file cannot be opened or the address is in use.
pub async fn run(options: Options, env: Env, shutdown: CancellationToken) -> anyhow::Result<()> {
    let shop = Shop::open(&options.file, &options, env).await?;
    let listener =
        TcpListener::bind(options.listen).await.with_context(|| format!("cannot listen on {}", options.listen))?;
    println!(
        "sandbox shop: http://{}/wp-json/wc/v3 (key {}), file {}",
        listener.local_addr()?,
        options.key,
        options.file.display()
    );
    shop.serve(listener, shutdown).await
}
