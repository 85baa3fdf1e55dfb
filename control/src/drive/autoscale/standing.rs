//! A number of nodes that nobody named: an autoscaler's, or that of a pool whose file left it open.
//!
//! Used by the drive's part that writes pools' sizes. One that comes back from a snapshot of etcd, or that a control
//! found which runs no nodes itself, is no wish to end nodes: a leader that did not write it looks first who runs. Pure.

use echo_proto::spec::AutoscalePlan;

use crate::view::PoolState;

/// The number, as it stands in etcd.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Standing {
    /// Which life of the pool.
    uid: String,
    /// Whose number it is; `None`: the file left it open.
    rule: Option<AutoscalePlan>,
    /// 0: not decided yet.
    replicas: u32,
}

impl Standing {
    /// The number of a pool that can be read; `None` where somebody named it.
    pub(super) fn of(pool: &PoolState) -> Option<Self> {
        let entry = &pool.pool.valid()?.value;
        let rule = entry.plan.autoscale.clone();
        let replicas = match rule {
            Some(_) => pool.scale.valid().map_or(0, |scale| scale.value.replicas),
            None if entry.record.replicas_open => entry.plan.replicas,
            None => return None,
        };
        let uid = entry.record.metadata.as_ref().map_or_else(String::new, |m| m.uid.clone());
        Some(Self { uid, rule, replicas })
    }

    /// The same pool, once its autoscaler has decided on so many; without one, nobody has.
    pub(super) fn decided(self, replicas: u32) -> Self {
        Self { replicas: if self.rule.is_some() { replicas } else { self.replicas }, ..self }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::store::{Entry, Update};
    use crate::view::View;

    /// The number of a pool with this in its record, and in its spec, of which 5 are stored as decided.
    fn standing(record: &str, spec: &str) -> Option<Standing> {
        let view = View::new(echo_proto::keys::Keys::new(&"test".parse().unwrap()));
        let pool = format!(
            r#"{{"metadata":{{"name":"edge","uid":"u"}},"revision":{{"uid":"u","n":1}}{record},"spec":{{{spec},"template":
                {{"listeners":[{{"name":"l","protocol":"PROTOCOL_TCP","port":7007,"service":{{"echo":{{}}}}}}]}}}}}}"#
        );
        let entry = |(key, value): (&str, &str)| Entry {
            key: format!("/echo/v1/test/{key}").into_bytes(),
            value: value.into(),
            mod_revision: 3,
            ..Entry::default()
        };
        let entries = [("pools/edge", pool.as_str()), ("scales/edge", r#"{"replicas":5}"#)];
        view.apply(Update::Reset(entries.map(entry).into()), 3);
        view.read(|state| state.pools.values().next().map(Standing::of)).unwrap()
    }

    const RULE: &str = r#""autoscale":{"minReplicas":1,"maxReplicas":8,"target":{"connections":4}}"#;
    const OPEN: &str = r#","replicasOpen":true"#;

    #[test]
    fn a_number_that_somebody_named_needs_no_look() {
        let replicas = |record, spec| standing(record, spec).map(|standing| standing.replicas);
        assert_eq!(replicas("", RULE), Some(5));
        assert_eq!(replicas(OPEN, r#""replicas":3"#), Some(3));
        assert_eq!(replicas("", r#""replicas":3"#), None);
    }

    #[test]
    fn what_an_autoscaler_decides_is_no_other_number() {
        let open = standing(OPEN, r#""replicas":3"#).unwrap();
        assert_eq!(open.clone().decided(0), open, "or each second pass would look anew who runs");
        assert_eq!(standing("", RULE).unwrap().decided(6).replicas, 6);
    }
}
