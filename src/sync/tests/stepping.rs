//! The one decision per job and round, as a table: what is known, what was looked at, and what follows.

use super::*;
use crate::{
    store::Verdict,
    sync::{
        desired::{Batch, End, Loaded, Looked, Needs, Round, Snapshot, Step, next_step, qualify::Alike},
        routing::{SHARED, StockRule},
        stock::{Obstacle, Obstacles, UnreadOrders},
        tests::stock::both_ways,
    },
};

impl Stage {
    /// What the shop's only open job leads to. `set` changes the job before.
    async fn next_step(&self, looked: &Looked, set: impl Fn(&mut Job)) -> String {
        let context = self.engine.context();
        let open = JobFilter { states: vec![JobState::Queued], target: Some("shop".into()), ..JobFilter::default() };
        let mut job = self.store.jobs(&open).await.unwrap().remove(0);
        set(&mut job);
        let (system, entity) = (context.systems["shop"].clone(), job.entity.clone());
        let batch = Batch::new(context, system.as_ref(), "shop", &entity);
        let mapping = context.mapping("shop", &entity).unwrap();
        let loaded = Loaded::of(&batch, std::slice::from_ref(&job)).await.unwrap();
        let mut alike = Alike::of(context, "shop", &entity).await.unwrap();
        let snapshot = Snapshot { batch: &batch, mapping: mapping.as_ref(), loaded: &loaded };
        let round = Round { snapshot, looked, now: context.env.now(), is_stopping: false };
        match next_step(round, job, &mut alike) {
            Step::Look(Needs::Object(_)) => "look at the object".to_owned(),
            Step::Look(Needs::Figure(_)) => "look at the figure".to_owned(),
            Step::Look(Needs::Orders) => "look at the orders".to_owned(),
            Step::Write(known) => format!("{:?}", known.op).to_lowercase(),
            Step::Finish(end) => match *end {
                End::Closed(end) => format!("end: {}", named(&end.verdict)),
                End::Failed(_, failure) => format!("end: {}", failure.class),
            },
        }
    }

    /// The job, with everything looked at.
    async fn all_seen(&self) -> Looked {
        let open = JobFilter { states: vec![JobState::Queued], target: Some("shop".into()), ..JobFilter::default() };
        let jobs = self.store.jobs(&open).await.unwrap();
        Looked {
            objects: jobs.iter().map(|job| job.id).collect(),
            figures: jobs.iter().map(|job| job.id).collect(),
            orders: Some(Obstacles::default()),
            ..Looked::default()
        }
    }
}

impl Stage {
    /// The job, with everything looked at, in a row that cannot be read.
    async fn all_seen_unread(&self) -> Looked {
        let seen = self.all_seen().await;
        let reason = "no list has a line for it";
        Looked { unread: seen.objects.iter().map(|job| (*job, reason.to_owned())).collect(), ..seen }
    }
}

fn named(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Done { .. } => "done",
        Verdict::Retry { .. } => "retry",
        Verdict::Parked { .. } => "parked",
        Verdict::Dead { .. } => "dead",
    }
}

fn as_it_is(_: &mut Job) {}

fn obstacles() -> Obstacles {
    let unread = UnreadOrders::Anything;
    Obstacles(vec![Obstacle { shop: "shop".into(), problem: "no answer".into(), unread }])
}

#[tokio::test]
async fn a_record_that_is_new_is_created_and_one_that_differs_is_updated_without_a_look() {
    let stage = Stage::catalog().await;
    stage.once().await;
    stage.erp.put("product", "1", &hammer());
    stage.pull("erp").await;
    assert_eq!(stage.next_step(&Looked::default(), as_it_is).await, "create");
    assert!(stage.once().await.is_clean());
    stage.erp.put("product", "1", &json!({"sku": "H-1", "name": {"es": "Mazo"}, "active": true}));
    stage.pull("erp").await;
    assert_eq!(stage.next_step(&Looked::default(), as_it_is).await, "update");
}

#[tokio::test]
async fn an_object_whose_last_write_had_no_answer_is_looked_at_once_before_anything_else() {
    let stage = Stage::catalog().await;
    stage.erp.put("product", "1", &hammer());
    assert!(stage.once().await.is_clean());
    stage.erp.put("product", "1", &json!({"sku": "H-1", "name": {"es": "Mazo"}, "active": true}));
    stage.pull("erp").await;
    let now = stage.engine.context().env.now();
    let untold = |job: &mut Job| job.intent = Some(Intent::update(now));
    assert_eq!(stage.next_step(&Looked::default(), untold).await, "look at the object");
    assert_eq!(stage.next_step(&stage.all_seen().await, untold).await, "update");
    let unread = stage.all_seen_unread().await;
    assert_eq!(stage.next_step(&unread, untold).await, "update", "sent twice, it does no more than sent once");
}

#[tokio::test]
async fn a_shared_field_is_looked_at_before_it_is_written_and_waits_for_an_update_under_way() {
    let mut catalog = flow("catalog", "erp", "shop", &["category", "product"]);
    catalog.owners.insert("product.name".into(), SHARED.into());
    let mut back = flow("back", "shop", "erp", &["product"]);
    back.fields.insert("product".into(), ["name".to_owned()].into());
    let stage = Stage::new(vec![catalog, back]).await;
    stage.erp.put("product", "1", &hammer());
    assert!(stage.once().await.is_clean());
    stage.erp.put("product", "1", &json!({"sku": "H-1", "name": {"es": "Mazo"}, "active": true}));
    stage.pull("erp").await;
    assert_eq!(stage.next_step(&Looked::default(), as_it_is).await, "look at the object");
    assert_eq!(stage.next_step(&stage.all_seen().await, as_it_is).await, "update");
    assert_eq!(stage.next_step(&stage.all_seen_unread().await, as_it_is).await, "end: unmapped");
    let now = stage.engine.context().env.now();
    let under_way = |job: &mut Job| {
        let mut intent = Intent::update(now);
        intent.shared.insert("name".into(), json!({"es": "Mazo"}));
        job.intent = Some(intent);
    };
    assert_eq!(stage.next_step(&stage.all_seen().await, under_way).await, "end: retry");
}

#[tokio::test]
async fn stock_is_offered_only_after_its_orders_were_read_and_does_not_rise_while_some_cannot_be() {
    let stage = Stage::new(both_ways(StockRule::default())).await;
    stage.erp.put("stock", "A", &json!({"sku": "A", "quantity": "6"}));
    assert!(stage.once().await.is_clean());
    stage.erp.put("stock", "A", &json!({"sku": "A", "quantity": "9"}));
    let stop = CancellationToken::new();
    stage.engine.pull(NewRun::new("erp", "stock", RunKind::Delta, "test"), &stop).await.unwrap();
    assert_eq!(stage.next_step(&Looked::default(), as_it_is).await, "look at the orders");
    let read = Looked { orders: Some(Obstacles::default()), ..Looked::default() };
    assert_eq!(stage.next_step(&read, as_it_is).await, "update");
    let unread = Looked { orders: Some(obstacles()), ..Looked::default() };
    assert_eq!(stage.next_step(&unread, as_it_is).await, "look at the figure");
    let seen = Looked { orders: Some(obstacles()), ..stage.all_seen().await };
    assert_eq!(stage.next_step(&seen, as_it_is).await, "end: parked", "a rise");
    let id = seen.objects.iter().copied().collect();
    stage.erp.put("stock", "A", &json!({"sku": "A", "quantity": "4"}));
    stage.engine.pull(NewRun::new("erp", "stock", RunKind::Delta, "test"), &stop).await.unwrap();
    assert_eq!(stage.next_step(&seen, as_it_is).await, "update", "less is never kept back");
    let blind = Looked { blind: id, ..seen };
    assert_eq!(stage.next_step(&blind, as_it_is).await, "end: parked", "whether it is less cannot be told");
}
