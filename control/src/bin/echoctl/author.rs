//! Who asks: told with every change, for history and events.
//!
//! Used by the verbs that change something. Informative only; control must not trust it.

use nix::unistd::{User, gethostname, getuid};

/// `user@host`, as far as the system knows.
pub(crate) fn author() -> String {
    let uid = getuid();
    let user = User::from_uid(uid).ok().flatten().map_or_else(|| format!("uid-{uid}"), |user| user.name);
    match gethostname().ok().and_then(|host| host.into_string().ok()) {
        Some(host) if !host.is_empty() => format!("{user}@{host}"),
        _ => user,
    }
}
