//! The directory over the lives of its node, and with the wrong node.
#![allow(clippy::unwrap_used)]

use super::*;

/// A directory of its own, gone with the test.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        Self(std::env::temp_dir().join(format!("echo-node-{}", echo_proto::ids::random_hex::<8>())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn owner(node: &str) -> Owner {
    Owner { cluster: "c".parse().unwrap(), pool: "p".parse().unwrap(), node: node.parse().unwrap() }
}

#[test]
fn one_process_at_a_time() {
    let scratch = Scratch::new();
    let first = StateDir::open(&scratch.0, owner("n")).unwrap();
    let error = StateDir::open(&scratch.0, owner("n")).unwrap_err().to_string();
    assert!(error.contains(&format!("in use by process {}", std::process::id())), "{error}");
    drop(first);
    assert!(StateDir::open(&scratch.0, owner("n")).is_ok());
}

#[test]
fn a_directory_belongs_to_one_node_from_its_first_start() {
    let scratch = Scratch::new();
    drop(StateDir::open(&scratch.0, owner("n")).unwrap());
    let refused = || StateDir::open(&scratch.0, owner("other")).map(drop).map_err(|e| e.to_string());
    let whose = format!("state directory {} belongs to node n of pool p in cluster c;", scratch.0.display());
    assert!(refused().unwrap_err().starts_with(&whose));
    assert!(StateDir::open(&scratch.0, owner("n")).is_ok(), "the refused one changed nothing");
    // A damaged identity is none; what else is there tells whose it is.
    fs::write(scratch.0.join(IDENTITY), "\u{0}").unwrap();
    for (name, max) in [(CONFIG, 10_000), (REGISTRATION, 0), (PORTS, 0)] {
        StateDir::open(&scratch.0, owner("n")).unwrap().replace(name, &"é".repeat(max)).unwrap();
        fs::remove_file(scratch.0.join(IDENTITY)).unwrap();
        assert!(refused().unwrap_err().starts_with(&whose), "{name}");
        fs::remove_file(scratch.0.join(name)).unwrap();
    }
    assert_eq!(refused(), Ok(()), "nobody's");
}

#[tokio::test]
async fn a_disk_that_hangs_is_not_waited_for() {
    let scratch = Scratch::new();
    let dir = Arc::new(StateDir::open(&scratch.0, owner("n")).unwrap());
    let (release, hangs) = std::sync::mpsc::channel::<()>();
    let hung = StateDir::wait(Arc::clone(&dir), move |_| hangs.recv().is_ok());
    assert!(hung.await.unwrap_err().to_string().ends_with("no answer from the disk within 2.0 s"));
    assert!(StateDir::wait(Arc::clone(&dir), |_| ()).await.is_err(), "no second thread hangs");
    release.send(()).unwrap();
    StateDir::wait(dir, |_| ()).await.unwrap();
}

#[test]
fn a_registration_is_kept_and_damage_is_none() {
    let scratch = Scratch::new();
    let dir = StateDir::open(&scratch.0, owner("n")).unwrap();
    assert_eq!(dir.registered(), None);
    let incarnation = Incarnation::random();
    dir.keep(0x326c_11aa, &incarnation).unwrap();
    let kept = Registered { lease: 0x326c_11aa, incarnation: incarnation.as_str().to_owned() };
    assert_eq!(dir.registered(), Some(kept));
    for garbage in ["", "node c/p/n\nlease x\nincarnation b\n", "\u{0}\u{1}", "lease 1\nincarnation b\n"] {
        fs::write(scratch.0.join(REGISTRATION), garbage).unwrap();
        assert_eq!(dir.registered(), None, "{garbage:?}");
    }
}
