//! Makes the topics that others use, and others that come, grow and go.

use std::collections::VecDeque;
use std::time::Duration;

use ottla_protocol::ErrorCode;
use rand::Rng;

use super::super::env::Env;
use super::super::message::{AdminRequest, ClientAnswer, ClientRequest, Message, Timer};
use super::Session;

/// The admin client. Each request is repeated until it is done.
#[derive(Debug)]
pub struct Admin {
    session: Session,
    todo: VecDeque<AdminRequest>,
    waiting: Option<u64>,
}

impl Admin {
    /// A client that will ask for all of `todo`, one after the other.
    pub fn new(index: u8, brokers: u8, todo: Vec<AdminRequest>) -> Self {
        Self { session: Session::new(index, brokers), todo: todo.into(), waiting: None }
    }

    /// Begins.
    pub fn start(&self, env: &mut Env) {
        env.timer(self.session.me, Duration::from_millis(100), Timer::Act);
    }

    /// Whether everything was done.
    pub fn is_done(&self) -> bool {
        self.todo.is_empty()
    }

    /// A message arrives.
    pub fn handle_message(&mut self, env: &mut Env, message: Message) {
        let Message::Answer { id, answer, .. } = message else { return };
        match answer {
            ClientAnswer::Metadata(topics) => self.session.learn(env, topics),
            ClientAnswer::Admin(result) if self.waiting == Some(id) => {
                self.waiting = None;
                // A repetition meets what the request before it did.
                let is_done = matches!(
                    result,
                    Ok(_)
                        | Err(ErrorCode::TopicAlreadyExists
                            | ErrorCode::UnknownTopicOrPartition
                            | ErrorCode::InvalidPartitions)
                );
                if is_done {
                    self.todo.pop_front();
                }
                let pause = env.between(Duration::from_millis(20), Duration::from_millis(400));
                env.timer(self.session.me, pause, Timer::Act);
            }
            _ => {}
        }
    }

    /// A timer fires.
    pub fn handle_timer(&mut self, env: &mut Env, timer: Timer) {
        match timer {
            Timer::Act => self.act(env),
            Timer::RequestTimeout(id) if self.waiting == Some(id) => {
                self.waiting = None;
                self.act(env);
            }
            _ => {}
        }
    }

    fn act(&mut self, env: &mut Env) {
        if self.waiting.is_some() {
            return;
        }
        let Some(next) = self.todo.front().cloned() else { return };
        if env.rng.random_bool(0.5) {
            self.session.ask(env, ClientRequest::Metadata);
        }
        let id = self.session.ask(env, ClientRequest::Admin(next));
        self.waiting = Some(id);
        env.timer(self.session.me, TIMEOUT, Timer::RequestTimeout(id));
    }
}

const TIMEOUT: Duration = Duration::from_secs(3);
