//! Whether a container is healthy: what its probes have found, and when the next one is due. Pure; kept in `state.json`.

use api::container::ContainerConfig;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// So many of the last probes are remembered.
const REMEMBERED: usize = 5;
/// So much of a probe's output is.
pub(crate) const MAX_OUTPUT: usize = 4096;
/// Docker's defaults.
const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);
const START_INTERVAL: Duration = Duration::from_secs(5);
const RETRIES: u64 = 3;
/// No setting is shorter.
const SHORTEST_NS: i64 = 1_000_000;

/// How a container is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Status {
    /// Nothing is known yet.
    #[default]
    Starting,
    Healthy,
    /// Also while nobody looks: stopped, or paused.
    Unhealthy,
}

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Status::Starting => "starting",
            Status::Healthy => "healthy",
            Status::Unhealthy => "unhealthy",
        }
    }
}

/// What one probe found. Times in nanoseconds since the epoch.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Outcome {
    pub start_ns: u64,
    pub end_ns: u64,
    /// -1: it could not be run, or took too long.
    pub code: i32,
    pub output: String,
}

/// What all of them found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Health {
    pub status: Status,
    pub failing_streak: u64,
    /// The last ones, oldest first.
    pub log: Vec<Outcome>,
}

/// How a container is probed, with the defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Check {
    pub command: Vec<String>,
    interval: Duration,
    pub timeout: Duration,
    start_period: Duration,
    start_interval: Duration,
    retries: u64,
}

impl Check {
    /// What the configuration asks for; nothing for most containers.
    pub fn of(config: &ContainerConfig) -> Option<Check> {
        let health = config.healthcheck.as_ref()?;
        let (kind, rest) = health.test.split_first()?;
        let mut command = match kind.as_str() {
            "CMD" => vec![],
            "CMD-SHELL" if config.shell.is_empty() => vec!["/bin/sh".to_owned(), "-c".into()],
            "CMD-SHELL" => config.shell.to_vec(),
            // `NONE`; what else there may be, nobody knows how to do
            _ => return None,
        };
        command.extend_from_slice(rest);
        let or = |ns: i64, default| match u64::try_from(ns) {
            Ok(ns) if ns > 0 => Duration::from_nanos(ns),
            _ => default,
        };
        Some(Check {
            command,
            interval: or(health.interval, INTERVAL),
            timeout: or(health.timeout, TIMEOUT),
            start_period: or(health.start_period, Duration::ZERO),
            start_interval: or(health.start_interval, START_INTERVAL),
            retries: u64::try_from(health.retries).ok().filter(|n| *n > 0).unwrap_or(RETRIES),
        })
    }

    /// How long to wait until the next probe of a container that has been up for so long.
    pub fn wait(&self, status: Status, up: Duration) -> Duration {
        match up < self.start_period && status == Status::Starting {
            true => self.start_interval,
            false => self.interval,
        }
    }

    /// How long to wait when this engine has only just begun to look after a container: an earlier one may have probed it.
    pub fn first_wait(&self, health: &Health, started_ns: u64, now_ns: u64) -> Duration {
        let since = |then: u64| Duration::from_nanos(now_ns.saturating_sub(then));
        let wait = self.wait(health.status, since(started_ns));
        let last = health.log.last().map_or(0, |o| o.end_ns).max(started_ns);
        wait.saturating_sub(since(last))
    }
}

impl Health {
    /// Of a container that starts. What was found earlier stays to be read.
    pub fn begin(before: Option<Box<Health>>) -> Box<Health> {
        let log = before.map(|h| h.log).unwrap_or_default();
        Box::new(Health { log, ..Health::default() })
    }

    /// Takes in what a probe found of a container that started then; true when that changes how it is.
    pub fn note(&mut self, outcome: Outcome, check: &Check, started_ns: u64) -> bool {
        let before = self.status;
        let up = Duration::from_nanos(outcome.start_ns.saturating_sub(started_ns));
        if outcome.code == 0 {
            self.failing_streak = 0;
            self.status = Status::Healthy;
        } else if self.status != Status::Starting || up >= check.start_period {
            self.failing_streak += 1;
            if self.failing_streak >= check.retries {
                self.status = Status::Unhealthy;
            }
        }
        while self.log.len() >= REMEMBERED {
            self.log.remove(0);
        }
        self.log.push(outcome);
        self.status != before
    }
}

/// The beginning of what a probe says.
#[derive(Debug, Default)]
pub(crate) struct Output {
    bytes: Vec<u8>,
    more: bool,
}

impl Output {
    pub fn push(&mut self, bytes: &[u8]) {
        let room = MAX_OUTPUT - self.bytes.len();
        self.bytes.extend_from_slice(&bytes[..room.min(bytes.len())]);
        self.more |= bytes.len() > room;
    }

    pub fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.bytes);
        if self.more { format!("{text}...") } else { text.into_owned() }
    }
}

/// Refuses settings that make no sense.
pub(crate) fn refuse(config: &ContainerConfig) -> Result<(), String> {
    let Some(health) = &config.healthcheck else { return Ok(()) };
    let short = |name: &str, ns: i64| match ns != 0 && ns < SHORTEST_NS {
        true => Err(format!("{name} in Healthcheck cannot be less than 1ms")),
        false => Ok(()),
    };
    short("Interval", health.interval)?;
    short("Timeout", health.timeout)?;
    if health.retries < 0 {
        return Err("Retries in Healthcheck cannot be negative".into());
    }
    short("StartPeriod", health.start_period)?;
    short("StartInterval", health.start_interval)
}

/// A duration as Go prints it: `1m30s`, `1.5s`, `250ms`.
pub(crate) fn go_duration(d: Duration) -> String {
    let fraction = |whole: u128, part: u128, digits: usize| {
        let text = format!("{part:0digits$}");
        match text.trim_end_matches('0') {
            "" => whole.to_string(),
            digits => format!("{whole}.{digits}"),
        }
    };
    let ns = d.as_nanos();
    match ns {
        0 => "0s".into(),
        1..1_000 => format!("{ns}ns"),
        1_000..1_000_000 => format!("{}µs", fraction(ns / 1_000, ns % 1_000, 3)),
        1_000_000..1_000_000_000 => format!("{}ms", fraction(ns / 1_000_000, ns % 1_000_000, 6)),
        _ => {
            let (minutes, rest) = (ns / 60_000_000_000, ns % 60_000_000_000);
            let seconds = fraction(rest / 1_000_000_000, rest % 1_000_000_000, 9);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{seconds}s"),
                (0, m) => format!("{m}m{seconds}s"),
                (h, m) => format!("{h}h{m}m{seconds}s"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::container::HealthConfig;

    const SECOND: i64 = 1_000_000_000;

    fn config(test: &[&str], with: HealthConfig) -> ContainerConfig {
        let test = test.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>().into();
        ContainerConfig { healthcheck: Some(HealthConfig { test, ..with }), ..ContainerConfig::default() }
    }

    fn check(with: HealthConfig) -> Check {
        Check::of(&config(&["CMD", "true"], with)).unwrap()
    }

    fn outcome(code: i32, at: u64) -> Outcome {
        Outcome { start_ns: at, end_ns: at, code, output: String::new() }
    }

    #[test]
    fn what_is_asked_for() {
        assert_eq!(Check::of(&ContainerConfig::default()), None);
        for none in [&[][..], &["NONE"], &["NONE", "x"], &["WHAT", "x"]] {
            assert_eq!(Check::of(&config(none, HealthConfig::default())), None, "{none:?}");
        }
        let plain = check(HealthConfig::default());
        assert_eq!((plain.command.join(" ").as_str(), plain.retries), ("true", 3));
        assert_eq!((plain.interval, plain.timeout, plain.start_period), (INTERVAL, TIMEOUT, Duration::ZERO));
        let mut shell = config(&["CMD-SHELL", "a b"], HealthConfig::default());
        assert_eq!(Check::of(&shell).unwrap().command, ["/bin/sh", "-c", "a b"]);
        shell.shell = vec!["/ash".to_owned(), "-ec".into()].into();
        assert_eq!(Check::of(&shell).unwrap().command, ["/ash", "-ec", "a b"]);
    }

    #[test]
    fn states() {
        let check = check(HealthConfig { retries: 2, start_period: 10 * SECOND, ..HealthConfig::default() });
        let (mut h, s) = (Health::default(), SECOND as u64);
        // Failures do not count at the start, until it has been healthy once.
        assert!(!h.note(outcome(1, 9 * s), &check, 0));
        assert_eq!((h.status, h.failing_streak), (Status::Starting, 0));
        assert!(!h.note(outcome(1, 10 * s), &check, 0));
        assert_eq!((h.status, h.failing_streak), (Status::Starting, 1));
        assert!(h.note(outcome(0, 11 * s), &check, 0));
        assert_eq!((h.status, h.failing_streak), (Status::Healthy, 0));
        assert!(!h.note(outcome(-1, 3 * s), &check, 0));
        assert!(h.note(outcome(1, 12 * s), &check, 0));
        assert_eq!((h.status, h.failing_streak), (Status::Unhealthy, 2));
        assert!(!h.note(outcome(1, 13 * s), &check, 0));
        assert_eq!((h.log.len(), h.log[0].start_ns, h.failing_streak), (5, 10 * s, 3));
        let again = Health::begin(Some(Box::new(h)));
        assert_eq!((again.status, again.failing_streak, again.log.len()), (Status::Starting, 0, 5));
    }

    #[test]
    fn times() {
        let s = Duration::from_secs;
        let quick = HealthConfig {
            interval: 20 * SECOND,
            start_period: 10 * SECOND,
            start_interval: SECOND,
            ..HealthConfig::default()
        };
        let check = check(quick);
        assert_eq!(check.wait(Status::Starting, s(9)), s(1));
        assert_eq!(check.wait(Status::Healthy, s(9)), s(20));
        assert_eq!(check.wait(Status::Starting, s(10)), s(20));
        let seen = Health { status: Status::Healthy, log: vec![outcome(0, 100)], ..Health::default() };
        let second = SECOND as u64;
        assert_eq!(check.first_wait(&seen, 50, 100 + 5 * second), s(15));
        assert_eq!(check.first_wait(&seen, 50, 100 + 50 * second), s(0));
        // That was of an earlier run.
        assert_eq!(check.first_wait(&Health::default(), 200, 200), s(1));
    }

    #[test]
    fn output_has_an_end() {
        let mut out = Output::default();
        out.push(&[b'x'; 4000]);
        out.push(&[b'y'; 96]);
        assert_eq!((out.text().len(), out.text().ends_with("yy")), (4096, true));
        out.push(b"z");
        out.push(&[b'z'; 100_000]);
        assert_eq!((out.text().len(), out.text().ends_with("y..."), out.bytes.len()), (4099, true, 4096));
    }

    #[test]
    fn refusals_in_dockers_words() {
        let said = |with: HealthConfig| refuse(&config(&["NONE"], with)).unwrap_err();
        let none = HealthConfig::default;
        assert_eq!(
            said(HealthConfig { interval: 999_999, ..none() }),
            "Interval in Healthcheck cannot be less than 1ms"
        );
        assert_eq!(said(HealthConfig { timeout: -1, ..none() }), "Timeout in Healthcheck cannot be less than 1ms");
        assert_eq!(said(HealthConfig { retries: -1, ..none() }), "Retries in Healthcheck cannot be negative");
        assert_eq!(
            said(HealthConfig { start_period: 1, ..none() }),
            "StartPeriod in Healthcheck cannot be less than 1ms"
        );
        assert_eq!(
            said(HealthConfig { start_interval: 1, ..none() }),
            "StartInterval in Healthcheck cannot be less than 1ms"
        );
        assert_eq!(refuse(&config(&[], HealthConfig { interval: 1_000_000, ..none() })), Ok(()));
    }

    #[test]
    fn durations_as_go_prints_them() {
        for (ns, text) in [
            (0, "0s"),
            (999, "999ns"),
            (1_500, "1.5µs"),
            (250_000_000, "250ms"),
            (1_000_000_000, "1s"),
            (90_500_000_000, "1m30.5s"),
            (3_600_000_000_000, "1h0m0s"),
        ] {
            assert_eq!(go_duration(Duration::from_nanos(ns)), text);
        }
    }
}
