//! Numbers that two shops give by themselves: one number is two orders, each with its own customer, wherever it goes.

use super::*;
use crate::{
    store::RecordId,
    sync::identity::{Links, Named},
};

/// Two shops that number their orders alike and sell into one ERP.
struct Company {
    folder: tempfile::TempDir,
    erp: Arc<FakeSystem>,
    shops: [Arc<FakeSystem>; 2],
    store: SharedStore,
    engine: Engine,
    /// Fields of orders that the ERP shows.
    shows: Vec<&'static str>,
}

const ORDER: [&str; 4] = ["number", "status", "email", "currency"];

fn flows() -> Vec<Flow> {
    let mut account = flow("account", "erp", "shop", &["order", "invoice"]);
    account.to.push("shop2".into());
    account.fields.insert("order".into(), ["status".to_owned()].into());
    account.owners.insert("order.status".into(), "erp".into());
    vec![flow("sales", "shop", "erp", &["order"]), flow("sales2", "shop2", "erp", &["order"]), account]
}

impl Company {
    async fn new(shows: &[&'static str]) -> Self {
        let erp = Arc::new(FakeSystem::new("erp"));
        let shop = |name: &str| {
            let shop = FakeSystem::new(name).with_capabilities_of("order", |capabilities| capabilities.create = false);
            Arc::new(shop)
        };
        let shops = [shop("shop"), shop("shop2")];
        Self::over(erp, shops, shows).await
    }

    /// The same systems with a state of their own.
    async fn over(erp: Arc<FakeSystem>, shops: [Arc<FakeSystem>; 2], shows: &[&'static str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = crate::store::open(&format!("sqlite://{}/state.db", folder.path().display())).await.unwrap();
        let igic = Arc::new(AtomicBool::new(false));
        let mut mappings: BTreeMap<(String, String), Arc<dyn Translate>> = BTreeMap::new();
        let invoice = ["number", "order", "issued_on", "total", "currency"];
        mappings.insert(("erp".into(), "invoice".into()), Arc::new(FakeMapping::new(&invoice, &igic)));
        let hidden = ORDER.into_iter().find(|field| !shows.contains(field));
        mappings.insert(("erp".into(), "order".into()), Arc::new(FakeMapping::new(&ORDER, &igic).blind_to(hidden)));
        for shop in ["shop", "shop2"] {
            mappings.insert((shop.into(), "order".into()), Arc::new(FakeMapping::new(&ORDER, &igic).issuing()));
            mappings.insert((shop.into(), "invoice".into()), Arc::new(FakeMapping::new(&invoice, &igic)));
        }
        let mut systems: BTreeMap<String, Arc<dyn System>> = BTreeMap::from([("erp".to_owned(), erp.clone() as _)]);
        for (name, shop) in ["shop", "shop2"].into_iter().zip(&shops) {
            systems.insert(name.to_owned(), shop.clone() as _);
        }
        let engine = Engine::new(Context {
            store: store.clone(),
            env: fakes::env(),
            systems,
            mappings,
            entities: Arc::new(Entities::builtin()),
            routes: Routes::new(flows()).unwrap(),
            limits: Limits { lease: std::time::Duration::from_secs(3600), ..Limits::default() },
            owner: "test".into(),
            work: Arc::new(Notify::new()),
            journal: Arc::default(),
        });
        Self { folder, erp, shops, store, engine, shows: shows.to_vec() }
    }

    /// As after the loss of the state.
    async fn forgotten(&self) -> Self {
        Self::over(self.erp.clone(), self.shops.clone(), &self.shows).await
    }

    /// Both shops have sold under number 11.
    fn sold(&self) {
        for (shop, who) in self.shops.iter().zip(["ana", "benito"]) {
            shop.put("order", "7", &order("11", who));
        }
    }

    async fn once(&self) -> PassSummary {
        self.engine.once(None, RunKind::Delta, &CancellationToken::new()).await.unwrap()
    }

    async fn full(&self) -> PassSummary {
        self.engine.once(None, RunKind::Full, &CancellationToken::new()).await.unwrap()
    }

    /// Whose the ERP's orders are.
    fn orders(&self) -> Vec<String> {
        let rows = self.erp.rows("order");
        let mut orders: Vec<_> = rows.iter().map(|row| row["email"].as_str().unwrap().to_owned()).collect();
        orders.sort();
        orders
    }

    /// The ERP takes all its orders for paid.
    fn books(&self) {
        for mut row in self.erp.rows("order") {
            row["status"] = "paid".into();
            let id = row["id"].as_str().unwrap().to_owned();
            self.erp.put("order", &id, &row);
        }
    }

    async fn causes(&self) -> Vec<String> {
        let states = vec![JobState::Parked, JobState::Dead];
        let jobs = self.store.jobs(&JobFilter { states, ..JobFilter::default() }).await.unwrap();
        let mut causes: Vec<String> =
            jobs.into_iter().map(|job| job.cause.map(String::from).or(job.error).unwrap_or_default()).collect();
        causes.sort();
        causes
    }

    async fn numbered(&self, system: &str, key: &str) -> RecordId {
        let found = self.store.namesakes("order", &[key.to_owned()]).await.unwrap().remove(0);
        found.into_iter().find(|one| one.numbered_by.as_deref() == Some(system)).unwrap().record
    }
}

fn order(number: &str, who: &str) -> Value {
    json!({"number": number, "status": "paid", "email": format!("{who}@example.com"), "currency": "EUR"})
}

#[tokio::test]
async fn two_shops_with_one_number_are_two_orders_each_with_its_own_customer() {
    let company = Company::new(&ORDER).await;
    company.sold();
    let summary = company.once().await;
    assert!(summary.is_clean(), "{summary:?}");
    assert_eq!(company.orders(), ["ana@example.com", "benito@example.com"]);
    assert_eq!(company.full().await.delivered.written, 0);
    let names: Vec<String> = company
        .store
        .keys(&[company.numbered("shop", "11").await, company.numbered("shop2", "11").await])
        .await
        .unwrap()
        .into_values()
        .map(|(_, name)| name)
        .collect();
    assert_eq!(names, ["shop/11", "shop2/11"]);
}

#[tokio::test]
async fn what_becomes_of_an_order_in_the_erp_is_sent_to_the_shop_that_sold_it() {
    let company = Company::new(&ORDER).await;
    company.sold();
    company.once().await;
    let rows = company.erp.rows("order");
    let bens = rows.iter().find(|row| row["email"] == "benito@example.com").unwrap();
    let id = bens["id"].as_str().unwrap().to_owned();
    let mut shipped = order("11", "benito");
    shipped["status"] = "shipped".into();
    company.erp.put("order", &id, &shipped);
    assert!(company.once().await.is_clean());
    let states = company.shops.iter().map(|shop| shop.rows("order")[0]["status"].clone()).collect::<Vec<_>>();
    assert_eq!(states, ["paid", "shipped"]);
    assert!(company.causes().await.is_empty(), "the other shop is not asked for it: {:?}", company.causes().await);
}

#[tokio::test]
async fn a_lost_create_is_not_taken_for_the_other_shops_order_of_that_number() {
    let company = Company::new(&ORDER).await;
    company.shops[0].put("order", "7", &order("11", "ana"));
    company.once().await;
    company.shops[1].put("order", "7", &order("11", "benito"));
    company.erp.fault(Fault::LostBefore);
    company.once().await;
    assert_eq!(company.orders(), ["ana@example.com", "benito@example.com"]);
}

#[tokio::test]
async fn a_fresh_state_knows_each_shops_order_again_by_what_the_erp_shows_of_it() {
    let company = Company::new(&ORDER).await;
    company.sold();
    company.once().await;
    company.books();
    company.once().await;
    let fresh = company.forgotten().await;
    let summary = fresh.once().await;
    assert_eq!((summary.delivered.written, fresh.orders().len()), (0, 2), "{summary:?}");
    assert!(fresh.causes().await.is_empty(), "{:?}", fresh.causes().await);
    for (system, who) in [("shop", "ana@example.com"), ("shop2", "benito@example.com")] {
        let record = fresh.numbered(system, "11").await;
        let ids = fresh.store.externals("erp", &[record]).await.unwrap();
        let rows = fresh.erp.rows("order");
        assert_eq!(rows.iter().find(|row| row["id"] == ids[&record].as_str()).unwrap()["email"], who);
    }
}

#[tokio::test]
async fn where_nothing_tells_whose_a_number_is_nothing_is_created_and_a_person_is_asked() {
    let company = Company::new(&["number", "status", "currency"]).await;
    company.shops[0].put("order", "7", &order("11", "ana"));
    company.once().await;
    company.shops[1].put("order", "7", &order("11", "benito"));
    let fresh = company.forgotten().await;
    fresh.once().await;
    assert_eq!(fresh.erp.rows("order").len(), 1, "nothing is created");
    assert_eq!(fresh.causes().await, ["review:order=shop/11", "review:order=shop2/11"]);
    let context = fresh.engine.context();
    let links =
        Links { store: &fresh.store, routes: &context.routes, entities: &context.entities, now: context.env.now() };
    let named = |record, key: &str| Named { record, entity: "order".into(), key: key.into() };
    let there = named(fresh.numbered("erp", "11").await, "erp/11");
    let one = named(fresh.numbered("shop", "11").await, "shop/11");
    links.join(&there, &one, false).await.unwrap();
    fresh.once().await;
    assert_eq!(fresh.orders(), ["ana@example.com", "benito@example.com"], "the other one is known to be missing then");
    assert!(fresh.causes().await.is_empty(), "{:?}", fresh.causes().await);
}

#[tokio::test]
async fn an_equal_number_of_another_persons_order_goes_to_review_and_is_never_written_over() {
    let company = Company::new(&ORDER).await;
    company.erp.put("order", "900", &order("11", "carla"));
    company.shops[0].put("order", "7", &order("11", "ana"));
    company.once().await;
    assert_eq!(company.orders(), ["carla@example.com"]);
    assert_eq!(company.causes().await, ["review:order=shop/11"]);
}

#[tokio::test]
async fn records_of_an_earlier_version_stay_what_they_are_and_nothing_is_written() {
    let company = Company::new(&ORDER).await;
    company.shops[0].put("order", "7", &order("11", "ana"));
    company.once().await;
    let url = format!("sqlite://{}/state.db", company.folder.path().display());
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    sqlx::query("UPDATE record SET system = 0").execute(&pool).await.unwrap();
    assert_eq!((company.full().await.delivered.written, company.orders()), (0, vec!["ana@example.com".to_owned()]));
    company.shops[1].put("order", "7", &order("11", "benito"));
    assert!(company.once().await.is_clean());
    assert_eq!(company.orders(), ["ana@example.com", "benito@example.com"]);
}

fn invoice(number: &str, order: &str) -> Value {
    json!({"number": number, "order": order, "issued_on": "2026-03-01", "total": "10", "currency": "EUR"})
}

#[tokio::test]
async fn an_invoice_is_shown_by_the_shop_whose_order_it_is_for_and_by_no_other() {
    let company = Company::new(&ORDER).await;
    company.shops[1].put("order", "7", &order("12", "benito"));
    company.once().await;
    company.erp.put("invoice", "1", &invoice("F-1", "12"));
    company.once().await;
    let shown: Vec<usize> = company.shops.iter().map(|shop| shop.rows("invoice").len()).collect();
    assert_eq!(shown, [0, 1]);
    assert!(company.causes().await.is_empty(), "{:?}", company.causes().await);
}

#[tokio::test]
async fn a_document_that_names_an_order_by_a_number_of_two_shops_is_reported_and_shown_to_nobody() {
    let company = Company::new(&ORDER).await;
    company.sold();
    company.once().await;
    company.erp.put("invoice", "1", &invoice("F-1", "11"));
    company.once().await;
    assert!(company.shops.iter().all(|shop| shop.rows("invoice").is_empty()));
    let rejections = company.store.rejections(None, 10).await.unwrap();
    assert_eq!(rejections.len(), 1);
    assert!(
        rejections[0].2.reason.contains("refers to order 11, which several systems have numbered so"),
        "{rejections:?}"
    );
}
