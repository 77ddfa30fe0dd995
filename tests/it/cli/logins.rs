//! A service whose refresh tokens are good for one use, and programs that follow each other.

use serde_json::json;

use super::{peer::serve, *};

const CLOUD: &str = r#"
driver = "http"
summary = "A service with rotating refresh tokens"
[settings]
url = { kind = "url" }
refresh = { kind = "secret" }
[http]
base = "${url}"
auth = { oauth2 = { token_url = "/token", client_id = "me", client_secret = "s", refresh_token = "${refresh}" } }
[entities.customer]
id = "id"
[entities.customer.list]
get = "/customers"
"#;

const MAPPING: &str = "key = \"code\"\n[fields]\ncode = \"code\"\nname = \"name\"\n";

/// Takes each refresh token once.
fn rotating() -> String {
    let mut uses = 0;
    serve(move |head, body| {
        if !head.starts_with("POST /token") {
            let is_good = uses > 0 && head.contains(&format!("Bearer access-planted-{uses}"));
            return if is_good { (200, json!([])) } else { (401, json!({})) };
        }
        if !body.split('&').any(|pair| pair == format!("refresh_token=REFRESH-PLANTED-{uses}")) {
            return (400, json!({ "error": "invalid_grant" }));
        }
        uses += 1;
        let (access, refresh) = (format!("access-planted-{uses}"), format!("REFRESH-PLANTED-{uses}"));
        (200, json!({ "access_token": access, "refresh_token": refresh, "expires_in": 60 }))
    })
}

#[test]
fn every_program_goes_on_with_the_refresh_token_that_the_last_one_was_given() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    file("adapters/cloud.toml", CLOUD);
    file("mappings/cloud/customer.toml", MAPPING);
    let system = format!("adapter = \"cloud\"\nurl = \"{}\"\nrefresh = {{ env = \"R\" }}", rotating());
    file("vaiven.toml", &CONFIG.replace("adapter = \"ferreteria-erp\"\nfile = \"erp.db\"", &system));
    // The other side is not there, and none of this is about it.
    for command in [&["check"][..], &["run", "--once"], &["run", "--once"], &["plan"], &["check"]] {
        let output = shown(&vaiven(folder.path(), command, &[("R", "REFRESH-PLANTED-0")]));
        assert!(!output.contains("invalid_grant") && !output.contains("newly issued"), "{command:?}: {output}");
        assert!(!output.to_lowercase().contains("planted"), "{command:?}: {output}");
    }
    let backup = shown(&vaiven(folder.path(), &["backup", "copy.db"], &[("R", "REFRESH-PLANTED-0")]));
    assert!(backup.starts_with("exit 0\n"), "{backup}");
    let copy = std::fs::read(folder.path().join("copy.db")).unwrap();
    assert!(!String::from_utf8_lossy(&copy).contains("PLANTED"));
}
