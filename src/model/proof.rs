//! Proof of an order's money: lines + shipping + tax - discounts = total, in either order of rounding.
//!
//! Nothing that is not shown is invented: without a total, without line amounts, or without any statement on tax
//! there is nothing to prove. If tax is shown, it is added as shown. If rates are shown as well, the tax is also
//! calculated from them, rounded once line by line and once rate by rate; one of both must give the shown tax.

use std::{collections::BTreeMap, fmt};

use rust_decimal::{Decimal, RoundingStrategy};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{codes, decimal};

/// How far a total may differ from the sum of its parts, in units of the currency, however many lines there are.
/// One minor unit is always allowed.
const MOST: Decimal = Decimal::from_parts(5, 0, 0, false, 2);
/// 10^14: sums of amounts up to this, and of their taxes, cannot overflow.
const LARGEST: Decimal = Decimal::from_parts(0x107A_4000, 0x0000_5AF3, 0, false, 0);
const HUNDRED: Decimal = Decimal::ONE_HUNDRED;

/// The fields of an entity that a proof reads. `lines` are objects with `total` (or `quantity`, `unit_price` and
/// `discount`) and `tax_rate`; `shipping` has `amount` and `tax_rate`; `discounts` are objects with `amount`; `taxes` are
/// objects with `rate`, `base` and `amount`; `totals` has `net`, `tax` and `gross`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProofSpec {
    /// Boolean: whether the amounts of lines, shipping and discounts include tax.
    pub tax_included: String,
    pub lines: String,
    pub totals: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shipping: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discounts: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taxes: Option<String>,
    /// Field to the values with which an object need not prove: what a cancelled order comes to depends on the system.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unless: BTreeMap<String, Vec<String>>,
}

impl ProofSpec {
    /// Every field that the proof reads.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        let optional = [&self.shipping, &self.discounts, &self.taxes].into_iter().flatten();
        [&self.tax_included, &self.lines, &self.totals].into_iter().chain(optional).map(String::as_str)
    }

    /// Whether an object is in a state that needs no proof.
    #[must_use]
    pub fn spares(&self, object: &Map<String, Value>) -> bool {
        self.unless.iter().any(|(field, values)| {
            object.get(field).and_then(Value::as_str).is_some_and(|value| values.iter().any(|spared| spared == value))
        })
    }
}

/// The calculation that led to the total.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(clippy::enum_variant_names, reason = "as they stand in JSON")]
pub enum Way {
    /// Tax calculated and rounded line by line.
    TaxPerLine,
    /// Tax calculated from the sum of each rate.
    TaxPerRate,
    /// Tax as the object shows it, without rates to calculate it from.
    TaxAsShown,
    /// The amounts include tax, and the object does not show the tax.
    TaxIncluded,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TaxPerLine => "tax rounded by line",
            Self::TaxPerRate => "tax rounded by rate",
            Self::TaxAsShown => "tax as shown",
            Self::TaxIncluded => "tax included",
        })
    }
}

/// A total that is the sum of its parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Proof {
    pub way: Way,
    /// Total minus the sum of the parts: the amount of a rounding line.
    pub rounding: Decimal,
    pub total: Decimal,
    pub currency: Option<String>,
}

/// Two sums that should be equal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{what}: the parts come to {sum}, the object says {total}{}", currency.as_deref().map(|code| format!(" {code}")).unwrap_or_default())]
pub struct Unproven {
    /// `total`, `tax`, `line 7`.
    pub what: String,
    pub sum: Decimal,
    pub total: Decimal,
    pub currency: Option<String>,
}

/// Result of a proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proved {
    Proven(Proof),
    Unproven(Unproven),
    /// The object does not show enough to prove anything; this is missing.
    Lacks(&'static str),
}

impl fmt::Display for Proved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Proven(Proof { way, rounding, .. }) if rounding.is_zero() => write!(f, "proven ({way})"),
            Self::Proven(Proof { way, rounding, .. }) => write!(f, "proven ({way}, rounding {rounding})"),
            Self::Unproven(unproven) => write!(f, "NOT proven: {unproven}"),
            Self::Lacks(what) => write!(f, "cannot be proven: no {what}"),
        }
    }
}

/// Prove an object in canonical form.
#[must_use]
pub fn prove(spec: &ProofSpec, currency: Option<&str>, object: &Map<String, Value>) -> Proved {
    Sums::of(spec, currency, object).and_then(|sums| sums.prove()).unwrap_or_else(|open| open)
}

/// An amount with its tax rate in percent, if that is known.
struct Part {
    amount: Decimal,
    rate: Option<Decimal>,
    /// How many roundings its tax may contain: some systems round the tax of one piece and multiply.
    pieces: Decimal,
}

struct Shown {
    rate: Decimal,
    base: Option<Decimal>,
    amount: Decimal,
}

/// Everything that is summed up.
struct Sums<'a> {
    currency: Option<&'a str>,
    /// Digits after the point in the currency's minor unit.
    digits: u32,
    included: bool,
    /// Lines, then shipping.
    parts: Vec<Part>,
    discounts: Decimal,
    taxes: Vec<Shown>,
    net: Option<Decimal>,
    tax: Option<Decimal>,
    gross: Decimal,
}

impl<'a> Sums<'a> {
    fn of(spec: &ProofSpec, currency: Option<&'a str>, object: &Map<String, Value>) -> Result<Self, Proved> {
        let totals = object.get(&spec.totals);
        let gross = totals.and_then(|totals| number(totals, "gross")).ok_or(Proved::Lacks("total"))?;
        let included =
            object.get(&spec.tax_included).and_then(Value::as_bool).ok_or(Proved::Lacks("word on tax included"))?;
        let mut sums = Self {
            currency,
            digits: currency.map_or(2, codes::minor_digits),
            included,
            parts: Vec::new(),
            discounts: items(object, spec.discounts.as_deref()).filter_map(|item| number(item, "amount")).sum(),
            taxes: items(object, spec.taxes.as_deref())
                .filter_map(|item| {
                    let (rate, amount) = (number(item, "rate")?, number(item, "amount")?);
                    Some(Shown { rate, base: number(item, "base"), amount })
                })
                .collect(),
            net: totals.and_then(|totals| number(totals, "net")),
            tax: totals.and_then(|totals| number(totals, "tax")),
            gross,
        };
        for (index, line) in items(object, Some(&spec.lines)).enumerate() {
            let part = sums.line(index, line)?;
            sums.parts.push(part);
        }
        if sums.parts.is_empty() {
            return Err(Proved::Lacks("lines"));
        }
        let shipping = spec.shipping.as_ref().and_then(|field| object.get(field));
        if let Some(amount) = shipping.and_then(|shipping| number(shipping, "amount")) {
            let rate = shipping.and_then(percent);
            sums.parts.push(Part { amount, rate, pieces: Decimal::ONE });
        }
        Ok(sums)
    }

    /// A line's amount. If quantity, price and total are all shown, they must agree.
    fn line(&self, index: usize, line: &Value) -> Result<Part, Proved> {
        let name = line.get("line").and_then(Value::as_str).map_or_else(|| (index + 1).to_string(), str::to_owned);
        let (quantity, price) = (number(line, "quantity"), number(line, "unit_price"));
        let counted = quantity.zip(price).and_then(|(quantity, price)| {
            let amount = quantity.checked_mul(price)?.checked_sub(number(line, "discount").unwrap_or_default())?;
            (amount.abs() <= LARGEST).then_some((amount, quantity, price))
        });
        let amount = match (number(line, "total"), counted) {
            (Some(total), Some((counted, quantity, price))) => {
                // A price is itself rounded to the digits it shows: each piece may be off by half of the last
                // digit.
                let digit = Decimal::new(5, price.scale().max(self.digits).min(27) + 1);
                let most = quantity.abs().checked_mul(digit).unwrap_or(MOST) + self.minor();
                if (total - counted).abs() > most {
                    return Err(self.unproven(&format!("line {name}"), counted, total));
                }
                total
            }
            (Some(total), None) => total,
            (None, Some((counted, ..))) => counted,
            (None, None) => return Err(Proved::Lacks("amount of a line")),
        };
        let pieces = quantity.unwrap_or_default().abs().ceil().max(Decimal::ONE);
        Ok(Part { amount, rate: percent(line), pieces })
    }

    fn prove(&self) -> Result<Proved, Proved> {
        let body = self.parts.iter().map(|part| part.amount).sum::<Decimal>() - self.discounts;
        let shown = self.shown_tax()?;
        if let (Some(net), Some(tax)) = (self.net, self.tax) {
            self.same("net and tax", net + tax, self.gross)?;
        }
        let worked = self.worked_tax();
        // Find the order of rounding that gives the shown tax.
        let agreed = match (shown, worked) {
            (Some(shown), Some(worked)) => Some(self.agreed(shown, worked)?),
            _ => None,
        };
        if self.included {
            let rounding = self.same("total", body, self.gross)?;
            return Ok(self.proven(agreed.unwrap_or(Way::TaxIncluded), rounding));
        }
        match (shown, worked) {
            (Some(shown), _) => {
                let rounding = self.same("total", body + shown, self.gross)?;
                Ok(self.proven(agreed.unwrap_or(Way::TaxAsShown), rounding))
            }
            (None, Some((by_line, by_rate))) => {
                let (line, rate) = (body + by_line, body + by_rate);
                let by_line_is_nearer = (self.gross - line).abs() <= (self.gross - rate).abs();
                let (way, sum) = if by_line_is_nearer { (Way::TaxPerLine, line) } else { (Way::TaxPerRate, rate) };
                Ok(self.proven(way, self.same("total", sum, self.gross)?))
            }
            (None, None) => match self.net {
                // The tax is unknown, but the sum before tax can be proven.
                Some(net) => {
                    self.same("total without tax", body, net)?;
                    Err(Proved::Lacks("tax"))
                }
                None => Err(Proved::Lacks("tax")),
            },
        }
    }

    /// The tax that the object shows. Each rate's amount must be its rate of its base, and all amounts together
    /// must be the whole.
    fn shown_tax(&self) -> Result<Option<Decimal>, Proved> {
        let sum: Decimal = self.taxes.iter().map(|tax| tax.amount).sum();
        for Shown { rate, base, amount } in &self.taxes {
            if let Some(worked) = base.and_then(|base| base.checked_mul(*rate)).map(|percent| percent / HUNDRED) {
                self.tax_same(&format!("tax at {rate} %"), self.rounded(worked), *amount)?;
            }
        }
        if let (Some(tax), false) = (self.tax, self.taxes.is_empty()) {
            self.same("taxes by rate", sum, tax)?;
        }
        Ok(self.tax.or_else(|| (!self.taxes.is_empty()).then_some(sum)))
    }

    /// The tax calculated by line and by rate. Return `None` if a rate is unknown, or if the object shows a tax
    /// that no part has (a second tax on the same line).
    fn worked_tax(&self) -> Option<(Decimal, Decimal)> {
        if !self.discounts.is_zero() {
            return None;
        }
        let taxed: Vec<(Decimal, Decimal)> = self
            .parts
            .iter()
            .filter(|part| !part.amount.is_zero())
            .map(|part| part.rate.map(|rate| (part.amount, rate)))
            .collect::<Option<_>>()?;
        let foreign = |tax: &Shown| !tax.amount.is_zero() && !taxed.iter().any(|(_, rate)| *rate == tax.rate);
        if self.taxes.iter().any(foreign) {
            return None;
        }
        let tax = |amount: Decimal, rate: Decimal| {
            let whole = if self.included { HUNDRED.checked_add(rate)? } else { HUNDRED };
            amount.checked_mul(rate)?.checked_div(whole).map(|tax| self.rounded(tax))
        };
        let by_line = taxed.iter().map(|(amount, rate)| tax(*amount, *rate)).sum::<Option<Decimal>>()?;
        let mut rates: BTreeMap<Decimal, Decimal> = BTreeMap::new();
        for (amount, rate) in taxed {
            *rates.entry(rate.normalize()).or_default() += amount;
        }
        let by_rate = rates.into_iter().map(|(rate, amount)| tax(amount, rate)).sum::<Option<Decimal>>()?;
        Some((by_line, by_rate))
    }

    fn agreed(&self, shown: Decimal, (by_line, by_rate): (Decimal, Decimal)) -> Result<Way, Proved> {
        let by_line_is_nearer = (shown - by_line).abs() <= (shown - by_rate).abs();
        let (way, worked) = if by_line_is_nearer { (Way::TaxPerLine, by_line) } else { (Way::TaxPerRate, by_rate) };
        self.tax_same("tax", worked, shown).map(|()| way)
    }

    fn minor(&self) -> Decimal {
        Decimal::new(1, self.digits)
    }

    fn rounded(&self, amount: Decimal) -> Decimal {
        amount.round_dp_with_strategy(self.digits, RoundingStrategy::MidpointAwayFromZero)
    }

    /// The rounding difference of two sums that should be equal.
    fn same(&self, what: &str, sum: Decimal, total: Decimal) -> Result<Decimal, Proved> {
        let most = (self.minor() * Decimal::from(self.parts.len())).min(MOST).max(self.minor());
        let rounding = (total - sum).normalize();
        if rounding.abs() <= most { Ok(rounding) } else { Err(self.unproven(what, sum, total)) }
    }

    /// Compare tax that was calculated from amounts that are rounded themselves: for each piece it may be off by
    /// one minor unit.
    fn tax_same(&self, what: &str, sum: Decimal, total: Decimal) -> Result<(), Proved> {
        let pieces: Decimal = self.parts.iter().map(|part| part.pieces).sum();
        if (total - sum).abs() <= self.minor() * pieces { Ok(()) } else { Err(self.unproven(what, sum, total)) }
    }

    fn proven(&self, way: Way, rounding: Decimal) -> Proved {
        let currency = self.currency.map(str::to_owned);
        Proved::Proven(Proof { way, rounding, total: self.gross, currency })
    }

    fn unproven(&self, what: &str, sum: Decimal, total: Decimal) -> Proved {
        let currency = self.currency.map(str::to_owned);
        Proved::Unproven(Unproven { what: what.to_owned(), sum: sum.normalize(), total, currency })
    }
}

fn items<'a>(object: &'a Map<String, Value>, field: Option<&str>) -> impl Iterator<Item = &'a Value> {
    field.and_then(|field| object.get(field)).and_then(Value::as_array).into_iter().flatten()
}

/// A tax rate.
fn percent(object: &Value) -> Option<Decimal> {
    number(object, "tax_rate").filter(|rate| rate.abs() <= Decimal::ONE_THOUSAND)
}

/// A member's decimal. A number that is too large for an amount of money, and for summing up, does not count.
fn number(object: &Value, member: &str) -> Option<Decimal> {
    let number = decimal::parse(object.get(member)?.as_str()?)?;
    (number.abs() <= LARGEST).then_some(number)
}

#[cfg(test)]
#[path = "proof_tests.rs"]
mod tests;
