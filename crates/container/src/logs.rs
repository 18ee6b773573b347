//! The log of one container: where it lies, and what each of its records says beside the text.

use crate::check::{Wanted, log, pattern};
use crate::containers::Container;
use crate::error::{Error, Result, invalid};
use crate::record::Record;
use api::container::LogConfig;
use regex_automata::nfa::thompson::pikevm::{Cache, PikeVM};
use std::collections::BTreeMap;
use std::path::PathBuf;
use supervisor::protocol::{Log, LogFile};
use template::{Template, Value};

impl Container {
    /// Where the log is, if its driver keeps one in files.
    pub fn log(&self, config: &LogConfig) -> Result<Log> {
        let Wanted::Files(files) = log(config)? else { return Ok(Log::None) };
        let wrap = if files.local { Log::Local } else { Log::JsonFile };
        Ok(wrap(LogFile {
            path: if files.local { self.local_log() } else { self.json_log() },
            max_size: files.max_size,
            max_file: files.max_file,
            compress: files.compress,
            attrs: Vec::new(),
            buffer: files.buffer,
        }))
    }

    /// As [`Container::log`], for a run: with the attributes, and with the directory that it lies in.
    pub fn log_of_run(&self, record: &Record) -> Result<Log> {
        let config = &record.host_config.log_config;
        let mut log = self.log(config)?;
        if let Log::JsonFile(file) | Log::Local(file) = &mut log {
            file.attrs = attributes(config, record)?;
        }
        if let Log::Local(file) = &log
            && let Some(directory) = file.path.parent()
        {
            match rustix::fs::mkdir(directory, rustix::fs::Mode::RWXU) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(errno) => return Err(Error::io("create", directory)(errno.into())),
            }
        }
        Ok(log)
    }

    /// The file that `inspect` shows.
    pub fn json_log(&self) -> PathBuf {
        self.dir.join(format!("{}-json.log", self.id))
    }

    fn local_log(&self) -> PathBuf {
        self.dir.join("local-logs/container.log")
    }
}

/// Labels and variables that the options name, and the tag.
fn attributes(config: &LogConfig, record: &Record) -> Result<Vec<(String, String)>> {
    let option = |name: &str| config.config.get(name).map(String::as_str).filter(|text| !text.is_empty());
    let mut all = BTreeMap::new();
    let labels: BTreeMap<&str, &str> = record.config.labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let env: BTreeMap<&str, &str> = record.config.env.iter().filter_map(|one| one.split_once('=')).collect();
    for (from, names, regex) in [(labels, "labels", "labels-regex"), (env, "env", "env-regex")] {
        for name in option(names).into_iter().flat_map(|list| list.split(',')) {
            if let Some(value) = from.get(name) {
                all.insert(name.to_owned(), (*value).to_owned());
            }
        }
        if let Some(regex) = option(regex) {
            let regex = pattern(regex)?;
            let mut cache = regex.create_cache();
            let matching = from.iter().filter(|(name, _)| is_match(&regex, &mut cache, name));
            all.extend(matching.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        }
    }
    if let Some(text) = option("tag") {
        let tag = parse_tag(text)?.execute(&context(config, record)).map_err(|e| invalid!("{e}"))?;
        if !tag.is_empty() {
            all.insert("tag".into(), tag);
        }
    }
    Ok(all.into_iter().collect())
}

fn is_match(regex: &PikeVM, cache: &mut Cache, name: &str) -> bool {
    regex.is_match(cache, name)
}

/// The template of `tag`.
pub(crate) fn parse_tag(text: &str) -> Result<Template> {
    Template::parse_named("log-tag", text).map_err(|e| invalid!("{e}"))
}

/// What a tag is made of.
fn context(config: &LogConfig, record: &Record) -> Value {
    let short = |id: &str| Value::str(id.rsplit(':').next().unwrap_or_default().chars().take(12).collect::<String>());
    let strings = |map: &mut dyn Iterator<Item = (&String, &String)>| {
        Value::string_map(map.map(|(k, v)| (k.clone(), Value::str(v.as_str()))).collect())
    };
    let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let command: Vec<&str> = std::iter::once(&record.path).chain(&record.args).map(String::as_str).collect();
    let fields = [
        ("Config", strings(&mut config.config.iter())),
        ("ContainerID", Value::str(record.id.as_str())),
        ("ContainerName", Value::str(format!("/{}", record.name))),
        ("ContainerEntrypoint", Value::str(record.path.as_str())),
        ("ContainerArgs", Value::strings(record.args.iter().map(String::as_str))),
        ("ContainerImageID", Value::str(record.image.as_str())),
        ("ContainerImageName", Value::str(record.config.image.as_str())),
        ("ContainerEnv", Value::strings(record.config.env.iter().map(String::as_str))),
        ("ContainerLabels", strings(&mut record.config.labels.iter())),
        ("DaemonName", Value::str("docker")),
        ("ID", short(&record.id)),
        ("FullID", Value::str(record.id.as_str())),
        ("Name", Value::str(record.name.as_str())),
        ("Command", Value::str(command.join(" "))),
        ("ImageID", short(&record.image)),
        ("ImageFullID", Value::str(record.image.as_str())),
        ("ImageName", Value::str(record.config.image.as_str())),
        ("Hostname", Value::str(hostname)),
    ];
    let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Value::pointer(Value::structure("logger.Info", fields))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_those_that_the_options_name() {
        let mut record = Record { id: "0123456789abcdef".into(), name: "box".into(), ..Record::default() };
        record.image = "sha256:fedcba98765432100".into();
        record.config.image = "busybox".into();
        for (name, value) in [("a", "1"), ("com.x", "2"), ("com.y", "3")] {
            record.config.labels.insert(name.into(), value.into());
        }
        record.config.env = vec!["PATH=/bin".to_owned(), "A_B=b=c".into(), "NOTHING".into()].into();
        let asked = |options: &[(&str, &str)]| {
            let config = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            let all = attributes(&LogConfig { kind: String::new(), config }, &record).unwrap();
            all.into_iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(asked(&[]), "");
        assert_eq!(asked(&[("labels", "a,nosuch,com.y")]), "a=1 com.y=3");
        assert_eq!(asked(&[("labels-regex", r"^com\.\w$"), ("env", "PATH,NOTHING")]), "PATH=/bin com.x=2 com.y=3");
        assert_eq!(asked(&[("env-regex", "_")]), "A_B=b=c");
        assert_eq!(asked(&[("tag", "")]), "");
        assert_eq!(
            asked(&[("tag", "{{.Name}}/{{.ID}}/{{.ImageID}} {{.ImageName}}")]),
            "tag=box/0123456789ab/fedcba987654 busybox"
        );
    }
}
