//! Plan, apply and undo as people see them: an ERP that drops files, a shop that is a database.

use std::{collections::BTreeSet, path::Path};

use sqlx::{Connection as _, Executor as _, Row as _, SqliteConnection};

use super::{
    people::{self, CONFIG},
    shown, vaiven,
};

const MAPPING: &str = r#"
key = "code"
[fields]
code = "code"
kind = "kind"
name = "name"
group = "grp"
"#;

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    /// Three customers at the ERP, one of which the shop has as well.
    async fn new() -> Self {
        let shops = "INSERT INTO customer (id, code, kind, name, grp) VALUES (70, 'C-2', 'person', 'Dos', 'z')";
        let place = Self { folder: people::place(CONFIG, MAPPING, shops).await };
        place.drop_file(1, "C-1,company,Uno SL,a\nC-2,person,Dos,a\nC-3,company,Tres SL,b\n");
        place
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn drop_file(&self, number: u32, rows: &str) {
        people::drop_file(self.path(), number, &format!("code,kind,name,grp\n{rows}"));
    }

    async fn shop(&self) -> SqliteConnection {
        people::shop(self.path()).await
    }

    /// `code name group` of each.
    async fn customers(&self) -> Vec<String> {
        let mut shop = self.shop().await;
        let rows =
            sqlx::query("SELECT code, name, grp FROM customer ORDER BY code").fetch_all(&mut shop).await.unwrap();
        shop.close().await.unwrap();
        rows.iter().map(|row| [0, 1, 2].map(|at| row.get::<String, _>(at)).join(" ")).collect()
    }

    /// How long deliveries took is the machine's affair.
    fn run(&self, arguments: &[&str]) -> String {
        let output = shown(&vaiven(self.path(), arguments, &[]));
        let lines = output.lines().map(|line| match line.strip_suffix(" (measured before)") {
            Some(row) => format!("{}  [time] (measured before)", row.rsplit_once("  ").unwrap().0.trim_end()),
            None => line.to_owned(),
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_before_the_first_run_shows_what_would_be_made_and_makes_no_state() {
    let place = Place::new().await;
    let before = std::fs::read(place.path().join("shop.db")).unwrap();
    insta::assert_snapshot!(place.run(&["plan"]));
    assert!(!place.path().join("state").exists());
    assert_eq!(std::fs::read(place.path().join("shop.db")).unwrap(), before);
    assert!(place.path().join("drop/customers_1.csv").exists(), "it is not picked up");
}

#[tokio::test(flavor = "multi_thread")]
async fn personal_data_is_shown_only_when_asked_for() {
    let place = Place::new().await;
    let plan = place.run(&["plan", "--all"]);
    assert!(plan.contains("(personal)") && !plan.contains("Uno SL"), "{plan}");
    let file = place.path().join("plan.json");
    place.run(&["plan", "--out", file.to_str().unwrap()]);
    assert!(!std::fs::read_to_string(&file).unwrap().contains("Uno SL"));
    assert!(place.run(&["plan", "--all", "--personal"]).contains("Uno SL"));
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_kept_plan_is_readable_by_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new().await;
    place.run(&["plan", "--out", "plan.json"]);
    let mode = std::fs::metadata(place.path().join("plan.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_applied_and_undone() {
    let place = Place::new().await;
    place.run(&["run", "--once"]);
    place.drop_file(2, "C-1,company,Uno SL,c\nC-2,person,Dos,c\nC-3,company,Tres SL,b\n");
    insta::assert_snapshot!("planned", place.run(&["plan", "--out", "plan.json"]));
    insta::assert_snapshot!("applied", place.run(&["apply", "plan.json"]));
    assert_eq!(place.customers().await, ["C-1 Uno SL c", "C-2 Dos c", "C-3 Tres SL b"]);
    insta::assert_snapshot!("applied_again", place.run(&["apply", "plan.json"]));
    let mut shop = place.shop().await;
    shop.execute("UPDATE customer SET grp = 'mine' WHERE code = 'C-2'").await.unwrap();
    shop.close().await.unwrap();
    let runs: Vec<serde_json::Value> =
        serde_json::from_slice(&vaiven(place.path(), &["undo", "--json"], &[]).stdout).unwrap();
    let run = runs[0]["id"].to_string();
    insta::assert_snapshot!("undone", place.run(&["undo", &run]));
    assert_eq!(place.customers().await, ["C-1 Uno SL a", "C-2 Dos mine", "C-3 Tres SL b"]);
    insta::assert_snapshot!("planned_after", place.run(&["plan", "--full"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_since_the_plan_is_refused_with_its_reason() {
    let place = Place::new().await;
    place.run(&["run", "--once"]);
    place.drop_file(2, "C-1,company,Uno SL,c\nC-2,person,Dos,c\nC-3,company,Tres SL,c\n");
    place.run(&["plan", "--out", "plan.json"]);
    place.drop_file(3, "C-1,company,Uno SL,d\nC-2,person,Dos,c\nC-3,company,Tres SL,c\nC-4,person,Cuatro,c\n");
    let mut shop = place.shop().await;
    shop.execute("UPDATE customer SET grp = 'mine' WHERE code = 'C-2'").await.unwrap();
    shop.close().await.unwrap();
    insta::assert_snapshot!(place.run(&["apply", "plan.json"]));
    assert_eq!(place.customers().await, ["C-1 Uno SL a", "C-2 Dos mine", "C-3 Tres SL c"]);
    place.run(&["run", "--once"]);
    assert_eq!(place.customers().await, ["C-1 Uno SL d", "C-2 Dos c", "C-3 Tres SL c", "C-4 Cuatro c"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_as_json_has_every_write() {
    let place = Place::new().await;
    let output = vaiven(place.path(), &["plan", "--json"], &[]);
    let plan: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&plan["plan"], &plan["kind"]), (&serde_json::json!(1), &serde_json::json!("delta")));
    assert_eq!(plan["targets"][0]["creates"], 2);
    let writes = plan["writes"].as_array().unwrap();
    let keys: BTreeSet<&str> = writes.iter().map(|one| one["key"].as_str().unwrap()).collect();
    assert_eq!((writes.len(), keys), (3, BTreeSet::from(["C-1", "C-2", "C-3"])));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_planned_applied_or_undone_is_reported() {
    let place = Place::new().await;
    insta::assert_snapshot!("no_such_flow", place.run(&["plan", "--flow", "peple"]));
    std::fs::write(place.path().join("other.json"), "{\"hello\": 1}").unwrap();
    insta::assert_snapshot!("no_plan", place.run(&["apply", "other.json"]));
    insta::assert_snapshot!("no_file", place.run(&["apply", "none.json"]));
    place.run(&["run", "--once"]);
    insta::assert_snapshot!("no_run", place.run(&["undo", "999"]));
}
