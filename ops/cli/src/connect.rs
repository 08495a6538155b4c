//! The connection that every command on a cluster begins with.

use std::time::Duration;

use anyhow::{Context, Result};
use ottla_client::{Admin, Client, ClientConfig};

/// A person waits at most this long before hearing that nobody answers.
const PATIENCE: Duration = Duration::from_secs(15);

/// A client of the cluster behind `bootstrap`.
///
/// # Errors
/// When `bootstrap` is no list of host:port.
pub fn client(bootstrap: &str) -> Result<Client> {
    let mut config = ClientConfig::new(bootstrap)
        .with_context(|| format!("--bootstrap-server {bootstrap:?} is not host:port,host:port"))?;
    config.api_timeout = PATIENCE;
    Ok(Client::new(config))
}

/// Admin calls on the cluster behind `bootstrap`.
///
/// # Errors
/// When `bootstrap` is no list of host:port.
pub fn admin(bootstrap: &str) -> Result<Admin> {
    Ok(Admin::new(client(bootstrap)?))
}
