//! ElectLeaders, versions 0 to 2: 1 brought unclean elections and an error for the whole request.

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use ottla_protocol::messages::{ElectLeadersRequest, ElectLeadersResponse};

use super::{Call, Handler, Relayed};
use crate::admin::{AdminError, ElectionKind, LeaderElection, Options, Unavailable};
use crate::controller::preferred;

pub(super) struct ElectLeaders;

impl Handler for ElectLeaders {
    type Request = ElectLeadersRequest;

    async fn handle(
        call: &Call<'_>,
        request: ElectLeadersRequest,
    ) -> Result<Relayed<ElectLeadersResponse>, Unavailable> {
        let kind = match request.election_type {
            0 => ElectionKind::Preferred,
            1 => ElectionKind::Unclean,
            _ => return Ok(refused(ErrorCode::InvalidRequest)),
        };
        let options = Options { validate_only: false, timeout: call.timeout(request.timeout_ms) };
        let elections = match &request.topic_partitions {
            None => preferred::needing(&call.services.images.load(), kind),
            Some(topics) => topics
                .iter()
                .flat_map(|topic| {
                    topic.partitions.iter().map(|partition| LeaderElection {
                        topic: topic.topic.as_str().to_owned(),
                        partition: *partition,
                        kind,
                    })
                })
                .collect(),
        };
        let asked = elections.clone();
        let answer = call.admin.elect_leaders(&call.caller, asked, options).await?;
        // Who asks for everything is not told of what needed nothing.
        let is_told = |result: &Result<(), AdminError>| {
            let is_needless = |error: &AdminError| error.code == ErrorCode::ElectionNotNeeded;
            request.topic_partitions.is_some() || !result.as_ref().is_err_and(is_needless)
        };
        let mut response = ElectLeadersResponse::default();
        let results = elections.into_iter().zip(answer.results);
        for (election, result) in results.filter(|(_, result)| is_told(result)) {
            push(&mut response.replica_election_results, election, result);
        }
        Ok(Relayed { response, revision: answer.revision })
    }
}

fn push(
    results: &mut Vec<ReplicaElectionResult>,
    election: LeaderElection,
    result: Result<(), AdminError>,
) {
    let (code, message) = match result {
        Ok(()) => (ErrorCode::None, None),
        Err(error) => (error.code, Some(error.message.into())),
    };
    let partition = PartitionResult {
        partition_id: election.partition,
        error_code: code.code(),
        error_message: message,
        ..PartitionResult::default()
    };
    match results.last_mut() {
        Some(last) if *last.topic == *election.topic => last.partition_result.push(partition),
        _ => results.push(ReplicaElectionResult {
            topic: election.topic.into(),
            partition_result: vec![partition],
            ..ReplicaElectionResult::default()
        }),
    }
}

fn refused(code: ErrorCode) -> Relayed<ElectLeadersResponse> {
    let response =
        ElectLeadersResponse { error_code: code.code(), ..ElectLeadersResponse::default() };
    Relayed { response, revision: 0 }
}
