//! Keeps web pages from using the API through the browser of somebody who may.
//!
//! The API authenticates nobody, so on loopback whatever runs on the machine may use it, and a browser runs
//! pages of strangers. A page can send requests to any address, which a browser marks with its origin; and it
//! can have its own name resolve to 127.0.0.1 (DNS rebinding), after which the browser takes the API for the
//! page's own server, but still sends that name as the host.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{Request, State};
use axum::http::header::{HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::Problem;
use super::state::Rest;

/// The address of this end of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct OwnAddress(pub SocketAddr);

/// Refuses what a page of somebody else asks for.
pub(super) async fn refuse_pages(
    State(rest): State<Rest>,
    request: Request,
    next: Next,
) -> Response {
    let own = request.extensions().get::<OwnAddress>();
    let is_loopback =
        own.is_none_or(|OwnAddress(address)| address.ip().to_canonical().is_loopback());
    let target = request.uri().authority().map(Authority::as_str);
    let host = header(request.headers(), &HOST);
    let named = host.iter().copied().chain(target);
    let verdict = if is_loopback { check_hosts(named, rest.hosts()) } else { Ok(()) };
    let verdict = verdict.and_then(|()| {
        if request.method().is_safe() {
            return Ok(());
        }
        check_origin(header(request.headers(), &ORIGIN), host)
    });
    match verdict {
        Ok(()) => next.run(request).await,
        Err(detail) => Problem::new(StatusCode::FORBIDDEN, detail).into_response(),
    }
}

/// Every name by which a request calls this machine has to be one of its own.
fn check_hosts<'a>(named: impl Iterator<Item = &'a str>, own: &[String]) -> Result<(), String> {
    for name in named {
        let authority = name.parse::<Authority>();
        let is_own = authority.as_ref().is_ok_and(|authority| is_own(authority.host(), own));
        if !is_own {
            return Err(format!(
                "on loopback this API answers to localhost, to addresses, and to the hosts of http.listener \
                 and http.advertised.listener, not to {name:?}"
            ));
        }
    }
    Ok(())
}

fn is_own(host: &str, own: &[String]) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&host);
    // An address cannot be made to resolve to another one.
    bare.parse::<IpAddr>().is_ok()
        || host == "localhost"
        || host.ends_with(".localhost")
        || own.iter().any(|name| name.eq_ignore_ascii_case(&host))
}

/// A page may only change what its own server has.
fn check_origin(origin: Option<&str>, host: Option<&str>) -> Result<(), String> {
    let Some(origin) = origin else { return Ok(()) };
    let page = origin.split_once("://").map(|(_, authority)| authority);
    match (page, host) {
        (Some(page), Some(host)) if page.eq_ignore_ascii_case(host) => Ok(()),
        _ => Err(format!("a page of {origin:?} may not change this cluster")),
    }
}

/// A header's text; one that is no text is nothing that is allowed.
fn header<'a>(headers: &'a HeaderMap, name: &axum::http::HeaderName) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap_or("?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_names_and_addresses_are_answered_to() {
        let own = ["admin.example".to_owned()];
        for host in [
            "localhost",
            "LOCALHOST:9080",
            "a.localhost:1",
            "localhost.:80",
            "127.0.0.1:9080",
            "[::1]:9080",
            "Admin.Example:9080",
        ] {
            assert_eq!(check_hosts([host].into_iter(), &own), Ok(()), "{host}");
        }
        for host in ["evil.example:9080", "localhost.evil.example", "", "?", "a b", "notlocalhost"]
        {
            assert!(check_hosts([host].into_iter(), &own).is_err(), "{host}");
        }
        assert!(check_hosts(["localhost", "evil.example"].into_iter(), &own).is_err());
        assert_eq!(check_hosts(std::iter::empty(), &own), Ok(()));
    }

    #[test]
    fn page_changes_only_what_its_own_server_has() {
        let host = Some("localhost:9080");
        assert_eq!(check_origin(None, host), Ok(()));
        assert_eq!(check_origin(Some("http://localhost:9080"), host), Ok(()));
        for origin in ["http://localhost:3000", "https://evil.example", "null", "?", "file://"] {
            assert!(check_origin(Some(origin), host).is_err(), "{origin}");
        }
        assert!(check_origin(Some("http://localhost:9080"), None).is_err());
    }
}
