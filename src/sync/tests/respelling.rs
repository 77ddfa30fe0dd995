//! Codes that a shop shows its own way, as slugs: what is there is known again, and one code never passes for another.

use super::*;

/// No slash, no small letter: `A/B` and `A-B` are one.
fn slug(code: &str) -> String {
    code.replace('/', "-").to_uppercase()
}

/// A stage whose shop shows codes its own way, with these categories in the ERP.
async fn stage(codes: &[&str]) -> Stage {
    let mut stage = Stage::new(vec![flow("catalog", "erp", "shop", &["category"])]).await;
    let mut context = stage.context(stage.store.clone(), "test");
    let mapping = FakeMapping::new(&["code", "name"], &stage.knows_igic).respelling(slug);
    context.mappings.insert(("shop".into(), "category".into()), Arc::new(mapping));
    stage.engine = Engine::new(context);
    for (number, code) in codes.iter().enumerate() {
        let category = json!({"code": code, "name": {"es": format!("Familia {code}")}});
        stage.erp.put("category", &number.to_string(), &category);
    }
    stage
}

impl Stage {
    fn shown_codes(&self) -> Vec<String> {
        let rows = self.shop.rows("category");
        let mut codes: Vec<String> = rows.iter().map(|row| row["code"].as_str().unwrap().to_owned()).collect();
        codes.sort_unstable();
        codes
    }

    async fn parked_at(&self, store: &SharedStore) -> Vec<(String, String)> {
        let filter = JobFilter { states: vec![JobState::Parked], ..JobFilter::default() };
        let jobs = store.jobs(&filter).await.unwrap();
        jobs.into_iter()
            .map(|job| (job.cause.map(String::from).unwrap_or_default(), job.error.unwrap_or_default()))
            .collect()
    }

    /// An engine over the same systems whose state was lost.
    async fn forgotten(&self) -> (tempfile::TempDir, Engine) {
        let folder = tempfile::tempdir().unwrap();
        let store = crate::store::open(&format!("sqlite://{}/new.db", folder.path().display())).await.unwrap();
        (folder, Engine::new(self.context(store, "new")))
    }
}

#[tokio::test]
async fn a_new_state_knows_a_code_again_that_the_shop_shows_its_own_way() {
    for is_shop_read_first in [false, true] {
        let stage = stage(&["a/b", "Fijación", "T"]).await;
        let summary = stage.once().await;
        assert!(summary.is_clean(), "{summary:?} {:?}", stage.parked_at(&stage.store).await);
        assert_eq!((stage.shown_codes(), stage.shop.written()), (vec!["A-B".into(), "FIJACIÓN".into(), "T".into()], 3));
        let (_folder, engine) = stage.forgotten().await;
        if is_shop_read_first {
            engine
                .pull(NewRun::new("shop", "category", RunKind::Full, "test"), &CancellationToken::new())
                .await
                .unwrap();
        }
        for kind in [RunKind::Delta, RunKind::Full] {
            let summary = engine.once(None, kind, &CancellationToken::new()).await.unwrap();
            assert!(summary.is_clean(), "{summary:?}");
        }
        assert_eq!((stage.shown_codes().len(), stage.shop.written()), (3, 3), "{is_shop_read_first}");
        // What is known is written to as any other.
        stage.erp.put("category", "0", &json!({"code": "a/b", "name": {"es": "Otra"}}));
        engine.once(None, RunKind::Delta, &CancellationToken::new()).await.unwrap();
        let renamed = stage.shop.rows("category").into_iter().find(|row| row["code"] == "A-B").unwrap();
        assert_eq!((stage.shop.written(), renamed["name"]["es"].as_str()), (4, Some("Otra")));
        let known = engine.context().store.record("category", "a/b").await.unwrap();
        assert!(known.is_some(), "under its own code");
    }
}

#[tokio::test]
async fn of_two_codes_that_the_shop_would_show_alike_the_second_waits_and_both_are_named() {
    let stage = stage(&["A/B", "A-B"]).await;
    stage.once().await;
    assert_eq!(stage.shown_codes(), ["A-B"]);
    let waiting = stage.parked_at(&stage.store).await;
    assert_eq!(waiting.len(), 1);
    assert_eq!(waiting[0].0, "review:category=A/B");
    assert!(waiting[0].1.contains("A-B (key@shop)"), "{}", waiting[0].1);
}

#[tokio::test]
async fn a_new_state_takes_what_may_be_either_of_two_codes_for_neither() {
    let stage = stage(&["A/B", "A-B"]).await;
    stage.once().await;
    let (_folder, engine) = stage.forgotten().await;
    let summary = engine.once(None, RunKind::Delta, &CancellationToken::new()).await.unwrap();
    let waiting = stage.parked_at(&engine.context().store).await;
    let mut causes: Vec<&str> = waiting.iter().map(|(cause, _)| cause.as_str()).collect();
    causes.sort_unstable();
    assert_eq!(causes, ["review:category=A-B", "review:category=A/B"], "{summary:?}");
    assert_eq!((stage.shown_codes().len(), stage.shop.written()), (1, 1));
}
