//! The error codes of Kafka's protocol. They are data: they travel in responses.

/// Whether repeating the request may help.
#[derive(Clone, Copy)]
enum Retry {
    Again,
    Final,
}

macro_rules! error_codes {
    ($($variant:ident = $code:literal, $name:ident, $retry:ident, $message:literal;)+) => {
        /// What went wrong, as a response says it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i16)]
        pub enum ErrorCode {
            $(#[doc = $message] $variant = $code,)+
        }

        impl ErrorCode {
            /// Every code, ascending.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$variant),+];

            /// The error with this code; [`ErrorCode::UnknownServerError`] for codes not known, as
            /// Kafka's clients take them.
            pub const fn from_code(code: i16) -> Self {
                match code {
                    $($code => ErrorCode::$variant,)+
                    _ => ErrorCode::UnknownServerError,
                }
            }

            /// Kafka's name, such as `NOT_LEADER_OR_FOLLOWER`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(ErrorCode::$variant => stringify!($name),)+
                }
            }

            /// What it means, for people.
            pub const fn message(self) -> &'static str {
                match self {
                    $(ErrorCode::$variant => $message,)+
                }
            }

            const fn retry(self) -> Retry {
                match self {
                    $(ErrorCode::$variant => Retry::$retry,)+
                }
            }
        }
    };
}

// Variant = code, Kafka's name, whether Kafka's clients try again, meaning;
error_codes! {
    UnknownServerError = -1, UNKNOWN_SERVER_ERROR, Final, "the server failed in a way it did not foresee";
    None = 0, NONE, Final, "no error";
    OffsetOutOfRange = 1, OFFSET_OUT_OF_RANGE, Final, "the offset is below the log's start or above its end";
    CorruptMessage = 2, CORRUPT_MESSAGE, Again, "a record batch is damaged: bad checksum, bad size, or no key where compaction needs one";
    UnknownTopicOrPartition = 3, UNKNOWN_TOPIC_OR_PARTITION, Again, "this server has no such topic or partition";
    InvalidFetchSize = 4, INVALID_FETCH_SIZE, Final, "the fetch size is not valid";
    LeaderNotAvailable = 5, LEADER_NOT_AVAILABLE, Again, "the partition has no leader at the moment";
    NotLeaderOrFollower = 6, NOT_LEADER_OR_FOLLOWER, Again, "this broker is not the leader, or not a replica, of the partition";
    RequestTimedOut = 7, REQUEST_TIMED_OUT, Again, "the request took longer than its time limit";
    BrokerNotAvailable = 8, BROKER_NOT_AVAILABLE, Final, "the broker is not available";
    ReplicaNotAvailable = 9, REPLICA_NOT_AVAILABLE, Again, "the replica is not available";
    MessageTooLarge = 10, MESSAGE_TOO_LARGE, Final, "the message is larger than the server accepts";
    StaleControllerEpoch = 11, STALE_CONTROLLER_EPOCH, Final, "the controller epoch is out of date";
    OffsetMetadataTooLarge = 12, OFFSET_METADATA_TOO_LARGE, Final, "the metadata of an offset commit is too long";
    NetworkException = 13, NETWORK_EXCEPTION, Again, "the connection was lost before the answer came";
    CoordinatorLoadInProgress = 14, COORDINATOR_LOAD_IN_PROGRESS, Again, "the coordinator is still loading its state";
    CoordinatorNotAvailable = 15, COORDINATOR_NOT_AVAILABLE, Again, "no coordinator is available";
    NotCoordinator = 16, NOT_COORDINATOR, Again, "this node is not the coordinator";
    InvalidTopicException = 17, INVALID_TOPIC_EXCEPTION, Final, "the topic's name is not valid, or the operation is not allowed on it";
    RecordListTooLarge = 18, RECORD_LIST_TOO_LARGE, Final, "the record batch is larger than a segment may be";
    NotEnoughReplicas = 19, NOT_ENOUGH_REPLICAS, Again, "fewer replicas are in sync than a write requires";
    NotEnoughReplicasAfterAppend = 20, NOT_ENOUGH_REPLICAS_AFTER_APPEND, Again, "the write was stored, but on fewer in-sync replicas than required";
    InvalidRequiredAcks = 21, INVALID_REQUIRED_ACKS, Final, "the number of required acknowledgements is not valid";
    IllegalGeneration = 22, ILLEGAL_GENERATION, Final, "the group has another generation";
    InconsistentGroupProtocol = 23, INCONSISTENT_GROUP_PROTOCOL, Final, "the member shares no protocol with its group, or names none";
    InvalidGroupId = 24, INVALID_GROUP_ID, Final, "the group's id is not valid";
    UnknownMemberId = 25, UNKNOWN_MEMBER_ID, Final, "the group has no such member";
    InvalidSessionTimeout = 26, INVALID_SESSION_TIMEOUT, Final, "the session timeout is outside the range that the broker allows";
    RebalanceInProgress = 27, REBALANCE_IN_PROGRESS, Final, "the group is rebalancing, members must join again";
    InvalidCommitOffsetSize = 28, INVALID_COMMIT_OFFSET_SIZE, Final, "the offset commit is larger than allowed";
    TopicAuthorizationFailed = 29, TOPIC_AUTHORIZATION_FAILED, Final, "access to the topic is denied";
    GroupAuthorizationFailed = 30, GROUP_AUTHORIZATION_FAILED, Final, "access to the group is denied";
    ClusterAuthorizationFailed = 31, CLUSTER_AUTHORIZATION_FAILED, Final, "access to the cluster is denied";
    InvalidTimestamp = 32, INVALID_TIMESTAMP, Final, "the record's timestamp is outside the accepted range";
    UnsupportedSaslMechanism = 33, UNSUPPORTED_SASL_MECHANISM, Final, "the SASL mechanism is not supported";
    IllegalSaslState = 34, ILLEGAL_SASL_STATE, Final, "the request does not fit the state of the SASL exchange";
    UnsupportedVersion = 35, UNSUPPORTED_VERSION, Final, "the version of the API is not supported";
    TopicAlreadyExists = 36, TOPIC_ALREADY_EXISTS, Final, "a topic of this name exists";
    InvalidPartitions = 37, INVALID_PARTITIONS, Final, "the number of partitions is not valid";
    InvalidReplicationFactor = 38, INVALID_REPLICATION_FACTOR, Final, "the replication factor is below 1 or above the number of brokers";
    InvalidReplicaAssignment = 39, INVALID_REPLICA_ASSIGNMENT, Final, "the replica assignment is not valid";
    InvalidConfig = 40, INVALID_CONFIG, Final, "the configuration is not valid";
    NotController = 41, NOT_CONTROLLER, Again, "this node is not the active controller";
    InvalidRequest = 42, INVALID_REQUEST, Final, "the request is malformed or contradicts itself";
    UnsupportedForMessageFormat = 43, UNSUPPORTED_FOR_MESSAGE_FORMAT, Final, "the log's message format does not support the request";
    PolicyViolation = 44, POLICY_VIOLATION, Final, "a policy of the cluster forbids the request";
    OutOfOrderSequenceNumber = 45, OUT_OF_ORDER_SEQUENCE_NUMBER, Final, "the sequence number is not the one expected next";
    DuplicateSequenceNumber = 46, DUPLICATE_SEQUENCE_NUMBER, Final, "the sequence number was seen before";
    InvalidProducerEpoch = 47, INVALID_PRODUCER_EPOCH, Final, "the producer's epoch is out of date";
    InvalidTxnState = 48, INVALID_TXN_STATE, Final, "the transaction's state does not allow the operation";
    InvalidProducerIdMapping = 49, INVALID_PRODUCER_ID_MAPPING, Final, "the transactional id belongs to another producer id";
    InvalidTransactionTimeout = 50, INVALID_TRANSACTION_TIMEOUT, Final, "the transaction timeout is above the broker's maximum";
    ConcurrentTransactions = 51, CONCURRENT_TRANSACTIONS, Again, "another operation on the same transaction is under way";
    TransactionCoordinatorFenced = 52, TRANSACTION_COORDINATOR_FENCED, Final, "the transaction coordinator that sent the marker has been replaced";
    TransactionalIdAuthorizationFailed = 53, TRANSACTIONAL_ID_AUTHORIZATION_FAILED, Final, "access to the transactional id is denied";
    SecurityDisabled = 54, SECURITY_DISABLED, Final, "security is switched off";
    OperationNotAttempted = 55, OPERATION_NOT_ATTEMPTED, Final, "the operation was not attempted, because another one in the same request failed";
    KafkaStorageError = 56, KAFKA_STORAGE_ERROR, Again, "the disk that holds the log failed";
    LogDirNotFound = 57, LOG_DIR_NOT_FOUND, Final, "the broker has no such log directory";
    SaslAuthenticationFailed = 58, SASL_AUTHENTICATION_FAILED, Final, "SASL authentication failed";
    UnknownProducerId = 59, UNKNOWN_PRODUCER_ID, Final, "the broker holds no state for this producer id";
    ReassignmentInProgress = 60, REASSIGNMENT_IN_PROGRESS, Final, "the partition is being reassigned";
    DelegationTokenAuthDisabled = 61, DELEGATION_TOKEN_AUTH_DISABLED, Final, "delegation tokens are switched off";
    DelegationTokenNotFound = 62, DELEGATION_TOKEN_NOT_FOUND, Final, "there is no such delegation token";
    DelegationTokenOwnerMismatch = 63, DELEGATION_TOKEN_OWNER_MISMATCH, Final, "the principal may not own or renew the token";
    DelegationTokenRequestNotAllowed = 64, DELEGATION_TOKEN_REQUEST_NOT_ALLOWED, Final, "delegation tokens cannot be requested over this kind of connection";
    DelegationTokenAuthorizationFailed = 65, DELEGATION_TOKEN_AUTHORIZATION_FAILED, Final, "access to the delegation token is denied";
    DelegationTokenExpired = 66, DELEGATION_TOKEN_EXPIRED, Final, "the delegation token has expired";
    InvalidPrincipalType = 67, INVALID_PRINCIPAL_TYPE, Final, "the type of principal is not supported";
    NonEmptyGroup = 68, NON_EMPTY_GROUP, Final, "the group has members";
    GroupIdNotFound = 69, GROUP_ID_NOT_FOUND, Final, "there is no such group";
    FetchSessionIdNotFound = 70, FETCH_SESSION_ID_NOT_FOUND, Again, "there is no such fetch session";
    InvalidFetchSessionEpoch = 71, INVALID_FETCH_SESSION_EPOCH, Again, "the fetch session has another epoch";
    ListenerNotFound = 72, LISTENER_NOT_FOUND, Again, "the leader has no listener of the name that the request came in by";
    TopicDeletionDisabled = 73, TOPIC_DELETION_DISABLED, Final, "topics cannot be deleted, it is switched off";
    FencedLeaderEpoch = 74, FENCED_LEADER_EPOCH, Again, "the leader epoch in the request is out of date";
    UnknownLeaderEpoch = 75, UNKNOWN_LEADER_EPOCH, Again, "the leader epoch in the request is newer than the broker's";
    UnsupportedCompressionType = 76, UNSUPPORTED_COMPRESSION_TYPE, Final, "the client does not support the partition's compression";
    StaleBrokerEpoch = 77, STALE_BROKER_EPOCH, Final, "the broker's epoch is out of date";
    OffsetNotAvailable = 78, OFFSET_NOT_AVAILABLE, Again, "a new leader does not know yet how far the log is committed";
    MemberIdRequired = 79, MEMBER_ID_REQUIRED, Final, "the member must join with the id that the answer gives it";
    PreferredLeaderNotAvailable = 80, PREFERRED_LEADER_NOT_AVAILABLE, Again, "the preferred leader is not available";
    GroupMaxSizeReached = 81, GROUP_MAX_SIZE_REACHED, Final, "the group has as many members as it may have";
    FencedInstanceId = 82, FENCED_INSTANCE_ID, Final, "another member took over the static instance id";
    EligibleLeadersNotAvailable = 83, ELIGIBLE_LEADERS_NOT_AVAILABLE, Again, "no replica is eligible as leader";
    ElectionNotNeeded = 84, ELECTION_NOT_NEEDED, Again, "the partition needs no election";
    NoReassignmentInProgress = 85, NO_REASSIGNMENT_IN_PROGRESS, Final, "the partition is not being reassigned";
    GroupSubscribedToTopic = 86, GROUP_SUBSCRIBED_TO_TOPIC, Final, "the group is subscribed to the topic, so its offsets cannot be deleted";
    InvalidRecord = 87, INVALID_RECORD, Final, "the broker found a record not valid";
    UnstableOffsetCommit = 88, UNSTABLE_OFFSET_COMMIT, Again, "offsets of an open transaction are pending";
    ThrottlingQuotaExceeded = 89, THROTTLING_QUOTA_EXCEEDED, Again, "the quota is exceeded";
    ProducerFenced = 90, PRODUCER_FENCED, Final, "a newer producer with the same transactional id exists";
    ResourceNotFound = 91, RESOURCE_NOT_FOUND, Final, "there is no such resource";
    DuplicateResource = 92, DUPLICATE_RESOURCE, Final, "the request names a resource twice";
    UnacceptableCredential = 93, UNACCEPTABLE_CREDENTIAL, Final, "the credential does not meet the requirements";
    InconsistentVoterSet = 94, INCONSISTENT_VOTER_SET, Final, "sender or receiver is not among the expected voters";
    InvalidUpdateVersion = 95, INVALID_UPDATE_VERSION, Final, "the update's version is not valid";
    FeatureUpdateFailed = 96, FEATURE_UPDATE_FAILED, Final, "the feature could not be updated";
    PrincipalDeserializationFailure = 97, PRINCIPAL_DESERIALIZATION_FAILURE, Final, "the forwarded principal cannot be read";
    SnapshotNotFound = 98, SNAPSHOT_NOT_FOUND, Final, "there is no such snapshot";
    PositionOutOfRange = 99, POSITION_OUT_OF_RANGE, Final, "the position is outside the snapshot";
    UnknownTopicId = 100, UNKNOWN_TOPIC_ID, Again, "this server has no topic with this id";
    DuplicateBrokerRegistration = 101, DUPLICATE_BROKER_REGISTRATION, Final, "a live broker has this id";
    BrokerIdNotRegistered = 102, BROKER_ID_NOT_REGISTERED, Final, "no broker of this id is registered";
    InconsistentTopicId = 103, INCONSISTENT_TOPIC_ID, Again, "the topic's id differs from that of the log";
    InconsistentClusterId = 104, INCONSISTENT_CLUSTER_ID, Final, "the cluster's id differs from that of the server";
    TransactionalIdNotFound = 105, TRANSACTIONAL_ID_NOT_FOUND, Final, "there is no such transactional id";
    FetchSessionTopicIdError = 106, FETCH_SESSION_TOPIC_ID_ERROR, Again, "the fetch session mixes topics with ids and without";
    IneligibleReplica = 107, INELIGIBLE_REPLICA, Final, "a member of the proposed in-sync set is not eligible";
    NewLeaderElected = 108, NEW_LEADER_ELECTED, Final, "the change was stored, but leadership moved";
    OffsetMovedToTieredStorage = 109, OFFSET_MOVED_TO_TIERED_STORAGE, Final, "the offset is only in tiered storage";
    FencedMemberEpoch = 110, FENCED_MEMBER_EPOCH, Final, "the member's epoch is fenced, it must give up its partitions and join anew";
    UnreleasedInstanceId = 111, UNRELEASED_INSTANCE_ID, Final, "the static instance id is still in use by another member";
    UnsupportedAssignor = 112, UNSUPPORTED_ASSIGNOR, Final, "the assignor, or its version, is not supported by the group";
    StaleMemberEpoch = 113, STALE_MEMBER_EPOCH, Final, "the member's epoch is out of date";
    MismatchedEndpointType = 114, MISMATCHED_ENDPOINT_TYPE, Final, "this endpoint is of the wrong kind for the request";
    UnsupportedEndpointType = 115, UNSUPPORTED_ENDPOINT_TYPE, Final, "this kind of endpoint is not supported";
    UnknownControllerId = 116, UNKNOWN_CONTROLLER_ID, Final, "there is no such controller";
    UnknownSubscriptionId = 117, UNKNOWN_SUBSCRIPTION_ID, Final, "the telemetry subscription is unknown or out of date";
    TelemetryTooLarge = 118, TELEMETRY_TOO_LARGE, Final, "the telemetry is larger than the broker accepts";
    InvalidRegistration = 119, INVALID_REGISTRATION, Final, "the controller refused the registration";
    TransactionAbortable = 120, TRANSACTION_ABORTABLE, Final, "the transaction failed, but its producer can abort it and go on";
    InvalidRecordState = 121, INVALID_RECORD_STATE, Final, "the record's state does not allow the acknowledgement";
    ShareSessionNotFound = 122, SHARE_SESSION_NOT_FOUND, Again, "there is no such share session";
    InvalidShareSessionEpoch = 123, INVALID_SHARE_SESSION_EPOCH, Again, "the share session has another epoch";
    FencedStateEpoch = 124, FENCED_STATE_EPOCH, Final, "the share group's state has another epoch";
    InvalidVoterKey = 125, INVALID_VOTER_KEY, Final, "the voter's key differs from that of the replica";
    DuplicateVoter = 126, DUPLICATE_VOTER, Final, "the voter is in the set already";
    VoterNotFound = 127, VOTER_NOT_FOUND, Final, "the set has no such voter";
    InvalidRegularExpression = 128, INVALID_REGULAR_EXPRESSION, Final, "the regular expression is not valid";
    RebootstrapRequired = 129, REBOOTSTRAP_REQUIRED, Final, "the client's metadata is out of date, it must bootstrap again";
    StreamsInvalidTopology = 130, STREAMS_INVALID_TOPOLOGY, Final, "the topology is not valid";
    StreamsInvalidTopologyEpoch = 131, STREAMS_INVALID_TOPOLOGY_EPOCH, Final, "the topology's epoch is not valid";
    StreamsTopologyFenced = 132, STREAMS_TOPOLOGY_FENCED, Final, "the topology's epoch is out of date";
    ShareSessionLimitReached = 133, SHARE_SESSION_LIMIT_REACHED, Again, "the broker has as many share sessions as it may have";
}

impl ErrorCode {
    /// The code on the wire.
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// True for [`ErrorCode::None`].
    pub const fn is_none(self) -> bool {
        matches!(self, Self::None)
    }

    /// True if Kafka's clients repeat a request that failed with this code.
    pub const fn is_retriable(self) -> bool {
        matches!(self.retry(), Retry::Again)
    }
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_kafka_without_gaps() {
        let codes: Vec<_> = ErrorCode::ALL.iter().map(|error| error.code()).collect();
        assert_eq!(codes, (-1..=133).collect::<Vec<_>>());
        for error in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_code(error.code()), *error);
        }
        assert_eq!(ErrorCode::from_code(9999), ErrorCode::UnknownServerError);
    }

    #[test]
    fn names_and_retries_are_those_of_kafka() {
        assert_eq!(ErrorCode::NotLeaderOrFollower.name(), "NOT_LEADER_OR_FOLLOWER");
        assert_eq!(ErrorCode::NotLeaderOrFollower.code(), 6);
        assert!(ErrorCode::NotLeaderOrFollower.is_retriable());
        assert!(!ErrorCode::ProducerFenced.is_retriable());
        assert!(ErrorCode::None.is_none());
    }
}
