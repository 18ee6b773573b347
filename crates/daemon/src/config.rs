//! The daemon's settings: dockerd's flags and the keys of its daemon.json. Every one is either carried out or refused
//! by name.
//!
//! ```text
//! config/table.rs   each flag and key, its form, and what it does
//! config/file.rs    daemon.json to the same text values that flags have
//! ```

mod file;
mod table;

pub use table::help;

use crate::flags::{self, Takes};
use api::container::Ulimit;
use std::collections::BTreeMap;
use std::path::PathBuf;
use table::{Effect, OPTIONS};

/// Where settings are looked for when `--config-file` is not given.
pub const DEFAULT_FILE: &str = "/etc/dhow/daemon.json";

/// Name of the runtime that is part of this program.
pub const BUILTIN: &str = "dhow";
/// Docker's own runtime, which needs no registration where it is installed.
pub const STOCK: &str = "runc";

/// A runtime that containers may ask for by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RuntimeCommand {
    /// An absolute path, or a name to look up.
    pub path: String,
    /// Before the sub-command.
    pub args: Vec<String>,
}

/// All settings, resolved.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Config {
    pub file: PathBuf,
    pub validate: bool,
    /// Look at the state of the engine, which does not run, and end.
    pub check: bool,
    /// And mend it.
    pub repair: bool,
    pub data_root: PathBuf,
    pub exec_root: PathBuf,
    /// Empty: beside the exec root.
    pub pidfile: PathBuf,
    pub hosts: Vec<String>,
    pub group: Option<String>,
    pub debug: bool,
    pub log_level: String,
    pub labels: Vec<String>,
    pub bridge: Option<String>,
    pub bip: Option<String>,
    pub fixed_cidr: Option<String>,
    pub mtu: u32,
    pub icc: bool,
    pub ip: Option<std::net::IpAddr>,
    pub ip_forward: bool,
    pub ip_masq: bool,
    /// Base and prefix length.
    pub address_pools: Vec<(String, u8)>,
    pub insecure_registries: Vec<String>,
    pub registry_mirrors: Vec<String>,
    pub max_concurrent_downloads: usize,
    pub max_download_attempts: u32,
    pub dns: Vec<String>,
    pub dns_opts: Vec<String>,
    pub dns_search: Vec<String>,
    pub ulimits: BTreeMap<String, Ulimit>,
    pub shm_size: i64,
    pub no_new_privileges: bool,
    pub runtimes: BTreeMap<String, RuntimeCommand>,
    pub default_runtime: String,
    pub init: bool,
    pub init_path: Option<PathBuf>,
    pub log_driver: String,
    pub log_opts: BTreeMap<String, String>,
    /// A file, `builtin` or `unconfined`.
    pub seccomp_profile: Option<String>,
    pub security_profile: container::Profile,
    pub cgroup_parent: String,
    /// systemd makes the control groups of containers.
    pub systemd_cgroup: bool,
    pub cgroupns_mode: String,
    pub ipc_mode: String,
    pub shutdown_timeout: i64,
    pub live_restore: bool,
    pub oom_score_adjust: i32,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            file: DEFAULT_FILE.into(),
            validate: false,
            check: false,
            repair: false,
            data_root: "/var/lib/dhow".into(),
            exec_root: "/run/dhow".into(),
            pidfile: PathBuf::new(),
            hosts: Vec::new(),
            group: None,
            debug: false,
            log_level: "info".into(),
            labels: Vec::new(),
            bridge: None,
            bip: None,
            fixed_cidr: None,
            mtu: 1500,
            icc: true,
            ip: None,
            ip_forward: true,
            ip_masq: true,
            address_pools: Vec::new(),
            insecure_registries: Vec::new(),
            registry_mirrors: Vec::new(),
            max_concurrent_downloads: 3,
            max_download_attempts: 5,
            dns: Vec::new(),
            dns_opts: Vec::new(),
            dns_search: Vec::new(),
            ulimits: BTreeMap::new(),
            shm_size: 64 << 20,
            no_new_privileges: false,
            runtimes: BTreeMap::new(),
            default_runtime: BUILTIN.into(),
            init: false,
            init_path: None,
            log_driver: "json-file".into(),
            log_opts: BTreeMap::new(),
            seccomp_profile: None,
            security_profile: container::Profile::Docker,
            cgroup_parent: String::new(),
            systemd_cgroup: false,
            cgroupns_mode: String::new(),
            ipc_mode: String::new(),
            shutdown_timeout: 15,
            live_restore: true,
            oom_score_adjust: 0,
        }
    }
}

impl Config {
    /// The file that names the daemon's process: `/run/dhow.pid` for the exec root `/run/dhow`.
    pub fn pidfile(&self) -> PathBuf {
        if self.pidfile.as_os_str().is_empty() { self.exec_root.with_extension("pid") } else { self.pidfile.clone() }
    }
}

/// What a command line asks for.
#[derive(Debug, PartialEq)]
pub enum Command {
    /// Run with these settings.
    Run(Box<Config>),
    /// Print the help and end.
    Help,
    /// Print the version and end.
    Version,
}

/// Reads the command line after `daemon`, and the file that it names.
///
/// # Errors
/// The sentence to print, in dockerd's words.
pub fn load(args: &[String]) -> Result<Command, String> {
    let known: Vec<flags::Flag> = OPTIONS.iter().map(table::Entry::as_flag).collect();
    let see = |e: flags::BadFlag| format!("{e}\nSee 'dhow daemon --help'.");
    let (given, rest) = flags::parse(args, &known).map_err(see)?;
    if let Some(extra) = rest.first() {
        return Err(format!("\"dhow daemon\" accepts no arguments: {extra:?}\nSee 'dhow daemon --help'."));
    }
    if given.iter().any(|(name, value)| *name == "help" && value == "true") {
        return Ok(Command::Help);
    }
    if given.iter().any(|(name, value)| *name == "version" && value == "true") {
        return Ok(Command::Version);
    }
    let mut config = Config::default();
    let named = given.iter().rev().find(|(name, _)| *name == "config-file").map(|(_, value)| PathBuf::from(value));
    if let Some(path) = &named {
        config.file = path.clone();
    }
    let from_file = file::read(&config.file, named.is_some())?;
    conflicts(&config.file, &given, &from_file)?;
    for (key, values) in &from_file {
        let entry = OPTIONS.iter().find(|e| e.key == Some(key)).ok_or_else(|| format!("unknown key {key}"))?;
        let file = config.file.clone();
        let wrong = |e: String| {
            let name = if e.starts_with(key.as_str()) { String::new() } else { format!("{key}: ") };
            format!("unable to configure the Docker daemon with file {}: {name}{e}", file.display())
        };
        for value in values {
            apply(entry, &mut config, value).map_err(wrong)?;
        }
    }
    for (name, value) in &given {
        let entry = OPTIONS.iter().find(|e| e.flag == *name).ok_or_else(|| format!("unknown flag: --{name}"))?;
        apply(entry, &mut config, value).map_err(|e| {
            let dashes = entry.short.map_or(String::new(), |s| format!("-{s}, "));
            format!("invalid argument {value:?} for \"{dashes}--{name}\" flag: {e}")
        })?;
    }
    check(&mut config)?;
    Ok(Command::Run(Box::new(config)))
}

fn apply(entry: &table::Entry, config: &mut Config, value: &str) -> Result<(), String> {
    let value = match (entry.takes, flags::boolean(value)) {
        (Takes::Value, _) => value,
        (Takes::Bool, Some(true)) => "true",
        (Takes::Bool, Some(false)) => "false",
        (Takes::Bool, None) => return Err(format!("strconv.ParseBool: parsing {value:?}: invalid syntax")),
    };
    match entry.effect {
        Effect::Set(set) => set(config, value),
        Effect::Only(accepted, _) if accepted.contains(&value) => Ok(()),
        Effect::Only(_, why) => Err(format!("{} {why}", entry.flag)),
        Effect::Early => Ok(()),
    }
}

/// A setting may stand in one place only, lists included.
fn conflicts(path: &std::path::Path, given: &[(&'static str, String)], from_file: &file::Values) -> Result<(), String> {
    let mut texts = Vec::new();
    for entry in OPTIONS {
        let Some((key, in_file)) = entry.key.and_then(|key| from_file.get_key_value(key)) else { continue };
        let flag: Vec<&str> = given.iter().filter(|(n, _)| *n == entry.flag).map(|(_, v)| v.as_str()).collect();
        if flag.is_empty() {
            continue;
        }
        let (flag, file) = if entry.many {
            (format!("[{}]", flag.join(" ")), format!("[{}]", in_file.join(" ")))
        } else {
            (flag[flag.len() - 1].to_owned(), in_file.join(" "))
        };
        texts.push(format!("{key}: (from flag: {flag}, from file: {file})"));
    }
    if texts.is_empty() {
        return Ok(());
    }
    Err(format!(
        "unable to configure the Docker daemon with file {}: the following directives are specified both as a flag and in the configuration file: {}",
        path.display(),
        texts.join(", ")
    ))
}

fn check(config: &mut Config) -> Result<(), String> {
    if config.hosts.is_empty() {
        config.hosts.push(format!("unix://{}", api::DEFAULT_SOCKET));
    }
    if config.bridge.is_some() && config.bip.is_some() {
        return Err(
            "invalid configuration: you specified -b & --bip, mutually exclusive options; please specify only one"
                .into(),
        );
    }
    let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
    for label in &config.labels {
        let (key, value) = label.split_once('=').ok_or_else(|| format!("bad attribute format: {label}"))?;
        if let Some(other) = seen.insert(key, value).filter(|other| *other != value) {
            return Err(format!("conflict labels for {key}={value} and {key}={other}"));
        }
    }
    let default = config.default_runtime.as_str();
    if ![BUILTIN, STOCK].contains(&default) && !config.runtimes.contains_key(default) {
        return Err(format!("specified default runtime '{default}' does not exist"));
    }
    if config.debug {
        config.log_level = "debug".into();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(args: &[&str]) -> Result<Config, String> {
        let args: Vec<String> = args.iter().map(|s| (*s).to_owned()).collect();
        match load(&args)? {
            Command::Run(config) => Ok(*config),
            other => panic!("{other:?}"),
        }
    }

    fn with_file(json: &str, args: &[&str]) -> Result<Config, String> {
        let dir =
            std::env::temp_dir().join(format!("dhow-config-{}-{:?}", std::process::id(), std::thread::current().id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("d.json");
        std::fs::write(&path, json).unwrap();
        let path_text = path.to_str().unwrap().to_owned();
        let mut all = vec!["--config-file", &path_text];
        all.extend(args);
        let result = run(&all).map_err(|e| e.replace(&path_text, "FILE"));
        std::fs::remove_dir_all(&dir).unwrap();
        result
    }

    #[test]
    fn cgroup_drivers() {
        let of = |option: &str| run(&["--exec-opt", option]).map(|config| config.systemd_cgroup);
        assert_eq!(of("native.cgroupdriver=systemd"), Ok(true));
        assert_eq!(of("native.cgroupdriver=cgroupfs"), Ok(false));
        assert!(!run(&[]).unwrap().systemd_cgroup);
        assert!(with_file(r#"{"exec-opts": ["native.cgroupdriver=systemd"]}"#, &[]).unwrap().systemd_cgroup);
        assert!(of("native.cgroupdriver=x").unwrap_err().ends_with("native.cgroupdriver option x not supported"));
        assert!(
            of("native.other=x")
                .unwrap_err()
                .ends_with("exec-opt native.other is not implemented in this version of dhow")
        );
    }

    #[test]
    fn flags_and_file_say_the_same() {
        let json = r#"{
            "data-root": "/d", "hosts": ["unix:///a", "fd://"], "debug": true, "mtu": 1400, "icc": false,
            "labels": ["a=b"], "log-opts": {"max-size": "1m"}, "max-concurrent-downloads": 7,
            "default-ulimits": {"nofile": {"Name": "nofile", "Soft": 10, "Hard": 20}},
            "default-address-pools": [{"base": "10.1.0.0/16", "size": 24}],
            "runtimes": {"crun": {"path": "/usr/bin/crun"}}, "default-shm-size": "32m", "userland-proxy": false
        }"#;
        let mut a = with_file(json, &[]).unwrap();
        let b = run(&[
            "--data-root=/d",
            "-H",
            "unix:///a",
            "-Hfd://",
            "-D",
            "--mtu",
            "1400",
            "--icc=false",
            "--label",
            "a=b",
            "--log-opt",
            "max-size=1m",
            "--max-concurrent-downloads=7",
            "--default-ulimit",
            "nofile=10:20",
            "--default-address-pool",
            "base=10.1.0.0/16,size=24",
            "--add-runtime",
            "crun=/usr/bin/crun",
            "--default-shm-size",
            "32m",
            "--userland-proxy=false",
        ])
        .unwrap();
        a.file = b.file.clone();
        assert_eq!(a, b);
        assert_eq!((b.shm_size, b.log_level.as_str()), (32 << 20, "debug"));
        assert_eq!(b.ulimits["nofile"], Ulimit { name: "nofile".into(), hard: 20, soft: 10 });
        assert_eq!(b.address_pools, [("10.1.0.0/16".to_owned(), 24)]);
    }

    #[test]
    fn refusals_in_dockerds_words() {
        for (json, args, want) in [
            (
                r#"{"nope": 1, "zap": {"x": 1}}"#,
                &[][..],
                "unable to configure the Docker daemon with file FILE: the following directives don't match any configuration option: nope, zap",
            ),
            (
                r#"{"hosts": ["unix:///f"], "debug": true}"#,
                &["-H", "unix:///a", "-H", "unix:///b", "-D"],
                "unable to configure the Docker daemon with file FILE: the following directives are specified both as a flag and in the configuration file: debug: (from flag: true, from file: true), hosts: (from flag: [unix:///a unix:///b], from file: [unix:///f])",
            ),
            (
                "{",
                &[],
                "unable to configure the Docker daemon with file FILE: EOF while parsing an object at line 1 column 1",
            ),
            ("{}", &["--nope"], "unknown flag: --nope\nSee 'dhow daemon --help'."),
            (
                "{}",
                &["--mtu=x"],
                "invalid argument \"x\" for \"--mtu\" flag: strconv.ParseInt: parsing \"x\": invalid syntax",
            ),
            (
                "{}",
                &["--debug=maybe"],
                "invalid argument \"maybe\" for \"-D, --debug\" flag: strconv.ParseBool: parsing \"maybe\": invalid syntax",
            ),
            ("{}", &["--label", "x"], "bad attribute format: x"),
            (
                "{}",
                &["--tls"],
                "invalid argument \"true\" for \"--tls\" flag: tls is not implemented in this version of dhow",
            ),
            (
                "{}",
                &["--userland-proxy"],
                "invalid argument \"true\" for \"--userland-proxy\" flag: userland-proxy cannot be turned on, as the kernel alone forwards published ports and dhow has no proxy: leave it out or set it to false",
            ),
            (
                r#"{"userland-proxy": true}"#,
                &[],
                "unable to configure the Docker daemon with file FILE: userland-proxy cannot be turned on, as the kernel alone forwards published ports and dhow has no proxy: leave it out or set it to false",
            ),
            (
                r#"{"ip6tables": true}"#,
                &[],
                "unable to configure the Docker daemon with file FILE: ip6tables would filter nothing, as IPv6 networking is not implemented in this version of dhow: leave it out or set it to false",
            ),
            (
                "{}",
                &["--raw-logs=0"],
                "invalid argument \"0\" for \"--raw-logs\" flag: raw-logs cannot be turned off, as the log never has colours: leave it out or set it to true",
            ),
            (
                "{}",
                &["-b", "br0", "--bip", "10.0.0.1/24"],
                "invalid configuration: you specified -b & --bip, mutually exclusive options; please specify only one",
            ),
            (
                "{}",
                &["-l", "loud"],
                "invalid argument \"loud\" for \"-l, --log-level\" flag: invalid logging level: loud",
            ),
        ] {
            assert_eq!(with_file(json, args).unwrap_err(), want, "{json} {args:?}");
        }
        let missing = run(&["--config-file", "/nonexistent/x.json"]).unwrap_err();
        assert_eq!(
            missing,
            "unable to configure the Docker daemon with file /nonexistent/x.json: open /nonexistent/x.json: no such file or directory"
        );
    }

    #[test]
    fn tcp_is_refused_and_overlay2_is_overlay() {
        assert!(run(&["-H", "tcp://127.0.0.1:2375"]).unwrap_err().contains("refusing to serve the API over TCP"));
        assert!(run(&["-s", "overlay2"]).is_ok());
        assert!(run(&["-s", "zfs"]).is_err());
    }
}
