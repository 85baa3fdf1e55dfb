//! The data path's counters as OpenTelemetry instruments.
//!
//! Set up by `app`. The instruments are observable: they read the shards' counters when somebody collects, so that a
//! packet costs nothing more. No attribute may ever name a client.

mod duration;
mod load;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use echo_proto::ids::ListenerName;
use echo_proto::spec::Protocol;
use echo_proto::telemetry::names;
use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;

use crate::data::counters::{Counters, Counts};
use duration::Durations;
pub use load::Load;

/// Takes one value, and what tells it from the listener's other values.
type Emit<'a> = &'a mut dyn FnMut(u64, Option<KeyValue>);

/// A counter of listeners.
struct Counter {
    name: &'static str,
    unit: &'static str,
    description: &'static str,
    /// Whose it is; `None` is everybody's.
    protocol: Option<Protocol>,
    read: fn(&Counts, Emit<'_>),
}

const COUNTERS: [Counter; 6] = [
    Counter {
        name: names::CONNECTION_ACCEPTED,
        unit: "{connection}",
        description: "TCP connections accepted and served",
        protocol: Some(Protocol::Tcp),
        read: |counts, emit| emit(counts.accepted, None),
    },
    Counter {
        name: names::CONNECTION_REJECTED,
        unit: "{connection}",
        description: "Accepts that served nobody, by reason",
        protocol: Some(Protocol::Tcp),
        read: |counts, emit| by(names::ERROR_TYPE, &counts.rejected, emit),
    },
    Counter {
        name: names::CONNECTION_PACED,
        unit: "{pause}",
        description: "Times that a TCP connection was not read for a while, for a rate of the limits",
        protocol: Some(Protocol::Tcp),
        read: |counts, emit| emit(counts.paced, None),
    },
    Counter {
        name: names::IO,
        unit: "By",
        description: "Payload received and transmitted",
        protocol: None,
        read: |counts, emit| in_and_out(counts.received_bytes, counts.transmitted_bytes, emit),
    },
    Counter {
        name: names::PACKET_COUNT,
        unit: "{packet}",
        description: "UDP datagrams received and transmitted",
        protocol: Some(Protocol::Udp),
        read: |counts, emit| in_and_out(counts.received_packets, counts.transmitted_packets, emit),
    },
    Counter {
        name: names::PACKET_DROPPED,
        unit: "{packet}",
        description: "UDP datagrams dropped by this node, not by the network, by reason",
        protocol: Some(Protocol::Udp),
        read: |counts, emit| by(names::DROP_REASON, &counts.dropped, emit),
    },
];

/// Observes `counters` through `meter` from now on, as those of a node of `pool`. The future that it returns has to be
/// run meanwhile.
pub fn register(
    meter: &Meter,
    counters: &Counters,
    pool: &str,
) -> impl Future<Output = Result<(), Infallible>> + Send + 'static {
    let pool: Arc<str> = pool.into();
    for Counter { name, unit, description, protocol, read } in COUNTERS {
        let (counters, pool) = (counters.clone(), Arc::clone(&pool));
        meter
            .u64_observable_counter(name)
            .with_unit(unit)
            .with_description(description)
            .with_callback(move |observer| {
                observe(&counters, &pool, protocol, read, |value, attributes| observer.observe(value, attributes));
            })
            .build();
    }
    let durations = Arc::new(Durations::new(meter, counters, &pool));
    let recorded = Arc::clone(&durations).run();
    let (counters, pool) = (counters.clone(), Arc::clone(&pool));
    meter
        .i64_observable_up_down_counter(names::CONNECTION_ACTIVE)
        .with_unit("{connection}")
        .with_description("TCP connections open now")
        .with_callback(move |observer| {
            // A histogram can't be observed, so this is its moment, too; who is alone is seen at once.
            durations.record();
            let active: fn(&Counts, Emit<'_>) = |counts, emit| emit(counts.active, None);
            observe(&counters, &pool, Some(Protocol::Tcp), active, |value, attributes| {
                observer.observe(i64::try_from(value).unwrap_or(i64::MAX), attributes);
            });
        })
        .build();
    recorded
}

/// Reads one figure of each listener.
fn observe(
    counters: &Counters,
    pool: &Arc<str>,
    protocol: Option<Protocol>,
    read: fn(&Counts, Emit<'_>),
    mut observe: impl FnMut(u64, &[KeyValue]),
) {
    for listener in counters.snapshot().listeners {
        if protocol.is_some_and(|protocol| protocol != listener.protocol) {
            continue;
        }
        let base = attributes(&listener.name, listener.protocol, listener.port, pool);
        read(&listener.counts, &mut |value, extra| {
            let attributes: Vec<KeyValue> = base.iter().cloned().chain(extra).collect();
            observe(value, &attributes);
        });
    }
}

fn attributes(name: &ListenerName, protocol: Protocol, port: u16, pool: &Arc<str>) -> [KeyValue; 4] {
    [
        KeyValue::new(names::POOL, Arc::clone(pool)),
        KeyValue::new(names::LISTENER_NAME, name.as_str().to_owned()),
        KeyValue::new(names::TRANSPORT, protocol.label()),
        KeyValue::new(names::SERVER_PORT, i64::from(port)),
    ]
}

fn by(attribute: &'static str, counts: &BTreeMap<&'static str, u64>, emit: Emit<'_>) {
    for (reason, count) in counts {
        emit(*count, Some(KeyValue::new(attribute, *reason)));
    }
}

fn in_and_out(received: u64, transmitted: u64, emit: Emit<'_>) {
    emit(received, Some(KeyValue::new(names::DIRECTION, "receive")));
    emit(transmitted, Some(KeyValue::new(names::DIRECTION, "transmit")));
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::data::counters::Identity;
    use crate::data::reason::Drop;

    fn seen(counter: &Counter, counters: &Counters) -> Vec<String> {
        let mut seen = Vec::new();
        observe(counters, &"edge".into(), counter.protocol, counter.read, |value, attributes| {
            let text: Vec<_> = attributes.iter().map(|a| format!("{}={}", a.key, a.value)).collect();
            seen.push(format!("{value} {}", text.join(" ")));
        });
        seen
    }

    #[test]
    fn a_drop_is_told_by_listener_and_reason() {
        let counters = Counters::new(1);
        for (name, protocol) in [("t", Protocol::Tcp), ("u", Protocol::Udp)] {
            let slots = counters.slots(Identity { name: name.parse().unwrap(), protocol, port: 7007 });
            slots.first().unwrap().dropped.add(Drop::SendBuffer, 3);
            slots.first().unwrap().received_bytes.add(5);
        }
        let base = "echo.pool=edge echo.listener.name=u network.transport=udp server.port=7007";
        let dropped = COUNTERS.iter().find(|c| c.name == names::PACKET_DROPPED).unwrap();
        assert_eq!(seen(dropped, &counters), [format!("3 {base} echo.drop.reason=sndbuf")]);
        let io = COUNTERS.iter().find(|c| c.name == names::IO).unwrap();
        assert_eq!(seen(io, &counters).len(), 4, "both ways of both listeners");
    }
}
