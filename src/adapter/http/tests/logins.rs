//! Refresh tokens that are valid for one use, and tokens with a short life.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize},
    time::Duration,
};

use secrecy::SecretString;

use super::*;
use crate::{
    failure::Class,
    port::logins::{LoginId, Renewal},
};

const CLOUD: &str = r#"
driver = "http"
summary = "A service with rotating refresh tokens"
[settings]
url = { kind = "url" }
refresh = { kind = "secret" }
[http]
base = "${url}"
rate = { per_minute = 6 }
auth = { oauth2 = { token_url = "/token", client_id = "me", client_secret = "s", refresh_token = "${refresh}" } }
[entities.product]
id = "id"
[entities.product.list]
get = "/p"
"#;

const SETTINGS: [(&str, &str, bool); 2] = [("url", "https://cloud.example", false), ("refresh", "refresh-0", true)];

/// Accepts each refresh token once. The answer shows which one was used.
fn rotating(life: u32) -> impl Fn(&Request) -> Answer + Send + Sync + Clone + 'static {
    let uses = Arc::new(AtomicUsize::new(0));
    move |request| {
        let number = uses.load(Ordering::SeqCst);
        if request.path() != "/token" {
            let good = header(request, "authorization") == Some(&format!("Bearer access-{number}"));
            return if good { reply(200, &json!([{ "id": 1 }])) } else { reply(401, &json!({})) };
        }
        let form = String::from_utf8_lossy(&request.body).into_owned();
        let shown = form.split('&').find_map(|pair| pair.strip_prefix("refresh_token=")).unwrap_or_default();
        if shown != format!("refresh-{number}") {
            return reply(400, &json!({ "error": "invalid_grant", "error_description": format!("{shown} is spent") }));
        }
        let next = uses.fetch_add(1, Ordering::SeqCst) + 1;
        let (access, refresh) = (format!("access-{next}"), format!("refresh-{next}"));
        reply(200, &json!({ "access_token": access, "refresh_token": refresh, "expires_in": life }))
    }
}

#[tokio::test]
async fn the_next_process_goes_on_with_the_refresh_token_that_the_last_one_was_given() {
    let (logins, service) = (Arc::new(InMemory::default()), rotating(3600));
    for _ in 0..3 {
        let (cloud, fake) = opened_keeping(CLOUD, &SETTINGS, logins.clone(), service.clone()).unwrap();
        assert_eq!(pull(&*cloud, "product", None, None).await.unwrap().rows.len(), 1);
        assert_eq!(fake.count("/token"), 1);
    }
}

#[tokio::test]
async fn two_processes_beside_each_other_never_show_one_refresh_token_twice() {
    let (logins, service) = (Arc::new(InMemory::default()), rotating(3600));
    let open = || opened_keeping(CLOUD, &SETTINGS, logins.clone(), service.clone()).unwrap().0;
    let (one, two) = (open(), open());
    for _ in 0..2 {
        // Each login ends the other's session. That session is renewed with the token that the other login got.
        for cloud in [&one, &two] {
            assert_eq!(pull(&**cloud, "product", None, None).await.unwrap().rows.len(), 1);
        }
    }
}

#[tokio::test]
async fn a_refresh_token_that_is_written_anew_wins_over_one_that_was_kept() {
    let logins = Arc::new(InMemory::default());
    let (cloud, _) = opened_keeping(CLOUD, &SETTINGS, logins.clone(), rotating(3600)).unwrap();
    pull(&*cloud, "product", None, None).await.unwrap();
    let issued = [SETTINGS[0], ("refresh", "issued-anew", true)];
    let (cloud, fake) = opened_keeping(CLOUD, &issued, logins, |_| reply(503, &json!({}))).unwrap();
    pull(&*cloud, "product", None, None).await.unwrap_err();
    let shown = String::from_utf8_lossy(&fake.seen.lock().unwrap()[0].body).into_owned();
    assert!(shown.contains("refresh_token=issued-anew"), "{shown}");
}

/// A place where nothing can be made durable for a while.
#[derive(Debug, Default)]
struct Full {
    inner: InMemory,
    is_full: Arc<AtomicBool>,
}

struct FullRenewal(Box<dyn Renewal>, Arc<AtomicBool>);

#[async_trait]
impl Logins for Full {
    fn refusal(&self) -> Option<String> {
        None
    }

    async fn renew(&self, system: &str, login: &LoginId, span: Duration) -> Result<Box<dyn Renewal>, Failure> {
        let inner = self.inner.renew(system, login, span).await?;
        Ok(Box::new(FullRenewal(inner, self.is_full.clone())))
    }
}

#[async_trait]
impl Renewal for FullRenewal {
    fn kept(&self) -> Option<&SecretString> {
        self.0.kept()
    }

    async fn keep(&mut self, token: &SecretString) -> Result<(), Failure> {
        if self.1.load(Ordering::SeqCst) {
            return Err(Failure::new(Class::Transient, "the disk is full"));
        }
        self.0.keep(token).await
    }

    async fn end(self: Box<Self>) {
        self.0.end().await;
    }
}

#[tokio::test]
async fn a_token_that_cannot_be_kept_is_not_used_and_not_lost() {
    let logins = Arc::new(Full::default());
    logins.is_full.store(true, Ordering::SeqCst);
    let (cloud, fake) = opened_keeping(CLOUD, &SETTINGS, logins.clone(), rotating(3600)).unwrap();
    for _ in 0..2 {
        let failure = pull(&*cloud, "product", None, None).await.unwrap_err();
        assert_eq!(failure.class, Class::Transient);
        assert!(failure.message.contains("the disk is full") && !failure.message.contains("refresh-1"), "{failure}");
    }
    assert_eq!(
        (fake.count("/token"), fake.count("/p")),
        (1, 0),
        "nothing is used, nothing is spent, before it is kept"
    );
    logins.is_full.store(false, Ordering::SeqCst);
    assert_eq!(pull(&*cloud, "product", None, None).await.unwrap().rows.len(), 1);
}

#[tokio::test]
async fn a_refused_refresh_token_is_reported_with_advice_and_never_shown() {
    let (logins, service) = (Arc::new(InMemory::default()), rotating(3600));
    let (cloud, _) = opened_keeping(CLOUD, &SETTINGS, logins.clone(), service).unwrap();
    pull(&*cloud, "product", None, None).await.unwrap();
    let refusing = |request: &Request| {
        let form = String::from_utf8_lossy(&request.body).into_owned();
        reply(400, &json!({ "error": "invalid_grant", "error_description": format!("spent: {form}") }))
    };
    let (cloud, _) = opened_keeping(CLOUD, &SETTINGS, logins, refusing).unwrap();
    let failure = pull(&*cloud, "product", None, None).await.unwrap_err();
    assert_eq!(failure.class, Class::Auth);
    assert!(failure.message.contains("spent: ") && failure.message.contains("newly issued"), "{failure}");
    assert!(!failure.message.contains("refresh-1") && !failure.message.contains("refresh-0"), "{failure}");
}

/// A place that stores nothing.
#[derive(Debug)]
struct Nowhere;

#[async_trait]
impl Logins for Nowhere {
    fn refusal(&self) -> Option<String> {
        Some("set a key".into())
    }

    async fn renew(&self, _: &str, _: &LoginId, _: Duration) -> Result<Box<dyn Renewal>, Failure> {
        Err(Failure::new(Class::Fatal, "never asked"))
    }
}

#[test]
fn a_login_with_a_refresh_token_is_refused_at_the_start_where_none_can_be_kept() {
    let open = |toml: &str| opened_keeping(toml, &SETTINGS, Arc::new(Nowhere), |_| reply(200, &json!([])));
    let error = open(CLOUD).err().unwrap().to_string();
    assert!(error.contains("system shop logs in with a refresh token") && error.ends_with("set a key"), "{error}");
    assert!(error.starts_with("memory.toml:10:"), "{error}");
    assert!(open(&CLOUD.replace(", refresh_token = \"${refresh}\"", "")).is_ok());
}

#[tokio::test]
async fn a_token_of_a_minute_is_used_for_most_of_it() {
    let (cloud, fake) = opened_keeping(CLOUD, &SETTINGS, Arc::new(InMemory::default()), rotating(60)).unwrap();
    // Six requests a minute, including logins.
    for _ in 0..10 {
        pull(&*cloud, "product", None, None).await.unwrap();
    }
    assert_eq!((fake.count("/p"), fake.count("/token")), (10, 2));
}

#[tokio::test]
async fn a_session_that_says_how_long_it_lasts_is_renewed_before_it_ends() {
    let toml = r#"
[http]
base = "${url}"
rate = { per_minute = 6 }
[http.auth.session]
login = { post = "/login", body = { user = "${user}" } }
capture = { token = "body.token" }
headers = { authorization = "Session ${token}" }
life = "body.seconds"
[entities.product]
id = "id"
[entities.product.list]
get = "/p"
"#;
    let count = |seconds: Value| async move {
        let (shop, fake) = system(toml, move |request| match request.path() {
            "/login" => reply(200, &json!({ "token": "hush-token", "seconds": seconds.clone() })),
            _ => reply(200, &json!([])),
        });
        for _ in 0..10 {
            pull(&*shop, "product", None, None).await.unwrap();
        }
        fake.count("/login")
    };
    assert_eq!(count(json!(60)).await, 2);
    assert_eq!(count(json!("60.0")).await, 2);
    let endless = json!("79228162514264337593543950335");
    for untold in [json!(null), json!(0), json!(-5), json!("soon"), endless] {
        assert_eq!(count(untold.clone()).await, 1, "{untold} is no length of time");
    }
}
