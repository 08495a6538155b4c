//! From message descriptors to Rust. Used by the build script; depends on nothing but `std`.
//!
//! A descriptor, by line:
//!
//! ```text
//! request NAME key 1 versions 0-18 flexible 12 {      (or `response …`, `data NAME [record 3] versions …`)
//!   Topics: []Topic 0-12 null 7+ tag 0 default null ignorable {
//!     …
//!   }
//!   struct NAME {                                     (a struct that several fields share)
//!     …
//!   }
//! }
//! ```
//!
//! After a field's type come the versions that have it; after `null` those in which it may be null.
//! `flexible` is the first version with compact lengths and tagged fields. Versions of an
//! `ignorable` field that lack it drop its value; others refuse to encode one that is not the default.

mod emit;
mod field;
mod names;
mod parse;
mod schema;

pub use emit::emit;
pub use parse::parse;
