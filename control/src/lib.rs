//! The control plane of the echo cluster: echoctl -> gRPC -> etcd -> node -> ack.
//!
//! Used by the `echo-control` binary; tests run it as one. Losing it never stops traffic, so nothing here may be needed
//! for a node to go on serving.
//!
//! | module | idea |
//! |---|---|
//! | [`settings`] | flags and environment, checked |
//! | [`app`] | builds the parts, binds, runs, stops |
//! | [`api`] | the gRPC services |
//! | [`plan`] | pure decisions: rollout, scale, change, sync |
//! | `present` | records -> the objects that callers see |
//! | [`documents`], `pool_files` | pools in files, and those files that own their pools |
//! | [`drive`] | the leader's loop: view -> plan -> fenced writes |
//! | [`view`], [`fleet`] | what etcd holds, mirrored by one watch |
//! | `roll_call`, `agents` | asks the nodes themselves: who lives, and how |
//! | [`figures`] | what the nodes do, for whoever decides by it |
//! | [`store`] | typed etcd operations, election |
//! | [`selector`] | `-l team=net`: which labels match |
//! | `pace` | how soon everything is looked at again |
//! | [`programs`] | where programs are found |
//! | [`scaler`] | makes nodes come and go |
#![forbid(unsafe_code)]

mod agents;
pub mod api;
pub mod app;
pub mod documents;
pub mod drive;
pub mod event;
pub mod figures;
pub mod fleet;
mod pace;
pub mod plan;
mod pool_files;
mod present;
pub mod programs;
mod roll_call;
pub mod scaler;
pub mod selector;
pub mod settings;
pub mod stop;
pub mod store;
pub mod view;
pub mod words;
