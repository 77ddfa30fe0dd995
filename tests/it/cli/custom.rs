//! Kinds of objects that nobody has foreseen: an opportunity and a review, declared, connected and mapped by TOML alone.

use std::path::Path;

use serde_json::Value;
use sqlx::{Connection as _, Executor as _, Row as _, SqliteConnection};

use super::{people, shown, vaiven};

const CONFIG: &str = r#"
[systems.crm]
adapter = "crm"
file = "crm.db"

[systems.shop]
adapter = "site"
file = "shop.db"

[entities.opportunity]
key = "code"
money_currency = "currency"
[entities.opportunity.fields]
code     = { kind = "text", required = true }
title    = { kind = "text", required = true }
stage    = { kind = "choice", choices = ["open", "won", "lost"], required = true }
value    = { kind = "money" }
currency = { kind = "currency" }
[entities.opportunity.fields.steps]
kind = "list"
key  = "code"
of   = { kind = "object", fields = { code = { kind = "text", required = true }, text = { kind = "text", required = true }, done = { kind = "boolean" } } }

[entities.review]
key = "code"
[entities.review.fields]
code   = { kind = "text", required = true }
sku    = { kind = "text", required = true }
rating = { kind = "integer", required = true }
author = { kind = "text", personal = true }
text   = { kind = "text" }
reply  = { kind = "text" }

[flows.opportunities]
entities = ["opportunity"]
from = "crm"
to = ["shop"]
owners = { "opportunity.title" = "shared", "opportunity.steps" = "shared" }

[flows.wishes]
entities = ["opportunity"]
from = "shop"
to = ["crm"]
fields = { opportunity = ["title", "steps"] }

[flows.reviews]
entities = ["review"]
from = "shop"
to = ["crm"]
owners = { "review.reply" = "crm" }

[flows.replies]
entities = ["review"]
from = "crm"
to = ["shop"]
fields = { review = ["reply"] }
"#;

/// A CRM whose steps are rows of a table of their own.
const CRM: &str = r#"
driver = "sql"
summary = "A CRM's database"
[settings]
file = { kind = "path" }
[sql]
url = "sqlite://${file}"

[entities.opportunity]
id = "id"
[entities.opportunity.list]
query = "SELECT * FROM deal WHERE id > :after ORDER BY id LIMIT :limit"
pages = { by = "keyset", key = "id", size = 500 }
[[entities.opportunity.list.join]]
query = "SELECT * FROM step WHERE deal IN (:ids) ORDER BY code"
on = "deal"
into = "steps"
[entities.opportunity.read]
query = "SELECT * FROM deal WHERE id IN (:ids)"
max = 500
join = "list"
[entities.opportunity.find]
query = "SELECT * FROM deal WHERE code = :key"
where = "row.code == key"
join = "list"
[entities.opportunity.update]
[[entities.opportunity.update.steps]]
name = "deal"
query = "UPDATE deal SET title = :title WHERE id = :id"
bind = { title = "${whole.title}" }
[[entities.opportunity.update.steps]]
name = "clear"
query = "DELETE FROM step WHERE deal = :id"
[[entities.opportunity.update.steps]]
name = "steps"
for_each = 'whole.get("steps") ?? []'
query = "INSERT INTO step (deal, code, text, done) VALUES (:id, :item_code, :item_text, :item_done)"

[entities.review]
id = "id"
[entities.review.list]
query = "SELECT * FROM review WHERE id > :after ORDER BY id LIMIT :limit"
pages = { by = "keyset", key = "id", size = 500 }
[entities.review.read]
query = "SELECT * FROM review WHERE id IN (:ids)"
max = 500
[entities.review.find]
query = "SELECT * FROM review WHERE code = :key"
where = "row.code == key"
[entities.review.create]
id = "review"
[[entities.review.create.steps]]
name = "review"
query = "INSERT INTO review (code, sku, rating, author, text) VALUES (:code, :sku, :rating, :author, :text) RETURNING id"
bind = { author = '${body.get("author")}', text = '${body.get("text")}' }
capture = { review = "rows[0].id" }
[entities.review.update]
[[entities.review.update.steps]]
name = "review"
query = "UPDATE review SET rating = :rating, text = :text WHERE id = :id"
bind = { rating = "${whole.rating}", text = '${whole.get("text")}' }
"#;

const CRM_OPPORTUNITY: &str = r#"
key = "code"
[fields]
code     = "code"
title    = "title"
stage    = { from = "stage", lookup = "stage" }
value    = { from = "value", optional = true }
currency = { value = "EUR" }
[fields.steps]
from = "steps"
[fields.steps.each.fields]
code = "code"
text = "text"
done = "done"
[lookups.stage]
open = "N"
won  = "W"
lost = "L"
"#;

/// A shop that keeps the steps as JSON in a column.
const SITE: &str = r#"
driver = "sql"
summary = "A shop's database"
[settings]
file = { kind = "path" }
[sql]
url = "sqlite://${file}"

[entities.opportunity]
id = "id"
[entities.opportunity.list]
query = "SELECT * FROM project WHERE id > :after ORDER BY id LIMIT :limit"
pages = { by = "keyset", key = "id", size = 500 }
[entities.opportunity.read]
query = "SELECT * FROM project WHERE id IN (:ids)"
max = 500
[entities.opportunity.find]
query = "SELECT * FROM project WHERE ref = :key"
where = "row.ref == key"
[entities.opportunity.create]
id = "project"
[[entities.opportunity.create.steps]]
name = "project"
query = "INSERT INTO project (ref, title, state, amount, steps) VALUES (:ref, :title, :state, :amount, :steps) RETURNING id"
bind = { amount = '${body.get("amount")}', steps = '${body.get("steps")}' }
capture = { project = "rows[0].id" }
[entities.opportunity.update]
[[entities.opportunity.update.steps]]
name = "project"
query = "UPDATE project SET title = :title, state = :state, amount = :amount, steps = :steps WHERE id = :id"
bind = { title = "${whole.title}", state = "${whole.state}", amount = '${whole.get("amount")}', steps = '${whole.get("steps")}' }

[entities.review]
id = "id"
[entities.review.list]
query = "SELECT * FROM review WHERE id > :after ORDER BY id LIMIT :limit"
pages = { by = "keyset", key = "id", size = 500 }
[entities.review.read]
query = "SELECT * FROM review WHERE id IN (:ids)"
max = 500
[entities.review.update]
[[entities.review.update.steps]]
name = "review"
query = "UPDATE review SET reply = :reply WHERE id = :id"
bind = { reply = '${whole.get("reply")}' }
"#;

const SITE_OPPORTUNITY: &str = r#"
key = "ref"
[fields]
code     = "ref"
title    = "title"
stage    = "state"
value    = { from = "amount", optional = true }
currency = { value = "EUR" }
steps    = { from = "steps", pull = "if ok(value) { parse_json(value) } else { [] }", push = "json(value)" }
"#;

const REVIEW: &str = r#"
key = "code"
[fields]
code   = "code"
sku    = "sku"
rating = "rating"
author = "author"
text   = "text"
reply  = "reply"
"#;

const CRM_TABLES: &str = "CREATE TABLE deal (id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE, title TEXT NOT NULL, \
        stage TEXT NOT NULL, value TEXT);
    CREATE TABLE step (deal INTEGER NOT NULL, code TEXT NOT NULL, text TEXT NOT NULL, done BOOLEAN, UNIQUE (deal, code));
    CREATE TABLE review (id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE, sku TEXT NOT NULL, rating INTEGER NOT NULL, \
        author TEXT, text TEXT, reply TEXT);
    INSERT INTO deal VALUES (1, 'OP-1', 'Kitchen', 'N', '1200.50'), (2, 'OP-2', 'Roof', 'W', NULL);
    INSERT INTO step VALUES (1, 'call', 'Call', 0), (1, 'visit', 'Visit', 0)";

const SHOP_TABLES: &str = "CREATE TABLE project (id INTEGER PRIMARY KEY, ref TEXT NOT NULL UNIQUE, title TEXT NOT NULL, \
        state TEXT NOT NULL, amount TEXT, steps TEXT);
    CREATE TABLE review (id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE, sku TEXT NOT NULL, rating INTEGER NOT NULL, \
        author TEXT, text TEXT, reply TEXT);
    INSERT INTO review VALUES (70, 'R-1', 'H-1', 5, 'Ana', 'Pega bien', NULL)";

struct Place(tempfile::TempDir);

impl Place {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = [
            ("vaiven.toml", CONFIG),
            ("adapters/crm.toml", CRM),
            ("adapters/site.toml", SITE),
            ("mappings/crm/opportunity.toml", CRM_OPPORTUNITY),
            ("mappings/crm/review.toml", REVIEW),
            ("mappings/site/opportunity.toml", SITE_OPPORTUNITY),
            ("mappings/site/review.toml", REVIEW),
        ];
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let place = Self(folder);
        place.sql("crm.db", CRM_TABLES).await;
        place.sql("shop.db", SHOP_TABLES).await;
        place
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    async fn open(&self, file: &str) -> SqliteConnection {
        people::at(self.path(), file).await
    }

    async fn sql(&self, file: &str, statement: &'static str) {
        let mut database = self.open(file).await;
        database.execute(statement).await.unwrap();
        database.close().await.unwrap();
    }

    async fn text(&self, file: &str, query: &'static str) -> String {
        let mut database = self.open(file).await;
        let row = sqlx::query(query).fetch_one(&mut database).await.unwrap();
        database.close().await.unwrap();
        row.get::<Option<String>, _>(0).unwrap_or_default()
    }

    fn run(&self) {
        let output = shown(&vaiven(self.path(), &["run", "--once"], &[]));
        assert!(output.starts_with("exit 0"), "{output}");
    }

    /// `code text done` of each step that the shop has of an opportunity.
    async fn shop_steps(&self) -> Vec<String> {
        let steps = self.text("shop.db", "SELECT steps FROM project WHERE ref = 'OP-1'").await;
        let steps: Vec<Value> = serde_json::from_str(&steps).unwrap();
        let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        steps.iter().map(|step| ["code", "text", "done"].map(|member| word(&step[member])).join(" ")).collect()
    }

    async fn crm_steps(&self) -> String {
        self.text(
            "crm.db",
            "SELECT group_concat(line, ', ') FROM (SELECT code || ' ' || text || ' ' || done AS line FROM step ORDER BY code)",
        )
        .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entity_declared_in_toml_is_checked_and_brought_over() {
    let place = Place::new().await;
    let checked = shown(&vaiven(place.path(), &["check", "--offline"], &[]));
    assert!(checked.starts_with("exit 0"), "{checked}");
    place.run();
    assert_eq!(
        place.text("shop.db", "SELECT title || ' ' || state || ' ' || amount FROM project WHERE ref = 'OP-1'").await,
        "Kitchen open 1200.5"
    );
    assert_eq!(place.shop_steps().await, ["call Call false", "visit Visit false"]);
    assert_eq!(place.text("shop.db", "SELECT state FROM project WHERE ref = 'OP-2'").await, "won");
    let output = shown(&vaiven(place.path(), &["explain", "opportunity", "OP-1"], &[]));
    assert!(output.contains("Kitchen"), "{output}");
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_of_a_custom_entity_may_edit_what_is_shared_and_lists_are_merged_by_their_key() {
    let place = Place::new().await;
    place.run();
    // The CRM renames it and does a step; the shop adds one and edits the text of another.
    place
        .sql("crm.db", "UPDATE deal SET title = 'Kitchen and bath'; UPDATE step SET done = 1 WHERE code = 'call'")
        .await;
    place
        .sql(
            "shop.db",
            r#"UPDATE project SET steps = '[{"code":"call","text":"Call","done":false},{"code":"visit","text":"Visit at 5","done":false},{"code":"pay","text":"Pay","done":false}]' WHERE ref = 'OP-1'"#,
        )
        .await;
    place.run();
    place.run();
    assert_eq!(place.text("shop.db", "SELECT title FROM project WHERE ref = 'OP-1'").await, "Kitchen and bath");
    let mut steps = place.shop_steps().await;
    steps.sort();
    assert_eq!(steps, ["call Call true", "pay Pay false", "visit Visit at 5 false"]);
    assert_eq!(place.crm_steps().await, "call Call 1, pay Pay 0, visit Visit at 5 0");
    place.sql("shop.db", "UPDATE project SET title = 'Bath' WHERE ref = 'OP-1'").await;
    place.run();
    assert_eq!(place.text("crm.db", "SELECT title FROM deal WHERE code = 'OP-1'").await, "Bath");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_side_of_a_custom_entity_keeps_the_fields_it_owns() {
    let place = Place::new().await;
    place.run();
    assert_eq!(place.text("crm.db", "SELECT sku || ' ' || rating || ' ' || text FROM review").await, "H-1 5 Pega bien");
    place.sql("crm.db", "UPDATE review SET reply = 'Gracias', rating = 1").await;
    place.run();
    place.run();
    assert_eq!(place.text("shop.db", "SELECT reply || ' ' || rating FROM review").await, "Gracias 5");
    assert_eq!(
        place.text("crm.db", "SELECT reply || ' ' || rating FROM review").await,
        "Gracias 5",
        "drift is repaired"
    );
    let output = shown(&vaiven(place.path(), &["explain", "review", "R-1"], &[]));
    assert!(output.contains("(personal)") && !output.contains("Ana"), "{output}");
}
