//! A worker of the echo cluster.
