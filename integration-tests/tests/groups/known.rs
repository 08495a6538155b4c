//! The differences that are meant.

use ottla_integration_tests::harness::Known;

/// Whether the difference between two lines is one that is meant; its reason is printed.
pub fn is_known(expected: &str, actual: &str) -> bool {
    Known::is_among(KNOWN, expected, actual)
}

const KNOWN: &[Known] = &[
    Known {
        step: "describe v6 absent refused",
        kafka: "refused NONE false \"Empty\"",
        ottla: "refused GROUP_ID_NOT_FOUND true \"Dead\"",
        reason: "a group that let nobody in does not come into being by that",
    },
    Known {
        step: "delete v2 refused",
        kafka: "refused NONE",
        ottla: "refused GROUP_ID_NOT_FOUND",
        reason: "a group that let nobody in does not come into being by that",
    },
    Known {
        step: "kafka-topics --describe --topic __consumer_offsets",
        kafka: "min.insync.replicas=1,",
        ottla: "",
        reason: "nobody has set it, on the topic or on all brokers",
    },
];
