//! What went wrong with TLS, in the words of somebody who has to mend it.

use std::io;

use tokio_rustls::rustls::{AlertDescription, CertificateError, Error};

/// Says what the error means and what to do. Errors that are none of TLS say themselves.
pub(super) fn explain(error: &io::Error) -> String {
    if is_end(error.kind()) {
        return "the other side closed the connection before TLS was agreed on: it may not speak TLS \
                (internode.ssl.* set on one side only), and its log may say more"
            .to_owned();
    }
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match tls {
        Some(Error::InvalidCertificate(problem)) => certificate(problem),
        Some(Error::NoCertificatesPresented) => {
            "the other side shows no certificate: give it one with internode.ssl.keystore.location"
                .to_owned()
        }
        Some(Error::AlertReceived(alert)) => refused(*alert),
        Some(Error::InvalidMessage(_)) => {
            "the other side does not speak TLS: set internode.ssl.* on all nodes or on none"
                .to_owned()
        }
        Some(other) => format!("TLS failed: {other}"),
        None => error.to_string(),
    }
}

fn is_end(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
    )
}

/// Whether [`explain`] has anything to add.
pub(super) fn is_of_tls(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Error>())
}

/// What is wrong with the other side's certificate.
fn certificate(problem: &CertificateError) -> String {
    match problem {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the other side's certificate has expired: renew it there and restart that node".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the other side's certificate is not valid yet: compare the clocks of both machines".to_owned()
        }
        // An authority that was made anew under the same name signs, but not as the one that is trusted.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "no authority that this node trusts has signed the other side's certificate: the authority that \
             did belongs in this node's internode.ssl.truststore.location, or the certificate is a stranger's"
                .to_owned()
        }
        CertificateError::NotValidForName => {
            "the other side's certificate does not name the host that this node connected to: advertise a name \
             that is in it (internode.advertised.listener), or have it issued for that host"
                .to_owned()
        }
        CertificateError::NotValidForNameContext { expected, presented } => format!(
            "the other side's certificate names {} and not {}, the host that this node connected to: advertise \
             a name that is in it (internode.advertised.listener), or have it issued for that host",
            presented.join(", "),
            expected.to_str()
        ),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "the other side's certificate is not for this use: a node's has to allow both server and client \
             authentication"
                .to_owned()
        }
        other => format!("the other side's certificate cannot be used: {other}"),
    }
}

/// What the other side has against this one.
fn refused(alert: AlertDescription) -> String {
    let what = match alert {
        AlertDescription::CertificateExpired => {
            "this node's certificate has expired: renew it (internode.ssl.keystore.location) and restart this node"
        }
        AlertDescription::CertificateRequired => {
            "this node shows no certificate: set internode.ssl.keystore.location"
        }
        AlertDescription::UnknownCA | AlertDescription::DecryptError => {
            "it trusts no authority that signed this node's certificate: compare this node's \
             internode.ssl.keystore.location with the other's internode.ssl.truststore.location"
        }
        AlertDescription::BadCertificate | AlertDescription::UnsupportedCertificate => {
            "this node's certificate is not one that it can use, and its log says why"
        }
        other => return format!("the other side ended TLS: {other:?}; its log may say why"),
    };
    format!("the other side refuses this node: {what}")
}
