//! Partition logs in Kafka's on-disk format; opens no socket.
