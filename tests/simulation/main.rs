//! Runs the engine against a model ERP and a model shop while requests, the state store and the machine fail. One seed
//! decides everything. A failing seed prints the command that plays it again. See docs/reliability.md.
//!
//! Environment variables:
//!
//! - `SEEDS=n`: how many seeds run (`SEEDS_PG=n`: on PostgreSQL);
//! - `FROM=n`: the first seed;
//! - `SEED=n`: play only this seed, and print its trace;
//! - `WITHOUT=lost-after,crash`: leave out these kinds of faults;
//! - `SETTING=reserving`: play in this setting;
//! - `BUG=SkippedIntent`: play with this planted bug.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of a test fail as tests do")]

mod addresses;
mod check;
mod clock;
mod company;
mod database;
mod existing_data;
mod faults;
mod invariants;
mod lease_lag;
mod life;
mod models;
mod mutant_store;
mod mutant_system;
mod mutants;
mod rng;
mod rows;
mod setting;
mod setting_actions;
mod stale_mapping;
mod store_faults;
mod store_methods;
mod store_runtime;
mod trade;
mod wire;
mod world;

use std::{
    io::Write as _,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use faults::Fault;
use mutants::Mutant;
use setting::Setting;
use world::{Play, play};

/// The number in an environment variable, if there is one.
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// What the environment variables ask for.
fn play_from_env() -> Play {
    let without = std::env::var("WITHOUT").unwrap_or_default();
    let without = without.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect();
    let named = std::env::var("BUG").ok();
    let mutant = Mutant::ALL.iter().find(|mutant| named == Some(format!("{mutant:?}"))).copied();
    let setting = std::env::var("SETTING").ok().map(|word| Setting::named(&word).unwrap());
    Play { mutant, setting, without, ..Play::default() }
}

/// Leaves out every kind of fault without which the seed still fails.
fn minimise(seed: u64, asked: &Play) -> Play {
    let mut minimal = asked.clone();
    for fault in Fault::ALL {
        let mut fewer = minimal.clone();
        if fewer.without.insert(fault.word().to_owned()) && !play(seed, &fewer).violations.is_empty() {
            minimal = fewer;
        }
    }
    minimal
}

/// The last lines of a trace that name an object of a violation, or an event that concerns every object.
fn relevant_lines<'a>(trace: &'a [String], violations: &[String]) -> Vec<&'a str> {
    const MOST: usize = 60;
    let is_name = |word: &&str| word.starts_with("SKU-") || word.contains('@') || word.starts_with('W');
    let names: Vec<&str> = violations
        .iter()
        .flat_map(|line| line.split(|c: char| c.is_whitespace() || matches!(c, ':' | ',' | '"')))
        .filter(is_name)
        .collect();
    let events = ["start", "stop", "calm", "once", "approve", "the clock", "the machine", "store ", " late "];
    let is_relevant = |line: &&String| {
        let words = || line.split(' ');
        events.iter().any(|event| line.contains(event)) || names.iter().any(|name| words().any(|word| word == *name))
    };
    let lines: Vec<&str> = trace.iter().filter(is_relevant).map(String::as_str).collect();
    lines[lines.len().saturating_sub(MOST)..].to_vec()
}

/// How to play a failing seed again with as few kinds of faults as possible, and what goes wrong then.
fn report(seed: u64, asked: &Play, test: &str) -> String {
    let minimal = minimise(seed, asked);
    let without: Vec<&str> = minimal.without.iter().map(String::as_str).collect();
    let outcome = play(seed, &minimal);
    format!(
        "SEED={seed} SETTING={} WITHOUT={} cargo test --test simulation {test} -- --nocapture\n    {}\n  after\n    {}",
        asked.setting.unwrap_or_else(|| Setting::draw(seed)).word(),
        without.join(","),
        outcome.violations.join("\n    "),
        relevant_lines(&outcome.trace, &outcome.violations).join("\n    ")
    )
}

/// Plays `seeds` seeds on all cores, or only the one in `SEED`, and fails on any violation.
#[expect(clippy::disallowed_methods, reason = "the printed duration is real time")]
fn assert_no_violations(asked: &Play, seeds: u64, test: &str) {
    if let Some(seed) = number("SEED") {
        let outcome = play(seed, asked);
        println!("{}", outcome.trace.join("\n"));
        assert!(outcome.violations.is_empty(), "seed {seed}: {:#?}", outcome.violations);
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
                    if !play(seed, asked).violations.is_empty() {
                        failures.lock().unwrap().push(seed);
                    }
                }
            });
        }
    });
    let reports: Vec<String> =
        failures.into_inner().unwrap().into_iter().map(|seed| report(seed, asked, test)).collect();
    let took = began.elapsed().as_secs_f64();
    let many = f64::from(u32::try_from(seeds).unwrap());
    println!("{seeds} seeds from {from} in {took:.1} s: {:.1} a second", many / took);
    assert!(reports.is_empty(), "{} of {seeds} seeds fail:\n{}", reports.len(), reports.join("\n"));
}

#[test]
fn nothing_is_lost_nothing_twice_whatever_fails() {
    assert_no_violations(&play_from_env(), number("SEEDS").unwrap_or(12), "nothing_is_lost");
}

#[test]
fn nothing_is_lost_nothing_twice_on_postgresql() {
    let Ok(url) = std::env::var("VAIVEN_TEST_PG") else {
        // The test harness hides what eprintln! prints.
        let line = "\nNOT RUN: the simulation on PostgreSQL (set VAIVEN_TEST_PG to the URL of a database)\n";
        std::io::stderr().write_all(line.as_bytes()).unwrap();
        return;
    };
    assert_no_violations(
        &Play { postgres: Some(url), ..play_from_env() },
        number("SEEDS_PG").unwrap_or(4),
        "on_postgresql",
    );
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in [1, 7, 8] {
        let play = || play(seed, &Play::default()).trace;
        assert_eq!(play(), play(), "seed {seed}");
    }
}

/// Plays seeds of a setting until one of them fails the check `check` with the planted bug and passes without it.
/// `first` is the seed to try first: the one that caught the bug last time.
fn assert_caught(setting: Setting, mutant: Mutant, check: &str, first: u64) {
    const SEEDS: u64 = 500;
    let unchanged = Play { mutant: None, setting: Some(setting), ..play_from_env() };
    let mutated = Play { mutant: Some(mutant), ..unchanged.clone() };
    let passes_unchanged = |seed| play(seed, &unchanged).violations.is_empty();
    let caught = std::iter::once(first).chain(1..=SEEDS).find_map(|seed| {
        let violation = play(seed, &mutated).violations.into_iter().find(|violation| violation.contains(check))?;
        passes_unchanged(seed).then_some((seed, violation))
    });
    let (seed, violation) = caught.unwrap_or_else(|| panic!("{mutant:?} passes {SEEDS} seeds unseen"));
    println!("{mutant:?} is caught by seed {seed}: {violation}");
}

macro_rules! caught {
    ($($name:ident: $mutant:ident in $setting:ident by $check:literal, $first:literal;)*) => {
        mod a_planted_bug {
            $(#[test]
            fn $name() {
                super::assert_caught(super::Setting::$setting, super::Mutant::$mutant, $check, $first);
            })*

            #[test]
            fn has_a_test_of_its_own() {
                assert_eq!(super::Mutant::ALL, [$(super::Mutant::$mutant),*]);
            }
        }
    };
}

caught! {
    is_caught_when_no_intent_is_stored: SkippedIntent in Plain by "times in the ERP", 1;
    is_caught_when_the_cursor_moves_early: EarlyCursor in Plain by "in the shop", 61;
    is_caught_when_a_worker_writes_after_its_lease_was_lost: ForgottenFence in Hesitant by "in the shop", 429;
    is_caught_when_a_change_during_a_delivery_is_dropped: DroppedChange in Plain by "in the shop", 14;
    is_caught_when_a_tombstone_is_ignored: IgnoredTombstone in Plain by "still sold in the shop", 20;
    is_caught_when_a_create_with_a_lost_answer_is_repeated: LostIsFailed in Plain by "times in the ERP", 59;
    is_caught_when_a_job_to_be_retried_counts_as_done: LostJob in Plain by "lost on the way", 6;
    is_caught_when_the_sent_value_is_forgotten: ForgottenAlteration in Plain by "though it is there already", 2;
    is_caught_when_a_short_listing_counts_as_complete: UnprovenListing in Plain by "hidden though", 140;
    is_caught_when_a_new_order_reserves_no_stock: ForgottenReservations in Plain by "are there to be sold", 24;
    is_caught_when_a_shared_field_is_written_unread: BlindWrite in Plain by "an unseen edit is written over", 10;
    is_caught_when_reserved_stock_counts_as_available: OnHandIsAvailable in Reserving by "are there to be sold", 1;
    is_caught_when_a_date_in_the_future_moves_the_cursor: FutureCursor in Clocks by "in the shop", 7;
    is_caught_when_the_repeated_hour_of_a_clock_change_is_read_once: LostHour in Clocks by "in the shop", 7;
    is_caught_when_the_currency_of_an_order_is_ignored: DroppedCurrency in Currencies by "taken for EUR", 2;
    is_caught_when_a_create_lacks_a_shared_field: HalfCreate in Plain by "text", 5;
    is_caught_when_an_unreadable_row_counts_as_absent: UnreadableIsAbsent in Adopted by "times in the", 1;
    is_caught_when_a_write_refused_for_a_taken_value_is_final: RefusalIsFinal in Swaps by "barcode", 1;
    is_caught_when_an_altered_value_counts_as_written: AlteredIsDone in Altering by "nobody is told", 1;
    is_caught_when_ids_of_children_are_forgotten: ForgottenChildren in Children by "addresses", 2;
    is_caught_when_one_shop_offers_what_the_other_sold: ReservationsOfOneShop in TwoShops by "are there to be sold", 6;
    is_caught_when_an_unpaid_order_counts_as_paid: UnpaidIsPaid in Unpaid by "taken by the ERP", 2;
    is_caught_when_an_unreadable_order_blocks_all_stock: UnreadableOrderBlocks in Odd by "stock", 3;
    is_caught_when_equal_numbers_of_two_shops_mean_the_same_order: GlobalNumbers in TwoShops by "order", 10;
    is_caught_when_an_added_flow_receives_only_later_changes: ForgottenJoin in Joining by "in the shop", 60;
    is_caught_when_an_id_of_another_record_is_taken: StolenId in Mistaken by "in the shop", 3;
    is_caught_when_a_child_id_of_another_record_is_taken: StolenChild in Mistaken by "in the shop", 2;
    is_caught_when_a_price_update_ends_a_sale: SaleWrittenOver in Reduced by "a sale made in the shop", 2;
    is_caught_when_values_in_paths_are_not_encoded: RawPaths in Awkward by "price", 1;
    is_caught_when_a_price_is_not_rounded_for_its_target: ForgottenPrecision in Altering by "left", 1;
    is_caught_when_a_changed_match_rule_skips_known_records: ForgottenRule in Recognised by "is there 2 times", 7;
    is_caught_when_an_erased_value_counts_as_an_edit: ErasedIsEdited in Erased by "in the ERP", 4;
    is_caught_when_the_state_of_an_order_goes_backwards: StateRunsBack in Plain by "runs backwards", 9;
    is_caught_when_a_field_outlives_its_mapping: StaleField in Outdated by "stock", 8;
}
