//! The image: one process's picture of the cluster, and the feed that keeps it.

mod apply;
mod driver;
mod entry;
pub mod feed;
mod picture;
mod reader;

pub use apply::Delta;
pub use driver::{FeedConfig, FeedError, ImageFeed};
pub use picture::{Image, ImageDiff, Versioned};
pub use reader::{FeedStatus, ImageReader, WaitError};

#[cfg(test)]
mod driver_tests;
#[cfg(test)]
mod tests;
