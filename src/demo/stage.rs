//! All parts of a demo, set up and running: the ERP, the shop at its address, and the daemon's engine with the
//! configuration in the folder, as `vaiven run` would start it.

use std::net::SocketAddr;

use anyhow::Context as _;
use sqlx::SqliteConnection;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    Options, erp,
    generate::Seed,
    home::{Home, KEY, SECRET},
    life::World,
    teller::Teller,
};
use crate::{
    config::Config,
    env::Env,
    opened,
    sandbox::{self, Shop, Tax},
    store::{SharedStore, Sole},
    sync::Engine,
};

/// Taxes of the shop: standard, reduced and super-reduced VAT, and the Canary Islands' own.
const TAXES: [&str; 5] =
    [":21:IVA:ES", "reduced-rate:10:IVA:ES", "super-reduced-rate:4:IVA:ES", "igic-7:7:IGIC:ES", "igic-3:3:IGIC:ES"];

/// A demo that is set up.
pub struct Stage {
    pub home: Home,
    pub env: Env,
    pub world: World,
    pub engine: Engine,
    pub store: SharedStore,
    _sole: Sole,
    /// The shop's server, which runs until this is dropped.
    _shop: AbortOnDropHandle<()>,
}

impl Stage {
    /// Set the demo up, or continue with what an earlier start left.
    ///
    /// # Errors
    /// If the folder cannot be used, or something in it cannot be opened.
    pub async fn open(options: &Options, env: &Env, teller: &Teller) -> anyhow::Result<Self> {
        let home = Home::open(&options.dir)?;
        let is_new = !home.path("erp.db").exists();
        let (erp, seed) = erp::prepare(&home.path("erp.db"), options.seed).await.context("the ERP's database")?;
        let listener = home.prepare(options.store.as_deref()).await?;
        let address = listener.local_addr()?;
        let shop = open_shop(&home, address, env).await?;
        let shelves = erp::open(&home.path("shop.db"), false).await.context("the shop's database")?;
        let served = shop.clone();
        let serving = tokio::spawn(async move {
            if let Err(error) = served.serve(listener, CancellationToken::new()).await {
                tracing::error!("the shop does not answer any more: {error:#}");
            }
        });
        let config = Config::load(&home.path("vaiven.toml"), std::collections::BTreeMap::new())?;
        let plan = opened::plan(&config, env)?;
        let (store, sole) = opened::sole_store(&config).await?;
        let owner = format!("demo-{}-{:016x}", std::process::id(), env.entropy.next_u64());
        let engine = Engine::new(plan.context(store.clone(), env.clone(), owner));
        let mut world = World { env: env.clone(), erp, shop, shelves, drop: home.path("drop"), seed: Seed::new(seed) };
        tell(teller, &mut world, &home, address, is_new).await?;
        Ok(Self { home, env: env.clone(), world, engine, store, _sole: sole, _shop: AbortOnDropHandle::new(serving) })
    }
}

async fn open_shop(home: &Home, address: SocketAddr, env: &Env) -> anyhow::Result<Shop> {
    let file = home.path("shop.db");
    let taxes: Result<Vec<Tax>, String> = TAXES.iter().map(|tax| tax.parse()).collect();
    let options = sandbox::Options {
        file: file.clone(),
        listen: address,
        key: KEY.to_owned(),
        secret: SECRET.to_owned(),
        prices_include_tax: true,
        taxes: taxes.map_err(anyhow::Error::msg)?,
        ..sandbox::Options::default()
    };
    Shop::open(&file, &options, env.clone()).await.context("the shop's database")
}

async fn tell(
    teller: &Teller,
    world: &mut World,
    home: &Home,
    address: SocketAddr,
    is_new: bool,
) -> anyhow::Result<()> {
    let (articles, variants, families, customers) = sizes(&mut world.erp).await?;
    let begun = if is_new { "A new company" } else { "The company of an earlier demo" };
    teller.say(&format!(
        "{begun} in {}: {articles} products in {variants} variants and {families} categories, {customers} customers",
        home.path("").display()
    ));
    teller.say(&format!("Shop: http://{address}/wp-json/wc/v3/products?consumer_key={KEY}&consumer_secret={SECRET}"));
    teller.say(&format!(
        "To look at it from another terminal: vaiven status --config {}",
        home.path("vaiven.toml").display()
    ));
    Ok(())
}

async fn sizes(erp: &mut SqliteConnection) -> sqlx::Result<(i64, i64, i64, i64)> {
    sqlx::query_as(
        "SELECT (SELECT count(*) FROM articulo), (SELECT count(*) FROM formato), (SELECT count(*) FROM familia), \
         (SELECT count(*) FROM cliente)",
    )
    .fetch_one(erp)
    .await
}
