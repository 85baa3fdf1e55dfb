//! The data path: socket -> shard -> service -> socket.
//!
//! Driven by [`crate::live`] alone. It must never wait for etcd, gRPC or telemetry.

pub mod counters;
