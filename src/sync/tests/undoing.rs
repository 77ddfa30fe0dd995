//! What a run led to is taken back where nobody has touched it since.

use super::*;
use crate::{
    store::{ChangeOp, LinkState, Origin, RunId},
    sync::preview::{Undone, undo},
};

fn product(name: &str, brand: &str) -> Value {
    json!({"sku": "H-1", "name": {"es": name}, "active": true, "brand": brand})
}

impl Stage {
    /// One product at both, of which the ERP then changes name and brand; gives the run that saw it.
    async fn renamed() -> (Self, RunId) {
        let stage = Self::new(vec![flow("catalog", "erp", "shop", &["product"])]).await;
        stage.erp.put("product", "1", &product("Martillo", "Alfa"));
        stage.once().await;
        stage.erp.put("product", "1", &product("Maza", "Beta"));
        let run = stage.seen().await;
        assert_eq!(stage.at_shop(), ("Maza".into(), "Beta".into()));
        (stage, run)
    }

    /// A pass; gives the run that pulled the ERP's products.
    async fn seen(&self) -> RunId {
        let summary = self.full().await;
        assert!(summary.is_clean(), "{summary:?}");
        run_of(&summary)
    }

    async fn undo(&self, run: RunId) -> Undone {
        undo(self.engine.context(), &[run], false, &CancellationToken::new()).await.unwrap()
    }

    fn shop_row(&self) -> Value {
        self.shop.rows("product").remove(0)
    }

    fn at_shop(&self) -> (Value, Value) {
        let row = self.shop_row();
        (row["name"]["es"].clone(), row["brand"].clone())
    }

    /// Somebody at the shop changes a member of its only product.
    fn edit_at_shop(&self, member: &str, value: &Value) {
        let mut row = self.shop_row();
        row[member] = value.clone();
        let id = row["id"].as_str().unwrap().to_owned();
        self.shop.put("product", &id, &row);
    }
}

fn run_of(summary: &PassSummary) -> RunId {
    summary.runs.iter().find(|run| run.system == "erp" && run.entity == "product").unwrap().run.unwrap()
}

#[tokio::test]
async fn an_undone_run_restores_what_the_target_had() {
    let (stage, run) = Stage::renamed().await;
    let undone = stage.undo(run).await;
    assert_eq!(stage.at_shop(), ("Martillo".into(), "Alfa".into()));
    assert!(undone.left.is_empty(), "{undone:?}");
    let restored = &undone.restored[0];
    assert_eq!((&*restored.target, &*restored.key), ("shop", "H-1"));
    assert_eq!(restored.fields["brand"], json!(["Beta", "Alfa"]));
    assert_eq!(stage.erp.rows("product")[0]["name"]["es"], "Maza", "the source is left as it is");
}

#[tokio::test]
async fn what_was_undone_stays_so_until_the_source_says_something_else() {
    let (stage, run) = Stage::renamed().await;
    stage.undo(run).await;
    let written = stage.shop.written();
    for _ in 0..2 {
        assert!(stage.full().await.is_clean());
    }
    assert_eq!((stage.at_shop(), stage.shop.written()), (("Martillo".into(), "Alfa".into()), written));
    stage.erp.put("product", "1", &product("Maceta", "Beta"));
    assert!(stage.full().await.is_clean());
    assert_eq!(stage.at_shop(), ("Maceta".into(), "Alfa".into()), "only the field that changed comes alive again");
}

#[tokio::test]
async fn what_somebody_touched_since_is_left_alone_though_no_pull_saw_it() {
    let (stage, run) = Stage::renamed().await;
    stage.edit_at_shop("name", &json!({"es": "De la tienda"}));
    let undone = stage.undo(run).await;
    assert_eq!(stage.at_shop(), ("De la tienda".into(), "Alfa".into()), "{undone:?}");
    assert_eq!((undone.left.len(), undone.left[0].field.as_deref()), (1, Some("name")));
    assert!(undone.left[0].reason.contains("changed"), "{undone:?}");
    // The edit itself is drift, and is dealt with as ever.
    assert!(stage.once().await.is_clean());
    assert_eq!(stage.at_shop(), ("Maza".into(), "Alfa".into()));
}

#[tokio::test]
async fn what_a_later_run_delivered_is_left_alone_and_the_run_is_named() {
    let (stage, run) = Stage::renamed().await;
    stage.erp.put("product", "1", &product("Mazo", "Beta"));
    let later = stage.seen().await;
    let undone = stage.undo(run).await;
    assert_eq!(stage.at_shop(), ("Mazo".into(), "Alfa".into()));
    assert_eq!(undone.left[0].reason, format!("it was changed later, by run {later}"));
    let both = Stage::renamed().await;
    both.0.erp.put("product", "1", &product("Mazo", "Beta"));
    let second = both.0.seen().await;
    let runs = [both.1, second];
    let undone = undo(both.0.engine.context(), &runs, false, &CancellationToken::new()).await.unwrap();
    assert!(undone.left.is_empty(), "{undone:?}");
    assert_eq!(both.0.at_shop(), ("Martillo".into(), "Alfa".into()), "taken together they go back to before the first");
}

#[tokio::test]
async fn a_change_of_the_source_that_is_on_its_way_is_not_swallowed() {
    let (stage, run) = Stage::renamed().await;
    stage.erp.put("product", "1", &product("Mazo", "Beta"));
    let stop = CancellationToken::new();
    stage.engine.pull(NewRun::new("erp", "product", RunKind::Full, "test"), &stop).await.unwrap();
    let undone = stage.undo(run).await;
    assert_eq!(undone.left[0].field.as_deref(), Some("name"), "{undone:?}");
    assert!(undone.left[0].reason.contains("on its way"), "{undone:?}");
    assert!(stage.once().await.is_clean());
    assert_eq!(stage.at_shop(), ("Mazo".into(), "Alfa".into()));
}

#[tokio::test]
async fn an_undo_is_written_to_the_change_log_and_the_attempts_and_leaves_nothing_open() {
    let (stage, run) = Stage::renamed().await;
    stage.undo(run).await;
    let record = stage.store.record("product", "H-1").await.unwrap().unwrap();
    let change = stage.store.changes(record, 1).await.unwrap().remove(0);
    assert_eq!((change.op, &*change.system), (ChangeOp::Undo, "shop"));
    assert_eq!(change.fields["brand"], json!(["Beta", "Alfa"]));
    let Origin::Job(job) = change.cause else { panic!("{change:?}") };
    let attempts = stage.store.attempts(job).await.unwrap();
    assert_eq!((attempts.len(), &*attempts[0].op, &*attempts[0].outcome), (1, "undo", "done"));
    assert!(stage.states().await.is_empty());
}

#[tokio::test]
async fn a_run_undone_twice_is_left_as_it_is_the_second_time() {
    let (stage, run) = Stage::renamed().await;
    stage.undo(run).await;
    let written = stage.shop.written();
    let again = stage.undo(run).await;
    assert!(again.restored.is_empty() && again.left.is_empty(), "{again:?}");
    assert_eq!(stage.shop.written(), written);
}

#[tokio::test]
async fn what_the_run_made_is_taken_away_only_when_asked_for_and_as_the_policy_says() {
    for (policy, expected) in [(DeletePolicy::Unpublish, Some(false)), (DeletePolicy::Delete, None)] {
        let mut catalog = flow("catalog", "erp", "shop", &["product"]);
        catalog.on_delete.insert("*".into(), policy);
        let stage = Stage::new(vec![catalog]).await;
        stage.erp.put("product", "1", &product("Martillo", "Alfa"));
        let run = stage.seen().await;
        let kept = stage.undo(run).await;
        assert!(kept.restored.is_empty() && kept.left[0].reason.contains("--delete-created"), "{kept:?}");
        assert_eq!(stage.shop.rows("product").len(), 1);

        let taken = undo(stage.engine.context(), &[run], true, &CancellationToken::new()).await.unwrap();
        assert_eq!((taken.restored.len(), taken.left.len()), (1, 0), "{taken:?}");
        assert!(stage.full().await.is_clean());
        let active = stage.shop.rows("product").first().map(|row| row["active"].as_bool().unwrap());
        assert_eq!(active, expected, "and it stays away");
    }
}

#[tokio::test]
async fn what_the_run_made_and_somebody_edited_is_not_taken_away() {
    let stage = Stage::catalog().await;
    stage.erp.put("product", "1", &product("Martillo", "Alfa"));
    let run = stage.seen().await;
    stage.edit_at_shop("brand", &json!("Gamma"));
    let taken = undo(stage.engine.context(), &[run], true, &CancellationToken::new()).await.unwrap();
    assert!(taken.restored.is_empty() && taken.left[0].reason.contains("brand"), "{taken:?}");
    assert_eq!(stage.shop_row()["active"], true);
}

#[tokio::test]
async fn what_an_emptied_source_unpublished_is_published_again() {
    let stage = Stage::catalog().await;
    stage.erp.put("product", "1", &product("Martillo", "Alfa"));
    stage.erp.put("product", "2", &json!({"sku": "S-1", "name": {"es": "Sierra"}, "active": true}));
    stage.once().await;
    stage.erp.remove("product", "1");
    let run = stage.seen().await;
    let active = |stage: &Stage| {
        let row = stage.shop.rows("product").into_iter().find(|row| row["sku"] == "H-1").unwrap();
        row["active"].clone()
    };
    assert_eq!(active(&stage), false);
    let undone = stage.undo(run).await;
    assert!(undone.left.is_empty(), "{undone:?}");
    assert_eq!(active(&stage), true);
    assert!(stage.full().await.is_clean());
    assert_eq!(active(&stage), true, "and stays published");
}

#[tokio::test]
async fn a_deleted_object_is_reported_not_to_come_back() {
    let mut catalog = flow("catalog", "erp", "shop", &["product"]);
    catalog.on_delete.insert("*".into(), DeletePolicy::Delete);
    let stage = Stage::new(vec![catalog]).await;
    stage.erp.put("product", "1", &product("Martillo", "Alfa"));
    stage.erp.put("product", "2", &json!({"sku": "S-1", "name": {"es": "Sierra"}}));
    stage.once().await;
    stage.erp.remove("product", "1");
    let run = stage.seen().await;
    let undone = stage.undo(run).await;
    assert!(undone.left[0].reason.contains("does not recreate"), "{undone:?}");
}

#[tokio::test]
async fn a_value_that_the_target_alters_is_restored_all_the_same() {
    let shop = FakeSystem::new("shop").altering(|text| text.replace('&', "&amp;"));
    let stage = Stage::with(FakeSystem::new("erp"), shop, vec![flow("catalog", "erp", "shop", &["product"])]).await;
    stage.erp.put("product", "1", &product("Nuts & bolts", "Alfa"));
    stage.once().await;
    stage.erp.put("product", "1", &product("Bolts & nuts", "Alfa"));
    let run = stage.seen().await;
    // A listing shows what the shop made of it, which nobody has touched.
    stage.full().await;
    let undone = stage.undo(run).await;
    assert!(undone.left.is_empty(), "{undone:?}");
    assert!(stage.at_shop().0.as_str().unwrap().starts_with("Nuts"), "{:?}", stage.at_shop());
}

#[tokio::test]
async fn what_the_target_refuses_to_take_back_is_reported_and_leaves_no_dead_job() {
    let (stage, run) = Stage::renamed().await;
    stage.shop.fault(Fault::Fail(Class::Rejected, "name too long"));
    let undone = stage.undo(run).await;
    assert!(undone.restored.is_empty() && undone.left[0].reason.contains("name too long"), "{undone:?}");
    assert!(stage.states().await.is_empty());
    assert_eq!(stage.undo(run).await.restored.len(), 1, "it can be tried again");
}

#[tokio::test]
async fn a_record_whose_delivery_waits_for_a_person_is_left_to_them() {
    let (stage, run) = Stage::renamed().await;
    stage.erp.put("product", "1", &product("Mazo", "Beta"));
    stage.shop.fault(Fault::Fail(Class::Rejected, "no"));
    stage.once().await;
    let undone = stage.undo(run).await;
    assert!(undone.restored.is_empty() && undone.left[0].reason.contains("vaiven jobs list"), "{undone:?}");
    assert_eq!(stage.states().await, [JobState::Dead]);
}

#[tokio::test]
async fn a_target_that_cannot_be_looked_at_is_left_alone() {
    let (stage, run) = Stage::renamed().await;
    stage.shop.state.lock().unwrap().read_faults.push_back(Failure::new(Class::Transient, "down"));
    let undone = stage.undo(run).await;
    assert!(undone.left[0].reason.contains("could not be read: down"), "{undone:?}");
    assert_eq!(stage.at_shop(), ("Maza".into(), "Beta".into()));
}

#[tokio::test]
async fn an_object_in_a_row_that_cannot_be_read_is_left_alone() {
    let (stage, run) = Stage::renamed().await;
    stage.edit_at_shop("active", &json!("perhaps"));
    let undone = stage.undo(run).await;
    assert!(undone.left[0].reason.contains("its row there cannot be read"), "{undone:?}");
    assert_eq!(stage.at_shop(), ("Maza".into(), "Beta".into()));
}

#[tokio::test]
async fn a_run_that_is_not_there_is_reported() {
    let stage = Stage::catalog().await;
    let error = undo(stage.engine.context(), &[RunId(99)], false, &CancellationToken::new()).await.unwrap_err();
    assert!(error.to_string().contains("no run 99"), "{error}");
}

#[tokio::test]
async fn stock_goes_down_again_by_an_undo_and_never_up() {
    let stage = Stage::new(vec![flow("stock", "erp", "shop", &["stock"])]).await;
    let mut runs = Vec::new();
    for quantity in ["6", "2", "9"] {
        stage.erp.put("stock", "A", &json!({"sku": "A", "quantity": quantity}));
        let summary = stage.once().await;
        assert!(summary.is_clean(), "{summary:?}");
        runs.push(summary.runs.iter().find(|run| run.system == "erp").unwrap().run.unwrap());
        if quantity == "2" {
            let undone = stage.undo(runs[1]).await;
            assert!(undone.restored.is_empty() && undone.left[0].reason.contains("not raised"), "{undone:?}");
            assert_eq!(stage.shop.rows("stock")[0]["quantity"], "2");
        }
    }
    let undone = stage.undo(runs[2]).await;
    assert!(undone.left.is_empty(), "{undone:?}");
    assert_eq!(undone.restored[0].fields, json!({"quantity": ["9", "2"]}).as_object().unwrap().clone());
    assert_eq!(stage.shop.rows("stock")[0]["quantity"], "2");
}

#[tokio::test]
async fn nothing_is_taken_back_where_a_link_is_paused_or_ignored() {
    for state in [LinkState::Paused, LinkState::Ignored] {
        let (stage, run) = Stage::renamed().await;
        let record = stage.store.record("product", "H-1").await.unwrap().unwrap();
        stage
            .store
            .set_links(record, (&["shop".to_owned()], state), &[], stage.engine.context().env.now())
            .await
            .unwrap();
        let undone = stage.undo(run).await;
        assert!(undone.left[0].reason.contains("link is"), "{undone:?}");
        assert_eq!(stage.at_shop(), ("Maza".into(), "Beta".into()));
    }
}
