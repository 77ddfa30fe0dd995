//! The demo ERP's catalog in a shop, by the mappings that come with the program.

use serde_json::Value;
use sqlx::{Executor as _, SqliteConnection};
use tempfile::TempDir;

use super::{people::at, shown, vaiven};
use crate::sandbox::shop::Running;

const FLOW: &str = r#"
[flows.catalog]
entities = ["category", "product"]
from     = "erp"
to       = ["shop"]
"#;

struct Catalog {
    folder: TempDir,
    shop: Running,
    erp: SqliteConnection,
}

impl Catalog {
    /// A shop without articles, and an ERP of these families.
    async fn of(families: &[(&str, &str)]) -> Self {
        let shop = Running::start().await;
        let folder = tempfile::tempdir().unwrap();
        let config = format!(
            "[systems.erp]\nadapter = \"ferreteria-erp\"\nfile = \"erp.db\"\n\n[systems.shop]\nadapter = \"woocommerce\"\n\
            url = \"{}\"\nkey = {{ env = \"KEY\" }}\nsecret = {{ env = \"SECRET\" }}\n{FLOW}",
            shop.base
        );
        std::fs::write(folder.path().join("vaiven.toml"), config).unwrap();
        let mut erp = at(folder.path(), "erp.db").await;
        erp.execute(include_str!("../../../src/demo/erp/schema.sql")).await.unwrap();
        erp.execute("INSERT INTO tipo_iva VALUES ('IVA21', 'IVA 21', '21')").await.unwrap();
        for (code, name) in families {
            sqlx::query("INSERT INTO familia (codigo, nombre_es, nombre_en, orden) VALUES (?, ?, 'x', 1)")
                .bind(code)
                .bind(name)
                .execute(&mut erp)
                .await
                .unwrap();
        }
        Self { folder, shop, erp }
    }

    /// Everything once; the line that tells of writes.
    fn run(&self, more: &[&str]) -> String {
        let secrets = [("KEY", "ck_sandbox"), ("SECRET", "cs_sandbox")];
        let output = shown(&vaiven(self.folder.path(), &[&["run", "--once"], more].concat(), &secrets));
        output.lines().find(|line| line.starts_with("Delivered:")).unwrap_or(&output).to_owned()
    }

    fn forget(&self) {
        std::fs::remove_dir_all(self.folder.path().join("state")).unwrap();
    }

    async fn categories(&self) -> Vec<(String, String)> {
        let text = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
        let rows = self.shop.shop.all("/products/categories").await.unwrap();
        rows.iter().skip(1).map(|row| (text(row, "name"), text(row, "slug"))).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_with_one_slug_are_categories_of_their_own_and_recognised_by_a_new_state() {
    let families = [
        ("A-B", "AB guion"),
        ("A/B", "AB barra"),
        ("AB", "AB"),
        ("01.02", "Tornillos"),
        ("0102", "Otros"),
        ("Fijación", "Fijación"),
        ("fam-7", "Siete"),
    ];
    let mut catalog = Catalog::of(&families).await;
    for (number, family) in [(1, "A-B"), (2, "A/B")] {
        let article = format!(
            "INSERT INTO articulo (id, referencia, familia_id, nombre_es, nombre_en, tipo_iva) \
             SELECT {number}, 'X{number}', id, 'X', 'X', 'IVA21' FROM familia WHERE codigo = '{family}'; \
             INSERT INTO formato (articulo_id, referencia) VALUES ({number}, 'X{number}')"
        );
        catalog.erp.execute(sqlx::AssertSqlSafe(article)).await.unwrap();
    }
    assert!(catalog.run(&[]).starts_with("Delivered: 9 written"), "{}", catalog.run(&[]));
    let made = catalog.categories().await;
    assert_eq!(made.len(), 7);
    for plain in [("AB guion", "a-b"), ("AB", "ab"), ("Otros", "0102"), ("Siete", "fam-7")] {
        assert!(made.contains(&(plain.0.to_owned(), plain.1.to_owned())), "{plain:?} in {made:?}");
    }
    let slug = |name: &str| made.iter().find(|(known, _)| known == name).unwrap().1.clone();
    assert!(slug("AB barra").starts_with("a-b-") && slug("Tornillos").starts_with("01-02-"), "{made:?}");
    for named in ["X1", "X2"] {
        let of = catalog.shop.shop.article(named).await.unwrap()["categories"][0]["name"].clone();
        assert_eq!(of, if named == "X1" { "AB guion" } else { "AB barra" });
    }
    let again = catalog.run(&["--resync", "catalog"]);
    assert!(again.starts_with("Delivered: 0 written") && again.contains("0 parked, 0 dead"), "{again}");
    catalog.forget();
    let anew = catalog.run(&[]);
    assert!(anew.starts_with("Delivered: 0 written") && anew.contains("0 parked, 0 dead"), "{anew}");
    assert_eq!(catalog.categories().await, made);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_option_with_the_shops_own_separator_stays_one_and_a_name_without_translation_is_never_empty() {
    let mut catalog = Catalog::of(&[("F", "Familia")]).await;
    catalog
        .erp
        .execute(
            "INSERT INTO articulo (id, referencia, familia_id, nombre_es, nombre_en, tipo_iva, opcion1) \
             VALUES (1, 'T', 1, '', 'Pipe', 'IVA21', 'Medida'); \
             INSERT INTO formato (articulo_id, referencia, valor1) VALUES (1, 'T-1', '1/2 | 20 mm'), (1, 'T-2', '3/4')",
        )
        .await
        .unwrap();
    let output = catalog.run(&[]);
    assert!(output.contains("0 parked, 0 dead"), "{output}");
    let product = catalog.shop.shop.article("T").await.unwrap();
    assert_eq!(product["name"], "Pipe");
    assert_eq!(product["attributes"][0]["options"], serde_json::json!(["1/2 ¦ 20 mm", "3/4"]));
    let variation = catalog.shop.shop.article("T-1").await.unwrap();
    assert_eq!(variation["attributes"][0]["option"], "1/2 ¦ 20 mm");
    for forgets in [false, true] {
        if forgets {
            catalog.forget();
        }
        let again = catalog.run(&["--resync", "catalog"]);
        assert!(again.starts_with("Delivered: 0 written") && again.contains("0 parked, 0 dead"), "{again}");
    }
    // The translation is there in the end.
    catalog
        .erp
        .execute("UPDATE articulo SET nombre_es = 'Tubo', modificado = '2099-01-01T00:00:00.000Z'")
        .await
        .unwrap();
    catalog.run(&["--resync", "catalog"]);
    assert_eq!(catalog.shop.shop.article("T").await.unwrap()["name"], "Tubo");
}
