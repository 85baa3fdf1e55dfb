//! Names of metrics and attributes: the stable vocabulary of dashboards.
//!
//! Used by the nodes' and control's instruments. Ours start with `echo.`; the rest are OpenTelemetry's semantic
//! conventions. A metric's name carries no unit. A client's address must never be an attribute of a metric.

/// Open TCP connections; up-down counter.
pub const CONNECTION_ACTIVE: &str = "echo.server.connection.active";
/// TCP connections accepted; counter.
pub const CONNECTION_ACCEPTED: &str = "echo.server.connection.accepted";
/// TCP connections closed right after accept, by [`ERROR_TYPE`]; counter.
pub const CONNECTION_REJECTED: &str = "echo.server.connection.rejected";
/// Times that a TCP connection was not read for a while, for its rate; counter.
pub const CONNECTION_PACED: &str = "echo.server.connection.paced";
/// Life of a TCP connection in seconds; histogram.
pub const CONNECTION_DURATION: &str = "echo.server.connection.duration";
/// Payload bytes by [`DIRECTION`]; counter.
pub const IO: &str = "echo.server.io";
/// UDP datagrams by [`DIRECTION`]; counter.
pub const PACKET_COUNT: &str = "echo.server.packet.count";
/// UDP datagrams that the node dropped, by [`DROP_REASON`]; counter.
pub const PACKET_DROPPED: &str = "echo.server.packet.dropped";
/// Number of the revision that a node serves; gauge.
pub const CONFIG_REVISION: &str = "echo.config.revision";
/// Nodes by [`POOL`] and [`SYNC_STATE`]; gauge.
pub const ROLLOUT_NODE_COUNT: &str = "echo.rollout.node.count";
/// Leases that a node lost; counter.
pub const LEASE_EXPIRED: &str = "echo.registry.lease.expired";
/// Vanished nodes that a pool's list had no room for, by [`POOL`]; counter.
pub const REGISTRY_NODE_FORGOTTEN: &str = "echo.registry.node.forgotten";
/// 1 where this control process drives, else 0; gauge.
pub const LEADER: &str = "echo.control.leader";
/// Duration of a served gRPC call in seconds; histogram.
pub const RPC_SERVER_DURATION: &str = "rpc.server.call.duration";
/// Duration of an issued gRPC call in seconds; histogram.
pub const RPC_CLIENT_DURATION: &str = "rpc.client.call.duration";

/// `receive` or `transmit`.
pub const DIRECTION: &str = "network.io.direction";
/// `tcp` or `udp`.
pub const TRANSPORT: &str = "network.transport";
/// Port of the listener.
pub const SERVER_PORT: &str = "server.port";
/// Name of the listener.
pub const LISTENER_NAME: &str = "echo.listener.name";
/// Name of the pool.
pub const POOL: &str = "echo.pool";
/// Id of the node; on spans.
pub const NODE: &str = "echo.node";
/// Why a datagram was dropped.
pub const DROP_REASON: &str = "echo.drop.reason";
/// State of a node towards its assignment.
pub const SYNC_STATE: &str = "echo.sync.state";
/// Stable label of an error.
pub const ERROR_TYPE: &str = "error.type";
/// `echo.v1.Pools/Apply`.
pub const RPC_METHOD: &str = "rpc.method";
/// Always `grpc`.
pub const RPC_SYSTEM: &str = "rpc.system.name";
