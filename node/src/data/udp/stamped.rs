//! Stamped requests among the datagrams of a batch.
//!
//! Used by [`super`] for listeners that echo. A batch without one costs a comparison a datagram; the first one has the
//! socket ask the kernel what it saw of each ([`Endpoint::ask`]), until none came for a while.

use std::ops::Range;

use echo_proto::spec::{Protocol, ServicePlan};
use echo_proto::stamp::{self, Arrival, Kind, Request, Time};

use super::super::guard::Destination;
use super::super::listener::Served;
use super::super::mmsg::Datagram;
use super::super::reason::Drop;
use super::super::sessions::Key;
use super::super::shard::Shard;
use super::super::stamped;
use super::Endpoint;

/// What a batch has of them.
pub(super) struct Stamped<'a> {
    end: &'a Endpoint,
    served: &'a Served,
    shard: &'a Shard,
    /// Whether the listener answers them as such.
    echoes: bool,
    /// Whether the kernel was asked what the queue lost before this batch was taken.
    counted: bool,
    /// The flows of the batch's answers by their places, which only grow.
    answers: Vec<(usize, Key)>,
}

impl<'a> Stamped<'a> {
    /// For one batch.
    pub(super) fn new(end: &'a Endpoint, served: &'a Served, shard: &'a Shard) -> Self {
        let echoes = matches!(served.service, ServicePlan::Echo { .. });
        Self { end, served, shard, echoes, counted: false, answers: Vec::new() }
    }

    /// What a datagram is to this listener.
    pub(super) fn kind(&self, datagram: &Datagram<'_>) -> Kind {
        if self.echoes { stamp::kind(datagram.bytes) } else { Kind::Plain }
    }

    /// Writes the answer of a request, the batch's answer number `place`; returns its length.
    pub(super) fn answer(&mut self, datagram: &mut Datagram<'_>, to: Destination, place: usize) -> Option<usize> {
        let request = Request::read(datagram.bytes)?;
        if !std::mem::replace(&mut self.counted, true) {
            // The gaps before this request may be of our own making.
            self.end.count_lost(self.served, self.shard);
        }
        let (by, sessions) = (self.shard.stamp(), &mut *self.shard.sessions.borrow_mut());
        let arrival = self.arrival(datagram, to);
        let key = Key::of(&request, Protocol::Udp, self.end.address);
        stamped::answer(datagram.bytes, &request, &arrival, key, &by, sessions, self.end.lost.fresh());
        self.answers.push((place, key));
        self.end.ask();
        Some(datagram.bytes.len())
    }

    /// Counts a datagram that is not answered, if it is a request.
    pub(super) fn refuse(&self, datagram: &Datagram<'_>, kind: Kind, reason: Drop) {
        if kind != Kind::Request {
            return;
        }
        let Some(request) = Request::read(datagram.bytes) else { return };
        let key = Key::of(&request, Protocol::Udp, self.end.address);
        let sessions = &mut *self.shard.sessions.borrow_mut();
        let (now, fresh) = (time(datagram).nanos, self.end.lost.fresh());
        match reason {
            Drop::Acl | Drop::LoopGuard => sessions.refused(key, request.sequence, now, fresh),
            _ => {
                sessions.arrived(key, request.sequence, now, fresh);
            }
        }
        sessions.dropped(&key, reason);
    }

    /// Whether there are answers of these.
    pub(super) fn any(&self) -> bool {
        !self.answers.is_empty()
    }

    /// The kernel did not take the answers with these places.
    pub(super) fn lost(&self, places: Range<usize>, cause: Drop) {
        let sessions = &mut *self.shard.sessions.borrow_mut();
        for (_, key) in self.answers.iter().filter(|(place, _)| places.contains(place)) {
            sessions.dropped(key, cause);
        }
    }

    fn arrival(&self, datagram: &Datagram<'_>, to: Destination) -> Arrival {
        Arrival {
            time: Some(time(datagram)),
            hit: (to.address, self.end.address.port()).into(),
            client: datagram.peer,
            ttl: datagram.told.ttl,
            traffic_class: datagram.told.traffic_class,
        }
    }
}

/// When a datagram came: by the kernel, where it was asked; else now.
fn time(datagram: &Datagram<'_>) -> Time {
    let kernel = datagram.told.received.and_then(|since| u64::try_from(since.as_nanos()).ok());
    Time { nanos: kernel.unwrap_or_else(stamped::now), kernel: kernel.is_some() }
}
