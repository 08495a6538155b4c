//! Topics that are created because a client asked for them.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ottla_metadata::internal_topics::is_internal;
use ottla_protocol::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use ottla_protocol::messages::create_topics_response::CreateTopicsResponse;
use ottla_protocol::wire::Decoder;
use ottla_protocol::{ApiKey, ErrorCode, Message, ResponseHeader, Str};
use tokio_util::task::TaskTracker;

use crate::handlers::RequestContext;
use crate::relay::Relay;
use crate::services::Services;

/// Asks the coordinator for topics that clients named and that do not exist. Clients repeat themselves
/// until a topic exists, so a name that is asked for already is not asked again.
#[derive(Debug, Clone, Default)]
pub struct AutoCreate {
    asked: Arc<Mutex<HashSet<Str>>>,
    tasks: TaskTracker,
}

/// Version of the requests that are made here.
const VERSION: i16 = 7;
/// Names that are being created at a time; clients ask again for others.
const ASKED_MAX: usize = 1000;
/// Time for one creation.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The coordinator decides.
const UNDECIDED: i16 = -1;

impl AutoCreate {
    /// Has `names` created with the broker's defaults, in the background. The cluster's own topics come into
    /// being with what uses them, never by being named.
    pub fn request(&self, services: &Services, context: &RequestContext, names: Vec<Str>) {
        let wanted = names.into_iter().filter(|name| !is_internal(name)).collect();
        let shape = (services.config.num_partitions, services.config.default_replication_factor);
        self.ask(services, context, (wanted, shape));
    }

    /// Has one of the cluster's own topics created, in the shape that the coordinator gives it.
    pub fn request_internal(
        &self,
        services: &Services,
        context: &RequestContext,
        name: &'static str,
    ) {
        let shape = (UNDECIDED.into(), UNDECIDED);
        self.ask(services, context, (vec![Str::from_static(name)], shape));
    }

    fn ask(
        &self,
        services: &Services,
        context: &RequestContext,
        (wanted, (num_partitions, replication_factor)): (Vec<Str>, (i32, i16)),
    ) {
        let names: Vec<Str> = {
            let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            // The frame of the request must not live on in the set.
            let fresh = wanted
                .into_iter()
                .map(|name| name.detach())
                .filter(|name| asked.len() < ASKED_MAX && asked.insert(name.clone()));
            fresh.collect()
        };
        if names.is_empty() {
            return;
        }
        let asked = Arc::clone(&self.asked);
        let claimed = Claimed { asked, names, num_partitions, replication_factor };
        let context = RequestContext {
            api_key: ApiKey::CreateTopics,
            api_version: VERSION,
            ..context.clone()
        };
        self.tasks.spawn(create(services.relay.clone(), context, claimed));
    }
}

/// Names that are being created; they are free again when this is dropped.
struct Claimed {
    asked: Arc<Mutex<HashSet<Str>>>,
    names: Vec<Str>,
    num_partitions: i32,
    replication_factor: i16,
}

impl Drop for Claimed {
    fn drop(&mut self) {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        for name in &self.names {
            asked.remove(name);
        }
    }
}

async fn create(relay: Relay, context: RequestContext, claimed: Claimed) {
    let topics = claimed.names.iter().map(|name| CreatableTopic {
        name: name.clone(),
        num_partitions: claimed.num_partitions,
        replication_factor: claimed.replication_factor,
        ..CreatableTopic::default()
    });
    let request = CreateTopicsRequest {
        topics: topics.collect(),
        timeout_ms: i32::try_from(TIMEOUT.as_millis()).unwrap_or(i32::MAX),
        ..CreateTopicsRequest::default()
    };
    let answer = relay.forward(&context, &request, TIMEOUT).await;
    let response = match answer {
        Ok(answer) => {
            let mut decoder = Decoder::new(answer);
            ResponseHeader::decode(&mut decoder, ApiKey::CreateTopics, VERSION)
                .and_then(|_| CreateTopicsResponse::decode(&mut decoder, VERSION))
        }
        Err(error) => {
            tracing::warn!(topics = ?claimed.names, %error, "topics that clients asked for are not created");
            return;
        }
    };
    let Ok(response) = response else {
        tracing::error!("the coordinator's answer to CreateTopics is malformed");
        return;
    };
    for topic in response.topics {
        let code = ErrorCode::from_code(topic.error_code);
        // Another broker may have been faster.
        if code != ErrorCode::None && code != ErrorCode::TopicAlreadyExists {
            let message = topic.error_message.unwrap_or_default();
            tracing::warn!(topic = %topic.name, error = code.name(), %message, "topic that a client asked for is not created");
        }
    }
}
