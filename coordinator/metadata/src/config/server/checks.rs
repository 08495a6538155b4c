//! What no single config of a node can tell.

use super::super::listeners::{self, Listener, SecurityProtocol};
use super::{COMMAND_LINE, ConfigProblem, Reading, Role, ServerConfig};

/// Old names become new ones.
pub(super) fn old_names(reading: &mut Reading) {
    // A file with only one of the two names means the same node.
    match (reading.values.get("node.id").cloned(), reading.values.get("broker.id").cloned()) {
        (Some(id), None) => copy(reading, "node.id", "broker.id", id),
        (None, Some(id)) => copy(reading, "broker.id", "node.id", id),
        _ => {}
    }
    let set = |name: &str| reading.values.get(name).cloned();
    let (port, host) = (set("port"), set("host.name"));
    if port.is_none() && host.is_none() {
        return;
    }
    let name = if port.is_some() { "port" } else { "host.name" };
    let place = reading.places.get(name).cloned().unwrap_or_default();
    if reading.values.contains_key("listeners") {
        let problem = "port and host.name are ignored, since listeners is set".to_owned();
        reading.warnings.push(ConfigProblem { place, problem });
        return;
    }
    let host = host.unwrap_or_default();
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    let listener = format!("PLAINTEXT://{host}:{}", port.as_deref().unwrap_or("9092"));
    if let Err(problem) = listeners::parse_listeners(&listener) {
        reading.errors.push(ConfigProblem { place, problem: format!("host.name: {problem}") });
        return;
    }
    reading.places.insert("listeners".to_owned(), place);
    reading.values.insert("listeners".to_owned(), listener);
}

/// Everything that has to fit together.
pub(super) fn together(reading: &mut Reading, file: &str) {
    let config = ServerConfig { role: reading.role, values: reading.values.clone() };
    let mut problems = Vec::new();
    ids(&config, &mut problems);
    etcd(&config, &mut problems);
    internode_tls(&config, &mut problems);
    timings(&config, &mut problems);
    match reading.role {
        Role::Broker => {
            broker_listeners(&config, &mut problems);
            broker_exposure(&config, &mut problems);
        }
        Role::Coordinator => coordinator_exposure(&config, &mut problems),
    }
    for (name, problem) in problems {
        let place = reading.places.get(name).cloned().unwrap_or_else(|| file.to_owned());
        reading.errors.push(ConfigProblem { place, problem });
    }
}

/// The config to whose line a problem is pinned, and the problem.
type Problems = Vec<(&'static str, String)>;

fn copy(reading: &mut Reading, from: &str, to: &str, id: String) {
    let place = reading.places.get(from).cloned().unwrap_or_else(|| COMMAND_LINE.to_owned());
    reading.places.insert(to.to_owned(), place);
    reading.values.insert(to.to_owned(), id);
}

fn ids(config: &ServerConfig, problems: &mut Problems) {
    let (node, broker) = (config.int("node.id"), config.int("broker.id"));
    if node != broker {
        let problem = format!("node.id is {node} and broker.id is {broker}; give one of them only");
        problems.push(("broker.id", problem));
    } else if node < 0 {
        let problem = "node.id is not set; every node needs a number of its own, from 0".to_owned();
        problems.push(("node.id", problem));
    }
}

fn etcd(config: &ServerConfig, problems: &mut Problems) {
    if config.list("etcd.endpoints").is_empty() {
        problems.push(("etcd.endpoints", "etcd.endpoints is empty; name at least one".to_owned()));
    }
    let both = config.is_set("etcd.password") && config.is_set("etcd.password.file");
    if both {
        let problem = "etcd.password and etcd.password.file are both set; give one of them only";
        problems.push(("etcd.password", problem.to_owned()));
    }
    let has_password = config.is_set("etcd.password") || config.is_set("etcd.password.file");
    if has_password != config.is_set("etcd.username") {
        let name = if has_password { "etcd.password" } else { "etcd.username" };
        let problem = "etcd.username and its password go together; one of them is missing";
        problems.push((name, problem.to_owned()));
    }
    let (certificate, key) = ("etcd.ssl.certificate.file", "etcd.ssl.key.file");
    if config.is_set(certificate) != config.is_set(key) {
        let name = if config.is_set(key) { key } else { certificate };
        problems.push((name, format!("{certificate} and {key} go together; one is missing")));
    }
}

fn internode_tls(config: &ServerConfig, problems: &mut Problems) {
    let (own, trusted) = ("internode.ssl.keystore.location", "internode.ssl.truststore.location");
    if has_text(config, own) != has_text(config, trusted) {
        let name = if has_text(config, trusted) { trusted } else { own };
        problems.push((name, format!("{own} and {trusted} go together; one is missing")));
    }
}

fn has_text(config: &ServerConfig, name: &str) -> bool {
    config.text(name).is_some_and(|text| !text.is_empty())
}

fn timings(config: &ServerConfig, problems: &mut Problems) {
    let heartbeat = config.int("broker.heartbeat.interval.ms");
    let session = config.int("broker.session.timeout.ms");
    if heartbeat < 1 || session <= heartbeat {
        let problem = format!(
            "broker.session.timeout.ms ({session}) must be more than \
             broker.heartbeat.interval.ms ({heartbeat}), and that at least 1"
        );
        problems.push(("broker.session.timeout.ms", problem));
    }
}

fn broker_listeners(config: &ServerConfig, problems: &mut Problems) {
    let listeners = config.listeners();
    let has = |name: &str| listeners.iter().any(|listener| listener.name == name);
    for listener in &listeners {
        if config.listener_protocol(&listener.name).is_none() {
            let name = &listener.name;
            let problem = format!(
                "the listener {name} has no security protocol; add {name}:PLAINTEXT to \
                 listener.security.protocol.map"
            );
            problems.push(("listeners", problem));
        }
    }
    let advertised = config.text("advertised.listeners").unwrap_or_default();
    for listener in listeners::parse_listeners(&advertised).unwrap_or_default() {
        let name = &listener.name;
        if !has(name) {
            let problem = format!("advertised.listeners names {name}, which is not in listeners");
            problems.push(("advertised.listeners", problem));
        }
        let is_wildcard = matches!(listener.host.as_str(), "0.0.0.0" | "::");
        if is_wildcard {
            let problem = format!(
                "advertised.listeners gives {} for {name}, to which nobody can connect",
                listener.host
            );
            problems.push(("advertised.listeners", problem));
        }
    }
    let inter_broker = config.text("inter.broker.listener.name");
    if inter_broker.is_some() && config.is_set("security.inter.broker.protocol") {
        let problem = "inter.broker.listener.name and security.inter.broker.protocol are both set; \
                       give one of them only";
        problems.push(("security.inter.broker.protocol", problem.to_owned()));
    }
    if let Some(name) = inter_broker.filter(|name| !has(&name.to_ascii_uppercase())) {
        let problem = format!("inter.broker.listener.name is {name}, which is not in listeners");
        problems.push(("inter.broker.listener.name", problem));
    }
}

/// What reaches beyond this machine has to authenticate, or somebody has to have said otherwise.
fn broker_exposure(config: &ServerConfig, problems: &mut Problems) {
    let advertised = config.advertised_listeners();
    for (listener, advertised) in config.listeners().iter().zip(&advertised) {
        let authenticates = match config.listener_protocol(&listener.name) {
            Some(SecurityProtocol::Ssl) => {
                config.text("ssl.client.auth").as_deref() == Some("required")
            }
            protocol => protocol.is_some_and(SecurityProtocol::authenticates),
        };
        if !authenticates {
            expose(config, "listeners", listener, problems);
        }
        let is_wildcard = matches!(listener.host.as_str(), "0.0.0.0" | "::");
        if is_wildcard && advertised.host == listener.host {
            let problem = format!(
                "{} is bound to {}, to which no client can connect; set advertised.listeners",
                listener.name, listener.host
            );
            problems.push(("listeners", problem));
        }
    }
    http_exposure(config, problems);
}

fn coordinator_exposure(config: &ServerConfig, problems: &mut Problems) {
    http_exposure(config, problems);
    let Some(listener) = address(config, "internode.listener", problems) else { return };
    let proves = ["internode.ssl.keystore.location", "cluster.secret.file"]
        .iter()
        .any(|name| has_text(config, name));
    let is_open = listeners::is_loopback(&listener.host)
        || proves
        || config.boolean("allow.insecure.listeners");
    if !is_open {
        let problem = format!(
            "internode.listener is bound to {}, where others could pose as brokers: set \
             internode.ssl.keystore.location and internode.ssl.truststore.location, or \
             cluster.secret.file, or bind it to loopback (allow.insecure.listeners=true opens it all the same)",
            listener.host
        );
        problems.push(("internode.listener", problem));
    }
    let is_wildcard = matches!(listener.host.as_str(), "0.0.0.0" | "::");
    if is_wildcard && !has_text(config, "internode.advertised.listener") {
        let problem = format!(
            "internode.listener is bound to {}, to which no broker can connect; set \
             internode.advertised.listener",
            listener.host
        );
        problems.push(("internode.listener", problem));
    }
    if config.text("data.dir").is_none_or(|dir| dir.is_empty()) {
        problems.push(("data.dir", "data.dir is not set; name a folder that is kept".to_owned()));
    }
}

fn http_exposure(config: &ServerConfig, problems: &mut Problems) {
    if let Some(listener) = address(config, "http.listener", problems) {
        expose(config, "http.listener", &listener, problems);
    }
}

fn expose(config: &ServerConfig, name: &'static str, at: &Listener, problems: &mut Problems) {
    if config.boolean("allow.insecure.listeners") || listeners::is_loopback(&at.host) {
        return;
    }
    let problem = format!(
        "{} is bound to {} and authenticates nobody: whoever reaches it may {}. Bind it to \
         loopback, or set allow.insecure.listeners=true",
        at.name,
        at.host,
        if name == "listeners" {
            "read, write and delete everything, be it a client or another broker"
        } else {
            "do everything"
        }
    );
    problems.push((name, problem));
}

fn address(config: &ServerConfig, name: &'static str, problems: &mut Problems) -> Option<Listener> {
    let text = config.text(name).unwrap_or_default();
    match listeners::split_host_port(&text) {
        Ok((host, port)) => Some(Listener { name: name.to_owned(), host, port }),
        Err(problem) => {
            problems.push((name, format!("{name}: {problem}; allowed: host:port, or :port")));
            None
        }
    }
}
