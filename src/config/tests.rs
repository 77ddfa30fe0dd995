use secrecy::ExposeSecret as _;

use super::*;

const FILE: &str = r#"
[systems.erp]
adapter = "tryton"
url = "https://erp.example.es"
password = { env = "ERP_PASSWORD" }

[systems.shop-es]
adapter = "woocommerce"
url = "https://tienda.example.es"

[flows.catalog]
entities = ["product"]
from = "erp"
to = ["shop-es"]
every = "*/5 * * * *"
where = 'active && "web" in tags'
"#;

fn read(text: &str, variables: &[(&str, &str)]) -> Result<Config, LoadError> {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Config::read(&SourceFile::new("vaiven.toml", text), Path::new("/etc/vaiven"), variables)
}

fn refused(text: &str, variables: &[(&str, &str)]) -> String {
    read(text, variables).unwrap_err().to_string()
}

#[test]
fn the_environment_lies_over_the_file() {
    let config = read(
        FILE,
        &[
            ("VAIVEN__SYSTEMS__SHOP_ES__URL", "https://other.example"),
            ("VAIVEN__SYSTEMS__SHOP_ES__PIN", "007"),
            ("VAIVEN__LIMITS__LEASE", "90s"),
            ("VAIVEN__FLOWS__CATALOG__TO", "[\"shop-es\", \"crm\"]"),
            ("VAIVEN_CONFIG", "x"),
        ],
    )
    .unwrap();
    let shop = &config.sections.systems["shop-es"];
    assert_eq!(shop.settings["url"].get_ref(), &Node::Text("https://other.example".into()));
    assert_eq!(shop.settings["pin"].get_ref(), &Node::Text("007".into()), "settings keep their text");
    assert!(config.layers.is_variable(&shop.settings["url"].span()));
    assert_eq!(config.sections.limits.limits().lease.as_secs(), 90);
    assert_eq!(config.sections.flows["catalog"].to.len(), 2);
    assert_eq!(config.sections.systems.len(), 2);
}

#[test]
fn an_unknown_key_is_refused_with_its_place_and_the_word_meant() {
    let error = refused(&FILE.replace("every", "evry"), &[]);
    assert!(error.starts_with("vaiven.toml:15:1: unknown key `evry`, did you mean `every`?"), "{error}");
}

#[test]
fn a_wrong_variable_is_reported_by_its_name() {
    let error = refused(FILE, &[("VAIVEN__LIMITS__LEESE", "90s")]);
    assert!(error.starts_with("environment variable VAIVEN__LIMITS__LEESE:1:1: unknown key `leese`"), "{error}");
    let error = refused(FILE, &[("VAIVEN__LIMITS__LEASE", "ninety")]);
    assert!(error.contains("VAIVEN__LIMITS__LEASE:1:1: a length of time is written like"), "{error}");
    let error = refused(FILE, &[("VAIVEN__FLOWS__CATALOG__FROM__X", "1")]);
    assert!(error.contains("`from` is a single value"), "{error}");
}

#[test]
fn a_message_never_shows_a_secret_that_stands_in_the_file() {
    let text = FILE.replace("{ env = \"ERP_PASSWORD\" }", "\"hush\" oops");
    let error = read(&text, &[]).unwrap_err();
    assert!(!error.problems[0].place.file.text.contains("hush"));
}

#[test]
fn no_message_shows_the_value_of_a_key_that_nobody_knows_or_that_stands_in_the_wrong_place() {
    let wrong = [
        ("pasword = \"hush\"\n", ""),
        ("", "pasword = \"hush\"\n"),
        ("", "[store]\nkee = \"hush\"\n"),
        ("", "[limits]\npassword = \"hush\"\n"),
        ("", "[systems.crm]\nadaptr = \"x\"\npasword = \"hush\"\n"),
        ("", "[systems.crm]\nadapter = \"x\"\nlimits = \"hush\"\n"),
        ("limits = \"hush\"\n", ""),
    ];
    for (before, after) in wrong {
        let error = read(&format!("{before}{FILE}{after}"), &[]).unwrap_err();
        let whole = format!("{error} {}", error.problems[0].place.file.text);
        assert!(!whole.contains("hush"), "{whole}");
    }
    let error = refused(FILE, &[("VAIVEN__SYSTEMS__ERP__LIMITS", "hush")]);
    assert!(error.contains("invalid type: string, expected") && !error.contains("hush"), "{error}");
}

#[test]
fn the_key_of_the_state_is_long_and_kept_outside_of_the_file() {
    let key = |text: &str, variables: &[(&str, &str)]| read(text, variables).unwrap().store_key();
    let from_variable = "[store]\nkey = { env = \"K\" }\n";
    let long = "0123456789abcdef0123456789abcdef";
    assert_eq!(key(from_variable, &[("K", long)]).unwrap().unwrap().expose_secret(), long);
    assert!(key("", &[]).unwrap().is_none());
    assert!(key("", &[("VAIVEN__STORE__KEY", long)]).unwrap().is_some());
    let short = key(from_variable, &[("K", "hush")]).unwrap_err().to_string();
    assert!(short.contains("shorter than 32 characters") && !short.contains("hush"), "{short}");
    let plain = key(&format!("[store]\nkey = \"{long}\"\n"), &[]).unwrap_err().to_string();
    assert!(plain.contains("kept outside of the file") && !plain.contains(long), "{plain}");
    assert!(key(from_variable, &[]).unwrap_err().to_string().contains("K is not set"));
}

#[test]
fn the_state_file_lies_beside_the_configuration() {
    assert_eq!(read("", &[]).unwrap().store_url().unwrap().expose_secret(), "sqlite:///etc/vaiven/state/vaiven.db");
    let config = read("[store]\nurl = { env = \"DB\" }", &[("DB", "postgres://u:p@db/x")]).unwrap();
    assert_eq!(config.store_url().unwrap().expose_secret(), "postgres://u:p@db/x");
    let error = read("[store]\nurl = { env = \"DB\" }", &[]).unwrap().store_url().unwrap_err().to_string();
    assert_eq!(error, "vaiven.toml:2:7: environment variable DB is not set");
}

#[test]
fn a_mistyped_adapter_is_named_with_its_line() {
    let error = refused(&FILE.replace("adapter = \"woocommerce\"", "url2 = \"x\"\nadaptr = \"woocommerce\""), &[]);
    assert_eq!(error, "vaiven.toml:9:1: unknown key `adaptr`, did you mean `adapter`?");
    let error = refused(&FILE.replace("adapter = \"woocommerce\"", ""), &[]);
    assert!(error.starts_with("vaiven.toml:7:") && error.contains("missing key `adapter`"), "{error}");
}

#[test]
fn a_log_level_that_is_none_is_refused_with_the_one_meant() {
    let error = refused("[log]\nlevel = \"inf\"", &[]);
    assert_eq!(error, "vaiven.toml:2:9: unknown log level `inf`, did you mean `info`?");
    assert!(refused("[log]\nlevel = \"info,vaiven::sync=loud\"", &[]).contains("unknown log level `loud`"));
    assert!(refused("", &[("VAIVEN__LOG__LEVEL", "wran")]).contains("did you mean `warn`?"));
    assert!(read("[log]\nlevel = \"INFO,vaiven::sync=debug\"", &[]).is_ok());
}
