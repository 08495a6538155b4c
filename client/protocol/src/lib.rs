//! Kafka's wire protocol: framing, headers, messages, record batches and compression; opens no socket.
