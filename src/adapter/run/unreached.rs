//! Explains why there is no connection, in words that say what to do. Shared by the drivers.

/// Explain the cause of a failed connection to `host`. Return `None` if the cause itself says enough. `secure`:
/// whether the address asks for TLS.
#[must_use]
pub fn words(cause: &str, host: &str, secure: bool) -> Option<String> {
    let has = |parts: &[&str]| parts.iter().any(|part| cause.contains(part));
    if has(&["failed to lookup address", "Name or service not known", "dns error", "No address associated"]) {
        return Some(if has(&["Temporary failure"]) {
            format!("the name of host {host} cannot be looked up at the moment: is there a network, and a name server?")
        } else {
            format!("host {host} is unknown: is it spelled right?")
        });
    }
    // What a plain HTTP server answers to a TLS greeting, and the other way round.
    if secure && has(&["InvalidContentType", "InvalidMessage"]) {
        return Some(format!("the address says https to a server that speaks http: {host}; see address and port"));
    }
    if !secure && has(&["invalid HTTP version", "invalid HTTP status", "invalid HTTP header"]) {
        return Some(format!("the address says http to a server that does not speak it: {host}; is it https?"));
    }
    has(&["Connection refused"])
        .then(|| format!("{host} refuses the connection: is the server running, the port right?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_host_is_named() {
        let cause = "failed to lookup address information: Name or service not known";
        assert_eq!(words(cause, "shop.exmaple", true).unwrap(), "host shop.exmaple is unknown: is it spelled right?");
        let later = "failed to lookup address information: Temporary failure in name resolution";
        assert!(words(later, "shop.example", true).unwrap().contains("at the moment"));
    }

    #[test]
    fn a_cause_that_says_enough_is_left_as_it_is() {
        assert_eq!(words("invalid peer certificate: UnknownIssuer", "shop.example", true), None);
        assert_eq!(words("invalid HTTP version parsed", "shop.example", true), None);
    }
}
