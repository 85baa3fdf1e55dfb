//! What the validity rule lets through, fills in and refuses.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;
use crate::codec::parse_yaml;

fn read(yaml: &str) -> Result<PoolPlan, Vec<String>> {
    let document = parse_yaml(yaml).unwrap().remove(0);
    match read_pool(&document) {
        Ok((_, plan)) => Ok(plan),
        Err(FieldErrors(errors)) => Err(errors.iter().map(ToString::to_string).collect()),
    }
}

fn pool(spec: &str) -> String {
    format!("apiVersion: echo/v1\nkind: Pool\nmetadata: {{name: edge}}\nspec: {spec}\n")
}

fn listeners(list: &str) -> String {
    pool(&format!("{{template: {{listeners: {list}}}}}"))
}

#[test]
fn fills_in_the_defaults() {
    let plan = read(&listeners("[{name: e, protocol: TCP, port: 7007, service: {echo: {}}}]")).unwrap();
    assert_eq!(plan.name.as_str(), "edge");
    assert_eq!((plan.replicas, plan.rollout), (3, RolloutPlan::default()));
    assert_eq!(plan.template.limits, LimitsPlan::default());
    assert_eq!(plan.template.drain.deadline, Duration::from_secs(60));
    assert_eq!(plan.template.listeners[0].service, ServicePlan::Echo { max_read: 65_536, once: false });
    assert_eq!(plan.template.listeners[0].address, None);
}

/// The four lesson servers of network programming, each one line of a pool file.
#[test]
fn the_lesson_servers_are_one_line_each() {
    let list = "
    - {name: greet, protocol: TCP, port: 7001, service: {greet: {}}}
    - {name: blocking, protocol: TCP, port: 7002, service: {echo: {maxRead: 1024}}}
    - {name: async, protocol: TCP, port: 7003, service: {echo: {maxRead: 100, once: true}}}
    - {name: datagram, protocol: UDP, port: 7004, service: {echo: {}}}";
    let plan = read(&pool(&format!("\n  template:\n    listeners:{list}"))).unwrap();
    let services: Vec<_> = plan.template.listeners.iter().map(|l| l.service.clone()).collect();
    assert_eq!(services[0], ServicePlan::Greet { banner: "欢迎访问小服务器!\r\n".as_bytes().into() });
    assert_eq!(services[1], ServicePlan::Echo { max_read: 1024, once: false });
    assert_eq!(services[2], ServicePlan::Echo { max_read: 100, once: true });
    assert_eq!(plan.template.listeners[3].protocol, Protocol::Udp);
}

#[test]
fn three_mistakes_come_in_one_answer() {
    let errors = read(&listeners(
        "[{name: a, colour: red, protocol: TCP, port: 70000, service: {echo: {}}},
          {name: b, protocol: TCP, port: 7007, service: {echo: {}}},
          {name: c, protocol: TCP, port: 7007, service: {discard: {}}}]",
    ))
    .unwrap_err();
    let expected = [
        "spec.template.listeners[0].colour: unknown field; there are name, protocol, address, port, service, allowEphemeral, guard, proxyProtocol",
        "spec.template.listeners[0].port: 70000 is not a port; use 1 to 65535, or 0 for any free one",
        "spec.template.listeners[2].port: TCP port 7007 is taken by listener \"b\"",
    ];
    assert_eq!(errors, expected);
}

#[test]
fn an_unreadable_field_is_told_once() {
    let errors = read(&listeners("[{name: a, protocol: SCTP, port: x, service: {echo: {}}}]")).unwrap_err();
    assert_eq!(errors.len(), 2, "{errors:?}");
}

#[test]
fn ports_clash_only_where_they_can() {
    let two = |a: &str, b: &str| {
        read(&listeners(&format!(
            "[{{name: a, {a}, service: {{echo: {{}}}}}}, {{name: b, {b}, service: {{echo: {{}}}}}}]"
        )))
    };
    assert!(two("protocol: TCP, port: 7", "protocol: UDP, port: 7").is_ok());
    assert!(two("protocol: TCP, port: 0", "protocol: TCP, port: 0").is_ok());
    let at = |address: &str| format!("protocol: TCP, port: 7, address: '{address}'");
    assert!(two(&at("127.0.0.1"), &at("127.0.0.2")).is_ok());
    assert!(two(&at("127.0.0.1"), &at("127.0.0.1")).is_err());
    assert!(two(&at("127.0.0.1"), &at("0.0.0.0")).is_err());
    assert!(two(&at("127.0.0.1"), "protocol: TCP, port: 7").is_err());
    // Compared as addresses, not as text; `::` alone is of both families.
    assert!(two(&at("::1"), &at("0:0:0:0:0:0:0:1")).is_err());
    assert!(two(&at("::ffff:127.0.0.1"), &at("127.0.0.1")).is_err());
    assert!(two(&at("::1"), &at("::")).is_err());
    assert!(two(&at("127.0.0.1"), &at("::")).is_err());
    assert!(two(&at("0.0.0.0"), &at("::")).is_err());
    assert!(two(&at("::1"), &at("0.0.0.0")).is_ok());
    let unreadable = two(&at("nowhere"), &at("127.0.0.1")).unwrap_err();
    assert_eq!(unreadable.len(), 1, "a mistake is told once: {unreadable:?}");
}

#[test]
fn replicas_and_autoscale_do_not_go_together() {
    let with = |replicas: &str| {
        read(&pool(&format!(
            "{{{replicas} autoscale: {{minReplicas: 2, maxReplicas: 5, target: {{cpu: 70%}}}},
              template: {{listeners: [{{name: a, protocol: TCP, port: 1, service: {{echo: {{}}}}}}]}}}}",
        )))
    };
    let plan = with("").unwrap();
    assert_eq!((plan.replicas, plan.autoscale.map(|rule| (rule.min, rule.max))), (2, Some((2, 5))));
    let errors = with("replicas: 3,").unwrap_err();
    assert_eq!(errors, ["spec.replicas: not together with spec.autoscale, which decides it; leave one of them out"]);
}

#[test]
fn each_bound_holds() {
    let one = |listener: &str| read(&listeners(&format!("[{{name: a, {listener}}}]"))).map(|_| ());
    let cases = [
        (one("protocol: UDP, port: 40000, service: {echo: {}}"), "port: 40000 is an ephemeral port"),
        (one("protocol: UDP, port: 7, service: {echo: {once: true}}"), "once: only for TCP"),
        (one("protocol: UDP, port: 7, service: {echo: {maxRead: 9}}"), "maxRead: only for TCP"),
        (one("protocol: UDP, port: 7, service: {greet: {}}"), "greet: only for TCP"),
        (one("protocol: TCP, port: 7, service: {echo: {maxRead: 0}}"), "maxRead: 0 is out of range"),
        (one("protocol: TCP, port: 7, service: {echo: {maxRead: 65537}}"), "maxRead: 65537 is out of range"),
        (one("protocol: TCP, port: 7, service: {greet: {banner: ''}}"), "banner: 0 bytes"),
        (one("protocol: UDP, port: 7, service: {daytime: {}}"), "service.daytime: only for TCP"),
        (one("protocol: UDP, port: 7, service: {time: {}}"), "service.time: only for TCP"),
        (one("protocol: UDP, port: 7, service: {whoami: {}}"), "service.whoami: only for TCP"),
        (
            one("protocol: TCP, port: 7"),
            "service: required: one of echo, discard, chargen, daytime, time, greet, whoami",
        ),
        (one("protocol: TCP, port: 7, service: {echo: {}}, guard: {}"), "guard: only for UDP"),
        (one("protocol: UDP, port: 7, service: {echo: {}}, guard: {allow: [x]}"), "guard.allow[0]: expected a range"),
        (read(&pool("{template: {limits: {maxDatagram: 65508}}}")).map(|_| ()), "maxDatagram: 65508 is too large"),
        (one("port: 7, service: {echo: {}}"), "protocol: required"),
        (one("protocol: TCP, port: 7, address: here, service: {echo: {}}"), "expected an IP address"),
        (one("protocol: TCP, port: 7, address: 224.0.0.1, service: {echo: {}}"), "multicast"),
        (one("protocol: UDP, port: 7, address: 255.255.255.255, service: {echo: {}}"), "broadcast"),
        (read(&listeners("[]")).map(|_| ()), "at least one listener"),
        (read(&pool("{replicas: 100001}")).map(|_| ()), "100001 is too large"),
        (read(&pool("{template: {limits: {maxConnections: 0}}}")).map(|_| ()), "maxConnections: must be at least 1"),
        (one("protocol: UDP, port: 7, proxyProtocol: {}, service: {echo: {}}"), "proxyProtocol: only for TCP"),
        (
            one("protocol: TCP, port: 7, proxyProtocol: {from: [10.0.0.1/8]}, service: {echo: {}}"),
            "proxyProtocol.from[0]: 10.0.0.1/8 names a host",
        ),
        (read(&pool("{template: {busyPoll: 11ms}}")).map(|_| ()), "busyPoll: must be at most 10ms"),
        (read(&pool("{template: {limits: {maxLifetime: 0s}}}")).map(|_| ()), "maxLifetime: must be at least 1ms"),
        (
            read(&pool("{template: {limits: {maxConnectionsPerSource: 0}}}")).map(|_| ()),
            "maxConnectionsPerSource: must be at least 1",
        ),
        (read(&pool("{template: {limits: {idleTimeout: 0s}}}")).map(|_| ()), "idleTimeout: must be at least 1ms"),
        (
            read(&pool("{template: {limits: {perSource: {messages: 0}}}}")).map(|_| ()),
            "spec.template.limits.perSource.messages: must be 1 to 1000000000 a second",
        ),
        (
            read(&pool("{template: {limits: {perListener: {bytes: 1000000000001}}}}")).map(|_| ()),
            "spec.template.limits.perListener.bytes: must be 1 to 1000000000000 a second",
        ),
        (read(&pool("{template: {drain: {deadline: 25h}}}")).map(|_| ()), "deadline: must be between 0s and 86400s"),
        (read(&pool("{template: {drain: {lameDuck: -1s}}}")).map(|_| ()), "drain.lameDuck: "),
        (
            read(&pool("{template: {drain: {lameDuck: 12h, deadline: 13h}}}")).map(|_| ()),
            "spec.template.drain: lameDuck and deadline are 90000s together; at most 86400s",
        ),
        (
            read(&pool("{template: {drain: {lameDuck: 500ms, deadline: 24h}}}")).map(|_| ()),
            "spec.template.drain: lameDuck and deadline are 86400.5s together; at most 86400s",
        ),
        (read("{apiVersion: v1, kind: Pod, metadata: {name: X}}").map(|_| ()), "apiVersion: expected echo/v1"),
    ];
    for (result, expected) in cases {
        let errors = result.unwrap_err();
        assert!(errors.iter().any(|e| e.contains(expected)), "{expected}: {errors:?}");
    }
    assert!(one("protocol: UDP, port: 40000, allowEphemeral: true, service: {echo: {}}").is_ok());
}

#[test]
fn a_template_that_would_not_fit_its_assignment_is_refused() {
    let banner = "x".repeat(MAX_BANNER_BYTES);
    let list: Vec<_> = (1..=17)
        .map(|i| format!("{{name: l{i}, protocol: TCP, port: {i}, service: {{greet: {{banner: {banner}}}}}}}"))
        .collect();
    let errors = read(&listeners(&format!("[{}]", list.join(",")))).unwrap_err();
    assert!(errors[0].starts_with("spec.template: ") && errors[0].contains("at most 65536"), "{}", errors[0]);
}

#[test]
fn a_template_by_itself_has_paths_of_its_own() {
    let template = v1::PoolTemplate::default();
    let FieldErrors(errors) = check_template(&template).unwrap_err();
    assert_eq!(errors[0].to_string(), "listeners: at least one listener is needed");
}
