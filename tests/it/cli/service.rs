//! The systemd unit: what its documented install leaves is what it names.

use super::*;

const UNIT: &str = include_str!("../../../systemd/vaiven.service");

fn settings(name: &str) -> Vec<&str> {
    UNIT.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('=')).collect()
}

#[test]
fn the_configuration_that_the_unit_names_exists_after_the_documented_install_and_is_sound() {
    let root = tempfile::tempdir().unwrap();
    let etc = root.path().join("etc").display().to_string();
    let commands = UNIT.lines().filter_map(|line| line.strip_prefix("#   "));
    let mut ran = 0;
    for command in commands.filter(|command| command.contains("/etc/vaiven")) {
        let command = command.replace("/etc/vaiven", &format!("{etc}/vaiven"));
        let done = Command::new("sh").args(["-ec", &command]).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
        assert!(done.status.success(), "{command}: {}", String::from_utf8_lossy(&done.stderr));
        ran += 1;
    }
    assert!(ran >= 3);
    let [start] = settings("ExecStart")[..] else { panic!("one ExecStart") };
    let (_, named) = start.split_once("--config /etc").unwrap();
    let config = format!("{etc}{named}");
    let text = std::fs::read_to_string(&config).unwrap();
    let [state] = settings("StateDirectory")[..] else { panic!("one StateDirectory") };
    assert!(text.contains(&format!("\nurl = \"sqlite:///var/lib/{state}/")), "the state lies in the unit's own folder");
    let secrets = [("ERP_PASSWORD", "p"), ("SHOP_KEY", "k"), ("SHOP_SECRET", "s")];
    let output = shown(&vaiven(root.path(), &["check", "--offline", "--config", &config], &secrets));
    assert!(output.starts_with("exit 0\n"), "{output}");
}

#[test]
fn systemd_does_not_restart_what_no_start_can_correct_and_leaves_no_core_of_secrets() {
    let prevented: Vec<&str> = settings("RestartPreventExitStatus").iter().flat_map(|codes| codes.split(' ')).collect();
    let wrong = said(&CONFIG.replace("every", "evry"), &["run"], &[]);
    let code = wrong.lines().next().unwrap().strip_prefix("exit ").unwrap();
    assert!(code == "78" && prevented.contains(&code), "{wrong}");
    let typed = said(CONFIG, &["run", "--unknown"], &[]);
    assert!(prevented.contains(&typed.lines().next().unwrap().strip_prefix("exit ").unwrap()), "{typed}");
    assert_eq!(settings("LimitCORE"), ["0"]);
    assert_eq!(settings("MemoryMax").len(), 1);
}

#[test]
fn whatever_is_wrong_with_the_configuration_ends_with_the_same_code() {
    let code = |config: &str, variables: &[(&str, &str)]| {
        said(config, &["run", "--once"], variables).lines().next().map(str::to_owned)
    };
    for (what, config, variables) in [
        ("a secret that is not set", format!("[store]\nurl = {{ env = \"NONE\" }}\n{CONFIG}"), &[][..]),
        ("a store of no kind that there is", format!("[store]\nurl = \"mysql://db/x\"\n{CONFIG}"), &[][..]),
        ("no TOML", format!("{CONFIG}\n = 1"), &[][..]),
        ("no log level", CONFIG.to_owned(), &[("VAIVEN_LOG", "vaiven=nonsense")][..]),
    ] {
        assert_eq!(code(&config, variables).as_deref(), Some("exit 78"), "{what}");
    }
    let folder = tempfile::tempdir().unwrap();
    assert!(shown(&vaiven(folder.path(), &["run"], &[])).starts_with("exit 78\n"), "no configuration at all");
    assert!(
        said(CONFIG, &["run", "--resync", "custmers"], &[]).starts_with("exit 1\n"),
        "a mistyped word is none of it"
    );
}
