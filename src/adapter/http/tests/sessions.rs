use super::*;
use crate::failure::Class;
use std::sync::atomic::AtomicUsize;

const SESSION: &str = r#"
[http]
base = "${url}"
headers = { accept = "application/json" }
[http.auth.session]
login = { post = "/login", body = { user = "${user}", password = "${password}" } }
capture = { token = "body.token" }
headers = { authorization = "Session ${token}" }
expired = "status == 401"
failed = 'body.token == ()'
[entities.product]
id = "id"
[entities.product.list]
get = "/products"
[entities.product.update]
put = "/products/${id}"
body = "${body}"
"#;

/// Gives tokens t1, t2...; `good` says which one is accepted.
fn guarded(good: impl Fn(usize, usize) -> bool + Send + Sync + 'static) -> impl Fn(&Request) -> Answer + Send + Sync {
    let logins = AtomicUsize::new(0);
    let calls = AtomicUsize::new(0);
    move |request| {
        if request.path() == "/login" {
            assert_eq!(body(request), json!({ "user": "ana", "password": "hush-hush" }));
            let number = logins.fetch_add(1, Ordering::SeqCst) + 1;
            return reply(200, &json!({ "token": format!("t{number}") }));
        }
        let call = calls.fetch_add(1, Ordering::SeqCst) + 1;
        if request.path() == "/" {
            return reply(404, &json!({}));
        }
        let token = header(request, "authorization").and_then(|value| value.strip_prefix("Session t")).unwrap();
        if good(call, token.parse().unwrap()) { reply(200, &json!([{ "id": 1 }])) } else { reply(401, &json!({})) }
    }
}

#[tokio::test]
async fn session_is_renewed_once_when_it_expires_in_mid_run() {
    let (shop, fake) = system(SESSION, guarded(|call, token| if call <= 2 { token == 1 } else { token == 2 }));
    for _ in 0..4 {
        assert_eq!(pull(&*shop, "product", None, None).await.unwrap().rows.len(), 1);
    }
    assert_eq!(fake.count("/login"), 2);
    assert_eq!(fake.count("/products"), 5);
}

#[tokio::test]
async fn requests_that_expire_together_share_one_login() {
    let (shop, fake) = system(SESSION, guarded(|_, token| token == 2));
    let writes = (1..=4).map(|job| write(job, Op::Update, json!({ "n": job }))).collect();
    let outcomes = shop.write("product", writes, &Saved::default()).await;
    assert!(outcomes.iter().all(|outcome| outcome.result.is_ok()), "{outcomes:?}");
    assert_eq!(fake.count("/login"), 2);
}

#[tokio::test]
async fn a_session_refused_right_after_login_is_an_error_of_credentials() {
    let (shop, fake) = system(SESSION, guarded(|_, _| false));
    let failure = pull(&*shop, "product", None, None).await.unwrap_err();
    assert_eq!(failure.class, Class::Auth);
    assert_eq!(fake.count("/products"), 2);
}

#[tokio::test]
async fn a_refused_login_is_reported_without_secrets_and_not_repeated_at_once() {
    let (shop, fake) = system(SESSION, |_| reply(403, &json!({ "message": "no user with password hush-hush" })));
    for _ in 0..3 {
        let failure = pull(&*shop, "product", None, None).await.unwrap_err();
        assert_eq!(failure.class, Class::Auth);
        assert!(!failure.to_string().contains("hush"), "{failure}");
    }
    assert_eq!(fake.count("/login"), 1);
    let checked = shop.check().await;
    assert_eq!(checked[0].problem, None);
    assert!(checked[1].problem.as_ref().is_some_and(|problem| problem.contains("/login: 403")), "{checked:?}");
}

#[tokio::test]
async fn a_check_walks_from_the_address_to_the_first_page() {
    let (shop, _) = system(SESSION, guarded(|_, _| true));
    let lines = shop.check().await;
    assert_eq!(
        lines.iter().map(|line| line.what.as_str()).collect::<Vec<_>>(),
        ["something answers at the address", "login", "product can be listed"]
    );
    assert!(lines.iter().all(|line| line.problem.is_none()), "{lines:?}");
    let (down, _) = system(SESSION, |_| Err(TransportError::NotSent("refused".into())));
    let lines = down.check().await;
    assert_eq!(lines.len(), 1);
    assert!(lines[0].problem.as_ref().is_some_and(|problem| problem.contains("no connection")), "{lines:?}");
}

fn with_auth(auth: &str) -> String {
    format!(
        "[http]\nbase = \"${{url}}\"\nauth = {auth}\n[entities.product]\nid = \"id\"\n[entities.product.list]\nget = \"/p\"\n"
    )
}

#[tokio::test]
async fn every_kind_of_credentials_reaches_the_system() {
    let first = |auth: &str| {
        let (shop, fake) = system(&with_auth(auth), |_| reply(200, &json!([])));
        async move {
            pull(&*shop, "product", None, None).await.unwrap();
            fake.seen.lock().unwrap()[0].clone()
        }
    };
    let request = first("{ basic = { user = \"${user}\", password = \"${password}\" } }").await;
    assert_eq!(header(&request, "authorization"), Some("Basic YW5hOmh1c2gtaHVzaA=="));
    let request = first("{ bearer = \"${password}\" }").await;
    assert_eq!(header(&request, "authorization"), Some("Bearer hush-hush"));
    let request = first("{ header = { name = \"X-Api-Key\", value = \"${password}\" } }").await;
    assert_eq!(header(&request, "x-api-key"), Some("hush-hush"));
    let request = first("{ query = { key = \"${password}\" } }").await;
    assert_eq!(query(&request, "key").as_deref(), Some("hush-hush"));
    let request = first("{ oauth1 = { consumer_key = \"${user}\", consumer_secret = \"${password}\" } }").await;
    let value = header(&request, "authorization").unwrap();
    assert!(value.starts_with("OAuth oauth_consumer_key=\"ana\"") && value.contains("oauth_signature="), "{value}");
    assert!(value.contains("oauth_timestamp=\"1782900000\""), "{value}");
}

#[tokio::test]
async fn a_token_is_fetched_once_and_again_before_it_ends() {
    let toml =
        with_auth("{ oauth2 = { token_url = \"/token\", client_id = \"${user}\", client_secret = \"${password}\" } }")
            .replace("[entities.product]", "rate = { per_minute = 1 }\n[entities.product]");
    let count = AtomicUsize::new(0);
    let (shop, fake) = system(&toml, move |request| {
        if request.path() == "/token" {
            let form = String::from_utf8_lossy(&request.body).into_owned();
            assert_eq!(form, "client_id=ana&client_secret=hush-hush&grant_type=client_credentials");
            let number = count.fetch_add(1, Ordering::SeqCst);
            return reply(200, &json!({ "access_token": format!("a{number}"), "expires_in": 240 }));
        }
        assert!(header(request, "authorization").unwrap().starts_with("Bearer a"));
        reply(200, &json!([]))
    });
    // One request a minute: a token is valid for three of them.
    for _ in 0..5 {
        pull(&*shop, "product", None, None).await.unwrap();
    }
    assert_eq!(fake.count("/p"), 5);
    assert_eq!(fake.count("/token"), 2);
}

#[tokio::test]
async fn credentials_that_a_system_repeats_in_any_form_are_masked() {
    let refusing = |request: &Request| {
        let given = header(request, "authorization").unwrap_or_default().to_owned();
        reply(400, &json!({ "message": format!("{given} may not list") }))
    };
    let (shop, _) = system(&with_auth("{ basic = { user = \"${user}\", password = \"${password}\" } }"), refusing);
    let failure = pull(&*shop, "product", None, None).await.unwrap_err();
    assert!(failure.message.contains("Basic *** may not list"), "{failure}");

    let (shop, _) = system(SESSION, move |request| match request.path() {
        "/login" => reply(200, &json!({ "token": "PLANTED-TOKEN" })),
        _ => refusing(request),
    });
    let failure = pull(&*shop, "product", None, None).await.unwrap_err();
    assert!(failure.message.contains("Session *** may not list"), "{failure}");
    let outcomes = shop.write("product", vec![write(1, Op::Update, json!({}))], &Saved::default()).await;
    let failure = outcomes[0].result.as_ref().unwrap_err();
    assert!(failure.message.contains("Session *** may not list"), "{failure}");
}

#[tokio::test]
async fn a_secret_is_taken_out_before_a_message_is_cut() {
    let long = "x".repeat(295);
    let (shop, _) = system(&with_auth("{ bearer = \"${password}\" }"), move |_| {
        reply(400, &json!({ "message": format!("{long} hush-hush") }))
    });
    let failure = pull(&*shop, "product", None, None).await.unwrap_err();
    assert!(!failure.message.contains("hus"), "{failure}");
}
