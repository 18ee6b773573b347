//! The values of single flags: read and checked, with Docker's words for what is wrong.

use crate::flags::{quote, units_size};
use api::container::RestartPolicy;
use api::container::{DeviceMapping, DeviceRequest, ThrottleDevice, Ulimit, WeightDevice};
use api::go::{List, Map};
use oci::duration::Wrong;
use std::net::IpAddr;

type Checked<T> = Result<T, String>;

/// Refuses what a flag of this name and kind cannot take, as soon as it is read.
pub fn check(name: &str, kind: &str, value: &str) -> Checked<()> {
    match (name, kind) {
        ("attach", "list") => match value.to_ascii_lowercase().as_str() {
            "stdin" | "stdout" | "stderr" => Ok(()),
            _ => Err("valid streams are STDIN, STDOUT and STDERR".into()),
        },
        ("blkio-weight-device", _) => weight_device(value).map(drop),
        ("device-read-bps" | "device-write-bps", _) => throttle(value, true).map(drop),
        ("device-read-iops" | "device-write-iops", _) => throttle(value, false).map(drop),
        ("device-cgroup-rule", _) => device_rule(value),
        ("dns", _) => match value.trim().parse::<IpAddr>() {
            Ok(_) => Ok(()),
            Err(_) => Err(format!("IP address is not correctly formatted: {value}")),
        },
        ("dns-search", _) => domain(value),
        ("env", "list") if value.split('=').next() == Some("") => Err(format!("invalid environment variable: {value}")),
        ("add-host", _) => extra_host(value).map(drop),
        ("label", "list") => label(value),
        ("link", "list") => match value.split(':').count() {
            _ if value.is_empty() => Err("empty string specified for links".into()),
            n if n > 2 => Err(format!("bad format for links: {value}")),
            _ => Ok(()),
        },
        ("sysctl", _) => sysctl(value),
        ("ulimit", _) => ulimit(value).map(drop),
        ("mount", _) => super::mounts::mount(value).map(drop),
        ("network" | "net", "network") => super::network::attachment(value).map(drop),
        ("gpus", _) => gpus(value).map(drop),
        _ => Ok(()),
    }
}

/// Go's `time.ParseDuration`, in nanoseconds.
pub fn duration(text: &str) -> Checked<i64> {
    oci::duration::parse(text).map_err(|wrong| match wrong {
        Wrong::Invalid => format!("time: invalid duration {}", quote(text)),
        Wrong::NoUnit => format!("time: missing unit in duration {}", quote(text)),
        Wrong::Unit(unit) => format!("time: unknown unit {} in duration {}", quote(unit), quote(text)),
    })
}

/// `--cpus`: a decimal or a fraction, in billionths.
pub fn nano_cpus(text: &str) -> Checked<i64> {
    let wrong = || format!("failed to parse {text} as a rational number");
    let decimal = |text: &str| -> Option<(i128, i128)> {
        let (number, exponent) = match text.split_once(['e', 'E']) {
            Some((number, exponent)) => (number, exponent.parse::<i32>().ok().filter(|e| e.abs() < 18)?),
            None => (text, 0),
        };
        let (sign, digits) = match number.strip_prefix('-') {
            Some(digits) => (-1, digits),
            None => (1, number.strip_prefix('+').unwrap_or(number)),
        };
        let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
        if whole.len() + part.len() == 0 || whole.len() + part.len() > 20 {
            return None;
        }
        if !whole.bytes().chain(part.bytes()).all(|b| b.is_ascii_digit()) {
            return None;
        }
        let value: i128 = format!("{whole}{part}").parse().ok()?;
        let scale = exponent - part.len() as i32;
        let power = 10i128.checked_pow(scale.unsigned_abs())?;
        Some(if scale >= 0 { (sign * value * power, 1) } else { (sign * value, power) })
    };
    let (top, bottom) = match text.split_once('/') {
        Some((a, b)) => {
            let (Some((a, 1)), Some((b, 1))) = (decimal(a), decimal(b)) else { return Err(wrong()) };
            (a, b)
        }
        None => decimal(text).ok_or_else(wrong)?,
    };
    if bottom == 0 {
        return Err(wrong());
    }
    let scaled = top.checked_mul(1_000_000_000).ok_or_else(wrong)?;
    if scaled % bottom != 0 {
        return Err("value is too precise".into());
    }
    i64::try_from(scaled / bottom).map_err(|_| wrong())
}

/// `/dev/sda:200`
pub fn weight_device(value: &str) -> Checked<WeightDevice> {
    let (path, weight) = device_path(value)?;
    let weight = weight.parse::<u16>().ok().filter(|w| *w == 0 || (10..=1000).contains(w));
    let weight = weight.ok_or_else(|| format!("invalid weight for device: {value}"))?;
    Ok(WeightDevice { path: path.into(), weight })
}

/// `/dev/sda:1mb`, or operations per second.
pub fn throttle(value: &str, bytes: bool) -> Checked<ThrottleDevice> {
    let (path, rate) = device_path(value)?;
    let rate = match bytes {
        true => units_size(rate).ok().and_then(|r| u64::try_from(r).ok()).ok_or_else(|| {
            format!(
                "invalid rate for device: {value}. The correct format is <device-path>:<number>[<unit>]. Number must be a positive integer. Unit is optional and can be kb, mb, or gb"
            )
        })?,
        false => rate.parse().map_err(|_| {
            format!(
                "invalid rate for device: {value}. The correct format is <device-path>:<number>. Number must be a positive integer"
            )
        })?,
    };
    Ok(ThrottleDevice { path: path.into(), rate })
}

fn device_path(value: &str) -> Checked<(&str, &str)> {
    let (path, rest) =
        value.split_once(':').filter(|(p, _)| !p.is_empty()).ok_or_else(|| format!("bad format: {value}"))?;
    if !path.starts_with("/dev/") {
        return Err(format!("bad format for device path: {value}"));
    }
    Ok((path, rest))
}

/// `c 1:3 mr`
fn device_rule(value: &str) -> Checked<()> {
    let parts: Vec<&str> = value.split(' ').collect();
    let number = |n: &str| n == "*" || (!n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    let fits = match parts.as_slice() {
        [kind, numbers, access] => {
            let numbers = numbers.split_once(':').is_some_and(|(a, b)| number(a) && number(b));
            let access = (1..=3).contains(&access.len()) && access.bytes().all(|b| b"rwm".contains(&b));
            matches!(*kind, "a" | "b" | "c") && numbers && access
        }
        _ => false,
    };
    if fits { Ok(()) } else { Err(format!("invalid device cgroup format '{value}'")) }
}

fn domain(value: &str) -> Checked<()> {
    let name = value.trim();
    let label = |l: &str| {
        !l.is_empty()
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    let fits = name.is_empty() && value.trim() == "."
        || (name.len() < 255 && name.bytes().any(|b| b.is_ascii_alphabetic()) && name.split('.').all(label));
    if fits { Ok(()) } else { Err(format!("{value} is not a valid domain")) }
}

/// `host:address` or `host=address`, as the daemon takes it.
pub fn extra_host(value: &str) -> Checked<String> {
    let split = value.split_once('=').or_else(|| value.split_once(':'));
    let Some((name, address)) = split.filter(|(name, _)| !name.is_empty()) else {
        return Err(format!("bad format for add-host: {}", quote(value)));
    };
    let bare = address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(address);
    if bare != "host-gateway" && bare.parse::<IpAddr>().is_err() {
        return Err(format!("invalid IP address in add-host: {}", quote(address)));
    }
    Ok(format!("{name}:{bare}"))
}

/// `key=value`, the key without white space.
pub fn label(value: &str) -> Checked<()> {
    let key = value.split('=').next().unwrap_or("").trim_start_matches([' ', '\t']);
    if key.is_empty() {
        return Err(format!("invalid label '{value}': empty name"));
    }
    if key.contains([' ', '\t']) {
        return Err(format!("label '{key}' contains whitespaces"));
    }
    Ok(())
}

fn sysctl(value: &str) -> Checked<()> {
    const KERNEL: [&str; 8] = [
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
    ];
    match value.split_once('=') {
        Some((key, _)) if KERNEL.contains(&key) || key.starts_with("net.") || key.starts_with("fs.mqueue.") => Ok(()),
        _ => Err(format!("sysctl '{value}' is not allowed")),
    }
}

/// `nofile=1024:2048`
pub fn ulimit(value: &str) -> Checked<Ulimit> {
    const NAMES: [&str; 15] = [
        "core",
        "cpu",
        "data",
        "fsize",
        "locks",
        "memlock",
        "msgqueue",
        "nice",
        "nofile",
        "nproc",
        "rss",
        "rtprio",
        "rttime",
        "sigpending",
        "stack",
    ];
    let (name, limits) = value.split_once('=').ok_or_else(|| format!("invalid ulimit argument: {value}"))?;
    if !NAMES.contains(&name) {
        return Err(format!("invalid ulimit type: {name}"));
    }
    let number = |text: &str| {
        text.parse::<i64>().map_err(|_| format!("strconv.ParseInt: parsing {}: invalid syntax", quote(text)))
    };
    let parts: Vec<&str> = limits.split(':').collect();
    let (soft, hard) = match parts.as_slice() {
        [soft, hard] => {
            let hard = number(hard)?;
            (number(soft)?, hard)
        }
        [both] => (number(both)?, number(both)?),
        _ => {
            return Err(format!("too many limit value arguments - {limits}, can only have up to two, `soft[:hard]`"));
        }
    };
    let start = "ulimit soft limit must be less than or equal to hard limit";
    match (soft, hard) {
        (_, -1) => {}
        (-1, hard) => return Err(format!("{start}: soft: -1 (unlimited), hard: {hard}")),
        (soft, hard) if soft > hard => return Err(format!("{start}: {soft} > {hard}")),
        _ => {}
    }
    Ok(Ulimit { name: name.into(), hard, soft })
}

/// `all`, `2`, `device=0,1`
pub fn gpus(value: &str) -> Checked<DeviceRequest> {
    let count = |text: &str| match text {
        "all" => Ok(-1),
        text => text
            .parse::<i64>()
            .map_err(|_| format!("invalid count ({text}): value must be either \"all\" or an integer: invalid syntax")),
    };
    let mut request = DeviceRequest::default();
    let mut counted = false;
    let mut seen = Vec::new();
    for field in csv(value)? {
        let (key, given) = match field.split_once('=') {
            Some((key, given)) => (key, Some(given)),
            None => (field.as_str(), None),
        };
        if seen.contains(&key.to_string()) {
            return Err(format!("gpu request key '{key}' can be specified only once"));
        }
        seen.push(key.to_string());
        let words = |text: &str| text.split(',').map(str::to_string).collect::<Vec<_>>();
        match (key, given) {
            (key, None) => {
                request.count = count(key)?;
                counted = true;
            }
            ("driver", Some(driver)) => request.driver = driver.into(),
            ("count", Some(text)) => {
                request.count = count(text)?;
                counted = true;
            }
            ("device", Some(ids)) => request.device_ids = words(ids).into(),
            ("capabilities", Some(names)) => {
                let mut names = words(names);
                names.push("gpu".into());
                request.capabilities = vec![List::from(names)].into();
            }
            ("options", Some(options)) => request.options = key_values(&csv(options)?),
            _ => return Err(format!("unexpected key '{key}' in '{field}'")),
        }
    }
    if !counted && request.device_ids.is_null() {
        request.count = 1;
    }
    if request.options.is_null() {
        request.options = Map::empty();
    }
    if request.capabilities.is_null() {
        request.capabilities = vec![List::from(vec!["gpu".to_string()])].into();
    }
    Ok(request)
}

/// One line of CSV, as `--mount` and `--network` use it.
pub fn csv(line: &str) -> Checked<Vec<String>> {
    let mut fields = Vec::new();
    let mut field = String::new();
    let mut quoted = false;
    let mut chars = line.chars().enumerate().peekable();
    if line.is_empty() {
        return Err("EOF".into());
    }
    while let Some((at, c)) = chars.next() {
        match c {
            '"' if quoted && chars.peek().is_some_and(|(_, n)| *n == '"') => {
                chars.next();
                field.push('"');
            }
            '"' if quoted => {
                quoted = false;
                if chars.peek().is_some_and(|(_, n)| *n != ',') {
                    return Err(format!(
                        "parse error on line 1, column {}: extraneous or missing \" in quoted-field",
                        at + 1
                    ));
                }
            }
            '"' if field.is_empty() => quoted = true,
            '"' => return Err(format!("parse error on line 1, column {}: bare \" in non-quoted-field", at + 1)),
            ',' if !quoted => fields.push(std::mem::take(&mut field)),
            c => field.push(c),
        }
    }
    if quoted {
        return Err(format!(
            "parse error on line 1, column {}: extraneous or missing \" in quoted-field",
            line.len() + 1
        ));
    }
    fields.push(field);
    Ok(fields)
}

/// `k=v` lines as a map.
pub fn key_values(items: &[String]) -> Map<String> {
    items
        .iter()
        .map(|item| match item.split_once('=') {
            Some((key, value)) => (key.to_string(), value.to_string()),
            None => (item.clone(), String::new()),
        })
        .collect()
}

/// `no`, `always`, `unless-stopped`, `on-failure[:n]`
pub fn restart_policy(value: &str) -> Checked<RestartPolicy> {
    if value.is_empty() {
        return Ok(RestartPolicy::default());
    }
    let (name, count) = match value.split_once(':') {
        Some((name, count)) => (name, Some(count)),
        None => (value, None),
    };
    if count.is_some() && name.is_empty() {
        return Err("invalid restart policy format: no policy provided before colon".into());
    }
    let count = match count {
        Some(count) => count
            .parse()
            .map_err(|_| "invalid restart policy format: maximum retry count must be an integer".to_string())?,
        None => 0,
    };
    Ok(RestartPolicy { name: name.into(), maximum_retry_count: count })
}

/// `--device host[:container[:rwm]]`
pub fn device(value: &str) -> Checked<DeviceMapping> {
    let valid = |mode: &str| {
        !mode.is_empty() && mode.bytes().all(|b| b"rwm".contains(&b)) && {
            let mut letters: Vec<u8> = mode.bytes().collect();
            letters.sort_unstable();
            letters.windows(2).all(|w| w[0] != w[1])
        }
    };
    let parts: Vec<&str> = value.split(':').collect();
    if parts.len() > 3 || parts[0].is_empty() {
        return Err(format!("bad format for path: {value}"));
    }
    let (source, target, mode) = match parts.as_slice() {
        [source, target, mode] if valid(mode) => (*source, *target, *mode),
        [_, _, mode] => return Err(format!("bad mode specified: {mode}")),
        [source, mode] if valid(mode) => (*source, *source, *mode),
        [source, target] => (*source, *target, "rwm"),
        [source, ..] => (*source, *source, "rwm"),
        [] => return Err(format!("bad format for path: {value}")),
    };
    if !target.starts_with('/') {
        return Err(format!("{target} is not an absolute path"));
    }
    Ok(DeviceMapping { path_on_host: clean(source), path_in_container: clean(target), cgroup_permissions: mode.into() })
}

/// Go's `path.Clean`.
pub fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|p| *p != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    match (rooted, parts.is_empty()) {
        (true, _) => format!("/{}", parts.join("/")),
        (false, true) => ".".into(),
        (false, false) => parts.join("/"),
    }
}
