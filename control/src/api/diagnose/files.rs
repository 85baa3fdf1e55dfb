//! Open files, of control and of nodes: a process that has none left takes no connection.
//!
//! Part of the diagnosis. Pure, save for [`own`].

use echo_proto::v1::Finding;
use rustix::process::{Resource, getrlimit};

use super::finding::{ok, warning};

/// A limit below this is that of a shell, not of a server.
const MIN_LIMIT: u32 = 1_024;
/// Part of the limit, in percent, from which on it should be looked at.
const NEARLY_ALL: u64 = 80;

/// What a process has open, and may have; 0: not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Files {
    pub(super) open: u32,
    pub(super) most: u32,
}

/// Those of this process.
pub(super) fn own() -> Files {
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let most = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    Files { open: u32::try_from(open).unwrap_or(u32::MAX), most: u32::try_from(most).unwrap_or(u32::MAX) }
}

pub(super) fn judge(object: &str, Files { open, most }: Files) -> Finding {
    let text = format!("{open} of {most} files open");
    if u64::from(open) * 100 >= u64::from(most) * NEARLY_ALL {
        let hint =
            "raise its limit of open files (LimitNOFILE, `ulimit -n`), or lower limits.maxConnections of its pool";
        return warning("OpenFiles", object, text, hint);
    }
    if most < MIN_LIMIT {
        let hint = format!("raise its limit of open files (LimitNOFILE, `ulimit -n`) to {MIN_LIMIT} at least");
        return warning("OpenFiles", object, text, hint);
    }
    ok("OpenFiles", object, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use echo_proto::v1::Severity;

    #[test]
    fn nearly_all_files_open_or_few_allowed_is_a_warning() {
        let severity = |open, most| judge("node/n", Files { open, most }).severity();
        assert_eq!(severity(10, 20_000), Severity::Ok);
        assert_eq!(severity(16_000, 20_000), Severity::Warning);
        assert_eq!(severity(10, 1_023), Severity::Warning);
        assert!(own().open > 2 && own().most > own().open);
    }
}
