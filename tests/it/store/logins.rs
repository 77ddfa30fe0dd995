//! Refresh tokens that the state keeps: one process at a time, sealed where others may read, never in a copy.

use std::{sync::Arc, time::Duration};

use secrecy::{ExposeSecret as _, SecretString};
use vaiven::internals::{
    env::Env,
    failure::Class,
    port::logins::{LoginId, Logins as _},
    store::{self, Keeper},
};

use super::backend::{Backend, LEASE, at, promises};

promises! {
    what_a_later_holder_of_the_lease_kept_is_not_written_over,
    a_starting_daemon_leaves_the_renewals_of_others_alone,
    the_next_process_reads_what_the_last_one_kept,
    who_renews_a_login_keeps_others_waiting,
    what_is_sealed_is_not_in_the_database_and_opens_with_its_own_key_alone,
}

const KEY: &str = "0123456789abcdef0123456789abcdef";
const SPAN: Duration = Duration::from_secs(30);

fn keeper(backend: &Backend, key: &str) -> Keeper {
    Keeper::new(backend.url.as_str().into(), Some(&key.into()), Env::system())
}

fn login() -> LoginId {
    LoginId::of("client", "R0")
}

async fn what_a_later_holder_of_the_lease_kept_is_not_written_over(backend: Backend) {
    let store = &backend.store;
    let slow = store.acquire("login:x", "a", LEASE, at(0)).await.unwrap().unwrap();
    let next = store.acquire("login:x", "b", LEASE, at(61)).await.unwrap().unwrap();
    assert_eq!(store.kept_login("login:x").await.unwrap(), None);
    assert!(store.keep_login(&slow, "cloud", "late", at(62)).await.unwrap(), "nobody has kept anything since");
    assert!(store.keep_login(&next, "cloud", "newer", at(63)).await.unwrap());
    assert!(!store.keep_login(&slow, "cloud", "late again", at(64)).await.unwrap());
    assert_eq!(store.kept_login("login:x").await.unwrap().as_deref(), Some("newer"));
    let other = store.acquire("login:y", "a", LEASE, at(65)).await.unwrap().unwrap();
    assert!(store.keep_login(&other, "cloud", "y", at(500 * 86_400)).await.unwrap());
    assert_eq!(store.kept_login("login:x").await.unwrap(), None, "what nobody has used for a season goes");
}

async fn a_starting_daemon_leaves_the_renewals_of_others_alone(backend: Backend) {
    let store = &backend.store;
    store.acquire("login:x", "a command", LEASE, at(0)).await.unwrap().unwrap();
    store.recover(at(1)).await.unwrap();
    assert_eq!(store.holder("login:x", at(1)).await.unwrap().as_deref(), Some("a command"));
}

async fn the_next_process_reads_what_the_last_one_kept(backend: Backend) {
    for (before, given) in [(None, "R1"), (Some("R1"), "R2"), (Some("R2"), "R3")] {
        let keeper = keeper(&backend, KEY);
        let mut renewal = keeper.renew("cloud", &login(), SPAN).await.unwrap();
        assert_eq!(renewal.kept().map(|kept| kept.expose_secret()), before);
        renewal.keep(&given.into()).await.unwrap();
        renewal.end().await;
    }
    let anew = keeper(&backend, KEY).renew("cloud", &LoginId::of("client", "issued anew"), SPAN).await.unwrap();
    assert!(anew.kept().is_none(), "a token written into the configuration wins");
}

async fn who_renews_a_login_keeps_others_waiting(backend: Backend) {
    let mut first = keeper(&backend, KEY).renew("cloud", &login(), SPAN).await.unwrap();
    let second = Arc::new(keeper(&backend, KEY));
    let waiting =
        tokio::spawn(async move { second.renew("cloud", &login(), SPAN).await.map(|renewal| token(renewal.kept())) });
    first.keep(&"R1".into()).await.unwrap();
    assert!(!waiting.is_finished());
    first.end().await;
    assert_eq!(waiting.await.unwrap().unwrap().as_deref(), Some("R1"), "it reads what was kept meanwhile");
    // A lease that nobody gives back runs out.
    let held = keeper(&backend, KEY).renew("cloud", &LoginId::of("client", "dies"), Duration::from_millis(300)).await;
    std::mem::forget(held.unwrap());
    keeper(&backend, KEY).renew("cloud", &LoginId::of("client", "dies"), Duration::from_millis(300)).await.unwrap();
}

fn token(kept: Option<&SecretString>) -> Option<String> {
    kept.map(|kept| kept.expose_secret().to_owned())
}

async fn what_is_sealed_is_not_in_the_database_and_opens_with_its_own_key_alone(backend: Backend) {
    const SQL: &str = "SELECT value FROM login";
    let mut renewal = keeper(&backend, KEY).renew("cloud", &login(), SPAN).await.unwrap();
    renewal.keep(&"PLANTED-REFRESH".into()).await.unwrap();
    renewal.end().await;
    let value: String = if backend.url.starts_with("sqlite") {
        let pool = sqlx::SqlitePool::connect(&backend.url).await.unwrap();
        sqlx::query_scalar(SQL).fetch_one(&pool).await.unwrap()
    } else {
        let pool = sqlx::PgPool::connect(&backend.url).await.unwrap();
        sqlx::query_scalar(SQL).fetch_one(&pool).await.unwrap()
    };
    assert!(value.starts_with("sealed:") && !value.contains("PLANTED"), "{value}");
    let other = keeper(&backend, "another key of thirty-two letters").renew("cloud", &login(), SPAN).await;
    let failure = other.err().unwrap();
    assert_eq!(failure.class, Class::Auth);
    assert!(failure.message.contains("another [store] key"), "{failure}");
    assert!(keeper(&backend, KEY).renew("cloud", &login(), SPAN).await.is_ok(), "the lease was given back");
}

#[test]
fn without_a_key_a_state_in_postgresql_keeps_no_token_and_says_what_to_set() {
    let keeper = |url: &str| Keeper::new(url.into(), None, Env::system());
    let refusal = keeper("postgres://vaiven@db/vaiven").refusal().unwrap();
    assert!(refusal.contains("under [store]") && refusal.contains("key = { env"), "{refusal}");
    assert_eq!(keeper("sqlite:///var/lib/vaiven/vaiven.db").refusal(), None);
}

#[cfg(unix)]
#[tokio::test]
async fn a_token_in_a_file_is_for_its_owner_alone_and_in_no_backup() {
    use std::os::unix::fs::PermissionsExt as _;
    let backend = Backend::sqlite().await;
    let keeper = Keeper::new(backend.url.as_str().into(), None, Env::system());
    let mut renewal = keeper.renew("cloud", &login(), SPAN).await.unwrap();
    renewal.keep(&"PLANTED-REFRESH".into()).await.unwrap();
    renewal.end().await;
    let folder = std::path::Path::new(backend.url.strip_prefix("sqlite://").unwrap()).parent().unwrap();
    let mut holding = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", path.display());
        holding += usize::from(holds(&path, "PLANTED-REFRESH"));
    }
    assert!(holding > 0, "it is kept");
    let copy = folder.join("copy.db");
    store::backup(&backend.url, &copy).await.unwrap();
    assert!(!holds(&copy, "PLANTED-REFRESH"), "not even in a page that is free");
    let scratch = store::copy(&backend.url, &Env::system()).await.unwrap();
    assert_eq!(scratch.store.kept_login(&format!("login:{}", login().as_str())).await.unwrap(), None);
    scratch.remove().await.unwrap();
}

fn holds(path: &std::path::Path, text: &str) -> bool {
    std::fs::read(path).unwrap().windows(text.len()).any(|window| window == text.as_bytes())
}

#[cfg(unix)]
#[tokio::test]
async fn a_state_that_others_may_read_is_taken_from_them_when_it_is_opened() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let url = format!("sqlite://{}", path.display());
    drop(store::open(&url).await.unwrap());
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let _store = store::open(&url).await.unwrap();
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{}", entry.path().display());
    }
}
