//! Secrets stay out of everything that is printed or kept.

use serde_json::json;

use super::{peer::serve, *};

const REST: &str = r#"
driver = "http"
summary = "Repeats what it was sent"
[settings]
url = { kind = "url" }
key = { kind = "secret" }
[http]
base = "${url}"
AUTH
[[http.errors]]
when = 'status == 400'
class = "rejected"
message = "${body.error}"
[entities.customer]
id = "id"
[entities.customer.list]
get = "/customers"
"#;

const MAPPING: &str = "key = \"code\"\n[fields]\ncode = \"code\"\nname = \"name\"\n";

/// Answers a login with a token and refuses everything else with the headers and the address that it was sent.
fn echoing() -> String {
    serve(|head, _| {
        if head.starts_with("POST /login") {
            (200, json!({ "token": "PLANTED-TOKEN-1" }))
        } else {
            (400, json!({ "error": format!("refused: {}", head.replace("\r\n", " ")) }))
        }
    })
}

#[test]
fn credentials_that_a_system_repeats_are_in_no_output_and_not_in_the_state_or_its_backup() {
    let base64_of_the_pair = "bWU6UExBTlRFRC1LRVktMTIz";
    let session = "[http.auth.session]\nlogin = { post = \"/login\", body = { k = \"x\" } }\ncapture = { token = \"body.token\" }\n\
        headers = { authorization = \"Bearer ${token}\", x-code = \"${base64(token)}\" }";
    for auth in [
        "auth = { basic = { user = \"me\", password = \"${key}\" } }",
        "auth = { query = { api_key = \"${key}\" } }",
        session,
    ] {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        file("adapters/rest.toml", &REST.replace("AUTH", auth));
        file("mappings/rest/customer.toml", MAPPING);
        let system = format!("adapter = \"rest\"\nurl = \"{}\"\nkey = {{ env = \"K\" }}", echoing());
        let config = CONFIG.replace("adapter = \"ferreteria-erp\"\nfile = \"erp.db\"", &system);
        file("vaiven.toml", &config);
        let mut all = String::new();
        for command in [
            &["run", "--once"][..],
            &["status"],
            &["status", "--json"],
            &["check"],
            &["backup", "copy.db"],
            &["jobs", "list"],
        ] {
            all += &shown(&vaiven(folder.path(), command, &[("K", "PLANTED-KEY-123"), ("VAIVEN_LOG", "trace")]));
        }
        assert!(all.contains("refused: ") && all.contains("***"), "{all}");
        let files = std::fs::read_dir(folder.path().join("state")).unwrap().map(|entry| entry.unwrap().path());
        for path in files.chain([folder.path().join("copy.db")]) {
            all += &String::from_utf8_lossy(&std::fs::read(path).unwrap());
        }
        for secret in ["PLANTED", base64_of_the_pair, "UExBTlRFRC1UT0tFTi0x"] {
            let at = all.find(secret);
            assert!(at.is_none(), "{auth}: {}", at.map_or("", |at| &all[at.saturating_sub(200)..at]));
        }
    }
}

#[test]
fn a_secret_under_a_mistyped_key_or_in_the_wrong_place_is_not_shown_by_the_error_that_names_it() {
    let erp = "file = \"erp.db\"\n";
    for wrong in [
        CONFIG.replace(erp, "file = \"erp.db\"\npasword = \"PLANTED\"\n"),
        CONFIG.replace(erp, "fil = \"erp.db\"\npasword = \"PLANTED\"\n"),
        CONFIG.replace(erp, "file = { env = \"PLANTED-VALUE\" }\n"),
        format!("pasword = \"PLANTED\"\n{CONFIG}"),
        format!("{CONFIG}password = \"PLANTED\"\n"),
        format!("{CONFIG}\n[store]\npassword = \"PLANTED\"\n"),
        CONFIG.replace(erp, "file = \"erp.db\"\npassword = PLANTED\n"),
    ] {
        for arguments in [&["check", "--offline"][..], &["check", "--offline", "--json"], &["run", "--once"]] {
            let output = said(&wrong, arguments, &[]);
            assert!(output.starts_with("exit 78\n") && !output.contains("PLANTED"), "{output}");
        }
    }
}
