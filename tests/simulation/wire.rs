//! The wire between engine and models: loses answers, delays effects, breaks down, all by the seed.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use vaiven::{
    adapter::http::{Request, Response, Transport, TransportError},
    env::Env,
};

use crate::{
    chance::Chance,
    models::{Answer, Call, Model},
};

/// A request whose answer was lost and whose effect comes later.
struct Late {
    at: DateTime<Utc>,
    host: &'static str,
    method: String,
    path: String,
    body: Value,
}

#[derive(Default)]
struct State {
    models: BTreeMap<&'static str, Model>,
    late: Vec<Late>,
    trace: Vec<String>,
}

#[derive(Clone)]
pub struct Wire {
    state: Arc<Mutex<State>>,
    chance: Arc<Chance>,
    env: Env,
    calm: Arc<AtomicBool>,
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Wire")
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    NotSent,
    LostBefore,
    LostAfter,
    LostLate,
    ErrorBefore,
    ErrorAfter,
    HalfBatch,
    Throttled,
    ShortPage,
    Html,
}

impl Wire {
    pub fn new(chance: Arc<Chance>, env: Env) -> Self {
        let models = BTreeMap::from([("erp", Model::default()), ("shop", Model { next: 1000, ..Model::default() })]);
        Self {
            state: Arc::new(Mutex::new(State { models, ..State::default() })),
            chance,
            env,
            calm: Arc::new(AtomicBool::new(false)),
        }
    }

    /// No more faults from here on.
    pub fn calm(&self) {
        self.calm.store(true, Ordering::Relaxed);
    }

    pub fn with<T>(&self, host: &str, look: impl FnOnce(&mut Model) -> T) -> T {
        look(self.state.lock().unwrap().models.get_mut(host).unwrap())
    }

    pub fn note(&self, text: impl Into<String>) {
        let now = self.env.now().format("%H:%M:%S");
        self.state.lock().unwrap().trace.push(format!("{now} {}", text.into()));
    }

    pub fn trace(&self) -> Vec<String> {
        self.state.lock().unwrap().trace.clone()
    }

    pub fn events(&self) -> usize {
        self.state.lock().unwrap().trace.len()
    }

    /// Effects whose time has come.
    pub fn tick(&self) {
        let now = self.env.now();
        let mut state = self.state.lock().unwrap();
        let (due, rest) = std::mem::take(&mut state.late).into_iter().partition(|late| late.at <= now);
        state.late = rest;
        let due: Vec<Late> = due;
        for late in due {
            let call = Call {
                method: &late.method,
                path: &late.path,
                query: BTreeMap::new(),
                body: late.body.clone(),
                now,
                only: None,
            };
            let answer = state.models.get_mut(late.host).unwrap().handle(&call);
            state.trace.push(format!(
                "{} late {} {} {}",
                now.format("%H:%M:%S"),
                late.method,
                late.path,
                answer.status
            ));
        }
    }

    pub fn has_late(&self) -> bool {
        !self.state.lock().unwrap().late.is_empty()
    }

    fn draw(&self, is_write: bool) -> Fault {
        if self.calm.load(Ordering::Relaxed) || !self.chance.hits(180) {
            return Fault::None;
        }
        let faults: &[Fault] = if is_write {
            &[
                Fault::NotSent,
                Fault::LostBefore,
                Fault::LostAfter,
                Fault::LostAfter,
                Fault::LostLate,
                Fault::ErrorBefore,
                Fault::ErrorAfter,
                Fault::HalfBatch,
                Fault::Throttled,
                Fault::Html,
            ]
        } else {
            &[Fault::NotSent, Fault::LostBefore, Fault::ErrorBefore, Fault::Throttled, Fault::ShortPage, Fault::Html]
        };
        faults[usize::try_from(self.chance.below(faults.len() as u64)).unwrap()]
    }
}

fn split(url: &str) -> (&'static str, String, BTreeMap<String, String>) {
    let url = reqwest::Url::parse(url).unwrap();
    let host = if url.host_str() == Some("erp.test") { "erp" } else { "shop" };
    (host, url.path().to_owned(), url.query_pairs().into_owned().collect())
}

fn response(answer: &Answer) -> Response {
    Response {
        status: answer.status,
        headers: vec![("content-type".into(), "application/json".into())],
        body: answer.body.to_string().into_bytes().into(),
    }
}

#[async_trait]
impl Transport for Wire {
    async fn send(&self, request: Request) -> Result<Response, TransportError> {
        let (host, path, query) = split(&request.url);
        let method = request.method.as_str();
        let body: Value = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
        let fault = self.draw(method != "GET");
        let lost = || TransportError::Lost("by the simulation".into());
        // A crash may fall before the effect and between effect and answer.
        tokio::task::yield_now().await;
        if let Fault::NotSent = fault {
            self.note(format!("{host} {method} {path} not sent"));
            return Err(TransportError::NotSent("by the simulation".into()));
        }
        if let Fault::LostBefore = fault {
            self.note(format!("{host} {method} {path} lost before"));
            return Err(lost());
        }
        if let Fault::LostLate = fault {
            let at = self.env.now() + chrono::Duration::seconds(i64::try_from(1 + self.chance.below(20)).unwrap());
            self.note(format!("{host} {method} {path} lost, effect later"));
            self.state.lock().unwrap().late.push(Late { at, host, method: method.to_owned(), path, body });
            return Err(lost());
        }
        if matches!(fault, Fault::ErrorBefore | Fault::Throttled) {
            let status = if fault == Fault::Throttled { 429 } else { 503 };
            self.note(format!("{host} {method} {path} {status}"));
            let mut response = response(&Answer { status, body: json!({"error": "by the simulation"}) });
            response.headers.push(("retry-after".into(), "7".into()));
            return Ok(response);
        }
        let is_lookup = query.contains_key("number") || query.contains_key("sku");
        let only = (fault == Fault::HalfBatch).then(|| usize::try_from(self.chance.below(3)).unwrap());
        let call = Call { method, path: &path, query, body, now: self.env.now(), only };
        let mut answer = self.with(host, |model| model.handle(&call));
        self.note(format!(
            "{host} {method} {path} {}{}",
            answer.status,
            if fault == Fault::None { "" } else { " faulty" }
        ));
        tokio::task::yield_now().await;
        // Time passes on the wire.
        self.env.sleep(Duration::from_millis(20 + self.chance.below(400))).await;
        match fault {
            Fault::LostAfter => return Err(lost()),
            Fault::ErrorAfter => {
                answer = Answer { status: 500, body: json!({"error": "after the effect"}) };
            }
            // A lookup that names one object is answered whole or not at all: against one that lies there is no proof.
            Fault::ShortPage if !is_lookup => {
                if let Some(rows) = answer.body["rows"].as_array_mut() {
                    rows.truncate(rows.len() / 2);
                }
            }
            Fault::Html => {
                return Ok(Response {
                    status: 200,
                    headers: vec![("content-type".into(), "text/html".into())],
                    body: "<html>Fatal error</html>".into(),
                });
            }
            _ => {}
        }
        Ok(response(&answer))
    }
}
