//! Whether the kernel holds the clock of this host for synchronised: the condition `ClockSynchronized`; and how far off
//! it may be, which stamps tell.
//!
//! One task, spawned by [`crate::app`]. It reads what a time daemon has told the kernel, and never sets anything. Where
//! the kernel does not let it look, as in some containers, it says nothing.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use echo_proto::backoff::jittered;
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::debug;

use super::report::{CLOCK_SYNCHRONIZED, Report};
use crate::live::ClockError;

/// How often the kernel is asked, a tenth more or less: what stamps tell is no older.
const INTERVAL: Duration = Duration::from_secs(1);
/// What the kernel adds to its estimate in twice that time, 500 parts in a million: what is told is never too little.
const GROWTH: Duration = Duration::from_millis(1);

/// What the kernel tells of the clock.
#[derive(Debug, Clone, Copy)]
struct Clock {
    synchronized: bool,
    /// How far off it may be, as the kernel estimates.
    max_error: Duration,
}

/// Keeps the condition true. Where somebody who knows the host has said how far off it may be, stamps tell that, and the
/// kernel is not asked: not every time daemon reports to it.
///
/// # Errors
/// None: it ends with the process.
pub async fn watch(
    report: watch::Sender<Report>,
    stamps: ClockError,
    known: Option<Duration>,
) -> Result<(), Infallible> {
    if known.is_some() {
        stamps.set(known);
        return std::future::pending().await;
    }
    keep(report, stamps, sample).await
}

async fn keep(
    report: watch::Sender<Report>,
    stamps: ClockError,
    mut sample: impl FnMut() -> io::Result<Clock>,
) -> Result<(), Infallible> {
    loop {
        match sample() {
            Ok(clock) => {
                stamps.set(clock.synchronized.then(|| clock.max_error + GROWTH));
                report.send_if_modified(|report| tell(clock, report));
            }
            Err(error) => {
                stamps.set(None);
                debug!(%error, "the kernel does not tell whether the clock is synchronised");
                return std::future::pending().await;
            }
        }
        sleep(jittered(INTERVAL)).await;
    }
}

/// Sets or takes back the condition; whether that changed anything. It is said once: the estimate grows by the minute,
/// and would have the record rewritten as often.
fn tell(clock: Clock, report: &mut Report) -> bool {
    let told = report.conditions.iter().any(|c| c.r#type == CLOCK_SYNCHRONIZED);
    if told != clock.synchronized {
        return false;
    }
    if clock.synchronized {
        report.clear(&[CLOCK_SYNCHRONIZED]);
    } else {
        let off = clock.max_error.as_secs_f32();
        let message =
            format!("the host's clock is not synchronised (it may be {off:.1} s off); run chrony or ntpd there");
        report.warn(CLOCK_SYNCHRONIZED, "Unsynchronized", message);
    }
    true
}

fn sample() -> io::Result<Clock> {
    // SAFETY: all fields are numbers, for which zero is a value; mode 0 sets nothing.
    let mut kernel: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: `kernel` is writable and of the type that the call fills.
    let state = unsafe { libc::adjtimex(&raw mut kernel) };
    if state < 0 {
        return Err(io::Error::last_os_error());
    }
    let synchronized = state != libc::TIME_ERROR && kernel.status & libc::STA_UNSYNC == 0;
    let max_error = Duration::from_micros(u64::try_from(kernel.maxerror).unwrap_or_default());
    Ok(Clock { synchronized, max_error })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    const OFF: Clock = Clock { synchronized: false, max_error: Duration::from_millis(1500) };
    const ON: Clock = Clock { synchronized: true, max_error: Duration::ZERO };

    #[test]
    fn a_clock_that_nobody_sets_is_told_once() {
        let trace = Some(echo_proto::v1::TraceContext::default());
        let mut report = Report { trace, ..Report::starting() };
        assert!(!tell(ON, &mut report), "nothing to say");
        assert!(tell(OFF, &mut report));
        assert_eq!(report.trace, None, "it answers no change");
        let told = &report.conditions[0];
        assert_eq!((told.r#type.as_str(), told.reason.as_str()), (CLOCK_SYNCHRONIZED, "Unsynchronized"));
        assert!(told.message.contains("1.5 s off"), "{told:?}");
        assert!(!tell(Clock { max_error: INTERVAL, ..OFF }, &mut report), "no news");
        assert!(tell(ON, &mut report) && report.conditions.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_kernel_is_asked_at_once_and_again_until_it_does_not_tell() {
        let (cell, mut report) = watch::channel(Report::starting());
        let mut answers = [Ok(OFF), Ok(ON), Err(io::ErrorKind::PermissionDenied.into())].into_iter();
        let (asked, mut all) = tokio::sync::oneshot::channel();
        let mut asked = Some(asked);
        let sample = move || {
            let answer = answers.next().unwrap();
            if answer.is_err() {
                asked.take().unwrap().send(()).unwrap();
            }
            answer
        };
        let stamps = ClockError::default();
        let watching = tokio::spawn(keep(cell, stamps.clone(), sample));
        report.wait_for(|report| !report.conditions.is_empty()).await.unwrap();
        assert!(all.try_recv().is_err());
        assert_eq!(stamps.micros(), None, "nobody knows how far off such a clock is");
        report.wait_for(|report| report.conditions.is_empty()).await.unwrap();
        assert_eq!(stamps.micros(), Some(1000), "no less than it may have become since");
        all.await.unwrap();
        assert!(!watching.is_finished(), "its end would be the node's");
        watching.abort();
    }

    #[test]
    fn the_kernel_answers_or_refuses() {
        match sample() {
            Ok(clock) => assert!(clock.max_error < Duration::from_secs(3600), "{clock:?}"),
            Err(error) => assert!(error.raw_os_error().is_some(), "{error}"),
        }
    }
}
