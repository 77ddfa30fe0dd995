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
    clock::SimClock,
    models::{Answer, Call, Kind, Model, id_of, items},
    mood::{Mood, Trouble},
    setting::{OUTLET, Setting},
    witness::Witness,
};

/// A request whose answer was lost and whose effect comes later.
struct Late {
    at: DateTime<Utc>,
    sent: DateTime<Utc>,
    host: &'static str,
    method: String,
    path: String,
    session: Option<String>,
    body: Value,
}

#[derive(Default)]
struct State {
    models: BTreeMap<&'static str, Model>,
    late: Vec<Late>,
    trace: Vec<String>,
    witness: Witness,
    has_grown: bool,
}

#[derive(Clone)]
pub struct Wire {
    state: Arc<Mutex<State>>,
    chance: Arc<Chance>,
    mood: Arc<Mood>,
    clock: SimClock,
    env: Env,
    /// How many seconds each side's clock is off.
    skew: BTreeMap<&'static str, i64>,
    calm: Arc<AtomicBool>,
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Wire")
    }
}

impl Wire {
    pub fn new(chance: Arc<Chance>, mood: Arc<Mood>, clock: SimClock, env: Env, setting: Setting) -> Self {
        let erp = Model { kind: Kind::Erp, setting, ..Model::default() };
        let shop = Model { kind: Kind::Shop, setting, next: 1000, ..Model::default() };
        let shops = setting.shops().iter().map(|&host| (host, shop.clone()));
        let models: BTreeMap<_, _> = std::iter::once(("erp", erp)).chain(shops).collect();
        let off = || i64::try_from(chance.below(7200)).unwrap() - 3600;
        let hosts = std::iter::once("erp").chain(setting.shops().iter().copied());
        let skew = hosts.map(|host| (host, off())).collect();
        Self {
            state: Arc::new(Mutex::new(State { models, ..State::default() })),
            chance,
            mood,
            clock,
            env,
            skew,
            calm: Arc::new(AtomicBool::new(false)),
        }
    }

    /// No more trouble from here on.
    pub fn calm(&self) {
        self.calm.store(true, Ordering::Relaxed);
    }

    /// What was wanting has been added to the configuration.
    pub fn grow(&self) {
        self.state.lock().unwrap().has_grown = true;
    }

    /// Somebody lets an order go on that was cancelled.
    pub fn reopened(&self, name: &str) {
        self.state.lock().unwrap().witness.is_reopened(name);
    }

    pub fn has_grown(&self) -> bool {
        self.state.lock().unwrap().has_grown
    }

    /// Both sides agree, and nothing is under way.
    pub fn rest(&self) {
        self.state.lock().unwrap().witness.at_rest = true;
    }

    /// The engine knows nothing any more, and both sides have everything.
    pub fn forget(&self) {
        let mut state = self.state.lock().unwrap();
        state.witness.at_rest = true;
        state.witness.is_forgotten = true;
    }

    pub fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    pub fn with<T>(&self, host: &str, look: impl FnOnce(&mut Model) -> T) -> T {
        look(self.state.lock().unwrap().models.get_mut(host).unwrap())
    }

    /// Seconds on a side's own clock.
    pub fn now(&self, host: &str) -> i64 {
        self.clock.truth().timestamp() + self.skew[host]
    }

    pub fn note(&self, text: impl Into<String>) {
        let now = self.clock.truth().format("%d %H:%M:%S%.3f");
        self.state.lock().unwrap().trace.push(format!("{now} {}", text.into()));
    }

    pub fn trace(&self) -> Vec<String> {
        self.state.lock().unwrap().trace.clone()
    }

    pub fn events(&self) -> usize {
        self.state.lock().unwrap().trace.len()
    }

    pub fn uncaused(&self) -> Vec<String> {
        self.state.lock().unwrap().witness.wrong.clone()
    }

    pub fn writes(&self) -> u64 {
        self.state.lock().unwrap().models.values().map(|model| model.writes).sum()
    }

    /// Effects whose time has come.
    pub fn tick(&self) {
        let now = self.clock.truth();
        let due: Vec<Late> = {
            let mut state = self.state.lock().unwrap();
            let (due, rest) = std::mem::take(&mut state.late).into_iter().partition(|late| late.at <= now);
            state.late = rest;
            due
        };
        for late in due {
            let call = Call {
                method: &late.method,
                path: &late.path,
                query: BTreeMap::new(),
                session: late.session.clone(),
                body: late.body.clone(),
                now: self.now(late.host),
                only: None,
            };
            let answer = self.carry_out(late.host, &call, late.sent);
            self.note(format!("{} late {} {} {}", late.host, late.method, late.path, answer.status));
        }
    }

    pub fn has_late(&self) -> bool {
        !self.state.lock().unwrap().late.is_empty()
    }

    fn carry_out(&self, host: &'static str, call: &Call<'_>, sent: DateTime<Utc>) -> Answer {
        let now = self.clock.truth();
        let mut state = self.state.lock().unwrap();
        let State { models, witness, .. } = &mut *state;
        let erp = &models["erp"];
        let shops: Vec<&Model> = models.iter().filter(|(name, _)| **name != "erp").map(|(_, model)| model).collect();
        witness.anything_is_sent(host, call.method, call.path);
        match (host, call.method, call.path) {
            ("erp", "GET", "/stock") => witness.stock_is_listed(erp),
            ("erp", "POST", "/orders") => witness.order_is_taken(&shops, &call.body),
            ("erp", "PUT", path) => {
                if let Some(id) = path.strip_prefix("/products/").and_then(|id| id.parse().ok()) {
                    witness.text_is_written("erp", erp, id, &call.body, sent);
                    witness.product_is_written(erp, id, &call.body);
                }
            }
            (shop, "PUT", path) if path.starts_with("/orders/") => {
                let id = path["/orders/".len()..].parse().unwrap_or(0);
                witness.order_goes_on(&models[shop], id);
                witness.order_state_is_written(&models[shop], id, &call.body);
            }
            (shop, "POST", "/prices/batch") => witness.price_is_written(&models[shop], &call.body),
            (shop, "POST", "/stock/batch") => witness.stock_is_written(&models[shop], &shops, &call.body, sent),
            (shop, "POST", "/products/batch") => {
                for item in items(&call.body["update"]) {
                    witness.text_is_written(shop, &models[shop], id_of(&item["id"]), &item, sent);
                }
                witness.products_are_written(erp, &models[shop], &call.body, now);
            }
            _ => {}
        }
        models.get_mut(host).unwrap().handle(call)
    }
}

fn split(url: &str) -> (&'static str, String, BTreeMap<String, String>) {
    let url = reqwest::Url::parse(url).unwrap();
    let host = match url.host_str() {
        Some("erp.test") => "erp",
        Some("outlet.test") => OUTLET,
        _ => "shop",
    };
    (host, url.path().to_owned(), url.query_pairs().into_owned().collect())
}

fn response(answer: &Answer) -> Response {
    Response {
        status: answer.status,
        headers: vec![("content-type".into(), "application/json".into())],
        body: answer.body.to_string().into_bytes().into(),
    }
}

/// What a request is about, for the trace.
fn about(query: &BTreeMap<String, String>, body: &Value) -> String {
    let mut words: Vec<String> = ["since", "page", "after", "number", "sku", "email"]
        .iter()
        .filter_map(|name| query.get(*name).map(|value| format!("{name}={value}")))
        .collect();
    let items = ["create", "update", "items"].iter().filter_map(|name| body[name].as_array()).flatten();
    for item in items.chain(std::iter::once(body)) {
        let name = ["sku", "id", "number", "email"].iter().find_map(|name| item.get(*name));
        let stock = item.get("stock").map(|stock| format!("={stock}")).unwrap_or_default();
        words.extend(name.map(|name| format!("{}{stock}", name.to_string().trim_matches('"'))));
    }
    words.join(" ")
}

#[async_trait]
impl Transport for Wire {
    async fn send(&self, request: Request) -> Result<Response, TransportError> {
        let (host, path, query) = split(&request.url);
        let method = request.method.as_str();
        let body: Value = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
        let session = request.headers.iter().find(|(name, _)| name == "x-session").map(|(_, value)| value.clone());
        let is_write = method != "GET" && path != "/login";
        let trouble = if self.is_calm() { None } else { self.mood.on_the_wire(&self.chance, is_write) };
        let line = format!("{host} {method} {path} {}", about(&query, &body));
        let tell = |how: &str| self.note(format!("{line} {how} {}", trouble.map_or("", Trouble::word)));
        let lost = || Err(TransportError::Lost("by the simulation".into()));
        let sent = self.clock.truth();
        // A crash may fall before the effect and between effect and answer.
        tokio::task::yield_now().await;
        match trouble {
            Some(Trouble::NotSent) => {
                tell("-");
                return Err(TransportError::NotSent("by the simulation".into()));
            }
            Some(Trouble::LostBefore) => {
                tell("-");
                return lost();
            }
            Some(Trouble::LostLate) => {
                tell("-");
                let at =
                    self.clock.truth() + chrono::Duration::seconds(i64::try_from(1 + self.chance.below(20)).unwrap());
                let method = method.to_owned();
                self.state.lock().unwrap().late.push(Late { at, sent, host, method, path, session, body });
                return lost();
            }
            Some(Trouble::ErrorBefore | Trouble::Throttled) => {
                let status = if trouble == Some(Trouble::Throttled) { 429 } else { 503 };
                tell(&status.to_string());
                let mut response = response(&Answer { status, body: json!({"error": "by the simulation"}) });
                response.headers.push(("retry-after".into(), "7".into()));
                return Ok(response);
            }
            Some(Trouble::Logout) => self.with(host, |model| model.sessions.clear()),
            _ => {}
        }
        let only = (trouble == Some(Trouble::HalfBatch)).then(|| usize::try_from(self.chance.below(3)).unwrap());
        let call = Call { method, path: &path, query, session, body, now: self.now(host), only };
        let mut answer = self.carry_out(host, &call, sent);
        // Only what may be done twice is doubled on the way: against the rest nobody can do anything.
        if trouble == Some(Trouble::Doubled)
            && !matches!(path.as_str(), "/orders" | "/customers")
            && !path.ends_with("/refund")
        {
            answer = self.carry_out(host, &call, sent);
        }
        tell(&answer.status.to_string());
        tokio::task::yield_now().await;
        // Time passes on the wire.
        let slow = if trouble == Some(Trouble::Slow) { 9000 } else { 400 };
        self.env.sleep(Duration::from_millis(20 + self.chance.below(slow))).await;
        match trouble {
            Some(Trouble::LostAfter) => return lost(),
            Some(Trouble::ErrorAfter) => {
                answer = Answer { status: 500, body: json!({"error": "after the effect"}) };
            }
            // Of a listing: what is asked for by its id is shown, or an error is.
            Some(Trouble::ShortPage) if !call.query.contains_key("ids") => {
                if let Some(rows) = answer.body["rows"].as_array_mut() {
                    rows.truncate(rows.len() / 2);
                }
            }
            Some(Trouble::Html) => {
                return Ok(Response {
                    status: 200,
                    headers: vec![("content-type".into(), "text/html".into())],
                    body: "<html>Fatal error</html>".into(),
                });
            }
            _ => {}
        }
        let (witness, now) = (&mut self.state.lock().unwrap().witness, self.clock.truth());
        match (host, method, path.as_str()) {
            (shop, "GET", "/orders") if shop != "erp" => witness.orders_are_told(&answer.body["rows"], now),
            (_, "GET", "/products") => witness.products_are_shown(host, &answer.body["rows"], now),
            _ => {}
        }
        Ok(response(&answer))
    }
}
