//! The data path's counters as OpenTelemetry instruments, and the rate that the agent tells.
//!
//! Set up by `app`. The instruments are observable: they read the shards' counters when somebody collects, so that a
//! packet costs nothing more. No attribute may ever name a client.

mod duration;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use echo_proto::ids::ListenerName;
use echo_proto::spec::Protocol;
use echo_proto::telemetry::names;
use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;
use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::data::counters::{Counters, Counts};
use duration::Durations;

/// How often the rate is taken.
const RATE_PERIOD: Duration = Duration::from_secs(1);

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

const COUNTERS: [Counter; 5] = [
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

/// Observes `counters` through `meter` from now on, as those of a node of `pool`.
pub fn register(meter: &Meter, counters: &Counters, pool: &str) {
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
    let durations = Durations::new(meter, counters, &pool);
    let (counters, pool) = (counters.clone(), Arc::clone(&pool));
    meter
        .i64_observable_up_down_counter(names::CONNECTION_ACTIVE)
        .with_unit("{connection}")
        .with_description("TCP connections open now")
        .with_callback(move |observer| {
            // A histogram can't be observed, so this is its moment, too.
            durations.record();
            let active: fn(&Counts, Emit<'_>) = |counts, emit| emit(counts.active, None);
            observe(&counters, &pool, Some(Protocol::Tcp), active, |value, attributes| {
                observer.observe(i64::try_from(value).unwrap_or(i64::MAX), attributes);
            });
        })
        .build();
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

/// Exchanges a second over the last whole second.
#[derive(Debug)]
pub struct Rate {
    /// The bits of an `f64`.
    value: Arc<AtomicU64>,
    task: AbortHandle,
}

impl Rate {
    /// Samples `counters` once a second on the caller's runtime, until it is dropped.
    pub fn sample(counters: Counters) -> Self {
        let value = Arc::new(AtomicU64::new(0.0_f64.to_bits()));
        let task = tokio::spawn(sample(counters, Arc::clone(&value))).abort_handle();
        Self { value, task }
    }

    /// Exchanges a second; 0 before the first second is over.
    pub fn per_second(&self) -> f64 {
        f64::from_bits(self.value.load(Ordering::Relaxed))
    }
}

impl Drop for Rate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn sample(counters: Counters, value: Arc<AtomicU64>) {
    let mut ticks = interval(RATE_PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    let mut last = (Instant::now(), counters.snapshot().total.exchanges);
    loop {
        ticks.tick().await;
        let now = (Instant::now(), counters.snapshot().total.exchanges);
        let rate = now.1.saturating_sub(last.1) as f64 / now.0.duration_since(last.0).as_secs_f64();
        value.store(rate.to_bits(), Ordering::Relaxed);
        last = now;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::data::counters::Identity;
    use crate::data::slot::Drop;

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

    #[tokio::test(start_paused = true)]
    async fn the_rate_is_that_of_the_last_second() {
        let counters = Counters::new(1);
        let slots = counters.slots(Identity { name: "e".parse().unwrap(), protocol: Protocol::Tcp, port: 1 });
        let rate = Rate::sample(counters.clone());
        tokio::time::sleep(Duration::from_millis(500)).await;
        slots.first().unwrap().exchanges.add(200);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!((rate.per_second() - 200.0).abs() < 0.5, "{}", rate.per_second());
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(rate.per_second().abs() < 0.5);
    }
}
