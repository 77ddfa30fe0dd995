//! One seed's world: builds it, lets it live with trouble and crashes, calms it, checks it.

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
use vaiven::{
    adapter::{self, Manifest, Settings, World, http::Transport},
    env::Env,
    mapping::Fields,
    port::{System, logins::InMemory},
    store::{JobFilter, JobState, RunKind, SharedStore, Store, StoreError},
    sync::{self, Decision, DecisionError, Engine, Limits, Links, Named, Routes, Summary, SystemLimits, decide},
};

use crate::{
    chance::Chance,
    check::{Check, Reach, shops_word},
    clock::SimClock,
    company::{Growth, flows, shelf},
    database::Database,
    gate::{Base, Gate},
    lag::LaggingStore,
    life::{Joins, Life, Trade},
    models::{Product, cents},
    mood::{Mood, Trouble},
    saboteur::{Bug, SpoiltStore, SpoiltSystem, SpoiltWire},
    setting::Setting,
    special::known_as,
    wire::Wire,
};

/// What is played besides the seed.
#[derive(Clone, Debug, Default)]
pub struct Play {
    pub bug: Option<Bug>,
    /// Instead of the one that the seed draws.
    pub setting: Option<Setting>,
    /// Kinds of trouble left out.
    pub without: BTreeSet<String>,
    /// The state is kept in PostgreSQL, at this URL.
    pub postgres: Option<String>,
}

pub struct Outcome {
    pub wrong: Vec<String>,
    pub trace: Vec<String>,
}

/// Whether something is wanting in the configuration at first.
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
    let env = Env { clock: Arc::new(clock.clone()), entropy: Arc::new(Chance::new(seed ^ 0xABCD)) };
    let chance = Arc::new(Chance::new(seed));
    let mood = Arc::new(Mood::draw(&chance, &play.without));
    let trade = Trade { bug: play.bug.filter(|bug| bug.is_written_down()), ..Trade::draw(&chance, setting) };
    let base = Arc::new(Base::new(play.postgres.is_some()));
    let stage = Stage {
        wire: Wire::new(Arc::new(Chance::new(seed.rotate_left(17))), mood.clone(), clock.clone(), env.clone(), setting),
        clock,
        env,
        chance,
        mood,
        trade,
        bug: play.bug,
        tasks: runtime::Builder::new_current_thread().build().unwrap(),
        database: Mutex::new(Database::new(&base, play.postgres.as_deref())),
        postgres: play.postgres.clone(),
        growth: Mutex::new(if setting == Setting::Leaving { Growth::Grown } else { Growth::First }),
        base,
        store: Mutex::default(),
    };
    stage.wire.note(format!("{trade:?} {:?}", stage.mood));
    let wrong = stage.play();
    Outcome { wrong, trace: stage.wire.trace() }
}

struct Stage {
    wire: Wire,
    clock: SimClock,
    env: Env,
    chance: Arc<Chance>,
    mood: Arc<Mood>,
    trade: Trade,
    bug: Option<Bug>,
    /// Where the engine's own tasks run.
    tasks: Runtime,
    database: Mutex<Database>,
    postgres: Option<String>,
    growth: Mutex<Growth>,
    base: Arc<Base>,
    /// Opened anew whenever the engine starts.
    store: Mutex<Option<SharedStore>>,
}

/// Whether somebody woke the engine: it is polled only then, so that quiet can be told from work.
struct Alarm(AtomicBool);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Why a drive ended without the future.
#[derive(Debug, PartialEq)]
enum End {
    Crash,
    Over,
    Endless,
}

/// How long a future is let run.
struct Until {
    /// Polls before a crash.
    polls: u64,
    /// Events of life.
    happenings: Option<u64>,
    time: Option<DateTime<Utc>>,
}

impl Until {
    const END: Self = Self { polls: u64::MAX, happenings: None, time: None };
}

impl Stage {
    fn play(&self) -> Vec<String> {
        let mut life = Life::new(&self.wire, &self.clock, &self.chance, self.trade);
        for epoch in 0..=self.chance.below(3) {
            if epoch > 0 && grows(self.trade) && self.chance.hits(300) {
                self.grow();
            } else if self.trade.setting == Setting::Leaving && self.chance.hits(600) {
                self.shrink();
            }
            self.wire.note(format!("start {epoch}"));
            self.open();
            let engine = self.engine();
            let stop = CancellationToken::new();
            let mut running = Box::pin(engine.run(&stop));
            let crash = self.mood.has(Trouble::Crash) && self.chance.hits(800);
            let polls = if crash { 20 + self.chance.below(1500) } else { u64::MAX };
            let until = Until { polls, happenings: Some(4 + self.chance.below(14)), time: None };
            let end = self.drive(running.as_mut(), &mut life, until);
            if end.is_err_and(|end| end == End::Over) && self.chance.hits(300) {
                self.wire.note("stop");
                stop.cancel();
                let before = self.clock.truth();
                let _ = self.drive(running.as_mut(), &mut life, Until::END);
                // A stalled disk is nobody's fault.
                if self.clock.truth() - before > chrono::Duration::minutes(12) {
                    return vec![format!("a stop took {}", self.clock.truth() - before)];
                }
            }
        }
        let mut wrong = Vec::new();
        if self.chance.hits(200) {
            self.grow();
            self.wire.note("start for good");
            self.open();
            let engine = self.engine();
            let stop = CancellationToken::new();
            let mut running = Box::pin(engine.run(&stop));
            let until = Until { happenings: Some(4 + self.chance.below(8)), ..Until::END };
            let mut end = self.drive(running.as_mut(), &mut life, until);
            self.calm(&mut life);
            // The longest that anything waits, and a full pull after it; mostly two full pulls do.
            for minutes in [65, 25, 25, 35] {
                if end.is_ok() {
                    break;
                }
                let time = Some(self.clock.truth() + chrono::Duration::minutes(minutes));
                end = self.drive(running.as_mut(), &mut life, Until { time, ..Until::END });
                wrong = self.look(&life, Reach::All).into_iter().map(|line| format!("daemon: {line}")).collect();
                if wrong.is_empty() {
                    break;
                }
            }
            if end.is_err_and(|end| end == End::Endless) {
                wrong.push("the daemon does not come to rest".into());
            }
        }
        if matches!(self.trade.setting, Setting::Odd | Setting::Altering | Setting::Reduced) && wrong.is_empty() {
            wrong = self.despite(&mut life);
        }
        self.calm(&mut life);
        self.grow();
        // Where several daemons share a database, leases of one that crashed run out before another takes over.
        self.clock.pass(chrono::Duration::minutes(10));
        self.wire.tick();
        self.open();
        // Last, when all is at rest, one more change or two.
        let mut kinds = vec![RunKind::Delta, RunKind::Full];
        if self.chance.hits(400) {
            kinds.push(RunKind::Full);
        }
        for (at, kind) in kinds.into_iter().enumerate() {
            if at == 2 {
                self.wire.rest();
                life.tidy();
            }
            match self.settle(kind, &mut life) {
                Ok(left) => {
                    wrong.extend(left);
                    let reach = if kind == RunKind::Delta { Reach::Deltas } else { Reach::All };
                    wrong.extend(self.look(&life, reach));
                }
                Err(why) => wrong.push(why),
            }
            if !wrong.is_empty() {
                break;
            }
        }
        if wrong.is_empty() && self.trade.setting == Setting::Adopted {
            wrong.extend(self.forget(&mut life));
        }
        wrong.extend(self.wire.uncaused());
        let store = self.store();
        if !wrong.is_empty() {
            wrong.extend(self.open_jobs());
            wrong.extend(self.stories(&wrong));
        }
        for run in self.base.carry_out(store.runs(10_000)).unwrap() {
            if run.finished_at.is_some() && !run.balance.closes() {
                wrong.push(format!("run {}: {:?} does not close", run.id, run.balance));
            }
        }
        wrong
    }

    /// No more trouble, and nothing is left that nobody can read.
    fn calm(&self, life: &mut Life<'_>) {
        self.wire.calm();
        self.wire.note("calm");
        life.mend(usize::MAX);
        if self.trade.setting == Setting::Altering {
            life.know_all_classes();
        }
        life.end_sales();
    }

    /// No more trouble, but what nobody can read is still there: it holds up nothing else.
    fn despite(&self, life: &mut Life<'_>) -> Vec<String> {
        self.wire.calm();
        self.wire.note("calm, but for what cannot be read");
        self.clock.pass(chrono::Duration::minutes(10));
        self.wire.tick();
        self.open();
        life.restock();
        // What cannot be read is left in every pass.
        match self.settle(RunKind::Full, life) {
            Ok(_) => [self.compare(life, Reach::All, true), self.untold()].concat(),
            Err(why) => vec![why],
        }
    }

    /// Articles whose tax the shop has otherwise than it was sent, or whose price it does not take, and nobody is told.
    fn untold(&self) -> Vec<String> {
        let shown = |host: &str| -> BTreeMap<String, (String, String)> {
            let one = |product: &Product| (product.sku.clone(), (product.tax.clone(), product.price.clone()));
            self.wire.with(host, |model| model.products.values().map(one).collect())
        };
        let (here, there) = (shown("erp"), shown("shop"));
        let is_told = |entity: &str, key: &str| {
            let Some(record) = self.base.carry_out(self.store().record(entity, key)).unwrap() else { return false };
            let states = vec![JobState::Parked, JobState::Dead];
            let filter = JobFilter { record: Some(record), states, limit: 1, ..JobFilter::default() };
            !self.base.carry_out(self.store().jobs(&filter)).unwrap().is_empty()
        };
        let mut untold = Vec::new();
        for (sku, (tax, price)) in here {
            let Some((stored, asked)) = there.get(&sku) else { continue };
            if *stored != shops_word(&tax) && !is_told("product", &sku) {
                untold.push(format!("{sku}: the shop has not {tax}, and nobody is told"));
            }
            if cents(asked) != cents(&price) && self.trade.prices && !is_told("price", &format!("retail/{sku}")) {
                untold.push(format!("{sku}: the shop asks {asked}, not {price}, and nobody is told"));
            }
        }
        untold
    }

    /// What was wanting is added to the configuration.
    fn grow(&self) {
        *self.growth.lock().unwrap() = Growth::Grown;
        self.wire.grow();
        if grows(self.trade) {
            self.wire.note("the configuration grows");
        }
    }

    /// What was there is taken out of the configuration.
    fn shrink(&self) {
        *self.growth.lock().unwrap() = Growth::First;
        self.wire.note("the configuration shrinks");
    }

    /// All that the engine knew is lost, and both sides have everything.
    fn forget(&self, life: &mut Life<'_>) -> Vec<String> {
        self.wire.note("start without a state");
        *self.store.lock().unwrap() = None;
        *self.database.lock().unwrap() = Database::new(&self.base, self.postgres.as_deref());
        self.open();
        self.wire.forget();
        match self.settle(RunKind::Full, life) {
            Ok(left) if left.is_empty() => self.look(life, Reach::All),
            Ok(left) => left,
            Err(why) => vec![why],
        }
    }

    fn look(&self, life: &Life<'_>, reach: Reach) -> Vec<String> {
        self.compare(life, reach, false)
    }

    fn compare(&self, life: &Life<'_>, reach: Reach, despite: bool) -> Vec<String> {
        let model = |host: &str| self.wire.with(host, |model| model.clone());
        let Life { touched, sold, undated, edits, sales, erased, recognised, .. } = life;
        let check = |shop: &str| {
            let (erp, shop) = (model("erp"), model(shop));
            let trade = self.trade;
            Check { erp, shop, trade, touched, sold, undated, edits, sales, erased, recognised, reach, despite }.wrong()
        };
        self.trade.setting.shops().iter().flat_map(|shop| check(shop)).collect()
    }

    /// Passes of the engine until one of them has nothing to do; what is left then.
    fn settle(&self, kind: RunKind, life: &mut Life<'_>) -> Result<Vec<String>, String> {
        let mut left = vec!["never quiet".to_owned()];
        for _ in 0..8 {
            self.wire.note(format!("once {kind:?}"));
            let writes = self.wire.writes();
            let found = match self.pass(kind, life)? {
                Ok(found) => found,
                Err(error) => return Err(format!("the engine gave up: {error}")),
            };
            left = self.left(&found, kind);
            let conflicts = self.base.carry_out(self.store().conflicts(1)).unwrap();
            let is_quiet = self.wire.writes() == writes && !self.wire.has_late() && found.delivered.written == 0;
            let is_quiet = is_quiet && conflicts.is_empty();
            if left.is_empty() && found.held.is_empty() && is_quiet {
                return Ok(Vec::new());
            }
            if self.wire.writes() > writes {
                left.push(format!("still writing: {:?}", found.delivered));
            }
            // What systems are left alone for passes.
            self.clock.pass(chrono::Duration::hours(2));
            self.wire.tick();
        }
        Ok(left)
    }

    fn pass(&self, kind: RunKind, life: &mut Life<'_>) -> Result<Result<Summary, StoreError>, String> {
        let engine = self.engine();
        let stop = CancellationToken::new();
        let mut once = Box::pin(engine.once(None, kind, &stop));
        self.approve();
        self.drive(once.as_mut(), life, Until::END).map_err(|end| format!("the engine does not come to rest: {end:?}"))
    }

    /// What a pass has left undone, in words.
    fn left(&self, found: &Summary, kind: RunKind) -> Vec<String> {
        // What deltas cannot know of (deletions, what people did at the target) may wait for a full pull.
        if found.is_clean() || kind == RunKind::Delta {
            return Vec::new();
        }
        let mut left = vec![format!("left: {:?}, held: {:?}, rejected {}", found.left, found.held, found.rejected)];
        left.extend(found.runs.iter().filter(|run| !run.is_green()).map(|run| format!("{run:?}")));
        let store = self.store();
        left.extend(self.base.carry_out(store.differences(false, 5)).unwrap().iter().map(|one| format!("{one:?}")));
        left.extend(self.base.carry_out(store.rejections(None, 5)).unwrap().iter().map(|row| format!("{row:?}")));
        left
    }

    fn open_jobs(&self) -> Vec<String> {
        let states = vec![JobState::Queued, JobState::Running, JobState::Parked, JobState::Dead];
        let open = JobFilter { states, limit: 5, ..JobFilter::default() };
        self.base.carry_out(self.store().jobs(&open)).unwrap().iter().map(|job| format!("{job:?}")).collect()
    }

    /// What the engine knows of the objects that are wrong: what each system is taken to hold, its changes and its jobs.
    fn stories(&self, wrong: &[String]) -> Vec<String> {
        let store = self.store();
        let mut told = Vec::new();
        // `order W2: ...`, `SKU-1: stock ...`
        let objects = wrong.iter().filter_map(|line| line.split_once(':')).flat_map(|(object, _)| {
            let named = object.rsplit_once(' ').map(|(entity, key)| vec![(entity, key)]);
            named.unwrap_or_else(|| vec![("product", object), ("stock", object)])
        });
        for (entity, key) in objects {
            let Some(record) = self.base.carry_out(store.record(entity, key)).unwrap() else { continue };
            let filter = JobFilter { record: Some(record), limit: 20, ..JobFilter::default() };
            let shown = |name: &str, value: String| format!("  {key} {name}: {value}");
            told.extend(
                self.base
                    .carry_out(store.replicas_of(&[record]))
                    .unwrap()
                    .iter()
                    .map(|one| shown(&one.system, format!("{} sent {}", words(&one.fields), words(&one.sent)))),
            );
            told.extend(self.base.carry_out(store.history(&[record])).unwrap().iter().map(|one| {
                shown(&one.system, format!("{:?} by {} at {} {}", one.op, one.cause, one.at, words(&one.fields)))
            }));
            told.extend(
                self.base.carry_out(store.jobs(&filter)).unwrap().iter().map(|job| shown("job", format!("{job:?}"))),
            );
        }
        told
    }

    /// Whoever looks after the shop agrees with what brakes have held back, and decides what both sides changed.
    fn approve(&self) {
        let store = self.store();
        // What stands under the id that the shop has answered with has been looked at.
        if self.trade.setting == Setting::Mistaken {
            let dead = JobFilter { states: vec![JobState::Dead], ..JobFilter::default() };
            self.base.carry_out(store.retry(&dead, self.env.now())).unwrap();
        }
        for approval in self.base.carry_out(store.waiting_approvals()).unwrap() {
            self.wire.note(format!("approve run {}", approval.run));
            self.base.carry_out(store.decide_run(approval.run, true, self.env.now())).unwrap();
        }
        let routes = Routes::new(flows(self.trade, self.growth())).unwrap();
        if self.trade.setting == Setting::Recognised {
            self.recognise(&routes);
        }
        for conflict in self.base.carry_out(store.conflicts(100)).unwrap() {
            let side = if self.chance.hits(500) { "erp" } else { "shop" };
            self.wire.note(format!("decide {} of record {:?}: {side}", conflict.field, conflict.record));
            let decision = Decision::Take(side.to_owned());
            match self.base.carry_out(decide(&store, &routes, &conflict, &decision, self.env.now())) {
                // It comes again, or it has gone.
                Ok(()) | Err(DecisionError::Settled | DecisionError::NoSuchSystem { .. }) => {}
                other => other.unwrap(),
            }
        }
    }

    /// Whoever was known to the ERP before the rule joined, and waits for a person's word, is who has the same tax number there.
    fn recognise(&self, routes: &Routes) {
        let (store, shelf) = (self.store(), shelf(self.trade, self.growth()));
        let links = Links { store: &store, routes, entities: &shelf.entities, now: self.env.now() };
        let parked =
            JobFilter { states: vec![JobState::Parked], entity: Some("customer".into()), ..JobFilter::default() };
        let named = |key: String| {
            let record = self.base.carry_out(store.record("customer", &key)).unwrap()?;
            Some(Named { record, entity: "customer".into(), key })
        };
        for job in self.base.carry_out(store.jobs(&parked)).unwrap() {
            if !job.cause.as_ref().is_some_and(|cause| cause.starts_with("review:")) {
                continue;
            }
            let (_, email) = self.base.carry_out(store.keys(&[job.record])).unwrap().remove(&job.record).unwrap();
            let vat = self.wire.with("shop", |model| {
                model.customers.values().find(|customer| customer.email == email).map(|customer| customer.vat.clone())
            });
            let Some((one, other)) = vat.and_then(|vat| named(email).zip(named(known_as(&vat)))) else { continue };
            self.wire.note(format!("recognise {} as {}", one.key, other.key));
            self.base.carry_out(links.join(&one, &other, false)).unwrap();
        }
    }

    /// The store as the engine has it, for whoever looks at it besides.
    fn store(&self) -> SharedStore {
        self.store.lock().unwrap().clone().unwrap()
    }

    /// Lets a future run, and time pass whenever nothing else can happen.
    fn drive<T>(
        &self,
        mut future: Pin<&mut (impl Future<Output = T> + ?Sized)>,
        life: &mut Life<'_>,
        until: Until,
    ) -> Result<T, End> {
        // Spawned requests take some rounds of their own before they are on the wire.
        const QUIET: u32 = 3;
        const ROUNDS: u64 = 2_000_000;
        let alarm = Arc::new(Alarm(AtomicBool::new(true)));
        let waker = Waker::from(alarm.clone());
        let (mut polls, mut happenings) = (until.polls, until.happenings);
        let (mut quiet, mut events, mut jumps) = (0, 0, 0_u64);
        for _ in 0..ROUNDS {
            if alarm.0.swap(false, Ordering::Relaxed) {
                if polls == 0 {
                    return Err(End::Crash);
                }
                polls -= 1;
                // Not inside the runtime: verbs of the store wait for the database's own.
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
            if let Some(left) = &mut happenings
                && (life.is_busy() || self.chance.hits(330))
            {
                if *left == 0 {
                    return Err(End::Over);
                }
                if !life.is_busy() {
                    *left -= 1;
                }
                life.happen();
            }
        }
        Err(End::Endless)
    }

    fn pass_time(&self) {
        if !self.wire.is_calm() && self.chance.hits(10) {
            let seconds = i64::try_from(self.chance.below(200)).unwrap();
            if self.chance.hits(500) && self.mood.has(Trouble::Sleep) {
                self.wire.note(format!("the machine sleeps {seconds} s"));
                self.clock.pass(chrono::Duration::seconds(seconds));
            } else if self.mood.has(Trouble::ClockSet) {
                // Forward by less than what a lookup waits longer than any lost request takes.
                let by = if self.chance.hits(500) { -seconds } else { seconds % 4 };
                self.wire.note(format!("the clock is set by {by} s"));
                self.clock.set(chrono::Duration::seconds(by));
            }
        }
        self.clock.jump();
        self.wire.tick();
    }

    fn growth(&self) -> Growth {
        *self.growth.lock().unwrap()
    }

    /// Opens the store anew, as a process does that starts.
    fn open(&self) {
        *self.store.lock().unwrap() = None;
        *self.store.lock().unwrap() = Some(self.base.open(self.database.lock().unwrap().url()));
    }

    fn engine(&self) -> Engine {
        let shelf = shelf(self.trade, self.growth());
        let gate = Gate::new(
            self.store(),
            self.base.clone(),
            self.wire.clone(),
            self.mood.clone(),
            self.chance.clone(),
            self.env.clone(),
        );
        let mut store: Arc<dyn Store> = Arc::new(gate);
        let mut transport: Arc<dyn Transport> = Arc::new(self.wire.clone());
        if let Some(bug) = self.bug {
            store = Arc::new(SpoiltStore::new(bug, store));
            if matches!(bug, Bug::UnprovenListing | Bug::RawPaths) {
                transport = Arc::new(SpoiltWire { bug, inner: self.wire.clone() });
            }
        }
        let store: Arc<dyn Store> = Arc::new(LaggingStore::new(
            store,
            self.wire.clone(),
            self.mood.clone(),
            self.chance.clone(),
            self.env.clone(),
            self.trade.setting,
        ));
        let logins = Arc::new(InMemory::default());
        let world = World { env: self.env.clone(), transport, folder: "/nonexistent".into(), logins };
        let open = |name: &str, (manifest, settings): &(Arc<Manifest>, Settings)| -> Arc<dyn System> {
            let inner = adapter::open(name, manifest, settings, &world).unwrap();
            match self.bug {
                Some(bug) => Arc::new(SpoiltSystem::new(bug, inner)),
                None => inner,
            }
        };
        let limits = SystemLimits { answer_window: Duration::from_secs(30), batch: 10, workers: 2 };
        Engine::new(sync::Context {
            store,
            env: self.env.clone(),
            systems: shelf.manifests.iter().map(|(&name, file)| (name.to_owned(), open(name, file))).collect(),
            mappings: shelf.mappings.clone(),
            entities: shelf.entities.clone(),
            routes: Routes::new(flows(self.trade, self.growth())).unwrap(),
            limits: Limits {
                poll: Duration::from_secs(180),
                systems: shelf.manifests.keys().map(|&system| (system.to_owned(), limits.clone())).collect(),
                ..Limits::default()
            },
            owner: "simulation".into(),
            work: Arc::new(Notify::new()),
            journal: Arc::default(),
        })
    }
}
