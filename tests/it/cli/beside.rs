//! What is done beside a running daemon: everything but carrying out what its state says.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use super::{remapping, shown, vaiven};

/// A daemon that is killed when the test ends.
struct Daemon(Child);

impl Daemon {
    fn start(folder: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vaiven"));
        let child =
            command.arg("run").current_dir(folder).env_clear().stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut daemon = Self(child.unwrap());
        let (lock, taken) = (folder.join("state/vaiven.db.lock"), format!("{}\n", daemon.0.id()));
        while fs::read_to_string(&lock).ok().as_ref() != Some(&taken) {
            assert!(daemon.0.try_wait().unwrap().is_none(), "it ended by itself");
            std::thread::park_timeout(Duration::from_millis(50));
        }
        daemon
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_at_a_time_carries_out_what_a_state_says_and_every_other_command_works_beside_it() {
    let folder = remapping::place().await;
    let run = |arguments: &[&str]| shown(&vaiven(folder.path(), arguments, &[]));
    assert!(run(&["plan", "--out", "agreed.plan"]).starts_with("exit 0"));

    let daemon = Daemon::start(folder.path());
    let named = format!("process {} is at work on the state", daemon.0.id());
    for arguments in [&["run"][..], &["run", "--once"], &["apply", "agreed.plan"]] {
        let output = run(arguments);
        assert!(output.starts_with("exit 1") && output.contains(&named), "{arguments:?}: {output}");
    }
    let beside: [&[&str]; 16] = [
        &["status"],
        &["plan"],
        &["undo"],
        &["resync", "people/customer/C-01"],
        &["backup", "copy.db"],
        &["explain", "customer", "C-01"],
        &["jobs", "list"],
        &["conflicts", "list"],
        &["differences"],
        &["links", "review"],
        &["rows", "list"],
        &["approve"],
        &["resume"],
        &["check"],
        &["mapping", "diff"],
        &["mapping", "test"],
    ];
    for arguments in beside {
        let output = run(arguments);
        assert!(output.starts_with("exit 0"), "{arguments:?}: {output}");
    }
    drop(daemon);
    assert!(run(&["run", "--once"]).starts_with("exit 0"), "a daemon that was killed is in nobody's way");
}
