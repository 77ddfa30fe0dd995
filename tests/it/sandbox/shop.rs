//! A running sandbox shop with a clock that stands still until it is moved.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, Utc};
use serde_json::Value;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use vaiven::internals::{
    env::{Clock, Env},
    sandbox::{Options, Seeded, Shop},
};

/// A clock that moves when told, and never makes anybody wait.
#[derive(Debug)]
pub struct Still(Mutex<DateTime<Utc>>);

#[async_trait]
impl Clock for Still {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock().unwrap()
    }

    async fn sleep_until(&self, _until: DateTime<Utc>) {}
}

pub struct Running {
    pub shop: Shop,
    pub clock: Arc<Still>,
    pub client: reqwest::Client,
    pub base: String,
    pub folder: TempDir,
    shutdown: CancellationToken,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub fn header(&self, name: &str) -> String {
        let values: Vec<&str> = self.headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
        values.join("; ")
    }
}

impl Running {
    /// A new shop, its clock at the time of the recordings and in their zone.
    pub async fn start() -> Self {
        Self::with(Options { timezone: chrono_tz::America::New_York, ..Options::default() }).await
    }

    pub async fn with(options: Options) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let now = "2026-11-23T09:43:28Z".parse().unwrap();
        let clock = Arc::new(Still(Mutex::new(now)));
        let env = Env { clock: clock.clone(), entropy: Arc::new(Seeded::new(1)) };
        let shop = Shop::open(&folder.path().join("shop.db"), &options, env).await.unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let shutdown = CancellationToken::new();
        let (serving, token) = (shop.clone(), shutdown.clone());
        tokio::spawn(async move { serving.serve(listener, token).await.unwrap() });
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { shop, clock, client, base, folder, shutdown }
    }

    pub fn advance(&self, seconds: u64) {
        let mut now = self.clock.0.lock().unwrap();
        *now += Duration::from_secs(seconds);
    }

    pub async fn try_ask(&self, method: &str, path: &str, body: Option<&Value>) -> reqwest::Result<Answer> {
        let key = STANDARD.encode("ck_sandbox:cs_sandbox");
        self.ask_as(Some(&format!("Basic {key}")), method, path, body.map(Value::to_string)).await
    }

    pub async fn ask_as(
        &self,
        authorization: Option<&str>,
        method: &str,
        path: &str,
        body: Option<String>,
    ) -> reqwest::Result<Answer> {
        let url = format!("{}/wp-json/wc/v3{path}", self.base);
        let mut request = self.client.request(method.parse().unwrap(), url);
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Answer { status, headers, text: response.text().await? })
    }

    pub async fn ask(&self, method: &str, path: &str, body: Value) -> Answer {
        let body = (!body.is_null()).then_some(body);
        self.try_ask(method, path, body.as_ref()).await.unwrap()
    }

    /// As [`Self::ask`], for what must succeed; gives the body.
    pub async fn done(&self, method: &str, path: &str, body: Value) -> Value {
        let answer = self.ask(method, path, body).await;
        assert!(answer.status < 300, "{method} {path}: {} {}", answer.status, answer.text);
        answer.json()
    }
}
