//! `listeners`, `advertised.listeners` and the addresses in them.

/// Where a listener is bound, or how clients reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Its name, in upper case.
    pub name: String,
    /// Host name or address without brackets; empty = loopback.
    pub host: String,
    /// Port; 0 = one that the system chooses.
    pub port: u16,
}

/// What protects a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecurityProtocol {
    /// Nothing.
    Plaintext,
    /// TLS.
    Ssl,
    /// SASL without TLS.
    SaslPlaintext,
    /// SASL over TLS.
    SaslSsl,
}

impl SecurityProtocol {
    /// Kafka's name of it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
            Self::Ssl => "SSL",
            Self::SaslPlaintext => "SASL_PLAINTEXT",
            Self::SaslSsl => "SASL_SSL",
        }
    }

    /// The protocol of that name, in upper or lower case.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Plaintext, Self::Ssl, Self::SaslPlaintext, Self::SaslSsl]
            .into_iter()
            .find(|protocol| protocol.name().eq_ignore_ascii_case(name))
    }

    /// Whether clients say who they are.
    pub const fn authenticates(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }
}

/// Reads a comma-separated list of `NAME://host:port`.
///
/// # Errors
/// Says which item is wrong, and how.
pub fn parse_listeners(text: &str) -> Result<Vec<Listener>, String> {
    let mut listeners: Vec<Listener> = Vec::new();
    for item in text.split(',').map(str::trim) {
        let (name, address) =
            item.split_once("://").ok_or_else(|| format!("{item:?} has no ://"))?;
        if name.is_empty() || !name.bytes().all(is_name_byte) {
            return Err(format!("{name:?} is not a listener's name"));
        }
        let name = name.to_ascii_uppercase();
        if listeners.iter().any(|known| known.name == name) {
            return Err(format!("the listener {name} occurs twice"));
        }
        let (host, port) = split_host_port(address)?;
        let twice = listeners.iter().find(|l| port != 0 && l.port == port && l.host == host);
        if let Some(other) = twice {
            return Err(format!("{} and {name} are both on port {port}", other.name));
        }
        listeners.push(Listener { name, host, port });
    }
    Ok(listeners)
}

/// Reads a comma-separated list of `NAME:PROTOCOL`; names in upper case.
///
/// # Errors
/// Says which item is wrong, and how.
pub fn parse_map(text: &str) -> Result<Vec<(String, SecurityProtocol)>, String> {
    let mut map: Vec<(String, SecurityProtocol)> = Vec::new();
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let (name, protocol) =
            item.split_once(':').ok_or_else(|| format!("{item:?} has no colon"))?;
        let name = name.trim().to_ascii_uppercase();
        if name.is_empty() || !name.bytes().all(is_name_byte) {
            return Err(format!("{name:?} is not a listener's name"));
        }
        let protocol = SecurityProtocol::from_name(protocol.trim())
            .ok_or_else(|| format!("{:?} is not a security protocol", protocol.trim()))?;
        if map.iter().any(|(known, _)| *known == name) {
            return Err(format!("the listener {name} occurs twice"));
        }
        map.push((name, protocol));
    }
    Ok(map)
}

/// Reads `host:port`, the host not empty. IPv6 addresses stand in brackets.
///
/// # Errors
/// Says what is wrong.
pub fn parse_host_port(text: &str) -> Result<(String, u16), String> {
    let (host, port) = split_host_port(text)?;
    if host.is_empty() {
        return Err(format!("{text:?} names no host"));
    }
    Ok((host, port))
}

/// Reads `host:port`, the host may be empty. IPv6 addresses stand in brackets.
///
/// # Errors
/// Says what is wrong.
pub fn split_host_port(text: &str) -> Result<(String, u16), String> {
    let (host, port) = text.rsplit_once(':').ok_or_else(|| format!("{text:?} has no port"))?;
    let port = port.parse().map_err(|_| format!("{port:?} is not a port from 0 to 65535"))?;
    if let Some(inner) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return match inner.parse::<std::net::Ipv6Addr>() {
            Ok(_) => Ok((inner.to_owned(), port)),
            Err(_) => Err(format!("{inner:?} is not an IPv6 address")),
        };
    }
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if !host.bytes().all(is_host) {
        return Err(format!(
            "{host:?} is not a host name, an address, or an IPv6 address in brackets"
        ));
    }
    Ok((host.to_owned(), port))
}

/// Whether a host is this machine's loopback: no host, `localhost`, or a loopback address.
pub fn is_loopback(host: &str) -> bool {
    host.is_empty()
        || host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The host to bind or connect to: loopback where none is given.
pub fn host_or_loopback(host: &str) -> &str {
    if host.is_empty() { "127.0.0.1" } else { host }
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_has_a_name_a_host_and_a_port() {
        let listeners = parse_listeners("plaintext://:9092, EXTERNAL://[::1]:9093").unwrap();
        assert_eq!(
            listeners[0],
            Listener { name: "PLAINTEXT".into(), host: "".into(), port: 9092 }
        );
        assert_eq!(
            listeners[1],
            Listener { name: "EXTERNAL".into(), host: "::1".into(), port: 9093 }
        );
    }

    #[test]
    fn a_wrong_item_is_named() {
        for (text, part) in [
            ("localhost:9092", "no ://"),
            ("A://h:1,A://h:2", "occurs twice"),
            ("A://h:1,B://h:1", "both on port 1"),
            ("A://h:70000", "not a port"),
            ("A://h h:1", "not a host name"),
            ("A://[zz]:1", "IPv6"),
            ("A://h", "no port"),
            ("", "no ://"),
        ] {
            let problem = parse_listeners(text).unwrap_err();
            assert!(problem.contains(part), "{text}: {problem}");
        }
    }

    #[test]
    fn the_map_names_protocols() {
        let map = parse_map("A:ssl,B:SASL_PLAINTEXT").unwrap();
        assert_eq!(map[0], ("A".to_owned(), SecurityProtocol::Ssl));
        assert!(map[1].1.authenticates());
        assert!(parse_map("A:TLS").unwrap_err().contains("\"TLS\""));
        assert!(parse_map("A:SSL,a:SSL").unwrap_err().contains("twice"));
    }
}
