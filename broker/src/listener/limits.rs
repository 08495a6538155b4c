//! What one connection may cost.

use std::time::Duration;

/// Bounds of every connection. [`Limits::default`] has the values of a broker with default settings.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Longest request, bytes (`socket.request.max.bytes`).
    pub request_bytes_max: u32,
    /// A connection without a request in flight is closed after this silence (`connections.max.idle.ms`);
    /// one that does not take its answers, too.
    pub idle_max: Duration,
    /// A frame of up to [`SMALL_FRAME_BYTES`] must be complete this long after its first byte.
    pub small_frame_time_max: Duration,
    /// A longer frame must bring [`Limits::rate_bytes_min`] in every such window.
    pub rate_window: Duration,
    /// Bytes in every [`Limits::rate_window`] that a sender of long frames must manage.
    pub rate_bytes_min: usize,
    /// Requests of one connection that are handled and not yet answered.
    pub in_flight_max: usize,
    /// Bytes of encoded answers that wait for the client to read; the next request waits beyond it.
    pub unread_bytes_max: usize,
    /// How long answers may still be sent after the client stopped sending, or the broker reading.
    pub linger: Duration,
}

/// Frames of at most this size are expected to come at once and have a memory reserve of their own.
pub const SMALL_FRAME_BYTES: usize = 64 * 1024;

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_bytes_max: 100 * 1024 * 1024,
            idle_max: Duration::from_mins(10),
            small_frame_time_max: Duration::from_secs(30),
            rate_window: Duration::from_secs(10),
            // 64 KiB a second: slower than any link that carries a useful stream of records.
            rate_bytes_min: 640 * 1024,
            in_flight_max: 64,
            unread_bytes_max: 4 * 1024 * 1024,
            linger: Duration::from_secs(1),
        }
    }
}
