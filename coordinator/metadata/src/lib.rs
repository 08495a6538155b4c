//! The cluster's metadata: model, key space, image and its feed, and the stores that hold it.
