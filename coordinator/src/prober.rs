//! Connecting to a broker's inter-broker port, to tell a dead process from a cut network.

use std::io;
use std::time::Duration;

use ottla_metadata::image::Image;
use tokio::net::TcpStream;

use crate::controller::liveness::Probe;

/// Where `broker` can be reached by other nodes, and the life that says so: its claim, or its record where
/// the claim is gone.
pub(crate) fn target(image: &Image, broker: i32) -> Option<(String, u16, i64)> {
    let (listeners, name, epoch) = match (image.claim(broker), image.broker(broker)) {
        (Some(claim), _) => (&claim.listeners, &claim.inter_broker_listener, claim.create_revision),
        (None, Some(record)) => {
            (&record.listeners, &record.inter_broker_listener, record.broker_epoch)
        }
        (None, None) => return None,
    };
    let listener = listeners.iter().find(|listener| listener.name == *name)?;
    Some((listener.host.clone(), listener.port, epoch))
}

/// Connects, and closes again at once.
pub(crate) async fn probe(host: &str, port: u16) -> Probe {
    match tokio::time::timeout(TIMEOUT, TcpStream::connect((host, port))).await {
        Ok(Ok(_)) => Probe::Alive,
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => Probe::Refused,
        Ok(Err(_)) | Err(_) => Probe::Silent,
    }
}

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn open_port_is_alive_and_a_closed_one_refuses() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(probe("127.0.0.1", port).await, Probe::Alive);
        drop(listener);
        assert_eq!(probe("127.0.0.1", port).await, Probe::Refused);
    }
}
