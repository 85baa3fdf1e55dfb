//! What a shard answers whoever asks it.
#![allow(clippy::unwrap_used)]

use std::net::UdpSocket as Client;
use std::time::Duration;

use echo_proto::spec::{GuardPlan, MAX_DATAGRAM, ServicePlan};
use echo_proto::stamp::{Request, STAMP_BYTES};
use tokio::runtime::{Builder, LocalOptions};

use super::super::guard::Guard;
use super::*;

#[test]
fn what_came_before_a_question_is_in_its_answer() {
    let (socket, client) = (Client::bind("127.0.0.1:0").unwrap(), Client::bind("127.0.0.1:0").unwrap());
    let mut message = [0; STAMP_BYTES];
    assert!(Request::default().write(&mut message));
    client.send_to(&message, socket.local_addr().unwrap()).unwrap();
    // Until it is in the queue.
    socket.peek(&mut message).unwrap();
    socket.set_nonblocking(true).unwrap();

    let listener = ListenerOrder {
        id: 1,
        socket: Some(NewSocket::Udp(socket)),
        predecessor: None,
        service: ServicePlan::Echo { max_read: 1, once: false },
        limiter: None,
        guard: Arc::new(Guard::new(&GuardPlan::default())),
        max_datagram: MAX_DATAGRAM as usize,
        balancers: None,
        slot: Arc::default(),
    };
    let ((ready, _heard), (go, word), (done, _over)) = (oneshot::channel(), oneshot::channel(), oneshot::channel());
    go.send(()).unwrap();
    let change = Change {
        listeners: vec![listener],
        who: Arc::default(),
        ports: Arc::default(),
        ages: Ages { idle: DEFAULT_IDLE_TIMEOUT, life: None },
        busy_poll: Duration::ZERO,
        ready,
        go: word,
        done,
    };
    let (answer, mut told) = oneshot::channel();
    let (orders, inbox) = mpsc::channel(3);
    orders.try_send(Order::Change(change)).unwrap();
    orders.try_send(Order::Sessions(Question { session: None, limit: 9, answer })).unwrap();
    orders.try_send(Order::Stop).unwrap();
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
    run(&runtime, Arc::default(), Arc::default(), inbox).unwrap();
    assert_eq!(told.try_recv().unwrap().total, 1);
}
