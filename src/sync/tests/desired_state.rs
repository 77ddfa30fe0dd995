//! Who owns what of a record, and what each target is to have, as `vaiven explain` tells it.

use super::*;
use crate::sync::preview::{DesiredObject, desired_state};

fn owned() -> Vec<Flow> {
    let mut catalog = flow("catalog", "erp", "shop", &["product"]);
    catalog.owners.insert("product.brand".into(), "shop".into());
    catalog.owners.insert("product.name".into(), "shared".into());
    let mut names = flow("names", "shop", "erp", &["product"]);
    names.fields.insert("product".into(), ["name".to_owned()].into());
    vec![catalog, names]
}

impl Stage {
    async fn desired(&self) -> BTreeMap<String, DesiredObject> {
        let record = self.store.record("product", "H-1").await.unwrap().unwrap();
        desired_state(self.engine.context(), "product", record).await.unwrap().desired
    }
}

#[tokio::test]
async fn each_field_is_shown_with_its_owner() {
    let stage = Stage::new(owned()).await;
    stage.erp.put("product", "1", &hammer());
    assert!(stage.once().await.is_clean());
    let record = stage.store.record("product", "H-1").await.unwrap().unwrap();
    let owners = desired_state(stage.engine.context(), "product", record).await.unwrap().owners;
    let owners: Vec<String> = ["sku", "brand", "name", "tax"]
        .map(|field| {
            owners.get(field).map_or_else(String::new, |owners| owners.iter().cloned().collect::<Vec<_>>().join(" "))
        })
        .into();
    assert_eq!(owners, ["erp", "shop", "shared", ""], "what no mapping knows has none");
}

#[tokio::test]
async fn the_desired_state_is_what_a_delivery_would_write() {
    let stage = Stage::catalog().await;
    stage.erp.put("product", "1", &hammer());
    assert!(stage.once().await.is_clean());
    assert_eq!(
        stage.desired().await,
        BTreeMap::from([("shop".to_owned(), DesiredObject::Fields(serde_json::Map::new()))])
    );
    stage.erp.put("product", "1", &json!({"sku": "H-1", "name": {"es": "Mazo"}, "active": true}));
    stage.pull("erp").await;
    let DesiredObject::Fields(fields) = &stage.desired().await["shop"] else { panic!("it has wishes") };
    assert_eq!(Value::Object(fields.clone()), json!({"name": {"es": "Mazo"}}));
    assert_eq!(stage.shop.rows("product")[0]["name"]["es"], "Martillo", "asking writes nothing");
}
