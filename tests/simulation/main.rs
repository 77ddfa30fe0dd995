//! The engine against a model ERP and a model shop, with lost answers, breakdowns, throttling, short pages, store failures
//! and crashes. One seed decides everything; a failing seed prints how to play it again. See docs/reliability.md.
//!
//! `SEEDS=n` chooses how many seeds run (`SEEDS_PG=n` on PostgreSQL), `FROM=n` the first, `SEED=n` plays a single one with its
//! trace, `WITHOUT=lost-after,crash` plays without these kinds of trouble, `SETTING=reserving` in that setting,
//! `BUG=SkippedIntent` with that planted bug.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of a test fail as tests do")]

mod before;
mod chance;
mod check;
mod clock;
mod company;
mod database;
mod gate;
mod lag;
mod life;
mod models;
mod mood;
mod outdated;
mod parts;
mod saboteur;
mod setting;
mod shown;
mod special;
mod wire;
mod witness;
mod world;

use std::{
    io::Write as _,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use mood::Trouble;
use saboteur::Bug;
use setting::Setting;
use world::{Play, play};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn asked() -> Play {
    let without = std::env::var("WITHOUT").unwrap_or_default();
    let without = without.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect();
    let named = std::env::var("BUG").ok();
    let bug = Bug::ALL.iter().find(|bug| named == Some(format!("{bug:?}"))).copied();
    let setting = std::env::var("SETTING").ok().map(|word| Setting::named(&word).unwrap());
    Play { bug, setting, without, ..Play::default() }
}

/// Without how many kinds of trouble a seed still fails: what is left is what it takes.
fn least(seed: u64, asked: &Play) -> Play {
    let mut least = asked.clone();
    for trouble in Trouble::ALL {
        let mut fewer = least.clone();
        if fewer.without.insert(trouble.word().to_owned()) && !play(seed, &fewer).wrong.is_empty() {
            least = fewer;
        }
    }
    least
}

/// What of a trace is about the objects that are wrong, and what struck everything.
fn about<'a>(trace: &'a [String], wrong: &[String]) -> Vec<&'a str> {
    const MOST: usize = 60;
    let is_name = |word: &&str| word.starts_with("SKU-") || word.contains('@') || word.starts_with('W');
    let names: Vec<&str> = wrong
        .iter()
        .flat_map(|line| line.split(|c: char| c.is_whitespace() || matches!(c, ':' | ',' | '"')))
        .filter(is_name)
        .collect();
    let general = ["start", "stop", "calm", "once", "approve", "the clock", "the machine", "store ", " late "];
    let is_meant = |line: &&String| {
        let words = || line.split(' ');
        general.iter().any(|piece| line.contains(piece)) || names.iter().any(|name| words().any(|word| word == *name))
    };
    let meant: Vec<&str> = trace.iter().filter(is_meant).map(String::as_str).collect();
    meant[meant.len().saturating_sub(MOST)..].to_vec()
}

/// How to play a failing seed again, with as little trouble as it takes, and what happens then.
fn tell(seed: u64, asked: &Play, test: &str) -> String {
    let least = least(seed, asked);
    let without: Vec<&str> = least.without.iter().map(String::as_str).collect();
    let outcome = play(seed, &least);
    format!(
        "SEED={seed} SETTING={} WITHOUT={} cargo test --test simulation {test} -- --nocapture\n    {}\n  after\n    {}",
        asked.setting.unwrap_or_else(|| Setting::draw(seed)).word(),
        without.join(","),
        outcome.wrong.join("\n    "),
        about(&outcome.trace, &outcome.wrong).join("\n    ")
    )
}

/// Plays many seeds, or the one that is asked for.
#[expect(clippy::disallowed_methods, reason = "how long many seeds take is told in real time")]
fn hold(asked: &Play, seeds: u64, test: &str) {
    if let Some(seed) = number("SEED") {
        let outcome = play(seed, asked);
        println!("{}", outcome.trace.join("\n"));
        assert!(outcome.wrong.is_empty(), "seed {seed}: {:#?}", outcome.wrong);
        return;
    }
    let from = number("FROM").unwrap_or(1);
    let began = Instant::now();
    let next = AtomicU64::new(from);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + seeds || failures.lock().unwrap().len() >= 3 {
                        return;
                    }
                    if !play(seed, asked).wrong.is_empty() {
                        failures.lock().unwrap().push(seed);
                    }
                }
            });
        }
    });
    let told: Vec<String> = failures.into_inner().unwrap().into_iter().map(|seed| tell(seed, asked, test)).collect();
    let took = began.elapsed().as_secs_f64();
    let many = f64::from(u32::try_from(seeds).unwrap());
    println!("{seeds} seeds from {from} in {took:.1} s: {:.1} a second", many / took);
    assert!(told.is_empty(), "{} of {seeds} seeds fail:\n{}", told.len(), told.join("\n"));
}

#[test]
fn nothing_is_lost_nothing_twice_whatever_fails() {
    hold(&asked(), number("SEEDS").unwrap_or(12), "nothing_is_lost");
}

#[test]
fn nothing_is_lost_nothing_twice_on_postgresql() {
    let Ok(url) = std::env::var("VAIVEN_TEST_PG") else {
        // Not by eprintln!, which the test harness swallows.
        let line = "\nNOT RUN: the simulation on PostgreSQL (set VAIVEN_TEST_PG to the URL of a database)\n";
        std::io::stderr().write_all(line.as_bytes()).unwrap();
        return;
    };
    hold(&Play { postgres: Some(url), ..asked() }, number("SEEDS_PG").unwrap_or(4), "on_postgresql");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in [1, 7, 8] {
        let play = || play(seed, &Play::default()).trace;
        assert_eq!(play(), play(), "seed {seed}");
    }
}

/// Plays seeds of a setting until `check` catches the bug in one that passes without it: first the one that caught it last
/// time.
fn is_caught(setting: Setting, bug: Bug, check: &str, last: u64) {
    const SEEDS: u64 = 500;
    let honest = Play { bug: None, setting: Some(setting), ..asked() };
    let spoilt = Play { bug: Some(bug), ..honest.clone() };
    let is_honest = |seed| play(seed, &honest).wrong.is_empty();
    let caught = std::iter::once(last).chain(1..=SEEDS).find_map(|seed| {
        let wrong = play(seed, &spoilt).wrong.into_iter().find(|wrong| wrong.contains(check))?;
        is_honest(seed).then_some((seed, wrong))
    });
    let (seed, wrong) = caught.unwrap_or_else(|| panic!("{bug:?} passes {SEEDS} seeds unseen"));
    println!("{bug:?} is caught by seed {seed}: {wrong}");
}

macro_rules! caught {
    ($($name:ident: $bug:ident in $setting:ident by $check:literal, $last:literal;)*) => {
        mod a_planted_bug {
            $(#[test]
            fn $name() {
                super::is_caught(super::Setting::$setting, super::Bug::$bug, $check, $last);
            })*

            /// Those that `BUG=NAME` can play are those that are caught.
            #[test]
            fn is_caught_whichever_it_is() {
                assert_eq!(super::Bug::ALL, [$(super::Bug::$bug),*]);
            }
        }
    };
}

caught! {
    is_caught_when_no_intent_is_stored: SkippedIntent in Plain by "times in the ERP", 1;
    is_caught_when_the_cursor_moves_early: EarlyCursor in Plain by "in the shop", 216;
    is_caught_when_a_fence_is_forgotten: ForgottenFence in Hesitant by "in the shop", 41;
    is_caught_when_a_coalesced_change_is_dropped: DroppedChange in Plain by "in the shop", 10;
    is_caught_when_a_tombstone_is_ignored: IgnoredTombstone in Plain by "still sold in the shop", 11;
    is_caught_when_a_lost_answer_counts_as_a_failure: LostIsFailed in Plain by "times in the ERP", 19;
    is_caught_when_a_job_vanishes: LostJob in Plain by "lost on the way", 3;
    is_caught_when_an_alteration_is_forgotten: ForgottenAlteration in Plain by "though it is there already", 7;
    is_caught_when_a_short_listing_counts_as_whole: UnprovenListing in Plain by "hidden though", 140;
    is_caught_when_what_is_in_flight_is_forgotten: ForgottenFlight in Plain by "are there to be sold", 36;
    is_caught_when_nobody_looks_before_a_write: BlindWrite in Plain by "an unseen edit is written over", 5;
    is_caught_when_what_is_on_hand_counts_as_available: OnHandIsAvailable in Reserving by "are there to be sold", 8;
    is_caught_when_a_date_from_the_future_counts: FutureCursor in Clocks by "in the shop", 3;
    is_caught_when_the_hour_that_comes_twice_is_read_once: LostHour in Clocks by "in the shop", 7;
    is_caught_when_a_currency_is_dropped: DroppedCurrency in Currencies by "taken for EUR", 1;
    is_caught_when_a_create_lacks_what_is_shared: HalfCreate in Plain by "text", 4;
    is_caught_when_what_cannot_be_read_counts_as_absent: UnreadableIsAbsent in Adopted by "times in the", 1;
    is_caught_when_a_taken_value_is_refused_for_good: RefusalIsFinal in Swaps by "barcode", 1;
    is_caught_when_what_was_altered_counts_as_done: AlteredIsDone in Altering by "nobody is told", 1;
    is_caught_when_ids_of_children_are_forgotten: ForgottenChildren in Children by "addresses", 1;
    is_caught_when_one_shops_sales_count_at_it_alone: FlightOfOneShop in TwoShops by "are there to be sold", 3;
    is_caught_when_what_nobody_paid_counts_as_paid: UnpaidIsPaid in Unpaid by "taken by the ERP", 2;
    is_caught_when_an_odd_order_holds_up_everything: OddOrderFreezes in Odd by "stock", 5;
    is_caught_when_a_number_means_the_same_everywhere: GlobalNumbers in TwoShops by "order", 2;
    is_caught_when_what_joins_is_not_told_what_is_known: ForgottenJoin in Joining by "in the shop", 24;
    is_caught_when_an_id_is_taken_from_another_record: StolenId in Mistaken by "in the shop", 3;
    is_caught_when_a_child_is_taken_from_another_record: StolenChild in Mistaken by "in the shop", 1;
    is_caught_when_a_price_ends_a_sale: SaleWrittenOver in Reduced by "a sale made in the shop", 2;
    is_caught_when_values_stand_in_addresses_as_they_are: RawPaths in Awkward by "price", 1;
    is_caught_when_a_precision_is_forgotten: ForgottenPrecision in Altering by "left", 1;
    is_caught_when_a_rule_leaves_out_what_is_known: ForgottenRule in Recognised by "is there 2 times", 2;
    is_caught_when_what_is_erased_counts_as_edited: ErasedIsEdited in Erased by "in the ERP", 4;
    is_caught_when_a_state_runs_backwards: StateRunsBack in Plain by "runs backwards", 12;
    is_caught_when_a_field_outlives_its_mapping: StaleField in Outdated by "stock", 3;
}
