//! The store as its clients call it: calls have numbers and deadlines.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_metadata::store::{Outcome, StoreError};

use super::env::{Env, Node, Process};
use super::message::{Message, StoreReply, StoreRequest, Timer};

/// The calls of one process. `P` says what each is for.
#[derive(Debug)]
pub struct StorePort<P> {
    process: Process,
    next: u64,
    calls: BTreeMap<u64, (P, StoreReply)>,
}

impl<P> StorePort<P> {
    /// Without calls.
    pub fn new(process: Process) -> Self {
        Self { process, next: 0, calls: BTreeMap::new() }
    }

    /// Calls the store; [`StorePort::answer`] or [`StorePort::expire`] follows.
    pub fn call(&mut self, env: &mut Env, request: StoreRequest, purpose: P) {
        let unavailable = || StoreError::Unavailable { reason: "no answer".into() };
        let silence = match &request {
            StoreRequest::Range(_) => StoreReply::Page(Err(unavailable())),
            StoreRequest::Txn(_) => {
                StoreReply::Txn(Ok(Outcome::Unknown { reason: "no answer".into() }))
            }
            StoreRequest::Grant(_) => StoreReply::Lease(Err(unavailable())),
            _ => StoreReply::Done(Err(unavailable())),
        };
        self.next += 1;
        let call = self.next;
        self.calls.insert(call, (purpose, silence));
        self.tell(env, call, request);
        env.timer(self.process, DEADLINE, Timer::CallTimeout(call));
    }

    /// Tells the store something that is not answered.
    pub fn cast(&self, env: &mut Env, request: StoreRequest) {
        self.tell(env, 0, request);
    }

    /// What the answered call was for, unless it is over.
    pub fn answer(&mut self, call: u64) -> Option<P> {
        self.calls.remove(&call).map(|(purpose, _)| purpose)
    }

    /// The deadline of a call has passed: what it was for, and what its caller has to believe.
    pub fn expire(&mut self, call: u64) -> Option<(P, StoreReply)> {
        self.calls.remove(&call)
    }

    fn tell(&self, env: &mut Env, call: u64, request: StoreRequest) {
        env.send(self.process, (Node::Store, None), Message::StoreCall { call, request });
    }
}

const DEADLINE: Duration = Duration::from_secs(1);
