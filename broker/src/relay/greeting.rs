//! The first exchange on a link: the broker says who it is, and both sides prove that they know the cluster's
//! secret, if there is one.

use std::time::Duration;

use bytes::Bytes;
use ottla_client::internode::{ClusterSecret, Nonce, Proofs};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::node_hello_request::NodeHelloRequest;
use ottla_protocol::messages::node_hello_response::NodeHelloResponse;

use super::link::{CoordinatorLink, LinkError};

/// The two sides do not get on; the link is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GreetingError {
    /// There is no answer.
    #[error(
        "it does not greet: {0}; its log may say why: perhaps internode.ssl.* is set on one side only, or \
         certificates do not fit"
    )]
    Link(#[from] LinkError),
    /// It does not want this broker.
    #[error("it refuses this broker: {}: {message}", code.name())]
    Refused {
        /// Why.
        code: ErrorCode,
        /// In words.
        message: String,
    },
    /// This broker has a secret, and the coordinator does not ask for it.
    #[error(
        "it does not ask for the cluster's secret, so it may be an impostor: set cluster.secret.file on all nodes"
    )]
    NoSecretThere,
    /// Its proof is wrong.
    #[error(
        "it does not prove that it knows the cluster's secret, so it is an impostor, or has another \
         cluster.secret.file"
    )]
    Unproven,
}

/// Introduces the broker; `nonce` is drawn for this link alone. What comes back was said by a coordinator that
/// knows the secret, if there is one.
///
/// # Errors
/// Whatever is wrong; the link must not be used then.
pub async fn greet(
    link: &dyn CoordinatorLink,
    hello: NodeHelloRequest,
    secret: Option<(&ClusterSecret, Nonce)>,
    timeout: Duration,
) -> Result<NodeHelloResponse, GreetingError> {
    let Some((secret, nonce)) = secret else {
        return accepted(link.hello(hello, timeout).await?);
    };
    let mut hello = NodeHelloRequest { nonce: Some(Bytes::copy_from_slice(&nonce)), ..hello };
    let challenge = accepted(link.hello(hello.clone(), timeout).await?)?;
    let theirs = challenge.nonce.unwrap_or_default();
    let proofs = Proofs::new(secret, &hello, &theirs).ok_or(GreetingError::NoSecretThere)?;
    hello.secret_proof = Some(proofs.of_hello());
    let answer = link.hello(hello, timeout).await?;
    // A refusal without a proof is still one.
    let is_refusal = answer.error_code != ErrorCode::None.code();
    if !is_refusal && !proofs.verify_answer(&answer) {
        return Err(GreetingError::Unproven);
    }
    accepted(answer)
}

fn accepted(answer: NodeHelloResponse) -> Result<NodeHelloResponse, GreetingError> {
    match ErrorCode::from_code(answer.error_code) {
        ErrorCode::None => Ok(answer),
        code => {
            let message = answer.error_message.unwrap_or_default().to_string();
            Err(GreetingError::Refused { code, message })
        }
    }
}
