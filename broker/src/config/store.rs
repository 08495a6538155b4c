//! How to reach the metadata store.

use std::path::Path;
use std::time::Duration;

use ottla_metadata::config::ServerConfig;
use ottla_metadata::store::etcd::{EtcdConfig, TlsConfig};

use super::ConfigError;

/// Reads the settings `etcd.*`, and the files that they name.
pub fn etcd(server: &ServerConfig) -> Result<EtcdConfig, ConfigError> {
    let mut config = EtcdConfig::new(server.list("etcd.endpoints"));
    if let Some(user) = server.text("etcd.username") {
        config.user = Some((user, password(server)?));
    }
    config.tls = tls(server)?;
    let timeout = server.millis("etcd.request.timeout.ms");
    config.retry_timeout = timeout;
    config.call_timeout = config.call_timeout.min(timeout).max(Duration::from_millis(1));
    Ok(config)
}

fn password(server: &ServerConfig) -> Result<String, ConfigError> {
    let Some(path) = server.text("etcd.password.file") else {
        return Ok(server.text("etcd.password").unwrap_or_default());
    };
    let text = read(&path)?;
    let text = String::from_utf8_lossy(&text);
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

fn tls(server: &ServerConfig) -> Result<Option<TlsConfig>, ConfigError> {
    let file = |name| server.text(name).map(|path| read(&path)).transpose();
    let Some(ca_pem) = file("etcd.ssl.ca.file")? else {
        let endpoints = server.list("etcd.endpoints");
        if endpoints.iter().any(|endpoint| endpoint.starts_with("https://")) {
            let problem =
                "an endpoint begins with https://, so the certificate of its authority is \
                           needed; name its file"
                    .to_owned();
            return Err(ConfigError::Unsupported { name: "etcd.ssl.ca.file", problem });
        }
        return Ok(None);
    };
    let certificate = file("etcd.ssl.certificate.file")?;
    let key = file("etcd.ssl.key.file")?;
    let server_name = server.text("etcd.ssl.server.name");
    Ok(Some(TlsConfig { ca_pem, identity_pem: certificate.zip(key), server_name }))
}

fn read(path: &str) -> Result<Vec<u8>, ConfigError> {
    std::fs::read(path)
        .map_err(|source| ConfigError::Unreadable { path: Path::new(path).to_owned(), source })
}
