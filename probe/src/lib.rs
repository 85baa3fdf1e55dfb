//! Client side of the echo cluster's data path: prober and load generator.
//!
//! Used by `echoctl`, and by `echo-bench` of tests/ to measure a node. It must never take an answer for good that it
//! did not compare byte by byte.
//!
//! | module | idea |
//! |---|---|
//! | [`tcp_echo`], [`udp_echo`] | one echo, and how long it took |
//! | [`prober`] | single probes at a steady pace, and what they tell of the path |
//! | [`load`] | many at once, for a while, and what became of them |
//! | [`pattern`] | payloads that show when a part is lost, doubled, moved or another's |
#![deny(unsafe_code)]

mod echo;
mod error;
pub mod load;
pub mod pattern;
pub mod prober;

pub use echo::{tcp_echo, udp_echo};
pub use error::ProbeError;
