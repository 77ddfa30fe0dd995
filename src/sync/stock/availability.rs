//! Availability: what a target should show of an article's stock. It is the source's figures by the flow's rule,
//! less what is reserved for orders on their way.

use std::borrow::Cow;

use rust_decimal::Decimal;
use serde_json::{Map, Number, Value};

use crate::{
    expr::{Expr, Scope},
    failure::{Class, Failure},
    mapping::Fields,
    model::decimal,
    sync::routing::StockRule,
};

const QUANTITY: &str = "quantity";
const LEVELS: &str = "levels";
const RESERVED: &str = "reserved";
const AVAILABLE: &str = "available";

/// What is subtracted for one article besides the buffer.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::sync) struct Less {
    pub(in crate::sync) reserved: Decimal,
    /// The article is sold only in multiples of this.
    pub(in crate::sync) increment: Option<Decimal>,
}

/// The stock at one location that counts.
struct Level<'a> {
    item: &'a Map<String, Value>,
    offered: Decimal,
}

/// Return the source's fields, with `quantity` and `levels` as a target should show them: never below zero, in
/// whole increments, and only for locations that count. Reductions are taken from the last location first. `names`
/// are the fields that an expression may name.
pub(in crate::sync) fn available<'a>(
    rule: &StockRule,
    source: &Fields,
    names: impl Iterator<Item = &'a str>,
    less: Less,
) -> Result<Fields, Failure> {
    let levels = chosen(rule, source)?;
    let base = match (&rule.quantity, &levels) {
        (Some(expression), _) => reckoned(expression, rule, source, names)?,
        (None, Some(levels)) => sum(levels.iter().map(|level| level.offered))?,
        (None, None) if source.contains_key(QUANTITY) || source.contains_key(AVAILABLE) => {
            Figures::of(source)?.by(rule)
        }
        (None, None) => return Ok(source.clone()),
    };
    let kept = sum([base, -less.reserved, -rule.buffer].into_iter())?.max(Decimal::ZERO);
    let quantity = match less.increment.filter(|increment| *increment > Decimal::ZERO) {
        Some(increment) => kept - kept.checked_rem(increment).unwrap_or_default(),
        None => kept,
    };
    let mut fields = source.clone();
    fields.insert(QUANTITY.to_owned(), text(quantity));
    fields.remove(RESERVED);
    fields.remove(AVAILABLE);
    match levels.filter(|levels| !levels.is_empty()) {
        Some(levels) => fields.insert(LEVELS.to_owned(), spread(rule, &levels, quantity)?),
        None => fields.remove(LEVELS),
    };
    Ok(fields)
}

/// Whether a target would show more than it is known to show; unknown counts as zero.
pub(in crate::sync) fn rises(desired: &Fields, known: &Fields) -> bool {
    let figure = |value: Option<&Value>| value.and_then(Value::as_str).and_then(decimal::parse).unwrap_or_default();
    let quantity = figure(desired.get(QUANTITY)) > figure(known.get(QUANTITY)) && desired.contains_key(QUANTITY);
    let there = known.get(LEVELS).and_then(Value::as_array);
    let level = |desired: &Value| {
        let same = |level: &&Value| level.get("location") == desired.get("location");
        let now = there.and_then(|levels| levels.iter().find(same)).and_then(|level| level.get(QUANTITY));
        figure(desired.get(QUANTITY)) > figure(now)
    };
    quantity || desired.get(LEVELS).and_then(Value::as_array).is_some_and(|levels| levels.iter().any(level))
}

/// Whether a field says how much there is.
pub(in crate::sync) fn is_figure(field: &str) -> bool {
    field == QUANTITY || field == LEVELS
}

/// Return the levels at the locations that count; `None` if the source names no locations and none are asked for.
fn chosen<'a>(rule: &StockRule, source: &'a Fields) -> Result<Option<Vec<Level<'a>>>, Failure> {
    let Some(levels) = source.get(LEVELS).and_then(Value::as_array) else {
        return Ok(rule.locations.is_some().then(Vec::new));
    };
    let mut counted = Vec::with_capacity(levels.len());
    for item in levels.iter().filter_map(Value::as_object) {
        if place(rule, item).is_some() {
            counted.push(Level { item, offered: Figures::of(item)?.by(rule) });
        }
    }
    Ok(Some(counted))
}

/// Return the position of a location among those that count.
fn place(rule: &StockRule, item: &Map<String, Value>) -> Option<usize> {
    let Some(locations) = &rule.locations else { return Some(0) };
    let location = item.get("location").and_then(Value::as_str)?;
    locations.iter().position(|counted| counted == location)
}

/// What a source says there is, in one place or in all.
struct Figures {
    on_hand: Decimal,
    reserved: Decimal,
    available: Decimal,
}

impl Figures {
    /// Two of the three figures determine the third. A figure that is given counts as it is given.
    fn of(item: &Map<String, Value>) -> Result<Self, Failure> {
        let figure = |name: &str| item.get(name).map(|value| amount(value, name)).transpose();
        // A negative reservation adds no goods to offer.
        let reserved = figure(RESERVED)?.unwrap_or_default().max(Decimal::ZERO);
        let (on_hand, available) = match (figure(QUANTITY)?, figure(AVAILABLE)?) {
            (Some(on_hand), Some(available)) => (on_hand, available),
            (Some(on_hand), None) => (on_hand, sum([on_hand, -reserved].into_iter())?),
            (None, available) => {
                let available = available.unwrap_or_default();
                (sum([available, reserved].into_iter())?, available)
            }
        };
        Ok(Self { on_hand, reserved, available })
    }

    /// The figure that the flow uses.
    fn by(&self, rule: &StockRule) -> Decimal {
        if rule.on_hand { self.on_hand } else { self.available }
    }

    fn add(&mut self, other: &Self) -> Result<(), Failure> {
        for (total, figure) in [
            (&mut self.on_hand, other.on_hand),
            (&mut self.reserved, other.reserved),
            (&mut self.available, other.available),
        ] {
            *total = sum([*total, figure].into_iter())?;
        }
        Ok(())
    }

    fn named(&self) -> [(&'static str, Decimal); 3] {
        [(QUANTITY, self.on_hand), (RESERVED, self.reserved), (AVAILABLE, self.available)]
    }
}

/// Return the result of the flow's own expression.
fn reckoned<'a>(
    expression: &Expr,
    rule: &StockRule,
    source: &Fields,
    names: impl Iterator<Item = &'a str>,
) -> Result<Decimal, Failure> {
    let broken = |problem: String| Failure::new(Class::Rejected, format!("stock.quantity of the flow: {problem}"));
    let absent = Value::Null;
    let mut variables = Scope::new();
    for name in names {
        variables.set(name.to_owned(), Cow::Borrowed(source.get(name).unwrap_or(&absent)));
    }
    for name in [QUANTITY, AVAILABLE].into_iter().filter(|name| source.contains_key(*name)) {
        variables.set(name, Cow::Owned(number(amount(&source[name], name)?)));
    }
    let chosen = chosen(rule, source)?;
    let mut all = Figures { on_hand: Decimal::ZERO, reserved: Decimal::ZERO, available: Decimal::ZERO };
    if chosen.is_none() {
        all = Figures::of(source)?;
    }
    let mut levels = Vec::new();
    for level in chosen.into_iter().flatten() {
        let figures = Figures::of(level.item)?;
        all.add(&figures)?;
        let mut item = level.item.clone();
        item.extend(figures.named().map(|(name, figure)| (name.to_owned(), number(figure))));
        levels.push(Value::Object(item));
    }
    variables.set(LEVELS, Cow::Owned(Value::Array(levels)));
    variables.set("on_hand", Cow::Owned(number(all.on_hand)));
    variables.set(RESERVED, Cow::Owned(number(all.reserved)));
    if !source.contains_key(AVAILABLE) {
        variables.set(AVAILABLE, Cow::Owned(number(all.available)));
    }
    match expression.eval(&variables).map_err(|error| broken(error.to_string()))? {
        Value::Number(figure) => decimal::parse(figure.as_str()).ok_or_else(|| broken(format!("{figure} is too long"))),
        Value::String(figure) => decimal::parse(&figure).ok_or_else(|| broken(format!("`{figure}` is not a quantity"))),
        other => Err(broken(format!("gave {} instead of a quantity", crate::expr::json_kind(&other)))),
    }
}

/// Distribute the available quantity over the locations: what is subtracted is taken from the last one first, and
/// what an expression added goes to the first one.
fn spread(rule: &StockRule, levels: &[Level<'_>], quantity: Decimal) -> Result<Value, Failure> {
    let mut shown: Vec<Decimal> = levels.iter().map(|level| level.offered.max(Decimal::ZERO)).collect();
    let mut order: Vec<usize> = (0..levels.len()).collect();
    order.sort_by_key(|at| place(rule, levels[*at].item));
    let mut surplus = sum(shown.iter().copied().chain([-quantity]))?;
    if let (Some(first), true) = (order.first(), surplus < Decimal::ZERO) {
        shown[*first] = sum([shown[*first], -surplus].into_iter())?;
    }
    for at in order.into_iter().rev() {
        let taken = shown[at].min(surplus.max(Decimal::ZERO));
        shown[at] -= taken;
        surplus -= taken;
    }
    let items = levels.iter().zip(shown).map(|(level, quantity)| {
        let mut item = level.item.clone();
        item.remove(RESERVED);
        item.remove(AVAILABLE);
        item.insert(QUANTITY.to_owned(), text(quantity));
        Value::Object(item)
    });
    Ok(Value::Array(items.collect()))
}

/// Read a canonical quantity.
pub(in crate::sync) fn amount(value: &Value, field: &str) -> Result<Decimal, Failure> {
    value
        .as_str()
        .and_then(decimal::parse)
        .ok_or_else(|| Failure::new(Class::Rejected, format!("{value} is not a quantity")).with_field(field.to_owned()))
}

/// Sum figures; an error if the sum cannot be held exactly.
pub(in crate::sync) fn sum(mut figures: impl Iterator<Item = Decimal>) -> Result<Decimal, Failure> {
    figures
        .try_fold(Decimal::ZERO, Decimal::checked_add)
        .ok_or_else(|| Failure::new(Class::Rejected, "the quantities are too large to be added").with_field(QUANTITY))
}

fn text(quantity: Decimal) -> Value {
    Value::String(decimal::canonical(quantity))
}

/// A number for an expression, with exactly its digits.
fn number(quantity: Decimal) -> Value {
    quantity.to_string().parse::<Number>().map_or(Value::Null, Value::Number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::{
        expr::KnownNames,
        load::{Place, SourceFile},
    };

    fn fields(value: &Value) -> Fields {
        value.as_object().unwrap().clone()
    }

    fn whole(number: i64) -> Decimal {
        Decimal::from(number)
    }

    fn shops() -> Value {
        json!({"sku": "A", "quantity": "99", "levels": [
            {"location": "MAD", "quantity": "10", "reserved": "1"},
            {"location": "BCN", "quantity": "4.5"},
            {"location": "SVQ", "quantity": "3"},
        ]})
    }

    fn show(rule: &StockRule, source: &Value, less: Less) -> Fields {
        available(rule, &fields(source), ["sku", "quantity", "levels"].into_iter(), less).unwrap()
    }

    fn reserved(quantity: i64) -> Less {
        Less { reserved: whole(quantity), increment: None }
    }

    fn at(locations: &[&str]) -> Vec<String> {
        locations.iter().map(|&location| location.to_owned()).collect()
    }

    fn by(text: &str) -> StockRule {
        let place = Place::start(&SourceFile::new("vaiven.toml", ""));
        let known = KnownNames::of(["sku", "quantity", "levels", "on_hand", "reserved", "available"]);
        StockRule { quantity: Some(Expr::compile(text, &place, &known).unwrap()), ..StockRule::default() }
    }

    #[test]
    fn what_is_on_hand_less_what_is_reserved_is_available() {
        let shown = show(&StockRule::default(), &shops(), Less::default());
        assert_eq!(shown["quantity"], "16.5");
        assert_eq!(shown["levels"][0], json!({"location": "MAD", "quantity": "9"}), "reserved is taken off once");
    }

    #[test]
    fn of_what_is_on_hand_reserved_and_available_two_make_the_third() {
        let shown = |source: Value| show(&StockRule::default(), &source, Less::default())["quantity"].clone();
        assert_eq!(shown(json!({"quantity": "9", "reserved": "2"})), "7");
        assert_eq!(shown(json!({"quantity": "9", "reserved": "2", "available": "5"})), "5", "as its system reckons it");
        assert_eq!(shown(json!({"available": "5"})), "5");
        assert_eq!(shown(json!({"quantity": "9", "reserved": "-2"})), "9", "no more than is there");
        assert_eq!(shown(json!({"levels": [{"location": "A", "quantity": "9", "reserved": "-2"}]})), "9");
        assert_eq!(shown(json!({"levels": [{"location": "A", "available": "3", "reserved": "2"}]})), "3");
        let source = json!({"sku": "A", "quantity": "9", "reserved": "2"});
        assert_eq!(show(&StockRule::default(), &source, Less::default()).get("reserved"), None, "it is no target's");
        assert_eq!(show(&by("on_hand"), &source, Less::default())["quantity"], "9");
        let on_hand = StockRule { on_hand: true, ..StockRule::default() };
        assert_eq!(
            show(&on_hand, &shops(), Less::default())["levels"][0]["quantity"],
            "10",
            "for who allots by himself"
        );
        assert_eq!(show(&on_hand, &source, Less::default())["quantity"], "9", "where no places are told as well");
        assert_eq!(show(&by("available - reserved"), &source, Less::default())["quantity"], "5");
    }

    #[test]
    fn only_the_chosen_locations_count() {
        let rule = StockRule { locations: Some(at(&["BCN", "MAD"])), ..StockRule::default() };
        let shown = show(&rule, &shops(), Less::default());
        assert_eq!(shown["quantity"], "13.5");
        assert_eq!(shown["levels"].as_array().unwrap().len(), 2);
        let elsewhere = StockRule { locations: Some(at(&["LIS"])), ..StockRule::default() };
        assert_eq!(show(&elsewhere, &shops(), Less::default())["quantity"], "0");
        assert_eq!(show(&elsewhere, &json!({"quantity": "5"}), Less::default())["quantity"], "0");
    }

    #[test]
    fn a_source_without_locations_is_taken_at_its_one_number() {
        let rule = StockRule { buffer: whole(2), ..StockRule::default() };
        assert_eq!(show(&rule, &json!({"quantity": "7.5"}), reserved(3)), fields(&json!({"quantity": "2.5"})));
        assert_eq!(show(&rule, &json!({"sku": "A"}), reserved(3)), fields(&json!({"sku": "A"})), "it says nothing");
    }

    #[test]
    fn buffer_and_reservations_come_off_the_last_location_first() {
        let rule = StockRule { buffer: whole(2), locations: Some(at(&["SVQ", "BCN", "MAD"])), ..StockRule::default() };
        let shown = show(&rule, &shops(), reserved(9));
        assert_eq!(shown["quantity"], "5.5");
        let levels: Vec<_> = shown["levels"].as_array().unwrap().iter().map(|level| &level["quantity"]).collect();
        assert_eq!(levels, ["0", "2.5", "3"], "9 of Madrid, 2 of Barcelona, in the source's order");
    }

    #[test]
    fn availability_is_never_below_zero() {
        let rule = StockRule { buffer: whole(20), ..StockRule::default() };
        let shown = show(&rule, &shops(), Less::default());
        assert_eq!(shown["quantity"], "0");
        assert!(shown["levels"].as_array().unwrap().iter().all(|level| level["quantity"] == "0"));
        let owed = json!({"levels": [{"location": "A", "quantity": "5"}, {"location": "B", "quantity": "-2"}]});
        let shown = show(&StockRule::default(), &owed, Less::default());
        assert_eq!((&shown["quantity"], &shown["levels"][0]["quantity"]), (&json!("3"), &json!("3")));
        assert_eq!(shown["levels"][1]["quantity"], "0");
    }

    #[test]
    fn a_box_that_is_not_full_is_not_offered() {
        let less = |quantity, step| Less { reserved: whole(quantity), increment: Some(whole(step)) };
        assert_eq!(show(&StockRule::default(), &json!({"quantity": "26"}), less(3, 12))["quantity"], "12");
        assert_eq!(show(&StockRule::default(), &json!({"quantity": "11"}), less(0, 12))["quantity"], "0");
        assert_eq!(show(&StockRule::default(), &json!({"quantity": "11"}), less(0, 0))["quantity"], "11");
    }

    #[test]
    fn the_flows_own_expression_decides_with_exact_numbers() {
        assert_eq!(show(&by("on_hand - reserved * 2"), &shops(), Less::default())["quantity"], "15.5");
        assert_eq!(show(&by("quantity / 3"), &shops(), reserved(3))["quantity"], "30");
        let most = by(r#"sum(pluck(levels, "quantity"))"#);
        assert_eq!(show(&most, &shops(), Less::default())["quantity"], "17.5");
        let more = show(&by("on_hand + 10"), &shops(), Less::default());
        assert_eq!((&more["quantity"], &more["levels"][0]["quantity"]), (&json!("27.5"), &json!("20")));
    }

    #[test]
    fn an_expression_that_gives_no_quantity_is_reported() {
        let names = || ["sku", "quantity", "levels"].into_iter();
        for text in ["sku", "()", "quantity + 1"] {
            let error = available(&by(text), &fields(&json!({"sku": "A"})), names(), Less::default()).unwrap_err();
            assert!(error.to_string().contains("stock.quantity"), "{error}");
        }
    }

    #[test]
    fn a_rise_is_seen_in_the_quantity_or_at_any_location() {
        let known = fields(&json!({"quantity": "5", "levels": [{"location": "A", "quantity": "5"}]}));
        assert!(rises(&fields(&json!({"quantity": "6"})), &known));
        assert!(!rises(&fields(&json!({"quantity": "5.0"})), &known));
        assert!(rises(&fields(&json!({"levels": [{"location": "B", "quantity": "1"}]})), &known));
        assert!(!rises(&fields(&json!({"levels": [{"location": "A", "quantity": "4"}]})), &known));
        assert!(rises(&fields(&json!({"quantity": "1"})), &Fields::new()), "what is not known may be nothing");
    }

    proptest! {
        #[test]
        fn the_levels_always_add_up_to_the_quantity(
            levels in prop::collection::vec((-20_i64..200, 0_i64..20), 1..6),
            buffer in 0_i64..50,
            orders in 0_i64..50,
            step in prop::option::of(1_i64..12),
        ) {
            let items: Vec<Value> = levels
                .iter()
                .enumerate()
                .map(|(at, (quantity, reserved))| {
                    json!({"location": at.to_string(), "quantity": quantity.to_string(), "reserved": reserved.to_string()})
                })
                .collect();
            let rule = StockRule { buffer: whole(buffer), ..StockRule::default() };
            let less = Less { reserved: whole(orders), increment: step.map(whole) };
            let shown = show(&rule, &json!({ "levels": items }), less);
            let figure = |value: &Value| amount(value, "quantity").unwrap();
            let total = figure(&shown["quantity"]);
            let each: Decimal = shown["levels"].as_array().unwrap().iter().map(|level| figure(&level["quantity"])).sum();
            let free: i64 = levels.iter().map(|(quantity, reserved)| quantity - reserved).sum();
            prop_assert_eq!(total, each);
            prop_assert!(total >= Decimal::ZERO && total <= whole((free - buffer - orders).max(0)));
        }
    }
}
