//! Explains problems of a TLS connection in plain words.

use std::{error::Error, io};

use rustls::{CertificateError, InvalidMessage};

/// Explain the TLS error among the causes of `error` for `host`. Return `None` if there is none.
pub fn problem(error: &(dyn Error + 'static), host: &str) -> Option<String> {
    let mut cause = Some(error);
    while let Some(inner) = cause {
        if let Some(error) = held(inner) {
            return Some(words(error, host));
        }
        cause = inner.source();
    }
    None
}

/// The error inside an I/O error: it may be a TLS error, but it is not among the causes.
fn held<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let inside = || error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    error.downcast_ref().or_else(|| inside().and_then(|inner| held(inner)))
}

fn words(error: &rustls::Error, host: &str) -> String {
    let certificate = |what: &str| format!("the certificate of {host} {what}");
    match error {
        rustls::Error::InvalidCertificate(error) => match error {
            CertificateError::UnknownIssuer => certificate(
                "is signed by nobody this machine trusts; add a private certificate authority to those of the machine, or name \
                 it in SSL_CERT_FILE (docs/adapters.md)",
            ),
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                certificate("has expired; it has to be renewed there, unless the clock of this machine is wrong")
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                certificate("is not valid yet; see whether the clock of this machine is right")
            }
            CertificateError::NotValidForName => certificate("is for another name; use that one in the address"),
            CertificateError::NotValidForNameContext { presented, .. } => {
                let names = if presented.is_empty() { "no name at all".to_owned() } else { presented.join(", ") };
                certificate(&format!("is for another name ({names}); use that one in the address"))
            }
            CertificateError::Revoked => certificate("was revoked by its authority; it has to be replaced there"),
            // webpki's own error, which rustls passes on unchanged.
            other if other.to_string().contains("CaUsedAsEndEntity") => certificate(
                "is an authority's own (CA:TRUE), and no server may show that; make one for the server that it signs, or one that is \
                 none (`openssl req -x509 ... -addext basicConstraints=critical,CA:FALSE`), and trust that",
            ),
            other => certificate(&format!("is not accepted: {other}")),
        },
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            format!(
                "https to a server that speaks http: {host} answers on this port without TLS; write http:// or the port for https"
            )
        }
        rustls::Error::AlertReceived(alert) => format!("{host} refuses a secured connection: {alert:?}"),
        other => format!("no secured connection to {host}: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::ServerName;

    use super::*;

    fn said(error: rustls::Error) -> String {
        // In the form in which it arrives: inside an I/O error.
        let inner = io::Error::new(io::ErrorKind::InvalidData, error);
        problem(&io::Error::other(inner), "shop.example").unwrap()
    }

    #[test]
    fn what_is_wrong_with_a_certificate_is_explained_in_plain_words_with_its_host() {
        let of = |error| said(rustls::Error::InvalidCertificate(error));
        let private = of(CertificateError::UnknownIssuer);
        assert!(private.contains("certificate of shop.example is signed by nobody this machine trusts"), "{private}");
        assert!(private.contains("SSL_CERT_FILE"), "{private}");
        assert!(of(CertificateError::Expired).contains("shop.example has expired"));
        assert!(of(CertificateError::NotValidYet).contains("not valid yet"));
        let own =
            CertificateError::Other(rustls::OtherError(std::sync::Arc::new(io::Error::other("CaUsedAsEndEntity"))));
        assert!(of(own).contains("is an authority's own"));
        let other = of(CertificateError::NotValidForNameContext {
            expected: ServerName::try_from("shop.example").unwrap(),
            presented: vec!["www.shop.example".into()],
        });
        assert!(other.contains("is for another name (www.shop.example)"), "{other}");
    }

    #[test]
    fn other_trouble_is_no_matter_of_certificates() {
        assert_eq!(problem(&io::Error::new(io::ErrorKind::ConnectionRefused, "refused"), "shop.example"), None);
    }
}
