//! The node's control side: what the pool's leader wrote -> the doorway, and the answer back.
//!
//! Driven by [`crate::app`]. Two tasks and the cells between them: the [`session`] speaks to etcd, the [`applier`] alone
//! owns the doorway ([`crate::live`]). A cell holds the newest value only, so that neither ever waits for the other and
//! nothing queues up. Losing etcd must never stop traffic, and nothing that etcd holds may stop the process.
//!
//! | module | idea |
//! |---|---|
//! | [`assignment`] | the bytes of `assignments/<pool>` -> what this node is offered |
//! | [`intent`] | the bytes of `intents/<pool>/<node>` -> what an operator wants |
//! | [`ports`] | the bytes of `guard/ports` -> where the fleet answers datagrams |
//! | [`decide`] | what is held + what is offered -> what to do; pure |
//! | [`applier`] | carries it out, says how it went |
//! | [`report`] | that answer, as it stands in the node's record |
//! | [`answer`] | puts it there |
//! | [`identity`] | who this node is |
//! | [`endpoints`], [`etcd`], [`patience`], [`lease`], [`register`], [`watch`] | one idea each of the etcd side |
//! | [`session`] | ties them together, for as long as the node lives |
//! | [`instruments`] | its metrics |
//! | [`link`] | how the node stands with etcd, and why badly |
//! | [`refused`] | whether listeners refuse sources |
//! | [`losses`] | what the node itself lost or refused of late |
//! | [`clock`], [`files`] | what the kernel tells of this host and process |
//! | [`state_dir`], [`owner`] | what survives a restart, and whose it is |
//! | [`saved`] | the last good config, for a start without etcd |
//! | [`trial`] | what is tried, so that a start knows what killed the process before |
//! | [`service`] | the Agent gRPC service |
//! | [`sessions`] | stamped sessions, as it tells them |

pub mod answer;
pub mod applier;
pub mod assignment;
#[allow(unsafe_code)] // No library that we have asks the kernel for the state of its clock.
pub mod clock;
pub mod decide;
pub mod endpoints;
pub mod etcd;
pub mod files;
pub mod identity;
pub mod instruments;
pub mod intent;
pub mod lease;
pub mod link;
pub mod losses;
pub mod owner;
pub mod patience;
pub mod ports;
pub mod refused;
pub mod register;
pub mod report;
pub mod saved;
pub mod service;
pub mod session;
pub mod sessions;
pub mod state_dir;
pub mod trial;
pub mod watch;
pub mod wires;
