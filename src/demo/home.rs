//! The folder of a demo: its databases, the files it drops, and a configuration to look at.

use std::{
    fs::{self, File, TryLockError},
    io::Write as _,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use tokio::net::TcpListener;

/// Template of `vaiven.toml`.
const CONFIGURATION: &str = include_str!("../../config/demo.toml");
/// The key with which the daemon logs in at the shop.
pub const KEY: &str = "ck_demo";
pub const SECRET: &str = "cs_demo";
const STORE: &str = "url = \"sqlite://state/vaiven.db\"";
const EXAMPLE_ADDRESS: &str = "http://127.0.0.1:8787";

/// A demo's folder. It is locked until this is dropped.
#[derive(Debug)]
pub struct Home {
    folder: PathBuf,
    _lock: File,
}

impl Home {
    /// Open the folder, and create it if it does not exist.
    ///
    /// # Errors
    /// If it holds something else, another demo uses it, or it cannot be written.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        let lock = folder.join("demo.lock");
        let strange = folder.is_dir() && !lock.exists() && fs::read_dir(folder)?.next().is_some();
        if strange {
            bail!("{} is not empty and not a demo's folder; name another with --dir", folder.display());
        }
        fs::create_dir_all(folder.join("state")).with_context(|| format!("cannot make {}", folder.display()))?;
        fs::create_dir_all(folder.join("drop"))?;
        let lock = File::create(&lock).with_context(|| format!("cannot write {}", lock.display()))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { folder: folder.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => bail!("another demo is at work in {}", folder.display()),
            Err(TryLockError::Error(error)) => Err(error).context("cannot lock the demo's folder"),
        }
    }

    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Choose a free address for the shop, the previous one if it is still free, and write the configuration with
    /// it. `store` is the address of the state if it should not be a file in the folder.
    ///
    /// # Errors
    /// If no address can be listened on, or the configuration cannot be written.
    pub async fn prepare(&self, store: Option<&str>) -> anyhow::Result<TcpListener> {
        let file = self.path("vaiven.toml");
        let before = fs::read_to_string(&file).ok().as_deref().and_then(port);
        let listener = match before {
            Some(port) => TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await.ok(),
            None => None,
        };
        let listener = match listener {
            Some(listener) => listener,
            None => TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.context("no free port")?,
        };
        private(&self.path("state/shop.key"))?.write_all(KEY.as_bytes())?;
        private(&self.path("state/shop.secret"))?.write_all(SECRET.as_bytes())?;
        // The first line names the schema by a path that exists only in the source tree.
        let written = CONFIGURATION.split_once('\n').map_or("", |(_, rest)| rest);
        let mut text = written.replace(EXAMPLE_ADDRESS, &format!("http://{}", listener.local_addr()?));
        if let Some(store) = store {
            text = text.replace(STORE, &format!("url = {}", toml::Value::from(store)));
        }
        let draft = self.path("vaiven.toml.tmp");
        // The address of a state store may contain a password.
        let mut new = private(&draft)?;
        new.write_all(text.as_bytes())?;
        new.sync_all()?;
        fs::rename(&draft, &file)?;
        Ok(listener)
    }
}

/// An empty file that only its owner can read, whoever could read it before.
fn private(path: &Path) -> std::io::Result<File> {
    let mut options = File::options();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    #[cfg(unix)]
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    Ok(file)
}

/// Port of the shop in a configuration that the demo wrote.
fn port(text: &str) -> Option<u16> {
    let start = text.find("http://127.0.0.1:")? + "http://127.0.0.1:".len();
    let digits = text[start..].find(|letter: char| !letter.is_ascii_digit())?;
    text[start..start + digits].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_second_start_finds_the_shop_where_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(&folder.path().join("demo")).unwrap();
        let first = home.prepare(None).await.unwrap().local_addr().unwrap();
        let second = home.prepare(None).await.unwrap().local_addr().unwrap();
        assert_eq!(first, second);
        let text = fs::read_to_string(home.path("vaiven.toml")).unwrap();
        assert!(text.contains(&format!("\"http://{first}\"")));
        assert!(!text.contains("#:schema") && text.starts_with("# The demo's configuration"), "{text}");
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn the_keys_of_the_shop_are_for_their_owner_alone_also_where_an_earlier_start_left_them_open() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(&folder.path().join("demo")).unwrap();
        for name in ["state/shop.key", "state/shop.secret", "vaiven.toml"] {
            fs::write(home.path(name), "old, and longer than what comes").unwrap();
            fs::set_permissions(home.path(name), fs::Permissions::from_mode(0o644)).unwrap();
        }
        home.prepare(None).await.unwrap();
        for name in ["state/shop.key", "state/shop.secret", "vaiven.toml"] {
            assert_eq!(fs::metadata(home.path(name)).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
        }
        assert_eq!(fs::read_to_string(home.path("state/shop.key")).unwrap(), KEY);
    }

    #[tokio::test]
    async fn another_state_store_is_written_into_the_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(&folder.path().join("demo")).unwrap();
        home.prepare(Some("postgres://vaiven@db/vaiven")).await.unwrap();
        let text = fs::read_to_string(home.path("vaiven.toml")).unwrap();
        let config: toml::Table = text.parse().unwrap();
        assert_eq!(config["store"]["url"].as_str(), Some("postgres://vaiven@db/vaiven"));
    }

    #[test]
    fn a_folder_of_somebody_else_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("thesis.txt"), "x").unwrap();
        assert!(Home::open(folder.path()).unwrap_err().to_string().contains("not a demo's folder"));
    }

    #[test]
    fn two_demos_do_not_share_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let _first = Home::open(folder.path()).unwrap();
        assert!(Home::open(folder.path()).unwrap_err().to_string().contains("another demo"));
    }
}
