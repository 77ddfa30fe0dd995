//! One seed's world: builds it, lets it live with faults and crashes, calms it, checks it.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use vaiven::{
    adapter::{self, Given, Manifest, SettingValue, World},
    env::Env,
    load::{Place, SourceFile},
    mapping::{Mapping, Translate},
    model::Entities,
    port::System,
    store::{RunKind, Store},
    sync::{Engine, Flow, Limits, Parts, Routes, SystemLimits, Timetable},
};

use crate::{
    chance::Chance,
    clock::SimClock,
    gate::Gate,
    life::{Life, check},
    wire::Wire,
};

pub struct Outcome {
    pub wrong: Vec<String>,
    pub trace: Vec<String>,
}

/// Drops the future after so many polls: a crash at some await.
struct Crash<F> {
    inner: Pin<Box<F>>,
    polls: u64,
}

impl<F: Future> Future for Crash<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.polls == 0 {
            return Poll::Ready(None);
        }
        self.polls -= 1;
        self.inner.as_mut().poll(context).map(Some)
    }
}

struct Stage {
    wire: Wire,
    clock: SimClock,
    env: Env,
    chance: Arc<Chance>,
    url: String,
    database: tokio::runtime::Handle,
}

/// Plays one seed.
pub fn play(seed: u64) -> Outcome {
    let folder = tempfile::Builder::new().prefix("vaiven-sim").tempdir_in(memory_folder()).unwrap();
    let database = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let clock = SimClock::new("2026-03-01T08:00:00Z".parse().unwrap());
    let chance = Arc::new(Chance::new(seed));
    let env = Env { clock: Arc::new(clock.clone()), entropy: Arc::new(Chance::new(seed ^ 0xABCD)) };
    let stage = Stage {
        wire: Wire::new(Arc::new(Chance::new(seed.rotate_left(17))), env.clone()),
        clock,
        env,
        chance,
        url: format!("sqlite://{}/state.db", folder.path().display()),
        database: database.handle().clone(),
    };
    let wrong = runtime.block_on(stage.play());
    let trace = stage.wire.trace();
    drop(runtime);
    database.shutdown_timeout(Duration::from_secs(5));
    Outcome { wrong, trace }
}

fn memory_folder() -> std::path::PathBuf {
    let shared = std::path::PathBuf::from("/dev/shm");
    if shared.is_dir() { shared } else { std::env::temp_dir() }
}

impl Stage {
    async fn play(&self) -> Vec<String> {
        let mut life =
            Life { wire: &self.wire, chance: &self.chance, now: self.env.now().timestamp(), skus: 0, orders: 0 };
        for _ in 0..3 + self.chance.below(12) {
            life.new_product();
        }
        for epoch in 0..2 + self.chance.below(3) {
            self.wire.note(format!("start {epoch}"));
            let store = self.open().await;
            let engine = self.engine(store.clone());
            let stop = CancellationToken::new();
            let polls = if self.chance.hits(800) { 50 + self.chance.below(3000) } else { 6000 };
            let running = Crash { inner: Box::pin(engine.run(&stop)), polls };
            self.drive(&store, running, &mut life, 20).await;
        }
        self.wire.calm();
        let mut summary = None;
        for _ in 0..8 {
            let store = self.open().await;
            // Whoever looks after the shop agrees with what brakes have held back.
            for approval in store.approvals().await.unwrap() {
                self.wire.note(format!("approve run {}", approval.run));
                store.decide_run(approval.run, true, self.env.now()).await.unwrap();
            }
            let engine = self.engine(store.clone());
            let stop = CancellationToken::new();
            let once = engine.once(None, RunKind::Full, &stop);
            life.skus = u64::MAX;
            let done = self.drive(&store, Crash { inner: Box::pin(once), polls: u64::MAX }, &mut life, 0).await;
            match done {
                Some(Ok(found)) if found.is_clean() && !self.wire.has_late() && found.delivered.written == 0 => {
                    summary = Some(found);
                    break;
                }
                Some(Ok(found)) => summary = Some(found),
                Some(Err(error)) => return vec![format!("the engine gave up: {error}")],
                None => return vec!["the engine does not come to rest".into()],
            }
            // What systems are left alone for passes.
            for _ in 0..20 {
                self.clock.jump();
            }
            let rest = self.env.clock.sleep_until(self.env.now() + chrono::Duration::hours(2));
            let jump = async {
                tokio::task::yield_now().await;
                self.clock.jump();
            };
            tokio::join!(rest, jump);
            self.wire.tick();
        }
        let store = self.open().await;
        let runs = store.runs(10_000).await.unwrap();
        let mut wrong = check(&self.wire, &runs);
        let found = summary.unwrap_or_default();
        if !found.is_clean() {
            wrong.push(format!("left: {:?}, rejected {}", found.left, found.rejected));
            wrong.extend(found.runs.iter().filter(|run| !run.is_green()).map(|run| format!("{run:?}")));
            for job in store.jobs(&vaiven::store::JobFilter { limit: 5, ..Default::default() }).await.unwrap() {
                if !matches!(job.state, vaiven::store::JobState::Done) {
                    wrong.push(format!("{job:?}"));
                }
            }
        }
        if found.delivered.written > 0 {
            wrong.push(format!("still writing when nothing changes: {:?}", found.delivered));
        }
        wrong
    }

    async fn open(&self) -> Arc<Gate> {
        let url = self.url.clone();
        let store = self.database.spawn(async move { vaiven::store::open(&url).await }).await.unwrap().unwrap();
        Arc::new(Gate::new(store, self.database.clone()))
    }

    /// Lets a future run, and time pass whenever nothing else can happen; after `happenings` events of life, or when the
    /// future ends, it is over.
    async fn drive<T>(
        &self,
        store: &Arc<Gate>,
        future: impl Future<Output = Option<T>>,
        life: &mut Life<'_>,
        happenings: u64,
    ) -> Option<T> {
        let pump = async {
            let mut left = happenings;
            loop {
                let before = (store.verbs(), self.wire.events());
                for _ in 0..12 {
                    tokio::task::yield_now().await;
                }
                if (store.verbs(), self.wire.events()) != before {
                    continue;
                }
                self.clock.jump();
                self.wire.tick();
                life.now = self.env.now().timestamp();
                if happenings > 0 && self.chance.hits(250) {
                    if left == 0 {
                        return;
                    }
                    left -= 1;
                    life.happen();
                }
            }
        };
        tokio::select! {
            biased;
            done = future => done,
            () = pump => None,
        }
    }

    fn engine(&self, store: Arc<Gate>) -> Engine {
        let entities = Arc::new(Entities::builtin());
        let world =
            World { env: self.env.clone(), transport: Arc::new(self.wire.clone()), folder: "/nonexistent".into() };
        let mut systems: BTreeMap<String, Arc<dyn System>> = BTreeMap::new();
        let mut mappings: BTreeMap<(String, String), Arc<dyn Translate>> = BTreeMap::new();
        for name in ["erp", "shop"] {
            let text = match name {
                "erp" => include_str!("adapters/erp.toml"),
                _ => include_str!("adapters/shop.toml"),
            };
            let file = SourceFile::new(format!("{name}.toml"), text);
            let manifest = Arc::new(Manifest::load(file.clone()).unwrap());
            let url =
                Given { value: SettingValue::Plain(format!("http://{name}.test").into()), place: Place::start(&file) };
            let settings =
                manifest.settle(&indexmap::IndexMap::from([("url".to_owned(), url)]), &Place::start(&file)).unwrap();
            systems.insert(name.into(), adapter::open(name, &manifest, &settings, &world).unwrap());
            for (entity, text) in [
                ("product", include_str!("adapters/product.toml")),
                ("stock", include_str!("adapters/stock.toml")),
                ("order", include_str!("adapters/order.toml")),
            ] {
                let file = SourceFile::new(format!("{entity}.toml"), text);
                let mapping = Mapping::load(
                    &file,
                    entities.get(entity).unwrap(),
                    &serde_json::Map::new(),
                    &indexmap::IndexMap::new(),
                )
                .unwrap();
                mappings.insert((name.into(), entity.into()), Arc::new(mapping));
            }
        }
        let limits = SystemLimits { settle: Duration::from_secs(30), batch: 10, workers: 2 };
        Engine::new(Parts {
            store,
            env: self.env.clone(),
            systems,
            mappings,
            entities,
            routes: Routes::new(flows()).unwrap(),
            limits: Limits {
                poll: Duration::from_secs(10),
                systems: BTreeMap::from([("erp".to_owned(), limits.clone()), ("shop".to_owned(), limits)]),
                ..Limits::default()
            },
            owner: "simulation".into(),
            work: Arc::new(Notify::new()),
        })
    }
}

fn flows() -> Vec<Flow> {
    let timetable = |cron: &str| Timetable { schedule: cron.parse().unwrap(), zone: chrono_tz::Europe::Madrid };
    let flow = |name: &str, from: &str, to: &str, entities: &[&str]| Flow {
        name: name.into(),
        entities: entities.iter().map(|&entity| entity.into()).collect(),
        from: from.into(),
        to: vec![to.into()],
        every: Some(timetable("0 * * * * *")),
        full: Some(timetable("30 */15 * * * *")),
        ..Flow::default()
    };
    let mut account = flow("account", "erp", "shop", &["order"]);
    account.fields.insert("order".into(), ["status".to_owned()].into());
    account.owners.insert("order.status".into(), "erp".into());
    vec![flow("catalog", "erp", "shop", &["product", "stock"]), flow("sales", "shop", "erp", &["order"]), account]
}
