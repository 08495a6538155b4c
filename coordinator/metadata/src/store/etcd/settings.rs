//! A node's file says how to reach etcd.

use std::path::{Path, PathBuf};

use super::{EtcdConfig, TlsConfig};
use crate::config::ServerConfig;

/// A file that the configuration names cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{config} names {path}, which cannot be read: {source}")]
pub struct SettingsError {
    /// The config.
    pub config: &'static str,
    /// The file.
    pub path: PathBuf,
    /// What the system says.
    pub source: std::io::Error,
}

impl EtcdConfig {
    /// What `etcd.…` says in a node's file; reads the files that it names.
    ///
    /// # Errors
    /// Names the config and its file.
    pub fn from_file(config: &ServerConfig) -> Result<Self, SettingsError> {
        Self::of_endpoints(config, config.list("etcd.endpoints"))
    }

    /// The etcd for groups and transactions that `etcd.offsets.endpoints` names, if it names one; user,
    /// certificates and timeouts are those of the other.
    ///
    /// # Errors
    /// Names the config and its file.
    pub fn offsets_from_file(config: &ServerConfig) -> Result<Option<Self>, SettingsError> {
        let endpoints = config.list("etcd.offsets.endpoints");
        let endpoints: Vec<String> = endpoints.into_iter().filter(|it| !it.is_empty()).collect();
        if endpoints.is_empty() {
            return Ok(None);
        }
        Self::of_endpoints(config, endpoints).map(Some)
    }

    fn of_endpoints(config: &ServerConfig, endpoints: Vec<String>) -> Result<Self, SettingsError> {
        let mut etcd = Self::new(endpoints);
        etcd.user = user(config)?;
        etcd.tls = tls(config)?;
        let timeout = config.millis("etcd.request.timeout.ms");
        etcd.retry_timeout = timeout;
        // Another member gets its chance before the call fails.
        etcd.call_timeout = etcd.call_timeout.min(timeout);
        Ok(etcd)
    }
}

fn user(config: &ServerConfig) -> Result<Option<(String, String)>, SettingsError> {
    let Some(user) = set(config, "etcd.username") else { return Ok(None) };
    let password = match set(config, "etcd.password.file") {
        Some(path) => {
            let text = read("etcd.password.file", &path)?;
            let text = String::from_utf8_lossy(&text).into_owned();
            text.lines().next().unwrap_or_default().to_owned()
        }
        None => set(config, "etcd.password").unwrap_or_default(),
    };
    Ok(Some((user, password)))
}

fn tls(config: &ServerConfig) -> Result<Option<TlsConfig>, SettingsError> {
    let Some(ca) = set(config, "etcd.ssl.ca.file") else { return Ok(None) };
    let certificate = set(config, "etcd.ssl.certificate.file");
    let identity_pem = match (certificate, set(config, "etcd.ssl.key.file")) {
        (Some(certificate), Some(key)) => Some((
            read("etcd.ssl.certificate.file", &certificate)?,
            read("etcd.ssl.key.file", &key)?,
        )),
        _ => None,
    };
    Ok(Some(TlsConfig {
        ca_pem: read("etcd.ssl.ca.file", &ca)?,
        identity_pem,
        server_name: set(config, "etcd.ssl.server.name"),
    }))
}

fn set(config: &ServerConfig, name: &str) -> Option<String> {
    config.text(name).filter(|text| !text.is_empty())
}

fn read(config: &'static str, path: &str) -> Result<Vec<u8>, SettingsError> {
    let path = Path::new(path);
    std::fs::read(path).map_err(|source| SettingsError { config, path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Role, load_server_properties};

    fn load(text: &str) -> Result<EtcdConfig, SettingsError> {
        let text = format!("node.id=1\ndata.dir=/tmp/never-made\n{text}");
        let loaded =
            load_server_properties(Role::Coordinator, "test", text.as_bytes(), &[]).unwrap();
        EtcdConfig::from_file(&loaded.config)
    }

    #[test]
    fn password_is_the_first_line_of_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("password");
        std::fs::write(&file, "secret\nrest\n").unwrap();
        let text = format!("etcd.username=ottla\netcd.password.file={}\n", file.display());
        let config = load(&text).unwrap();
        assert_eq!(config.user, Some(("ottla".to_owned(), "secret".to_owned())));
        assert!(config.tls.is_none());
    }

    #[test]
    fn groups_may_have_an_etcd_of_their_own() {
        let load = |text: &str| {
            let text = format!("node.id=1\ndata.dir=/tmp/never-made\n{text}");
            let loaded =
                load_server_properties(Role::Coordinator, "test", text.as_bytes(), &[]).unwrap();
            EtcdConfig::offsets_from_file(&loaded.config).unwrap()
        };
        assert!(load("").is_none());
        let own = load("etcd.offsets.endpoints=http://127.0.0.1:2479\netcd.request.timeout.ms=700");
        assert_eq!(own.unwrap().retry_timeout, std::time::Duration::from_millis(700));
    }

    #[test]
    fn missing_file_is_an_error_that_names_the_config() {
        let error = load("etcd.ssl.ca.file=/no/such/file\n").unwrap_err();
        assert!(error.to_string().contains("etcd.ssl.ca.file names /no/such/file"), "{error}");
    }
}
