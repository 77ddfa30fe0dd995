//! What people see on the command line, by running the program itself.

mod asking;
mod beside;
mod brakes;
mod catalog;
mod checking;
mod custom;
mod dates;
mod decoding;
mod explaining;
mod exposing;
mod linking;
mod logins;
mod office;
mod owners;
mod peer;
mod people;
mod planning;
mod remapping;
mod sales;
mod service;
mod stopping;
mod troubles;

use std::{
    path::Path,
    process::{Command, Output},
};

const CONFIG: &str = r#"
[systems.erp]
adapter = "ferreteria-erp"
file = "erp.db"

[systems.copy]
adapter = "ferreteria-erp"
file = "copy.db"

[flows.customers]
entities = ["customer"]
from = "erp"
to = ["copy"]
every = "*/5 * * * *"
"#;

/// Runs `vaiven` in a folder with this configuration and an environment of its own.
fn vaiven(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vaiven"))
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

/// Exit code, then what was printed on both streams.
fn said(config: &str, arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("vaiven.toml"), config).unwrap();
    shown(&vaiven(folder.path(), arguments, variables))
}

fn shown(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("exit {}\n{out}{err}", output.status.code().unwrap_or(-1))
}

#[test]
fn a_sound_configuration_is_told_in_one_table() {
    insta::assert_snapshot!(said(CONFIG, &["check", "--offline"], &[]));
}

#[test]
fn everything_that_is_wrong_is_told_at_once_with_its_line() {
    let config = CONFIG
        .replace("to = [\"copy\"]", "to = [\"copi\"]")
        .replace("*/5 * * * *", "5 * * *")
        .replace("file = \"erp.db\"", "fil = \"erp.db\"");
    insta::assert_snapshot!(said(&config, &["check", "--offline"], &[]));
}

#[test]
fn a_key_that_nobody_knows_is_told_with_the_word_meant() {
    insta::assert_snapshot!(said(&CONFIG.replace("every", "evry"), &["check", "--offline"], &[]));
}

#[test]
fn an_entity_the_adapter_does_not_know_is_told_at_the_flow() {
    insta::assert_snapshot!(said(
        &CONFIG.replace("[\"customer\"]", "[\"customer\", \"ticket\"]"),
        &["check", "--offline"],
        &[]
    ));
}

#[test]
fn a_target_that_cannot_write_is_told_at_the_flow() {
    insta::assert_snapshot!(said(&CONFIG.replace("[\"customer\"]", "[\"product\"]"), &["check", "--offline"], &[]));
}

#[test]
fn what_a_flow_says_of_owners_and_conflicts_is_checked_at_its_place() {
    let wrong = "owners = { \"customer.name\" = \"shred\" }\ndrift = { customer = \"repar\" }\n\
        conflicts = { \"customer.nme\" = \"manual\", \"customer.name\" = \"prefer epr\", customer = \"newest\" }\n";
    let config = format!("{CONFIG}{wrong}");
    insta::assert_snapshot!(said(&config, &["check", "--offline"], &[]));
}

/// Stock of an ERP's exports for a shop, with what the flow says of it.
fn stock(says: &str) -> String {
    format!(
        "[systems.exports]\nadapter = \"ferreteria-files\"\nfolder = \"drop\"\n\n[systems.shop]\nadapter = \"woocommerce\"\n\
        url = \"http://127.0.0.1:1\"\nkey = {{ env = \"K\" }}\nsecret = {{ env = \"K\" }}\n\n[flows.stock]\nentities = [\"stock\"]\n\
        from = \"exports\"\nto = [\"shop\"]\nstock = {says}\n"
    )
}

#[test]
fn what_a_flow_says_of_stock_is_checked_at_its_place() {
    let wrong = r#"{ buffer = "-1", locations = ["CEN", "TIE", "CEN"], quantity = "on_hnd - 1" }"#;
    insta::assert_snapshot!(said(&stock(wrong), &["check", "--offline"], &[("K", "k")]));
}

#[test]
fn what_a_flow_says_of_states_and_of_lines_without_an_article_is_checked_at_its_place() {
    let sells = "\n[flows.sales]\nentities = [\"customer\", \"order\"]\nfrom = \"shop\"\nto = [\"exports\"]\n";
    let says = "states = { customer = [\"paid\"], order = [\"payd\"] }\nwithout_article = { order = \"drop\" }\n";
    let output = said(&(stock("{ buffer = 1 }") + sells + says), &["check", "--offline"], &[("K", "k")]);
    for word in ["entity `customer` has no states", "unknown state `payd`", "unknown value `drop`"] {
        assert!(output.contains(word), "{word}: {output}");
    }
}

#[test]
fn orders_in_flight_need_a_flow_that_brings_them() {
    let wrong = "{ in_flight = true }";
    insta::assert_snapshot!(said(&stock(wrong), &["check", "--offline"], &[("K", "k")]));
}

#[test]
fn stock_is_said_only_of_a_flow_that_carries_it() {
    let config = format!("{CONFIG}stock = {{ buffer = 2 }}\n");
    insta::assert_snapshot!(said(&config, &["check", "--offline"], &[]));
}

#[test]
fn a_shared_field_without_a_way_back_is_told_at_the_flow() {
    let config = format!("{CONFIG}owners = {{ \"customer.name\" = \"shared\" }}\n");
    insta::assert_snapshot!(said(&config, &["check", "--offline"], &[]));
}

#[test]
fn a_system_may_not_have_the_name_of_what_nobody_owns() {
    let config = CONFIG.replace("[systems.copy]", "[systems.shared]").replace("[\"copy\"]", "[\"shared\"]");
    insta::assert_snapshot!(said(&config, &["check", "--offline"], &[]));
}

#[test]
fn a_wrong_variable_is_told_by_its_name() {
    let variables = [("VAIVEN__FLOWS__CUSTOMERS__FROM", "epr")];
    insta::assert_snapshot!(said(CONFIG, &["check", "--offline"], &variables));
}

#[test]
fn errors_are_json_for_programs() {
    let config = CONFIG.replace("evry", "every").replace("from = \"erp\"", "from = \"epr\"");
    insta::assert_snapshot!(said(&config, &["check", "--offline", "--json"], &[]));
}

#[test]
fn looking_at_a_state_that_is_not_there_makes_none() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("vaiven.toml"), CONFIG).unwrap();
    let output = shown(&vaiven(folder.path(), &["status"], &[]));
    assert!(output.starts_with("exit 1\n") && output.contains("`vaiven run` makes it"), "{output}");
    assert!(!folder.path().join("state").exists());
}

#[test]
fn without_a_configuration_it_is_said_where_one_is_looked_for() {
    let folder = tempfile::tempdir().unwrap();
    insta::assert_snapshot!(shown(&vaiven(folder.path(), &["run"], &[])));
}

#[test]
fn a_scope_that_does_not_exist_is_refused_before_anything_is_done() {
    insta::assert_snapshot!(said(CONFIG, &["run", "--resync", "custmers/customer"], &[]));
}

#[test]
fn a_secret_that_is_not_set_is_told_by_its_variable() {
    let config = "[store]\nurl = { env = \"STORE_URL\" }\n".to_owned() + CONFIG;
    insta::assert_snapshot!(said(&config, &["status"], &[]));
}

#[test]
fn the_reference_in_the_docs_is_what_the_program_says() {
    let folder = tempfile::tempdir().unwrap();
    let output = vaiven(folder.path(), &["reference"], &[]);
    let written = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/cli.md")).unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        written,
        "docs/cli.md is out of date: cargo run -- reference > docs/cli.md"
    );
}

#[test]
fn every_schema_is_json() {
    let folder = tempfile::tempdir().unwrap();
    let names = vaiven(folder.path(), &["schema", "--json"], &[]);
    let names: Vec<String> = serde_json::from_slice(&names.stdout).unwrap();
    assert!(names.len() >= 14, "{names:?}");
    for name in names {
        let output = vaiven(folder.path(), &["schema", &name], &[]);
        let schema: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(schema.is_object(), "{name}");
    }
}
