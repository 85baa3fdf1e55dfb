//! The contract of the echo cluster: what the data plane and the control plane agree on, and nothing else.
//!
//! Used by `echo-node`, `echo-control`, `echoctl` and probes. It must never open a socket to etcd or to a peer; the only
//! thing it starts is telemetry.
//!
//! | module | idea |
//! |---|---|
//! | [`v1`] | generated messages and gRPC stubs of `echo/v1/*.proto` |
//! | [`backoff`] | waits between retries |
//! | [`codec`] | JSON and YAML <-> messages, by descriptor |
//! | [`spec`] | the one validity rule: `PoolSpec` -> plan |
//! | [`ids`] | names, revisions, digests, the rollout hash |
//! | [`keys`] | where each record lives in etcd |
//! | [`stamp`] | the stamped-echo wire format |
//! | [`telemetry`] | OpenTelemetry start-up, W3C context, metric names |
#![forbid(unsafe_code)]

pub mod backoff;
pub mod codec;
pub mod ids;
pub mod keys;
pub mod spec;
pub mod stamp;
pub mod telemetry;

/// Messages and services of package `echo.v1`, generated; the comments are those of the `.proto` files.
#[allow(missing_docs, unused_qualifications, clippy::all, clippy::restriction)]
pub mod v1 {
    tonic::include_proto!("echo.v1");
}

/// The encoded `FileDescriptorSet` of package `echo.v1`, for gRPC reflection and the codec.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/echo_v1.bin"));

/// Full names of the standard services that each of our gRPC servers has beside its own.
pub const STANDARD_SERVICES: [&str; 3] =
    ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"];

/// The `apiVersion` of every object.
pub const API_VERSION: &str = "echo/v1";

/// Version of this build, as `version` and the nodes' records tell it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
