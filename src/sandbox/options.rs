//! The options of a sandbox shop.

use std::{net::SocketAddr, path::PathBuf};

use chrono_tz::Tz;

use super::faults::Fault;

/// Options of `vaiven sandbox`.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The shop's database; made if it does not exist
    #[arg(long, default_value = "sandbox.db")]
    pub file: PathBuf,
    /// Where to listen (port 0: any free one)
    #[arg(long, default_value = "127.0.0.1:8787")]
    pub listen: SocketAddr,
    /// Consumer key that may read and write
    #[arg(long, default_value = "ck_sandbox")]
    pub key: String,
    /// Its secret
    #[arg(long, default_value = "cs_sandbox")]
    pub secret: String,
    /// A further key that may only read, as KEY:SECRET
    #[arg(long, value_name = "KEY:SECRET")]
    pub read_only_key: Option<String>,
    /// The shop's own clock
    #[arg(long, default_value = "Europe/Madrid")]
    pub timezone: Tz,
    /// Currency of all prices
    #[arg(long, default_value = "EUR")]
    pub currency: String,
    /// Country the shop is in, for taxes of orders without an address
    #[arg(long, default_value = "ES")]
    pub country: String,
    /// Prices are entered with tax
    #[arg(long)]
    pub prices_include_tax: bool,
    /// Taxes are rounded for the whole order and not line by line
    #[arg(long)]
    pub round_at_subtotal: bool,
    /// Charge a tax, as CLASS:PERCENT:NAME[:COUNTRY[:STATE]]; CLASS is empty for the standard one (repeatable)
    #[arg(long = "tax", value_name = "TAX")]
    pub taxes: Vec<Tax>,
    /// A status of orders that a plug-in registered (repeatable)
    #[arg(long = "order-status", value_name = "STATUS")]
    pub order_statuses: Vec<String>,
    /// Token of the addresses below `/sandbox`, as `Authorization: Bearer TOKEN`; without one they are closed
    #[arg(long, value_name = "TOKEN")]
    pub control: Option<String>,
    /// As a real shop on plain HTTP: OAuth 1.0a only
    #[arg(long)]
    pub strict: bool,
    /// Let something go wrong, as KIND[=VALUE][@1/N | @next:N]: latency=MS, throttle=S, error-before, error-after,
    /// drop-before, drop-after, partial-batch, duplicate-webhook, truncated-json, html, maintenance, warning (repeatable)
    #[arg(long = "fault", value_name = "FAULT")]
    pub faults: Vec<Fault>,
    /// Faults fall the same in every run of this seed
    #[arg(long)]
    pub seed: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            file: "sandbox.db".into(),
            listen: SocketAddr::from(([127, 0, 0, 1], 8787)),
            key: "ck_sandbox".into(),
            secret: "cs_sandbox".into(),
            read_only_key: None,
            timezone: Tz::Europe__Madrid,
            currency: "EUR".into(),
            country: "ES".into(),
            prices_include_tax: false,
            round_at_subtotal: false,
            taxes: Vec::new(),
            order_statuses: Vec::new(),
            control: None,
            strict: false,
            faults: Vec::new(),
            seed: None,
        }
    }
}

/// One rate of tax.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tax {
    /// Class of articles; empty for the standard one.
    pub class: String,
    /// Percent, as a decimal text.
    pub percent: String,
    pub name: String,
    /// Place of delivery; empty for everywhere.
    pub country: String,
    pub state: String,
}

impl std::str::FromStr for Tax {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(':').map(str::to_owned);
        let (Some(class), Some(percent), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(format!("`{text}` is not CLASS:PERCENT:NAME[:COUNTRY[:STATE]]"));
        };
        percent.parse::<rust_decimal::Decimal>().map_err(|_| format!("`{percent}` is not a percentage"))?;
        Ok(Self {
            class,
            percent,
            name,
            country: parts.next().unwrap_or_default(),
            state: parts.next().unwrap_or_default(),
        })
    }
}
