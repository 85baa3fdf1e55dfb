//! How the C library's allocator keeps memory, so that connections take no more of it than they need.
//!
//! Set by [`crate::live`] before the shards start. It must never be more than a setting.

/// Lets the allocator join free pieces of memory at once, however small. Tokio's part of a socket and of a task begin
/// at multiples of 128 bytes; what glibc cuts off around each of them it would else keep apart for requests of just
/// that size: 150 bytes of each connection. Other C libraries do not do that.
pub(crate) fn join_free_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes two numbers and changes a setting of the allocator, under the allocator's lock.
    unsafe {
        libc::mallopt(libc::M_MXFAST, 0);
    }
}
