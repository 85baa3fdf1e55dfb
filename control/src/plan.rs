//! Pure decisions: facts in, what to write or do out. No I/O, no clock: time is passed in.
//!
//! Used by the drive, the scaler and the API. Whoever calls them carries the decision out, or fails to and asks again:
//! the same facts give the same decision.

pub mod autoscale;
pub mod change;
pub mod intent;
pub mod order;
pub mod owned;
pub mod pin;
pub mod rollout;
pub mod scale;
pub mod sync;
