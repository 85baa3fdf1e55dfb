//! A worker of the echo cluster: serves raw TCP and UDP, and registers in etcd.
//!
//! Two flows meet in one place. Data: socket -> shard -> service -> socket, all in [`data`]. Intent: etcd -> agent ->
//! [`live`] -> shards. The data path must never wait for the other one.
#![deny(unsafe_code)]

pub mod agent;
pub mod app;
pub mod data;
pub mod drain;
pub mod health;
pub mod intake;
pub mod lifeline;
pub mod live;
#[allow(unsafe_code)] // No library that we have sets it.
mod memory;
pub mod metrics;
pub mod pool_file;
pub mod settings;
