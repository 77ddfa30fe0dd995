//! The daemon ends when it is told to, whatever the systems do.

use std::{
    net::TcpListener,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

const ADAPTER: &str = r#"
driver = "http"
summary = "Says nothing"
[settings]
url = { kind = "url" }
[http]
base = "${url}"
timeout = "60s"
[entities.customer]
id = "id"
[entities.customer.list]
get = "/customers"
"#;

const MAPPING: &str = r#"
key = "code"
[fields]
code = "code"
name = "name"
"#;

const CONFIG: &str = r#"
[systems.silent]
adapter = "silent"
url = "http://ADDRESS"

[systems.erp]
adapter = "ferreteria-erp"
file = "erp.db"

[flows.customers]
entities = ["customer"]
from = "silent"
to = ["erp"]
every = "*/5 * * * *"
"#;

#[test]
fn sigterm_ends_a_daemon_gracefully_while_a_system_never_answers() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    file("adapters/silent.toml", ADAPTER);
    file("mappings/silent/customer.toml", MAPPING);
    file("vaiven.toml", &CONFIG.replace("ADDRESS", &listener.local_addr().unwrap().to_string()));
    let (asked, was_asked) = mpsc::channel();
    // Connections are taken and kept, and nothing is ever said.
    thread::spawn(move || {
        let mut kept = Vec::new();
        while let Ok(connection) = listener.accept() {
            kept.push(connection);
            if asked.send(()).is_err() {
                return;
            }
        }
    });
    let mut daemon = Command::new(env!("CARGO_BIN_EXE_vaiven"))
        .arg("run")
        .current_dir(folder.path())
        .env_clear()
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while was_asked.recv_timeout(Duration::from_millis(100)).is_err() {
        assert!(daemon.try_wait().unwrap().is_none(), "it ended by itself: {:?}", daemon.wait_with_output());
    }
    let signalled = Command::new("kill").args(["-TERM", &daemon.id().to_string()]).status().unwrap();
    assert!(signalled.success());
    let output = daemon.wait_with_output().unwrap();
    // After ten seconds it would have stopped at once, which is exit 1.
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let status = super::vaiven(folder.path(), &["status"], &[]);
    let status = String::from_utf8_lossy(&status.stdout).into_owned();
    let line = status.lines().find(|line| line.starts_with("silent")).unwrap();
    assert!(line.ends_with("ok"), "being stopped is nobody's failure: {line}");
}
