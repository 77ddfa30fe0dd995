//! The simulated network between the engine and the model systems. It injects the faults of the seed: lost and late
//! requests, lost answers, errors. It also keeps the trace.

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
use vaiven::internals::{
    adapter::http::{Request, Response, Transport, TransportError},
    env::Env,
};

use crate::{
    clock::SimClock,
    faults::{Fault, Faults},
    invariants::Invariants,
    models::{Answer, Call, Kind, Model, id_of, items},
    rng::Rng,
    setting::{OUTLET, Setting},
};

/// A request whose answer was lost, and which is carried out later.
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
    invariants: Invariants,
    has_grown: bool,
}

/// The network, the systems behind it and the trace. Clones share one state.
#[derive(Clone)]
pub struct Wire {
    state: Arc<Mutex<State>>,
    rng: Arc<Rng>,
    /// The faults of this seed.
    pub faults: Arc<Faults>,
    clock: SimClock,
    /// The clock and the random numbers of the engine.
    pub env: Env,
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
    /// Connects the ERP and the shops of `setting`; draws how far each one's clock is off.
    pub fn new(rng: Arc<Rng>, faults: Arc<Faults>, clock: SimClock, env: Env, setting: Setting) -> Self {
        let erp = Model { kind: Kind::Erp, setting, ..Model::default() };
        let shop = Model { kind: Kind::Shop, setting, next: 1000, ..Model::default() };
        let shops = setting.shops().iter().map(|&host| (host, shop.clone()));
        let models: BTreeMap<_, _> = std::iter::once(("erp", erp)).chain(shops).collect();
        let off = || i64::try_from(rng.below(7200)).unwrap() - 3600;
        let hosts = std::iter::once("erp").chain(setting.shops().iter().copied());
        let skew = hosts.map(|host| (host, off())).collect();
        Self {
            state: Arc::new(Mutex::new(State { models, ..State::default() })),
            rng,
            faults,
            clock,
            env,
            skew,
            calm: Arc::new(AtomicBool::new(false)),
        }
    }

    /// Stops all faults from now on.
    pub fn calm(&self) {
        self.calm.store(true, Ordering::Relaxed);
    }

    /// Remembers that the configuration has grown.
    pub fn grow(&self) {
        self.state.lock().unwrap().has_grown = true;
    }

    /// Somebody has reopened a cancelled order.
    pub fn reopened(&self, name: &str) {
        self.state.lock().unwrap().invariants.note_reopened(name);
    }

    /// Whether the configuration has grown.
    pub fn has_grown(&self) -> bool {
        self.state.lock().unwrap().has_grown
    }

    /// From now on both sides agree, and nothing is under way.
    pub fn rest(&self) {
        self.state.lock().unwrap().invariants.at_rest = true;
    }

    /// The engine has lost its state, and both sides have everything.
    pub fn lose_state(&self) {
        let mut state = self.state.lock().unwrap();
        state.invariants.at_rest = true;
        state.invariants.state_is_lost = true;
    }

    /// Whether faults have stopped.
    pub fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    /// Gives access to the model of a side.
    pub fn with<T>(&self, host: &str, look: impl FnOnce(&mut Model) -> T) -> T {
        look(self.state.lock().unwrap().models.get_mut(host).unwrap())
    }

    /// Seconds on a side's own clock.
    pub fn now(&self, host: &str) -> i64 {
        self.clock.truth().timestamp() + self.skew[host]
    }

    /// Adds a line to the trace.
    pub fn note(&self, text: impl Into<String>) {
        let now = self.clock.truth().format("%d %H:%M:%S%.3f");
        self.state.lock().unwrap().trace.push(format!("{now} {}", text.into()));
    }

    /// All lines so far.
    pub fn trace(&self) -> Vec<String> {
        self.state.lock().unwrap().trace.clone()
    }

    /// How many lines the trace has.
    pub fn events(&self) -> usize {
        self.state.lock().unwrap().trace.len()
    }

    /// Violated invariants so far.
    pub fn violations(&self) -> Vec<String> {
        self.state.lock().unwrap().invariants.violations.clone()
    }

    /// How many writes the models have carried out.
    pub fn writes(&self) -> u64 {
        self.state.lock().unwrap().models.values().map(|model| model.writes).sum()
    }

    /// Carries out the late requests that are due.
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

    /// Whether a late request is still on its way.
    pub fn has_late(&self) -> bool {
        !self.state.lock().unwrap().late.is_empty()
    }

    /// Checks a request against the invariants and has the model carry it out.
    fn carry_out(&self, host: &'static str, call: &Call<'_>, sent: DateTime<Utc>) -> Answer {
        let now = self.clock.truth();
        let mut state = self.state.lock().unwrap();
        let State { models, invariants, .. } = &mut *state;
        let erp = &models["erp"];
        let shops: Vec<&Model> = models.iter().filter(|(name, _)| **name != "erp").map(|(_, model)| model).collect();
        invariants.check_request(host, call.method, call.path);
        match (host, call.method, call.path) {
            ("erp", "GET", "/stock") => invariants.note_stock_listing(erp),
            ("erp", "POST", "/orders") => invariants.check_order_create(&shops, &call.body),
            ("erp", "PUT", path) => {
                if let Some(id) = path.strip_prefix("/products/").and_then(|id| id.parse().ok()) {
                    invariants.check_text_update(("erp", id), erp, &call.body, sent);
                    invariants.check_product_update(erp, id, &call.body);
                }
            }
            (shop, "PUT", path) if path.starts_with("/orders/") => {
                let id = path["/orders/".len()..].parse().unwrap_or(0);
                invariants.check_order_update(&models[shop], id);
                invariants.check_order_state(&models[shop], id, &call.body);
            }
            (shop, "POST", "/prices/batch") => invariants.check_price_batch(&models[shop], &call.body),
            (shop, "POST", "/stock/batch") => invariants.check_stock_batch(&models[shop], &shops, &call.body, sent),
            (shop, "POST", "/products/batch") => {
                for item in items(&call.body["update"]) {
                    invariants.check_text_update((shop, id_of(&item["id"])), &models[shop], &item, sent);
                }
                invariants.check_product_batch(erp, &models[shop], &call.body, now);
            }
            _ => {}
        }
        models.get_mut(host).unwrap().handle(call)
    }
}

/// Host, path and query of a URL.
fn split_url(url: &str) -> (&'static str, String, BTreeMap<String, String>) {
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

/// Whether a request makes new addresses of a customer: they have no ids yet.
fn adds_addresses(body: &Value) -> bool {
    items(&body["addresses"]).iter().any(|address| address["id"].is_null())
}

/// The objects that a request concerns, for the trace.
fn subjects(query: &BTreeMap<String, String>, body: &Value) -> String {
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
        let (host, path, query) = split_url(&request.url);
        let method = request.method.as_str();
        let body: Value = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
        let session = request.headers.iter().find(|(name, _)| name == "x-session").map(|(_, value)| value.clone());
        let is_write = method != "GET" && path != "/login";
        let fault = if self.is_calm() { None } else { self.faults.on_the_wire(&self.rng, is_write) };
        let line = format!("{host} {method} {path} {}", subjects(&query, &body));
        let note = |how: &str| self.note(format!("{line} {how} {}", fault.map_or("", Fault::word)));
        let lost = || Err(TransportError::Lost("by the simulation".into()));
        let sent = self.clock.truth();
        // Yield here and after the effect: a crash must be able to happen before the effect and before the answer.
        tokio::task::yield_now().await;
        match fault {
            Some(Fault::NotSent) => {
                note("-");
                return Err(TransportError::NotSent("by the simulation".into()));
            }
            Some(Fault::LostBefore) => {
                note("-");
                return lost();
            }
            Some(Fault::LostLate) => {
                note("-");
                let at = self.clock.truth() + chrono::Duration::seconds(i64::try_from(1 + self.rng.below(20)).unwrap());
                let method = method.to_owned();
                self.state.lock().unwrap().late.push(Late { at, sent, host, method, path, session, body });
                return lost();
            }
            Some(Fault::ErrorBefore | Fault::Throttled) => {
                let status = if fault == Some(Fault::Throttled) { 429 } else { 503 };
                note(&status.to_string());
                let mut response = response(&Answer { status, body: json!({"error": "by the simulation"}) });
                response.headers.push(("retry-after".into(), "7".into()));
                return Ok(response);
            }
            Some(Fault::Logout) => self.with(host, |model| model.sessions.clear()),
            _ => {}
        }
        let only = (fault == Some(Fault::HalfBatch)).then(|| usize::try_from(self.rng.below(3)).unwrap());
        let call = Call { method, path: &path, query, session, body, now: self.now(host), only };
        let mut answer = self.carry_out(host, &call, sent);
        // Double only requests that may be carried out twice: no client can protect the others from a network that
        // repeats requests.
        if fault == Some(Fault::Doubled)
            && !matches!(path.as_str(), "/orders" | "/customers")
            && !path.ends_with("/refund")
            && !adds_addresses(&call.body)
        {
            answer = self.carry_out(host, &call, sent);
        }
        note(&answer.status.to_string());
        tokio::task::yield_now().await;
        // An answer takes some time.
        let slow = if fault == Some(Fault::Slow) { 9000 } else { 400 };
        self.env.sleep(Duration::from_millis(20 + self.rng.below(slow))).await;
        match fault {
            Some(Fault::LostAfter) => return lost(),
            Some(Fault::ErrorAfter) => {
                answer = Answer { status: 500, body: json!({"error": "after the effect"}) };
            }
            // Only a listing is cut short, not a request for single ids.
            Some(Fault::ShortPage) if !call.query.contains_key("ids") => {
                if let Some(rows) = answer.body["rows"].as_array_mut() {
                    rows.truncate(rows.len() / 2);
                }
            }
            Some(Fault::Html) => {
                return Ok(Response {
                    status: 200,
                    headers: vec![("content-type".into(), "text/html".into())],
                    body: "<html>Fatal error</html>".into(),
                });
            }
            _ => {}
        }
        let (invariants, now) = (&mut self.state.lock().unwrap().invariants, self.clock.truth());
        match (host, method, path.as_str()) {
            (shop, "GET", "/orders") if shop != "erp" => invariants.note_orders_listed(&answer.body["rows"], now),
            (_, "GET", "/products") => invariants.note_products_listed(host, &answer.body["rows"], now),
            _ => {}
        }
        Ok(response(&answer))
    }
}
