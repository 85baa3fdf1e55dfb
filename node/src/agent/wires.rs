//! The cells through which the parts of an agent talk: its session, its applier, and who answers for the node.
//!
//! Made where a node starts, and for each agent of a swarm. They hold the newest value only, so that nobody waits for
//! another part.

use tokio::sync::watch;

use super::applier::Inbox;
use super::link::Link;
use super::report::Report;
use super::session::Cells;
use super::watch::Assigned;
use crate::drain::Wish;

/// The ends of an agent's cells.
#[derive(Debug)]
pub struct Wires {
    /// The session's.
    pub cells: Cells,
    /// The applier's, from which it learns what to do ...
    pub inbox: Inbox,
    /// ... and in which it says how it stands.
    pub report: watch::Sender<Report>,
    /// Tells the applier to drain, and to end. Dropped, it tells that, too.
    pub leave: watch::Sender<Option<Wish>>,
}

impl Wires {
    /// Those of an agent that has just started.
    pub fn new() -> Self {
        let (report, reported) = watch::channel(Report::starting());
        let (link_cell, link) = watch::channel(Link::Joining);
        let (assigned_cell, assigned) = watch::channel(Assigned::Unknown);
        let (intents_cell, intents) = watch::channel(None);
        let (ports_cell, fleet_ports) = watch::channel(None);
        let (leave, left) = watch::channel(None);
        let cells = Cells {
            assigned: assigned_cell,
            intents: intents_cell,
            fleet_ports: ports_cell,
            link: link_cell,
            report: reported,
        };
        Self { cells, inbox: Inbox { assigned, intents, fleet_ports, leave: left, link }, report, leave }
    }
}

impl Default for Wires {
    fn default() -> Self {
        Self::new()
    }
}
