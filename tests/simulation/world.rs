//! The simulation of one seed: sets everything up, runs the engine with faults and crashes, stops the faults, lets the
//! engine come to rest, and checks the result.
//!
//! One file, because all steps drive the same engine, clock and store.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use chrono::{DateTime, Utc};
use tokio::{
    runtime::{self, Runtime},
    sync::Notify,
};
use tokio_util::sync::CancellationToken;
use vaiven::internals::{
    adapter::{self, Manifest, Settings, World, http::Transport},
    env::Env,
    mapping::Fields,
    port::{System, logins::InMemory},
    store::{JobFilter, JobState, RunKind, SharedStore, Store, StoreError},
    sync::{self, Decision, DecisionError, Engine, Limits, Links, Named, PassSummary, Routes, SystemLimits, decide},
    wait_reason::WaitReason,
};

use crate::{
    check::{Check, Reach, shops_word},
    clock::SimClock,
    company::{Growth, company_files, flows},
    database::Database,
    faults::{Fault, Faults},
    lease_lag::LaggingStore,
    life::Life,
    models::{Product, cents},
    mutant_store::MutantStore,
    mutant_system::{MutantSystem, MutantTransport},
    mutants::Mutant,
    rng::Rng,
    setting::Setting,
    setting_actions::known_as,
    store_faults::FaultyStore,
    store_runtime::StoreRuntime,
    trade::{Joins, Trade},
    wire::Wire,
};

/// How to play a seed.
#[derive(Clone, Debug, Default)]
pub struct Play {
    /// The planted bug.
    pub mutant: Option<Mutant>,
    /// If set: this setting instead of the one that the seed draws.
    pub setting: Option<Setting>,
    /// Kinds of faults to leave out, by their words.
    pub without: BTreeSet<String>,
    /// If set: the URL of the PostgreSQL server that keeps the state.
    pub postgres: Option<String>,
}

/// Result of a seed.
pub struct Outcome {
    /// Broken promises, in words; none if the seed passes.
    pub violations: Vec<String>,
    /// Everything that happened, line by line.
    pub trace: Vec<String>,
}

/// Whether something is added to the configuration later.
fn grows(trade: Trade) -> bool {
    trade.joins != Joins::Nothing || matches!(trade.setting, Setting::Currencies | Setting::Outdated)
}

fn words(fields: &Fields) -> String {
    serde_json::to_string(fields).unwrap()
}

/// Plays one seed.
pub fn play(seed: u64, play: &Play) -> Outcome {
    let setting = play.setting.unwrap_or_else(|| Setting::draw(seed));
    let clock = SimClock::new(setting.first_day());
    let env = Env { clock: Arc::new(clock.clone()), entropy: Arc::new(Rng::new(seed ^ 0xABCD)) };
    let rng = Arc::new(Rng::new(seed));
    let faults = Arc::new(Faults::draw(&rng, &play.without));
    let trade =
        Trade { mutant: play.mutant.filter(|mutant| mutant.is_in_configuration()), ..Trade::draw(&rng, setting) };
    let store_runtime = Arc::new(StoreRuntime::new(play.postgres.is_some()));
    let simulation = Simulation {
        wire: Wire::new(Arc::new(Rng::new(seed.rotate_left(17))), faults.clone(), clock.clone(), env.clone(), setting),
        clock,
        env,
        rng,
        faults,
        trade,
        mutant: play.mutant,
        tasks: runtime::Builder::new_current_thread().build().unwrap(),
        database: Mutex::new(Database::new(&store_runtime, play.postgres.as_deref())),
        postgres: play.postgres.clone(),
        growth: Mutex::new(if setting == Setting::Leaving { Growth::Grown } else { Growth::First }),
        store_runtime,
        store: Mutex::default(),
    };
    simulation.wire.note(format!("{trade:?} {:?}", simulation.faults));
    let violations = simulation.play();
    Outcome { violations, trace: simulation.wire.trace() }
}

/// Everything that one seed needs.
struct Simulation {
    wire: Wire,
    clock: SimClock,
    env: Env,
    rng: Arc<Rng>,
    faults: Arc<Faults>,
    trade: Trade,
    mutant: Option<Mutant>,
    /// The runtime of the engine's own tasks.
    tasks: Runtime,
    database: Mutex<Database>,
    postgres: Option<String>,
    growth: Mutex<Growth>,
    store_runtime: Arc<StoreRuntime>,
    /// Opened again whenever the engine starts.
    store: Mutex<Option<SharedStore>>,
}

/// Whether the engine was woken. It is polled only then, which shows when it is waiting.
struct WakeFlag(AtomicBool);

impl Wake for WakeFlag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Why `drive` ended before its future.
#[derive(Debug, PartialEq)]
enum End {
    /// The polls before the crash were used up.
    Crash,
    /// The time is over, or all actions were carried out.
    Over,
    /// The engine never came to rest.
    Endless,
}

/// How long `drive` lets a future run.
struct Until {
    /// How many polls until the process crashes.
    polls: u64,
    /// How many actions people carry out; `None`: they are idle.
    actions: Option<u64>,
    /// The true time at which to end.
    time: Option<DateTime<Utc>>,
}

impl Until {
    const END: Self = Self { polls: u64::MAX, actions: None, time: None };
}

impl Simulation {
    /// Plays the seed and returns all violations.
    fn play(&self) -> Vec<String> {
        let mut life = Life::new(&self.wire, &self.clock, &self.rng, self.trade);
        for epoch in 0..=self.rng.below(3) {
            if epoch > 0 && grows(self.trade) && self.rng.permille(300) {
                self.grow();
            } else if self.trade.setting == Setting::Leaving && self.rng.permille(600) {
                self.shrink();
            }
            self.wire.note(format!("start {epoch}"));
            self.open();
            let engine = self.engine();
            let stop = CancellationToken::new();
            let mut running = Box::pin(engine.run(&stop));
            let crashes = self.faults.has(Fault::Crash) && self.rng.permille(800);
            let polls = if crashes { 20 + self.rng.below(1500) } else { u64::MAX };
            let until = Until { polls, actions: Some(4 + self.rng.below(14)), time: None };
            let end = self.drive(running.as_mut(), &mut life, until);
            if end.is_err_and(|end| end == End::Over) && self.rng.permille(300) {
                self.wire.note("stop");
                stop.cancel();
                let before = self.clock.truth();
                let _ = self.drive(running.as_mut(), &mut life, Until::END);
                // A stop may take as long as a stalled disk.
                if self.clock.truth() - before > chrono::Duration::minutes(12) {
                    return vec![format!("a stop took {}", self.clock.truth() - before)];
                }
            }
        }
        let mut violations = Vec::new();
        if self.rng.permille(200) {
            self.grow();
            self.wire.note("start for good");
            self.open();
            let engine = self.engine();
            let stop = CancellationToken::new();
            let mut running = Box::pin(engine.run(&stop));
            let until = Until { actions: Some(4 + self.rng.below(8)), ..Until::END };
            let mut end = self.drive(running.as_mut(), &mut life, until);
            self.calm(&mut life);
            // The longest wait of a job and a full pull after it. Mostly, two full pulls are enough.
            for minutes in [65, 25, 25, 35] {
                if end.is_ok() {
                    break;
                }
                let time = Some(self.clock.truth() + chrono::Duration::minutes(minutes));
                end = self.drive(running.as_mut(), &mut life, Until { time, ..Until::END });
                violations = self.check(&life, Reach::All).into_iter().map(|line| format!("daemon: {line}")).collect();
                if violations.is_empty() {
                    break;
                }
            }
            if end.is_err_and(|end| end == End::Endless) {
                violations.push("the daemon does not come to rest".into());
            }
        }
        if matches!(self.trade.setting, Setting::Odd | Setting::Altering | Setting::Reduced) && violations.is_empty() {
            violations = self.check_before_repair(&mut life);
        }
        self.calm(&mut life);
        self.grow();
        // After a crash on a shared database, the leases must expire first.
        self.clock.pass(chrono::Duration::minutes(10));
        self.wire.tick();
        self.open();
        // In the third pass, when all is at rest, one or two fields change.
        let mut kinds = vec![RunKind::Delta, RunKind::Full];
        if self.rng.permille(400) {
            kinds.push(RunKind::Full);
        }
        for (at, kind) in kinds.into_iter().enumerate() {
            if at == 2 {
                self.wire.rest();
                life.edit_single_fields();
            }
            match self.run_until_quiet(kind, &mut life) {
                Ok(left) => {
                    violations.extend(left);
                    let reach = if kind == RunKind::Delta { Reach::Deltas } else { Reach::All };
                    violations.extend(self.check(&life, reach));
                }
                Err(why) => violations.push(why),
            }
            if !violations.is_empty() {
                break;
            }
        }
        if violations.is_empty() && self.trade.setting == Setting::Adopted {
            violations.extend(self.lose_state(&mut life));
        }
        violations.extend(self.wire.violations());
        let store = self.store();
        if !violations.is_empty() {
            violations.extend(self.open_jobs());
            violations.extend(self.histories(&violations));
        }
        for run in self.store_runtime.run_method(store.runs(10_000)).unwrap() {
            if run.finished_at.is_some() && !run.balance.closes() {
                violations.push(format!("run {}: {:?} does not close", run.id, run.balance));
            }
        }
        violations
    }

    /// Stops all faults, corrects unreadable rows and missing tax classes, and ends sales.
    fn calm(&self, life: &mut Life<'_>) {
        self.wire.calm();
        self.wire.note("calm");
        life.correct(usize::MAX);
        if self.trade.setting == Setting::Altering {
            life.add_missing_tax_class();
        }
        life.end_sales();
    }

    /// Stops all faults, but corrects no unreadable rows: they must not hold up anything else.
    fn check_before_repair(&self, life: &mut Life<'_>) -> Vec<String> {
        self.wire.calm();
        self.wire.note("calm, but for what cannot be read");
        self.clock.pass(chrono::Duration::minutes(10));
        self.wire.tick();
        self.open();
        life.restock();
        // Each pass leaves the unreadable rows undone.
        match self.run_until_quiet(RunKind::Full, life) {
            Ok(_) => [self.compare(life, Reach::All, true), self.unreported()].concat(),
            Err(why) => vec![why],
        }
    }

    /// Articles whose tax class the shop stores differently, or whose price it refuses, without a job that reports it.
    fn unreported(&self) -> Vec<String> {
        let shown = |host: &str| -> BTreeMap<String, (String, String)> {
            let one = |product: &Product| (product.sku.clone(), (product.tax.clone(), product.price.clone()));
            self.wire.with(host, |model| model.products.values().map(one).collect())
        };
        let (here, there) = (shown("erp"), shown("shop"));
        let is_reported = |entity: &str, key: &str| {
            let Some(record) = self.store_runtime.run_method(self.store().record(entity, key)).unwrap() else {
                return false;
            };
            let states = vec![JobState::Parked, JobState::Dead];
            let filter = JobFilter { record: Some(record), states, limit: 1, ..JobFilter::default() };
            !self.store_runtime.run_method(self.store().jobs(&filter)).unwrap().is_empty()
        };
        let mut unreported = Vec::new();
        for (sku, (tax, price)) in here {
            let Some((stored, asked)) = there.get(&sku) else { continue };
            if *stored != shops_word(&tax) && !is_reported("product", &sku) {
                unreported.push(format!("{sku}: the shop has not {tax}, and nobody is told"));
            }
            if cents(asked) != cents(&price) && self.trade.prices && !is_reported("price", &format!("retail/{sku}")) {
                unreported.push(format!("{sku}: the shop asks {asked}, not {price}, and nobody is told"));
            }
        }
        unreported
    }

    /// Completes the configuration.
    fn grow(&self) {
        *self.growth.lock().unwrap() = Growth::Grown;
        self.wire.grow();
        if grows(self.trade) {
            self.wire.note("the configuration grows");
        }
    }

    /// Takes something out of the configuration.
    fn shrink(&self) {
        *self.growth.lock().unwrap() = Growth::First;
        self.wire.note("the configuration shrinks");
    }

    /// The engine loses its state while both sides have everything.
    fn lose_state(&self, life: &mut Life<'_>) -> Vec<String> {
        self.wire.note("start without a state");
        *self.store.lock().unwrap() = None;
        *self.database.lock().unwrap() = Database::new(&self.store_runtime, self.postgres.as_deref());
        self.open();
        self.wire.lose_state();
        match self.run_until_quiet(RunKind::Full, life) {
            Ok(left) if left.is_empty() => self.check(life, Reach::All),
            Ok(left) => left,
            Err(why) => vec![why],
        }
    }

    /// Compares both sides.
    fn check(&self, life: &Life<'_>, reach: Reach) -> Vec<String> {
        self.compare(life, reach, false)
    }

    /// Compares both sides; with `before_repair`, only what does not depend on unreadable rows.
    fn compare(&self, life: &Life<'_>, reach: Reach, before_repair: bool) -> Vec<String> {
        let model = |host: &str| self.wire.with(host, |model| model.clone());
        let Life { touched, sold, undated, edits, sales, erased, recognised, .. } = life;
        let check = |shop: &str| {
            let (erp, shop) = (model("erp"), model(shop));
            let trade = self.trade;
            Check { erp, shop, trade, touched, sold, undated, edits, sales, erased, recognised, reach, before_repair }
                .violations()
        };
        self.trade.setting.shops().iter().flat_map(|shop| check(shop)).collect()
    }

    /// Runs passes of the engine until one has nothing to do; returns what is left undone after the last one.
    fn run_until_quiet(&self, kind: RunKind, life: &mut Life<'_>) -> Result<Vec<String>, String> {
        let mut left = vec!["never quiet".to_owned()];
        for _ in 0..8 {
            self.wire.note(format!("once {kind:?}"));
            let writes = self.wire.writes();
            let found = match self.pass(kind, life)? {
                Ok(found) => found,
                Err(error) => return Err(format!("the engine gave up: {error}")),
            };
            left = self.left(&found, kind);
            let conflicts = self.store_runtime.run_method(self.store().conflicts(1)).unwrap();
            let is_quiet = self.wire.writes() == writes && !self.wire.has_late() && found.delivered.written == 0;
            let is_quiet = is_quiet && conflicts.is_empty();
            if left.is_empty() && found.held.is_empty() && is_quiet {
                return Ok(Vec::new());
            }
            if self.wire.writes() > writes {
                left.push(format!("still writing: {:?}", found.delivered));
            }
            // Let the waiting times of circuits pass.
            self.clock.pass(chrono::Duration::hours(2));
            self.wire.tick();
        }
        Ok(left)
    }

    /// Runs one pass of the engine.
    fn pass(&self, kind: RunKind, life: &mut Life<'_>) -> Result<Result<PassSummary, StoreError>, String> {
        let engine = self.engine();
        let stop = CancellationToken::new();
        let mut once = Box::pin(engine.once(None, kind, &stop));
        self.approve();
        self.drive(once.as_mut(), life, Until::END).map_err(|end| format!("the engine does not come to rest: {end:?}"))
    }

    /// What a pass left undone, in words.
    fn left(&self, found: &PassSummary, kind: RunKind) -> Vec<String> {
        // Deltas do not find deletions and edits at the target: those may wait for a full pull.
        if found.is_clean() || kind == RunKind::Delta {
            return Vec::new();
        }
        let mut left = vec![format!("left: {:?}, held: {:?}, rejected {}", found.left, found.held, found.rejected)];
        left.extend(found.runs.iter().filter(|run| !run.is_green()).map(|run| format!("{run:?}")));
        let store = self.store();
        left.extend(
            self.store_runtime.run_method(store.differences(false, 5)).unwrap().iter().map(|one| format!("{one:?}")),
        );
        left.extend(
            self.store_runtime.run_method(store.rejections(None, 5)).unwrap().iter().map(|row| format!("{row:?}")),
        );
        left
    }

    /// Jobs that are not done.
    fn open_jobs(&self) -> Vec<String> {
        let states = vec![JobState::Queued, JobState::Running, JobState::Parked, JobState::Dead];
        let open = JobFilter { states, limit: 5, ..JobFilter::default() };
        self.store_runtime.run_method(self.store().jobs(&open)).unwrap().iter().map(|job| format!("{job:?}")).collect()
    }

    /// What the engine knows of the objects in the violations: their replicas, changes and jobs.
    fn histories(&self, violations: &[String]) -> Vec<String> {
        let store = self.store();
        let mut lines = Vec::new();
        // `order W2: ...`, `SKU-1: stock ...`
        let objects = violations.iter().filter_map(|line| line.split_once(':')).flat_map(|(object, _)| {
            let named = object.rsplit_once(' ').map(|(entity, key)| vec![(entity, key)]);
            named.unwrap_or_else(|| vec![("product", object), ("stock", object)])
        });
        for (entity, key) in objects {
            let Some(record) = self.store_runtime.run_method(store.record(entity, key)).unwrap() else { continue };
            let filter = JobFilter { record: Some(record), limit: 20, ..JobFilter::default() };
            let shown = |name: &str, value: String| format!("  {key} {name}: {value}");
            lines.extend(
                self.store_runtime
                    .run_method(store.replicas_of(&[record]))
                    .unwrap()
                    .iter()
                    .map(|one| shown(&one.system, format!("{} sent {}", words(&one.fields), words(&one.sent)))),
            );
            lines.extend(self.store_runtime.run_method(store.history(&[record])).unwrap().iter().map(|one| {
                shown(&one.system, format!("{:?} by {} at {} {}", one.op, one.cause, one.at, words(&one.fields)))
            }));
            lines.extend(
                self.store_runtime
                    .run_method(store.jobs(&filter))
                    .unwrap()
                    .iter()
                    .map(|job| shown("job", format!("{job:?}"))),
            );
        }
        lines
    }

    /// A person approves what brakes have held back, and decides conflicts.
    fn approve(&self) {
        let store = self.store();
        // A person has looked at the object under the wrong id, and has the job retried.
        if self.trade.setting == Setting::Mistaken {
            let dead = JobFilter { states: vec![JobState::Dead], ..JobFilter::default() };
            self.store_runtime.run_method(store.retry(&dead, self.env.now())).unwrap();
        }
        for approval in self.store_runtime.run_method(store.waiting_approvals()).unwrap() {
            self.wire.note(format!("approve run {}", approval.run));
            self.store_runtime.run_method(store.decide_run(approval.run, true, self.env.now())).unwrap();
        }
        let routes = Routes::new(flows(self.trade, self.growth())).unwrap();
        if self.trade.setting == Setting::Recognised {
            self.recognise(&routes);
        }
        for conflict in self.store_runtime.run_method(store.conflicts(100)).unwrap() {
            let side = if self.rng.permille(500) { "erp" } else { "shop" };
            self.wire.note(format!("decide {} of record {}: {side}", conflict.field, conflict.record));
            let decision = Decision::Take(side.to_owned());
            match self.store_runtime.run_method(decide(&store, &routes, &conflict, &decision, self.env.now())) {
                // The conflict has changed or is gone.
                Ok(()) | Err(DecisionError::Resolved | DecisionError::NoSuchSystem { .. }) => {}
                other => other.unwrap(),
            }
        }
    }

    /// A person links customers that wait for a review with those of the same tax number in the ERP.
    fn recognise(&self, routes: &Routes) {
        let (store, company_files) = (self.store(), company_files(self.trade, self.growth()));
        let links = Links { store: &store, routes, entities: &company_files.entities, now: self.env.now() };
        let parked =
            JobFilter { states: vec![JobState::Parked], entity: Some("customer".into()), ..JobFilter::default() };
        let named = |key: String| {
            let record = self.store_runtime.run_method(store.record("customer", &key)).unwrap()?;
            Some(Named { record, entity: "customer".into(), key })
        };
        for job in self.store_runtime.run_method(store.jobs(&parked)).unwrap() {
            if !matches!(job.cause, Some(WaitReason::Review { .. })) {
                continue;
            }
            let (_, email) =
                self.store_runtime.run_method(store.keys(&[job.record])).unwrap().remove(&job.record).unwrap();
            let vat = self.wire.with("shop", |model| {
                model.customers.values().find(|customer| customer.email == email).map(|customer| customer.vat.clone())
            });
            let Some((one, other)) = vat.and_then(|vat| named(email).zip(named(known_as(&vat)))) else { continue };
            self.wire.note(format!("recognise {} as {}", one.key, other.key));
            self.store_runtime.run_method(links.join(&one, &other, false)).unwrap();
        }
    }

    /// The store without faults, for checks and decisions.
    fn store(&self) -> SharedStore {
        self.store.lock().unwrap().clone().unwrap()
    }

    /// Polls a future. When nothing else can run, lets time pass and people act.
    fn drive<T>(
        &self,
        mut future: Pin<&mut (impl Future<Output = T> + ?Sized)>,
        life: &mut Life<'_>,
        until: Until,
    ) -> Result<T, End> {
        // A spawned request takes some rounds before it reaches the network.
        const QUIET: u32 = 3;
        const ROUNDS: u64 = 2_000_000;
        let woken = Arc::new(WakeFlag(AtomicBool::new(true)));
        let waker = Waker::from(woken.clone());
        let (mut polls, mut actions) = (until.polls, until.actions);
        let (mut quiet, mut events, mut jumps) = (0, 0, 0_u64);
        for _ in 0..ROUNDS {
            if woken.0.swap(false, Ordering::Relaxed) {
                if polls == 0 {
                    return Err(End::Crash);
                }
                polls -= 1;
                // Only enter this runtime, do not block on it: calls of the store block on another one.
                let _spawning = self.tasks.enter();
                if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                    return Ok(done);
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
            jumps += 1;
            self.pass_time();
            if until.time.is_some_and(|time| time <= self.clock.truth()) {
                return Err(End::Over);
            }
            if jumps % 15 == 0 {
                self.approve();
            }
            if let Some(left) = &mut actions
                && (life.is_busy() || self.rng.permille(330))
            {
                if *left == 0 {
                    return Err(End::Over);
                }
                if !life.is_busy() {
                    *left -= 1;
                }
                life.act();
            }
        }
        Err(End::Endless)
    }

    fn pass_time(&self) {
        if !self.wire.is_calm() && self.rng.permille(10) {
            let seconds = i64::try_from(self.rng.below(200)).unwrap();
            if self.rng.permille(500) && self.faults.has(Fault::Sleep) {
                self.wire.note(format!("the machine sleeps {seconds} s"));
                self.clock.pass(chrono::Duration::seconds(seconds));
            } else if self.faults.has(Fault::ClockSet) {
                // Forward only a little: a lookup waits just longer than a lost request may take.
                let by = if self.rng.permille(500) { -seconds } else { seconds % 4 };
                self.wire.note(format!("the clock is set by {by} s"));
                self.clock.set(chrono::Duration::seconds(by));
            }
        }
        self.clock.jump();
        self.wire.tick();
    }

    /// How complete the configuration is.
    fn growth(&self) -> Growth {
        *self.growth.lock().unwrap()
    }

    /// Opens the store again, as a starting process does.
    fn open(&self) {
        *self.store.lock().unwrap() = None;
        *self.store.lock().unwrap() = Some(self.store_runtime.open(self.database.lock().unwrap().url()));
    }

    /// A new engine on the open store, with all faults and the planted bug in between.
    fn engine(&self) -> Engine {
        let company_files = company_files(self.trade, self.growth());
        let (wire, rng) = (self.wire.clone(), self.rng.clone());
        let faulty = FaultyStore::new(self.store(), self.store_runtime.clone(), wire.clone(), rng.clone());
        let mut store: Arc<dyn Store> = Arc::new(faulty);
        let mut transport: Arc<dyn Transport> = Arc::new(self.wire.clone());
        if let Some(mutant) = self.mutant {
            store = Arc::new(MutantStore::new(mutant, store));
            if matches!(mutant, Mutant::UnprovenListing | Mutant::RawPaths) {
                transport = Arc::new(MutantTransport { mutant, inner: self.wire.clone() });
            }
        }
        let store: Arc<dyn Store> = Arc::new(LaggingStore::new(store, wire, rng, self.trade.setting));
        let logins = Arc::new(InMemory::default());
        let world = World { env: self.env.clone(), transport, folder: "/nonexistent".into(), logins };
        let open = |name: &str, (manifest, settings): &(Arc<Manifest>, Settings)| -> Arc<dyn System> {
            let inner = adapter::open(name, manifest, settings, &world).unwrap();
            match self.mutant {
                Some(mutant) => Arc::new(MutantSystem::new(mutant, inner)),
                None => inner,
            }
        };
        let limits = SystemLimits { answer_window: Duration::from_secs(30), batch: 10, workers: 2 };
        Engine::new(sync::Context {
            store,
            env: self.env.clone(),
            systems: company_files.manifests.iter().map(|(&name, file)| (name.to_owned(), open(name, file))).collect(),
            mappings: company_files.mappings.clone(),
            entities: company_files.entities.clone(),
            routes: Routes::new(flows(self.trade, self.growth())).unwrap(),
            limits: Limits {
                poll: Duration::from_secs(180),
                systems: company_files.manifests.keys().map(|&system| (system.to_owned(), limits.clone())).collect(),
                ..Limits::default()
            },
            owner: "simulation".into(),
            work: Arc::new(Notify::new()),
            journal: Arc::default(),
        })
    }
}
