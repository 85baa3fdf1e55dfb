//! Services: what a listener does, with its settings, and on which transport it may.
//!
//! Part of the validity rule; called by [`super::Check::listener`] only. Pure. A new service has its line in
//! [`ServicePlan`] and in [`Check::service`]; its name in what people are told comes from the contract.

use std::sync::Arc;

use super::{Check, DEFAULT_BANNER, MAX_BANNER_BYTES, MAX_READ, Protocol};
use crate::{codec, v1};
use v1::service::Kind;

/// What a listener does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServicePlan {
    /// RFC 862.
    Echo {
        /// Bytes taken by one read, 1 to [`MAX_READ`]; TCP only.
        max_read: usize,
        /// Answer the first read, then close; TCP only.
        once: bool,
    },
    /// RFC 863.
    Discard,
    /// RFC 864.
    Chargen,
    /// RFC 867; TCP only.
    Daytime,
    /// RFC 868; TCP only.
    Time,
    /// Send a banner on connect, then close; TCP only.
    Greet {
        /// 1 to [`MAX_BANNER_BYTES`] bytes.
        banner: Arc<[u8]>,
    },
    /// Say who answers and what was seen, then close; TCP only.
    Whoami,
}

impl ServicePlan {
    /// Whether a datagram may be answered.
    pub fn answers(&self) -> bool {
        *self != Self::Discard
    }

    /// Whether it may serve datagrams: the others would answer more than they were asked.
    fn serves_udp(&self) -> bool {
        matches!(self, Self::Echo { .. } | Self::Discard | Self::Chargen)
    }
}

impl Check {
    pub(super) fn service(
        &mut self,
        path: &str,
        service: Option<&v1::Service>,
        protocol: Option<Protocol>,
    ) -> Option<ServicePlan> {
        let path = format!("{path}.service");
        let Some((service, kind)) = service.and_then(|service| Some((service, service.kind.as_ref()?))) else {
            self.fail(&path, format!("required: one of {}", codec::field_names::<v1::Service>().join(", ")));
            return None;
        };
        let path = format!("{path}.{}", name(service));
        let udp = protocol == Some(Protocol::Udp);
        let plan = match kind {
            Kind::Echo(echo) => self.echo(&path, echo, udp),
            Kind::Discard(_) => ServicePlan::Discard,
            Kind::Chargen(_) => ServicePlan::Chargen,
            Kind::Daytime(_) => ServicePlan::Daytime,
            Kind::Time(_) => ServicePlan::Time,
            Kind::Greet(greet) => self.greet(&path, greet),
            Kind::Whoami(_) => ServicePlan::Whoami,
        };
        if udp && !plan.serves_udp() {
            self.fail(&path, "only for TCP");
        }
        Some(plan)
    }

    fn echo(&mut self, path: &str, echo: &v1::EchoService, udp: bool) -> ServicePlan {
        let max_read = echo.max_read.unwrap_or(MAX_READ);
        if !(1..=MAX_READ).contains(&max_read) {
            self.fail(&format!("{path}.maxRead"), format!("{max_read} is out of range; use 1 to {MAX_READ} bytes"));
        }
        // A datagram is one message: a part of it, or a last one, means nothing.
        if udp && echo.max_read.is_some() {
            self.fail(&format!("{path}.maxRead"), "only for TCP");
        }
        if udp && echo.once {
            self.fail(&format!("{path}.once"), "only for TCP");
        }
        ServicePlan::Echo { max_read: max_read as usize, once: echo.once }
    }

    fn greet(&mut self, path: &str, greet: &v1::GreetService) -> ServicePlan {
        let banner = greet.banner.as_deref().unwrap_or(DEFAULT_BANNER).as_bytes();
        if banner.is_empty() || banner.len() > MAX_BANNER_BYTES {
            let found = banner.len();
            self.fail(&format!("{path}.banner"), format!("{found} bytes; use 1 to {MAX_BANNER_BYTES}"));
        }
        ServicePlan::Greet { banner: banner.into() }
    }
}

/// The one field that is set, as files name it.
fn name(service: &v1::Service) -> String {
    let value = codec::to_value(service);
    value.as_object().and_then(|fields| fields.keys().next()).cloned().unwrap_or_default()
}
