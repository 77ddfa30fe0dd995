//! The shop: its database, its settings, and one request at a time on both.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex as Lock, PoisonError},
};

use axum::http::Method;
use serde_json::Value;
use sqlx::{Connection, SqliteConnection};
use tokio::sync::{Mutex, mpsc};

use super::{
    db::{self, Doc, Site, Tx},
    faults::{Fault, Faults, Seeded},
    hooks::Notice,
    options::Options,
    refusal::Result,
    routes::{self, Call},
    text,
};
use crate::env::Env;

/// A sandbox shop. Cloning it gives another handle on the same shop.
#[derive(Clone)]
pub struct Shop {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    db: Mutex<SqliteConnection>,
    pub(super) site: Site,
    pub(super) strict: bool,
    /// Token for the addresses below `/sandbox`.
    pub(super) control: Option<String>,
    pub(super) faults: Faults,
    pub(super) env: Env,
    base: Lock<String>,
    requests: Lock<BTreeMap<String, u64>>,
    outbox: mpsc::UnboundedSender<Notice>,
    pub(super) notices: Mutex<mpsc::UnboundedReceiver<Notice>>,
}

impl Shop {
    /// Open the shop in `path`, and create it if there is none. Keys and taxes of `options` are set again each
    /// time.
    ///
    /// # Errors
    /// If the file cannot be opened or belongs to something else.
    pub async fn open(path: &Path, options: &Options, env: Env) -> anyhow::Result<Self> {
        let mut conn = db::open(path).await?;
        set_up(&mut conn, options).await?;
        let entropy = match options.seed {
            Some(seed) => Arc::new(Seeded::new(seed)),
            None => env.entropy.clone(),
        };
        let (outbox, notices) = mpsc::unbounded_channel();
        Ok(Self {
            inner: Arc::new(Inner {
                db: Mutex::new(conn),
                site: Site {
                    zone: options.timezone,
                    currency: options.currency.clone(),
                    prices_include_tax: options.prices_include_tax,
                    round_at_subtotal: options.round_at_subtotal,
                    country: options.country.clone(),
                    order_statuses: options.order_statuses.clone(),
                },
                strict: options.strict,
                control: options.control.clone(),
                faults: Faults::new(options.faults.clone(), entropy),
                env,
                base: Lock::new("http://localhost".into()),
                requests: Lock::default(),
                outbox,
                notices: Mutex::new(notices),
            }),
        })
    }

    /// Switch faults on. They replace the previous ones.
    pub fn set_faults(&self, faults: Vec<Fault>) {
        self.inner.faults.set(faults);
    }

    /// Number of requests received over HTTP so far, by method and address with `*` for ids: `POST
    /// /products/batch`.
    pub fn requests(&self) -> BTreeMap<String, u64> {
        self.inner.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Do what a request would do, as the shop's own staff: without key and faults, and not counted.
    ///
    /// # Errors
    /// The interface's refusal.
    pub async fn staff(&self, method: Method, path: &str, body: Value) -> Result<Value> {
        let mut params = Doc::new();
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            params.insert(name.into(), super::auth::decode(value).into());
        }
        if let Value::Object(members) = body {
            params.extend(members);
        }
        let call = Call { method, path: path.into(), params, query: Vec::new(), half: false };
        self.within(self.base(), async |tx| Ok(routes::dispatch(tx, call).await?.body)).await
    }

    /// Run one transaction on the shop. If `work` succeeds, keep it and send its events to subscribers.
    pub(super) async fn within<T>(&self, base: String, work: impl AsyncFnOnce(&mut Tx<'_>) -> Result<T>) -> Result<T> {
        let inner = &self.inner;
        let mut conn = inner.db.lock().await;
        let mut tx = Tx {
            db: conn.begin().await?,
            now: inner.env.now(),
            site: &inner.site,
            base,
            events: Vec::new(),
            pings: Vec::new(),
            places: text::CENTS,
            random: inner.env.entropy.next_u64(),
        };
        let done = work(&mut tx).await?;
        tx.db.commit().await?;
        let mut events = tx.events;
        let mut at = 0;
        while at < events.len() {
            if events[..at].contains(&events[at]) {
                events.remove(at);
            } else {
                at += 1;
            }
        }
        for notice in events.into_iter().map(Notice::Event).chain(tx.pings.into_iter().map(Notice::Ping)) {
            // Without a server there are no listeners, so nobody needs to be notified.
            let _ = inner.outbox.send(notice);
        }
        Ok(done)
    }

    /// Address of the shop, without a path.
    pub fn base(&self) -> String {
        self.inner.base.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_base(&self, base: String) {
        *self.inner.base.lock().unwrap_or_else(PoisonError::into_inner) = base;
    }

    pub(super) fn count(&self, method: &Method, path: &str) {
        let shape: Vec<&str> =
            path.split('/').map(|segment| if segment.parse::<i64>().is_ok() { "*" } else { segment }).collect();
        let mut requests = self.inner.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry(format!("{method} {}", shape.join("/"))).or_default() += 1;
    }
}

async fn set_up(conn: &mut SqliteConnection, options: &Options) -> Result<()> {
    let mut tx = conn.begin().await?;
    sqlx::query("DELETE FROM api_keys").execute(&mut *tx).await?;
    let read_only = options.read_only_key.as_deref().and_then(|pair| pair.split_once(':'));
    let keys = [(options.key.as_str(), options.secret.as_str(), "read_write")];
    for (key, secret, permissions) in keys.into_iter().chain(read_only.map(|(key, secret)| (key, secret, "read"))) {
        sqlx::query("INSERT INTO api_keys (consumer_key, consumer_secret, permissions) VALUES (?, ?, ?)")
            .bind(key)
            .bind(secret)
            .bind(permissions)
            .execute(&mut *tx)
            .await?;
    }
    sqlx::query("DELETE FROM tax_rates").execute(&mut *tx).await?;
    for (id, tax) in (1_i64..).zip(&options.taxes) {
        sqlx::query("INSERT INTO tax_rates (id, class, country, state, percent, name) VALUES (?, ?, ?, ?, ?, ?)")
            .bind(id)
            .bind(&tax.class)
            .bind(&tax.country)
            .bind(&tax.state)
            .bind(&tax.percent)
            .bind(&tax.name)
            .execute(&mut *tx)
            .await?;
    }
    Ok(tx.commit().await?)
}
