use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Adapter {
    #[expect(dead_code, reason = "only its reading is tested")]
    driver: Driver,
    #[serde(default)]
    #[expect(dead_code, reason = "only its reading is tested")]
    entities: BTreeMap<String, Entity>,
    body: Option<Spanned<Node>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Driver {
    Http,
    Sql,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its reading is tested")]
struct Entity {
    query: Option<String>,
    max: Option<u32>,
}

fn problem(text: &str) -> String {
    parse::<Adapter>(&SourceFile::new("a.toml", text)).unwrap_err().to_string()
}

#[test]
fn an_unknown_key_is_refused_with_its_place_and_the_word_meant() {
    assert_eq!(
        problem("driver = \"http\"\n[entities.product]\nquerry = \"x\"\n"),
        "a.toml:3:1: unknown key `querry`, did you mean `query`?"
    );
    assert_eq!(
        problem("driver = \"http\"\n[entities.product]\nzzzzz = \"x\"\n"),
        "a.toml:3:1: unknown key `zzzzz`, known here: `query`, `max`"
    );
}

#[test]
fn an_unknown_variant_is_refused_with_the_word_meant() {
    assert_eq!(problem("driver = \"htpp\"\n"), "a.toml:1:11: unknown value `htpp`, did you mean `http`?");
}

#[test]
fn a_wrong_type_a_missing_key_and_bad_syntax_name_their_place() {
    assert_eq!(
        problem("driver = \"http\"\n[entities.product]\nmax = \"x\"\n"),
        "a.toml:3:7: invalid type: string \"x\", expected u32"
    );
    assert_eq!(problem("entities = {}\n"), "a.toml:1:1: missing key `driver`");
    assert!(problem("driver = \n").starts_with("a.toml:1:"), "{}", problem("driver = \n"));
}

#[test]
fn free_form_parts_know_the_place_of_every_leaf() {
    let file = SourceFile::new("a.toml", "driver = \"sql\"\n[body]\na = [1, { b = \"ñ${x}\" }]\nd = 2020-01-01\n");
    let adapter: Adapter = parse(&file).unwrap();
    let body = adapter.body.unwrap();
    assert_eq!(body.as_ref().to_json(), serde_json::json!({ "a": [1, { "b": "ñ${x}" }], "d": "2020-01-01" }));
    let Node::Table(top) = body.as_ref() else { panic!() };
    let Node::List(list) = top["a"].as_ref() else { panic!() };
    let Node::Table(inner) = list[1].as_ref() else { panic!() };
    let place = Place::of(&file, &inner["b"]);
    assert_eq!(place.to_string(), "a.toml:3:15");
    assert_eq!(place.inside("ñ${x}", 2..6).to_string(), "a.toml:3:17");
}

#[test]
fn a_binary_float_is_refused_with_what_to_write_instead() {
    let message = problem("driver = \"sql\"\nbody = { a = 1.5 }\n");
    assert!(message.starts_with("a.toml:2:14: binary floats are not exact"), "{message}");
}

#[test]
fn a_problem_is_drawn_with_an_underline() {
    let error = parse::<Adapter>(&SourceFile::new("a.toml", "driver = \"http\"\nbdy = 1\n")).unwrap_err();
    let mut drawn = String::new();
    miette::GraphicalReportHandler::new_themed(miette::GraphicalTheme::unicode_nocolor())
        .render_report(&mut drawn, &error)
        .unwrap();
    assert!(drawn.contains("unknown key `bdy`") && drawn.contains("a.toml:2:1") && drawn.contains("─┬─"), "{drawn}");
}
