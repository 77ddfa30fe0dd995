//! One seed's world: builds it, lets it live with faults and crashes, calms it, checks it.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use tokio::{
    runtime::{self, Runtime},
    sync::Notify,
};
use tokio_util::sync::CancellationToken;
use vaiven::{
    adapter::{self, Given, Manifest, SettingValue, Settings, World},
    env::Env,
    load::{Place, SourceFile},
    mapping::{Mapping, Translate},
    model::Entities,
    store::RunKind,
    sync::{Engine, Flow, Limits, Parts, Routes, SystemLimits, Timetable},
};

use crate::{
    chance::Chance,
    clock::SimClock,
    gate::{Base, Gate},
    life::{Life, check},
    wire::Wire,
};

pub struct Outcome {
    pub wrong: Vec<String>,
    pub trace: Vec<String>,
}

/// Whether somebody woke the engine: it is polled only then, so that quiet can be told from work.
struct Alarm(AtomicBool);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Stage {
    wire: Wire,
    clock: SimClock,
    env: Env,
    chance: Arc<Chance>,
    url: String,
    /// Where the engine's own tasks run.
    tasks: Runtime,
    base: Arc<Base>,
}

/// Plays one seed.
pub fn play(seed: u64) -> Outcome {
    let folder = tempfile::Builder::new().prefix("vaiven-sim").tempdir_in(memory_folder()).unwrap();
    let clock = SimClock::new("2026-03-01T08:00:00Z".parse().unwrap());
    let env = Env { clock: Arc::new(clock.clone()), entropy: Arc::new(Chance::new(seed ^ 0xABCD)) };
    let stage = Stage {
        wire: Wire::new(Arc::new(Chance::new(seed.rotate_left(17))), env.clone()),
        clock,
        env,
        chance: Arc::new(Chance::new(seed)),
        url: format!("sqlite://{}/state.db", folder.path().display()),
        tasks: runtime::Builder::new_current_thread().build().unwrap(),
        base: Arc::new(Base::new()),
    };
    let wrong = stage.play();
    Outcome { wrong, trace: stage.wire.trace() }
}

fn memory_folder() -> std::path::PathBuf {
    let shared = std::path::PathBuf::from("/dev/shm");
    if shared.is_dir() { shared } else { std::env::temp_dir() }
}

impl Stage {
    fn play(&self) -> Vec<String> {
        let mut life =
            Life { wire: &self.wire, chance: &self.chance, now: self.env.now().timestamp(), skus: 0, orders: 0 };
        for _ in 0..3 + self.chance.below(12) {
            life.new_product();
        }
        for epoch in 0..2 + self.chance.below(3) {
            self.wire.note(format!("start {epoch}"));
            let engine = self.engine(self.open());
            let stop = CancellationToken::new();
            let polls = if self.chance.hits(800) { 50 + self.chance.below(3000) } else { 6000 };
            self.drive(engine.run(&stop), &mut life, polls, 20);
        }
        self.wire.calm();
        let mut summary = None;
        for _ in 0..8 {
            let store = self.open();
            // Whoever looks after the shop agrees with what brakes have held back.
            for approval in self.base.carry_out(store.inner.approvals()).unwrap() {
                self.wire.note(format!("approve run {}", approval.run));
                self.base.carry_out(store.inner.decide_run(approval.run, true, self.env.now())).unwrap();
            }
            let engine = self.engine(store);
            let stop = CancellationToken::new();
            let once = engine.once(None, RunKind::Full, &stop);
            let done = self.drive(once, &mut life, u64::MAX, 0);
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
            self.clock.pass(chrono::Duration::hours(2));
            self.wire.tick();
        }
        let store = self.open();
        let runs = self.base.carry_out(store.inner.runs(10_000)).unwrap();
        let mut wrong = check(&self.wire, &runs);
        let found = summary.unwrap_or_default();
        if !found.is_clean() {
            wrong.push(format!("left: {:?}, rejected {}", found.left, found.rejected));
            wrong.extend(found.runs.iter().filter(|run| !run.is_green()).map(|run| format!("{run:?}")));
            let all = vaiven::store::JobFilter { limit: 5, ..Default::default() };
            for job in self.base.carry_out(store.inner.jobs(&all)).unwrap() {
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

    fn open(&self) -> Arc<Gate> {
        let store = self.base.open(&self.url);
        Arc::new(Gate::new(store, self.base.clone()))
    }

    /// Lets a future run, and time pass whenever nothing else can happen. Over when the future ends; or, then with `None`,
    /// after so many `polls` (a crash at some await) or `happenings` events of life.
    fn drive<T>(
        &self,
        future: impl Future<Output = T>,
        life: &mut Life<'_>,
        mut polls: u64,
        happenings: u64,
    ) -> Option<T> {
        // Spawned requests take some rounds of their own before they are on the wire.
        const QUIET: u32 = 3;
        let mut future = std::pin::pin!(future);
        let alarm = Arc::new(Alarm(AtomicBool::new(true)));
        let waker = Waker::from(alarm.clone());
        let (mut left, mut quiet, mut events) = (happenings, 0, 0);
        loop {
            if alarm.0.swap(false, Ordering::Relaxed) {
                if polls == 0 {
                    return None;
                }
                polls -= 1;
                // Not inside the runtime: verbs of the store wait for the database's own.
                let _spawning = self.tasks.enter();
                if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                    return Some(done);
                }
                quiet = 0;
            }
            self.tasks.block_on(tokio::task::yield_now());
            if self.wire.events() != events {
                (events, quiet) = (self.wire.events(), 0);
                continue;
            }
            quiet += 1;
            if quiet < QUIET {
                continue;
            }
            quiet = 0;
            self.clock.jump();
            self.wire.tick();
            life.now = self.env.now().timestamp();
            if happenings > 0 && self.chance.hits(250) {
                if left == 0 {
                    return None;
                }
                left -= 1;
                life.happen();
            }
        }
    }

    fn engine(&self, store: Arc<Gate>) -> Engine {
        let shelf = &*SHELF;
        let world =
            World { env: self.env.clone(), transport: Arc::new(self.wire.clone()), folder: "/nonexistent".into() };
        let systems = shelf
            .manifests
            .iter()
            .map(|(&name, (manifest, settings))| {
                (name.to_owned(), adapter::open(name, manifest, settings, &world).unwrap())
            })
            .collect();
        let limits = SystemLimits { settle: Duration::from_secs(30), batch: 10, workers: 2 };
        Engine::new(Parts {
            store,
            env: self.env.clone(),
            systems,
            mappings: shelf.mappings.clone(),
            entities: shelf.entities.clone(),
            routes: Routes::new(flows()).unwrap(),
            limits: Limits {
                poll: Duration::from_secs(30),
                systems: BTreeMap::from([("erp".to_owned(), limits.clone()), ("shop".to_owned(), limits)]),
                ..Limits::default()
            },
            owner: "simulation".into(),
            work: Arc::new(Notify::new()),
        })
    }
}

/// What every start reads from the same files and nothing ever changes.
struct Shelf {
    entities: Arc<Entities>,
    manifests: BTreeMap<&'static str, (Arc<Manifest>, Settings)>,
    mappings: BTreeMap<(String, String), Arc<dyn Translate>>,
}

static SHELF: LazyLock<Shelf> = LazyLock::new(|| {
    let entities = Arc::new(Entities::builtin());
    let mut manifests = BTreeMap::new();
    let mut mappings: BTreeMap<(String, String), Arc<dyn Translate>> = BTreeMap::new();
    for (name, text) in [("erp", include_str!("adapters/erp.toml")), ("shop", include_str!("adapters/shop.toml"))] {
        let file = SourceFile::new(format!("{name}.toml"), text);
        let manifest = Manifest::load(file.clone()).unwrap();
        let url =
            Given { value: SettingValue::Plain(format!("http://{name}.test").into()), place: Place::start(&file) };
        let settings =
            manifest.settle(&indexmap::IndexMap::from([("url".to_owned(), url)]), &Place::start(&file)).unwrap();
        manifests.insert(name, (manifest, settings));
        for (entity, text) in [
            ("product", include_str!("adapters/product.toml")),
            ("stock", include_str!("adapters/stock.toml")),
            ("order", include_str!("adapters/order.toml")),
        ] {
            let file = SourceFile::new(format!("{entity}.toml"), text);
            let spec = entities.get(entity).unwrap();
            let mapping = Mapping::load(&file, spec, &serde_json::Map::new(), &indexmap::IndexMap::new()).unwrap();
            mappings.insert((name.into(), entity.into()), Arc::new(mapping));
        }
    }
    Shelf { entities, manifests, mappings }
});

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
