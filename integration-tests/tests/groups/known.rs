//! The differences that are meant.

/// Something that differs on purpose, in every step that begins so.
struct Known {
    /// How those steps begin.
    step: &'static str,
    /// What Apache Kafka answers.
    kafka: &'static str,
    /// What Ottla answers instead.
    ottla: &'static str,
    /// Why that is right.
    reason: &'static str,
}

/// Whether the difference between two lines is one that is meant; its reason is printed.
pub fn is_known(expected: &str, actual: &str) -> bool {
    let known = KNOWN.iter().find(|known| {
        expected.starts_with(known.step) && expected.replace(known.kafka, known.ottla) == actual
    });
    if let Some(known) = known {
        println!("{expected}: {}", known.reason);
    }
    known.is_some()
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
