//! Warns of credentials that cross a network readable for everybody.

use std::net::IpAddr;

use super::Layers;
use crate::{
    adapter::{SettingValue, Settings},
    config::SystemSection,
    load::Problem,
};

/// If a system's credentials are sent to another machine over plain http: the warning about it.
pub fn credentials(name: &str, section: &SystemSection, settings: &Settings, layers: &Layers) -> Option<Problem> {
    let is_secret = settings.iter().any(|(_, value)| matches!(value, SettingValue::Secret(_)));
    let (setting, host) = settings.plains().find_map(|(setting, value)| {
        let url = reqwest::Url::parse(value.as_str()?).ok()?;
        let host = url.host_str()?.to_owned();
        let is_open = url.scheme() == "http" && !is_this_machine(&host);
        (is_open && (is_secret || url.password().is_some())).then_some((setting, host))
    })?;
    let span = section.settings.iter().find(|(known, _)| known.get_ref() == setting).map(|(_, node)| node.span());
    Some(Problem {
        place: span.map_or_else(|| layers.start(), |span| layers.place(&span)),
        message: format!(
            "the credentials of system {name} go to {host} over plain http, for everybody on the way to read"
        ),
        help: Some(format!("write https:// in `{setting}`, or go through a tunnel or a proxy on this machine")),
    })
}

fn is_this_machine(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host == "localhost" || host.ends_with(".localhost") || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::{
        adapter::World,
        config::{Config, Variables},
        load::SourceFile,
    };

    fn warnings(url: &str) -> Vec<String> {
        let text = format!(
            "[systems.shop]\nadapter = \"woocommerce\"\nurl = \"{url}\"\nkey = {{ env = \"K\" }}\nsecret = {{ env = \"K\" }}\n"
        );
        let variables = Variables::from([("K".to_owned(), "PLANTED-KEY".to_owned())]);
        let config = Config::read(&SourceFile::new("vaiven.toml", text), Path::new("/nowhere"), variables).unwrap();
        let world = World {
            env: crate::env::Env::system(),
            transport: std::sync::Arc::new(crate::adapter::http::Network::new().unwrap()),
            folder: "/nowhere".into(),
            logins: std::sync::Arc::new(crate::port::logins::InMemory::default()),
        };
        config.open(&world).unwrap().warnings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn credentials_over_plain_http_to_another_machine_are_warned_of_once_with_advice() {
        let found = warnings("http://shop.example");
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("vaiven.toml:3:"), "{found:?}");
        assert!(
            found[0].contains("system shop go to shop.example over plain http") && found[0].contains("write https://")
        );
        assert!(!found[0].contains("PLANTED"));
        for safe in [
            "https://shop.example",
            "http://127.0.0.1:8787",
            "http://localhost",
            "http://[::1]:1",
            "http://a.localhost",
        ] {
            assert_eq!(warnings(safe), Vec::<String>::new(), "{safe}");
        }
    }
}
