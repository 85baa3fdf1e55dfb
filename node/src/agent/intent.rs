//! The bytes of `intents/<pool>/<node>` -> what is wanted of this node, if this version knows it.
//!
//! Used by [`super::watch`]. Pure.

use echo_proto::codec::{self, Strictness};
use echo_proto::v1;

/// Reads an intent.
///
/// # Errors
/// Why it can't be read, or that this version knows no such intent.
pub fn read(json: &[u8]) -> Result<v1::Intent, String> {
    let intent: v1::Intent = codec::from_json(json, Strictness::Lenient).map_err(|errors| errors.to_string())?;
    match intent.kind() {
        v1::IntentKind::Unspecified => Err(format!("this version knows no intent of kind {}", intent.kind)),
        _ => Ok(intent),
    }
}
