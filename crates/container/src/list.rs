//! `ps`: summaries and filters.

use crate::check;
use crate::containers::{Container, Containers, lock, now_ns};
use crate::error::{Error, Result, invalid};
use crate::inspect::mount_point;
use crate::mounts::Kind;
use crate::record::Record;
use crate::state::{Phase, State};
use api::Map;
use api::container::{ContainerSummary, Port, SummaryHostConfig, SummaryLine, SummaryNetworks};
use api::filters::Filters;
use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

const FILTERS: [&str; 15] = [
    "ancestor",
    "before",
    "exited",
    "expose",
    "health",
    "id",
    "is-task",
    "isolation",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
];
const STATES: [&str; 7] = ["created", "running", "paused", "restarting", "removing", "exited", "dead"];

/// What to list.
#[derive(Debug, Clone, Default)]
pub struct List {
    /// Also those that do not run.
    pub all: bool,
    /// The newest so many, whether they run or not; 0 is all.
    pub limit: usize,
    /// With sizes, which takes long.
    pub size: bool,
    /// As `docker ps --filter`.
    pub filters: Filters,
}

/// The filters, understood.
#[derive(Default)]
struct Wanted {
    exited: Vec<i32>,
    publish: BTreeSet<(u16, String)>,
    expose: BTreeSet<(u16, String)>,
    images: Option<BTreeSet<String>>,
    before: Option<u64>,
    since: Option<u64>,
}

/// Which image a name means now; a hundred containers have few names.
type Names<'c> = HashMap<&'c str, Option<String>>;

struct Candidate {
    container: Arc<Container>,
    record: Arc<Record>,
    state: Arc<State>,
}

impl Containers {
    /// The containers that are wanted, newest first.
    ///
    /// # Errors
    /// For filters that make no sense.
    pub fn list(&self, what: &List) -> Result<Vec<ContainerSummary>> {
        let (now, mut names) = (now_ns(), Names::default());
        self.chosen(what)?.iter().map(|c| self.summary(c, what.size, now, &mut names)).collect()
    }

    /// The containers that are wanted, newest first, by what a table has of them: a list of [`SummaryLine::fields`] in
    /// JSON. Who looks at tables looks again: an answer is kept, and what has not changed since is not written again.
    ///
    /// # Errors
    /// As [`Containers::list`].
    pub fn brief(&self, what: &List) -> Result<Arc<[u8]>> {
        let (now, changes) = (now_ns(), self.shared.changes.count());
        if !what.filters.is_empty() {
            return self.brief_of(what, changes)?.json(now);
        }
        let mut kept = lock(&self.shared.brief);
        let mut brief = match kept.take().filter(|kept| kept.is_of(what, changes, |image| self.now_of(image))) {
            Some(kept) => kept,
            None => self.brief_of(what, changes)?,
        };
        let json = brief.json(now)?;
        *kept = Some(brief);
        Ok(json)
    }

    fn brief_of(&self, what: &List, changes: u64) -> Result<Brief> {
        let chosen = self.chosen(what)?;
        let mut names = Names::default();
        let lines = chosen.iter().map(|c| Line {
            named: self.is_named(&c.record, &mut names),
            record: c.record.clone(),
            state: c.state.clone(),
            ages: 0..0,
            end: 0,
        });
        let lines = lines.collect();
        let images = names.into_iter().map(|(image, id)| (image.to_owned(), id)).collect();
        Ok(Brief { all: what.all, limit: what.limit, changes, images, lines, json: Arc::default() })
    }

    /// Whether the image is still what the name says by which the container was made.
    fn is_named<'c>(&self, record: &'c Record, names: &mut Names<'c>) -> bool {
        let named = &record.config.image;
        let now_of = || self.now_of(named);
        named == &record.image || names.entry(named).or_insert_with(now_of).as_ref() == Some(&record.image)
    }

    /// Which image a name means now.
    fn now_of(&self, name: &str) -> Option<String> {
        self.shared.rooms.images.id(name).ok().map(|id| id.to_string())
    }

    fn chosen(&self, what: &List) -> Result<Vec<Candidate>> {
        let wanted = self.understand(&what.filters)?;
        let all = what.all || what.limit > 0 || what.filters.contains("status");
        let mut candidates: Vec<Candidate> = self
            .shared
            .all()
            .into_iter()
            .map(|c| Candidate { record: c.record(), state: c.state(), container: c })
            .collect();
        candidates.sort_by_key(|c| std::cmp::Reverse(c.record.created_ns));
        let unfiltered = what.filters.is_empty();
        let shown = candidates
            .into_iter()
            .filter(|c| (all || c.state.is_running()) && (unfiltered || self.is_wanted(c, &what.filters, &wanted)));
        let limit = if what.limit > 0 { what.limit } else { usize::MAX };
        Ok(shown.take(limit).collect())
    }

    fn understand(&self, filters: &Filters) -> Result<Wanted> {
        filters.validate(&FILTERS).map_err(|e| Error::Invalid(e.to_string()))?;
        let mut wanted = Wanted::default();
        for code in filters.get("exited") {
            let number = code.parse().map_err(|_| {
                invalid!("invalid filter 'exited={code}': strconv.Atoi: parsing {code:?}: invalid syntax")
            })?;
            wanted.exited.push(number);
        }
        if let Some(state) = filters.get("status").find(|s| !STATES.contains(s)) {
            return Err(invalid!(
                "invalid filter 'status={state}': invalid value for state ({state}): must be one of {}",
                STATES.join(", ")
            ));
        }
        if let Some(health) =
            filters.get("health").find(|h| !matches!(*h, "none" | "starting" | "healthy" | "unhealthy"))
        {
            return Err(invalid!(
                "invalid filter 'health={health}': invalid value for health ({health}): must be one of none, starting, healthy, unhealthy"
            ));
        }
        filters.boolean("is-task", false).map_err(|e| Error::Invalid(e.to_string()))?;
        for (key, set) in [("publish", &mut wanted.publish), ("expose", &mut wanted.expose)] {
            for value in filters.get(key) {
                ports(key, value, set)?;
            }
        }
        if filters.contains("ancestor") {
            let images = filters.get("ancestor").filter_map(|name| self.shared.rooms.images.get(name).ok());
            wanted.images = Some(images.map(|i| i.id.to_string()).collect());
        }
        for (key, place) in [("before", &mut wanted.before), ("since", &mut wanted.since)] {
            for name in filters.get(key) {
                *place = Some(self.shared.find(name)?.record().created_ns);
            }
        }
        Ok(wanted)
    }

    fn is_wanted(&self, c: &Candidate, filters: &Filters, wanted: &Wanted) -> bool {
        let (record, state) = (&c.record, &c.state);
        let any = |key: &str, test: &dyn Fn(&str) -> bool| !filters.contains(key) || filters.get(key).any(test);
        wanted.before.is_none_or(|t| record.created_ns < t)
            && wanted.since.is_none_or(|t| record.created_ns > t)
            && (filters.matches("name", &record.name) || filters.matches("name", &format!("/{}", record.name)))
            && filters.prefix("id", &c.container.id)
            && filters.labels("label", &record.config.labels)
            && filters.exact("status", state.status())
            && filters.exact("health", state.health.as_ref().map_or("none", |h| h.status.name()))
            && !filters.boolean("is-task", false).unwrap_or(false)
            && any("isolation", &|v| {
                v == record.host_config.isolation || v == "default" && record.host_config.isolation.is_empty()
            })
            && (wanted.exited.is_empty()
                || state.phase == Phase::Exited && state.started_ns != 0 && wanted.exited.contains(&state.exit_code))
            && wanted.images.as_ref().is_none_or(|images| images.contains(&record.image))
            && any("volume", &|v| {
                record.mounts.iter().any(|m| m.destination == v || m.name == v || m.kind == Kind::Bind && m.source == v)
            })
            && any("network", &|v| {
                let networks = self.shared.networks(record, state);
                networks.iter().any(|(name, e)| name == v || !v.is_empty() && e.network_id.starts_with(v))
            })
            && (wanted.publish.is_empty() && wanted.expose.is_empty() || port_wanted(record, state, wanted))
    }

    fn summary<'c>(&self, c: &'c Candidate, size: bool, now: u64, names: &mut Names<'c>) -> Result<ContainerSummary> {
        let (record, state) = (&c.record, &c.state);
        let (size_rw, size_root_fs) = if size { self.shared.sizes(&c.container.id, &record.image)? } else { (0, 0) };
        let line = line(record, state, self.is_named(record, names), now);
        Ok(ContainerSummary {
            id: line.id.into(),
            names: line.names,
            image: line.image.into(),
            image_id: line.image_id.into(),
            command: line.command.into(),
            created: line.created,
            ports: line.ports,
            status: line.status.into(),
            size_rw,
            size_root_fs,
            labels: if record.config.labels.is_null() { Map::empty() } else { record.config.labels.clone() },
            state: state.status().into(),
            host_config: SummaryHostConfig {
                network_mode: record.host_config.network_mode.clone(),
                annotations: record.host_config.annotations.clone(),
            },
            network_settings: SummaryNetworks { networks: self.shared.networks(record, state) },
            mounts: record.mounts.iter().map(mount_point).collect(),
        })
    }
}

fn line<'c>(record: &'c Record, state: &'c State, named: bool, now: u64) -> SummaryLine<'c> {
    SummaryLine {
        id: (&record.id).into(),
        names: vec![["/", &record.name].concat()].into(),
        // When the name has moved to another image, the image is shown by its ID.
        image: if named { (&record.config.image).into() } else { (&record.image).into() },
        image_id: (&record.image).into(),
        command: command(record),
        created: (record.created_ns / 1_000_000_000) as i64,
        ports: summary_ports(record, state).into(),
        status: state.human(now).into(),
    }
}

/// An answer of [`Containers::brief`], and all that it was made of.
pub(crate) struct Brief {
    all: bool,
    limit: usize,
    changes: u64,
    /// What names of images meant.
    images: Vec<(String, Option<String>)>,
    lines: Vec<Line>,
    json: Arc<[u8]>,
}

/// A line of it.
struct Line {
    record: Arc<Record>,
    state: Arc<State>,
    named: bool,
    /// While its status is so old.
    ages: Range<u64>,
    /// Where it ends in the answer.
    end: usize,
}

impl Brief {
    /// Whether it is of these containers, as they are now.
    fn is_of(&self, what: &List, changes: u64, image: impl Fn(&str) -> Option<String>) -> bool {
        (self.all, self.limit, self.changes) == (what.all, what.limit, changes)
            && self.images.iter().all(|(name, id)| image(name) == *id)
    }

    /// The answer now: lines whose status has become another one are written again.
    fn json(&mut self, now: u64) -> Result<Arc<[u8]>> {
        if !self.json.is_empty() && self.lines.iter().all(|line| line.ages.contains(&now)) {
            return Ok(self.json.clone());
        }
        let mut out = Vec::with_capacity(self.json.len() + 64);
        out.push(b'[');
        let mut begin = 1;
        for line in &mut self.lines {
            if out.len() > 1 {
                out.push(b',');
            }
            let before = begin..line.end;
            begin = line.end + 1;
            if line.ages.contains(&now) {
                out.extend_from_slice(&self.json[before]);
            } else {
                line.write(&mut out, now)?;
            }
            line.end = out.len();
        }
        out.extend_from_slice(b"]\n");
        self.json = out.into();
        Ok(self.json.clone())
    }
}

impl Line {
    fn write(&mut self, out: &mut Vec<u8>, now: u64) -> Result<()> {
        let mut line = line(&self.record, &self.state, self.named, now);
        // Shown only in place of a name.
        if line.image != line.image_id {
            line.image_id = Cow::default();
        }
        self.ages = self.state.alike(now);
        serde_json::to_writer(out, &line.fields()).map_err(|e| Error::System(e.to_string()))
    }
}

/// The command in one line; arguments with spaces are quoted.
fn command(record: &Record) -> Cow<'_, str> {
    let mut line = Cow::from(&record.path);
    for argument in &record.args {
        let quote = if argument.contains(' ') { "'" } else { "" };
        line.to_mut().extend([" ", quote, argument, quote]);
    }
    line
}

/// Published ports, and those that are only exposed.
fn summary_ports(record: &Record, state: &State) -> Vec<Port> {
    let mut out = Vec::new();
    let bound = state.endpoint.as_ref().map(|e| &e.ports[..]).unwrap_or_default();
    if state.phase != Phase::Running {
        return out;
    }
    for port in record.config.exposed_ports.keys() {
        if let Ok((number, protocol)) = check::parse_port(port)
            && !bound.iter().any(|b| b.container == number && b.protocol == protocol.to_string())
        {
            out.push(Port { private_port: number, kind: protocol.to_string(), ..Port::default() });
        }
    }
    for b in bound {
        out.push(Port {
            ip: b.host_ip.to_string(),
            private_port: b.container,
            public_port: b.host,
            kind: b.protocol.clone(),
        });
    }
    out
}

fn port_wanted(record: &Record, state: &State, wanted: &Wanted) -> bool {
    summary_ports(record, state).iter().any(|p| {
        wanted.publish.contains(&(p.public_port, p.kind.clone()))
            || wanted.expose.contains(&(p.private_port, p.kind.clone()))
    })
}

/// `80`, `80/udp`, `8000-8010/tcp`.
fn ports(key: &str, value: &str, out: &mut BTreeSet<(u16, String)>) -> Result<()> {
    if value.contains(':') {
        return Err(invalid!("filter for '{key}' should not contain ':': {value}"));
    }
    let (range, protocol) = value.split_once('/').unwrap_or((value, "tcp"));
    let bad = || invalid!("error while looking up for {key} {value}: invalid port range: {range}");
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (first, last): (u16, u16) = (first.parse().map_err(|_| bad())?, last.parse().map_err(|_| bad())?);
    if first > last {
        return Err(bad());
    }
    out.extend((first..=last).map(|p| (p, protocol.to_owned())));
    Ok(())
}

/// The one `until` of a prune: a time, or so long ago. Nanoseconds since the epoch.
pub(crate) fn until(filters: &Filters) -> Result<Option<u64>> {
    let mut values = filters.get("until");
    let (Some(value), None) = (values.next(), values.next()) else {
        return match filters.contains("until") {
            true => Err(invalid!("more than one until filter specified")),
            false => Ok(None),
        };
    };
    let bad = || invalid!("invalid filter 'until={value}'");
    if let Some(ns) = oci::duration::parse(value).ok().and_then(|ns| u64::try_from(ns).ok()) {
        return Ok(Some(now_ns().saturating_sub(ns)));
    }
    let seconds = value.parse::<f64>().ok().filter(|s| *s >= 0.0).map(|s| (s * 1e9) as u64);
    let stamp = || value.parse::<jiff::Timestamp>().ok().and_then(|t| u64::try_from(t.as_nanosecond()).ok());
    let civil = || {
        let at = value.parse::<jiff::civil::DateTime>().ok()?;
        u64::try_from(at.to_zoned(jiff::tz::TimeZone::system()).ok()?.timestamp().as_nanosecond()).ok()
    };
    seconds.or_else(stamp).or_else(civil).map(Some).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_filters() {
        let get = |v: &str| {
            let mut set = BTreeSet::new();
            ports("publish", v, &mut set).map(|()| set.len()).map_err(|e| e.to_string())
        };
        assert_eq!(get("80"), Ok(1));
        assert_eq!(get("8000-8010/udp"), Ok(11));
        assert_eq!(get("a:80").unwrap_err(), "filter for 'publish' should not contain ':': a:80");
        assert_eq!(get("x").unwrap_err(), "error while looking up for publish x: invalid port range: x");
    }

    #[test]
    fn an_answer_is_kept_and_ages() {
        const SECOND: u64 = 1_000_000_000;
        let line = |n: u64| Line {
            record: Arc::new(Record { id: n.to_string(), ..Record::default() }),
            state: Arc::new(State { phase: Phase::Running, started_ns: n * 400_000_000, ..State::default() }),
            named: true,
            ages: 0..0,
            end: 0,
        };
        let brief = || Brief {
            all: false,
            limit: 0,
            changes: 0,
            images: vec![],
            lines: (1..4).map(line).collect(),
            json: Arc::default(),
        };
        let mut kept = brief();
        for now in [10 * SECOND, 10 * SECOND + 300_000_000, 11 * SECOND, 65 * SECOND, 65 * SECOND + 1, 7200 * SECOND] {
            let json = kept.json(now).unwrap();
            assert_eq!(json, brief().json(now).unwrap());
            let lines: Vec<SummaryLine> = serde_json::from_slice(&json).unwrap();
            assert_eq!(lines.iter().map(|l| &*l.id).collect::<Vec<_>>(), ["1", "2", "3"]);
        }
        let status = |json: &[u8]| serde_json::from_slice::<Vec<SummaryLine>>(json).unwrap()[2].status.to_string();
        assert_eq!(status(&kept.json(10 * SECOND).unwrap()), "Up 8 seconds");
        assert!(Arc::ptr_eq(&kept.json(10 * SECOND).unwrap(), &kept.json(10 * SECOND + 1).unwrap()));
        let mut none = Brief { lines: vec![], ..brief() };
        assert_eq!(&*none.json(SECOND).unwrap(), b"[]\n");
    }

    #[test]
    fn commands_in_one_line() {
        let record = Record { path: "sh".into(), args: vec!["-c".into(), "sleep 1d".into()], ..Record::default() };
        assert_eq!(command(&record), "sh -c 'sleep 1d'");
    }
}
