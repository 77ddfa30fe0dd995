//! Notifies systemd: ready, reloading, stopping, alive (`sd_notify(3)`), by datagrams to `$NOTIFY_SOCKET`.

use std::{
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram},
    },
    time::Duration,
};

/// The socket that systemd listens on. Without one, nothing is sent.
#[derive(Debug)]
pub struct Notifier {
    socket: Option<(UnixDatagram, SocketAddr)>,
    /// Interval between two signs of life for the watchdog: half of what it allows.
    pub watchdog: Option<Duration>,
}

impl Notifier {
    /// Read `NOTIFY_SOCKET` and `WATCHDOG_USEC`.
    pub fn from_environment() -> Self {
        let variable = |name: &str| std::env::var(name).ok();
        let mine = variable("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let watchdog = variable("WATCHDOG_USEC")
            .and_then(|text| text.parse().ok())
            .filter(|_| mine)
            .map(|micros: u64| Duration::from_micros(micros / 2));
        Self { socket: variable("NOTIFY_SOCKET").and_then(|path| open(&path)), watchdog }
    }

    pub fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={status}"));
    }

    pub fn reloading(&self) {
        self.send("RELOADING=1\nSTATUS=reading the configuration again");
    }

    pub fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=giving leases back");
    }

    pub fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    fn send(&self, message: &str) {
        if let Some((socket, address)) = &self.socket
            && let Err(error) = socket.send_to_addr(message.as_bytes(), address)
        {
            tracing::debug!(%error, "systemd could not be notified");
        }
    }
}

fn open(path: &str) -> Option<(UnixDatagram, SocketAddr)> {
    // A leading @ stands for the NUL of an abstract address.
    let address = match path.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(path),
    };
    Some((UnixDatagram::unbound().ok()?, address.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemd_is_notified_over_its_socket() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let systemd = UnixDatagram::bind(&path).unwrap();
        let notifier = Notifier { socket: open(&path.display().to_string()), watchdog: None };
        notifier.ready("3 flows");
        let mut message = [0; 64];
        let length = systemd.recv(&mut message).unwrap();
        assert_eq!(std::str::from_utf8(&message[..length]).unwrap(), "READY=1\nSTATUS=3 flows");
    }

    #[test]
    fn without_a_socket_nothing_is_sent() {
        Notifier { socket: None, watchdog: None }.stopping();
    }
}
