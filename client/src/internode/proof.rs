//! Proofs that the other side knows the cluster's secret.

use bytes::Bytes;
use ottla_protocol::Message;
use ottla_protocol::messages::{NodeHelloRequest, NodeHelloResponse};
use ring::hmac;

use super::secret::ClusterSecret;

/// Bytes of a nonce.
pub const NONCE_LEN: usize = 32;

/// Random bytes, drawn for one connection.
pub type Nonce = [u8; NONCE_LEN];

/// The proofs of one connection, of which both sides know the greeting and the answering nonce.
#[derive(Debug)]
pub struct Proofs<'a> {
    secret: &'a ClusterSecret,
    hello: Bytes,
    nonce: &'a [u8],
}

impl<'a> Proofs<'a> {
    /// The proofs of a connection that `hello` opened, with its nonce, and that `nonce` answered. `None` if
    /// there is nothing to prove: one of the nonces is missing or of another length.
    ///
    /// Both sides bring a nonce, so neither can be made to repeat a proof. All that the connecting node says
    /// of itself (id, role, cluster, life, version) is part of what is proven.
    pub fn new(
        secret: &'a ClusterSecret,
        hello: &NodeHelloRequest,
        nonce: &'a [u8],
    ) -> Option<Self> {
        let has_nonce = hello.nonce.as_ref().is_some_and(|nonce| nonce.len() == NONCE_LEN);
        if !has_nonce || nonce.len() != NONCE_LEN {
            return None;
        }
        let unproven = NodeHelloRequest { secret_proof: None, ..hello.clone() };
        let hello = unproven.encode_all(VERSION).ok()?;
        Some(Self { secret, hello, nonce })
    }

    /// By this the connecting node shows that it knows the secret.
    pub fn of_hello(&self) -> Bytes {
        Bytes::copy_from_slice(hmac::sign(&self.secret.0, &self.connecting()).as_ref())
    }

    /// Whether the connecting node knows the secret. Takes the same time for every wrong proof.
    pub fn verify_hello(&self, proof: Option<&Bytes>) -> bool {
        verify(self.secret, &self.connecting(), proof)
    }

    /// By this the answering node shows that it knows the secret, and that the answer is its own. `None` if
    /// the answer cannot be encoded.
    pub fn of_answer(&self, answer: &NodeHelloResponse) -> Option<Bytes> {
        let message = self.answering(answer)?;
        Some(Bytes::copy_from_slice(hmac::sign(&self.secret.0, &message).as_ref()))
    }

    /// Whether the answer comes from a node that knows the secret. Takes the same time for every wrong proof.
    pub fn verify_answer(&self, answer: &NodeHelloResponse) -> bool {
        let message = self.answering(answer);
        message.is_some_and(|it| verify(self.secret, &it, answer.secret_proof.as_ref()))
    }

    fn connecting(&self) -> Vec<u8> {
        message(&[CONNECTING, &self.hello, self.nonce])
    }

    fn answering(&self, answer: &NodeHelloResponse) -> Option<Vec<u8>> {
        let unproven = NodeHelloResponse { secret_proof: None, ..answer.clone() };
        let answer = unproven.encode_all(VERSION).ok()?;
        Some(message(&[ANSWERING, &self.hello, self.nonce, &answer]))
    }
}

fn verify(secret: &ClusterSecret, message: &[u8], proof: Option<&Bytes>) -> bool {
    proof.is_some_and(|proof| hmac::verify(&secret.0, message, proof).is_ok())
}

/// The parts with their lengths, so that no two lists of parts give the same bytes.
fn message(parts: &[&[u8]]) -> Vec<u8> {
    let mut message = Vec::new();
    for part in parts {
        message.extend((part.len() as u64).to_be_bytes());
        message.extend_from_slice(part);
    }
    message
}

/// The version of the greeting.
const VERSION: i16 = 0;
/// Tells the two proofs apart, so that one cannot be sent back as the other.
const CONNECTING: &[u8] = b"ottla internode 0: the connecting node knows the secret";
const ANSWERING: &[u8] = b"ottla internode 0: the coordinator knows the secret";

#[cfg(test)]
mod tests {
    use super::*;

    const THEIRS: Nonce = [2; NONCE_LEN];

    fn secret(byte: u8) -> ClusterSecret {
        ClusterSecret::new(&[byte; 32]).unwrap()
    }

    fn hello() -> NodeHelloRequest {
        NodeHelloRequest {
            node_id: 1,
            role: "broker".into(),
            cluster_id: Some("c".into()),
            boot_id: "b".into(),
            broker_epoch: 7,
            nonce: Some(Bytes::from_static(&[1; NONCE_LEN])),
            ..NodeHelloRequest::default()
        }
    }

    #[test]
    fn nodes_with_one_secret_know_each_other() {
        let (secret, hello) = (secret(1), hello());
        let proofs = Proofs::new(&secret, &hello, &THEIRS).unwrap();
        let proven = NodeHelloRequest { secret_proof: Some(proofs.of_hello()), ..hello };
        let theirs = Proofs::new(&secret, &proven, &THEIRS).unwrap();
        assert!(theirs.verify_hello(proven.secret_proof.as_ref()));
        let mut answer = NodeHelloResponse { node_id: 100, ..NodeHelloResponse::default() };
        answer.secret_proof = theirs.of_answer(&answer);
        assert!(proofs.verify_answer(&answer));
        answer.is_active = true;
        assert!(!proofs.verify_answer(&answer), "the whole answer is proven");
    }

    #[test]
    fn another_secret_proves_nothing() {
        let (ours, other) = (secret(1), secret(2));
        let hello = hello();
        let proofs = Proofs::new(&ours, &hello, &THEIRS).unwrap();
        let others = Proofs::new(&other, &hello, &THEIRS).unwrap();
        assert!(!proofs.verify_hello(Some(&others.of_hello())));
        let mut answer = NodeHelloResponse::default();
        answer.secret_proof = others.of_answer(&answer);
        assert!(!proofs.verify_answer(&answer));
        answer.secret_proof = None;
        assert!(!proofs.verify_answer(&answer) && !proofs.verify_hello(None));
    }

    #[test]
    fn proof_of_one_connection_is_none_on_another() {
        let (secret, hello) = (secret(1), hello());
        let proof = Proofs::new(&secret, &hello, &THEIRS).unwrap().of_hello();
        let again = Proofs::new(&secret, &hello, &[3; NONCE_LEN]).unwrap();
        assert!(!again.verify_hello(Some(&proof)), "another nonce of the answering side");
        let others = [
            NodeHelloRequest { nonce: Some(Bytes::from_static(&[9; NONCE_LEN])), ..hello.clone() },
            NodeHelloRequest { node_id: 2, ..hello.clone() },
            NodeHelloRequest { role: "tool".into(), ..hello.clone() },
            NodeHelloRequest { cluster_id: None, ..hello.clone() },
            NodeHelloRequest { boot_id: "x".into(), ..hello.clone() },
            NodeHelloRequest { broker_epoch: 8, ..hello.clone() },
        ];
        for other in others {
            let proofs = Proofs::new(&secret, &other, &THEIRS).unwrap();
            assert!(!proofs.verify_hello(Some(&proof)), "{other:?}");
        }
    }

    #[test]
    fn proof_sent_back_is_none() {
        let (secret, hello) = (secret(1), hello());
        let proofs = Proofs::new(&secret, &hello, &THEIRS).unwrap();
        let answer = NodeHelloResponse {
            secret_proof: Some(proofs.of_hello()),
            ..NodeHelloResponse::default()
        };
        assert!(!proofs.verify_answer(&answer));
    }

    #[test]
    fn nonces_of_another_length_are_not_used() {
        let secret = secret(1);
        let short = NodeHelloRequest { nonce: Some(Bytes::from_static(b"n")), ..hello() };
        let none = NodeHelloRequest { nonce: None, ..hello() };
        assert!(Proofs::new(&secret, &short, &THEIRS).is_none());
        assert!(Proofs::new(&secret, &none, &THEIRS).is_none());
        assert!(Proofs::new(&secret, &hello(), &[]).is_none());
    }
}
