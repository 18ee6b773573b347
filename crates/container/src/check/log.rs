//! `--log-driver` and `--log-opt`.

use crate::error::{Error, Result, invalid};
use api::container::LogConfig;
use std::path::PathBuf;
use supervisor::protocol::Log;

/// Where the output goes, by Docker's options. `path` is the log's file.
///
/// # Errors
/// At a driver or an option that is not there.
pub(crate) fn log(config: &LogConfig, path: PathBuf) -> Result<Log> {
    match config.kind.as_str() {
        "none" => Ok(Log::None),
        "json-file" | "" => json_file(config, path),
        driver @ ("local" | "journald" | "syslog" | "gelf" | "fluentd" | "awslogs" | "splunk" | "gcplogs") => {
            Err(Error::Unsupported(format!("log driver {driver} is not supported by this engine")))
        }
        other => Err(invalid!("logger: no log driver named '{other}' is registered")),
    }
}

fn json_file(config: &LogConfig, path: PathBuf) -> Result<Log> {
    let (mut max_size, mut max_file) = (None, 1);
    for (key, value) in &config.config {
        match key.as_str() {
            "max-size" if value == "-1" => {}
            "max-size" => {
                let size = api::units::parse_ram(value).map_err(|_| invalid!("invalid size: '{value}'"))?;
                max_size = Some(
                    u64::try_from(size)
                        .ok()
                        .filter(|s| *s > 0)
                        .ok_or_else(|| invalid!("max-size must be a positive number"))?,
                );
            }
            "max-file" => {
                max_file =
                    value.parse().ok().filter(|n| *n >= 1).ok_or_else(|| invalid!("max-file cannot be less than 1"))?;
            }
            "mode" if value == "blocking" => {}
            "compress" if value == "false" => {}
            "mode" | "max-buffer-size" | "compress" | "labels" | "labels-regex" | "env" | "env-regex" | "tag" => {
                return Err(Error::Unsupported(format!("log option {key}={value} is not supported by this engine")));
            }
            other => return Err(invalid!("unknown log opt '{other}' for json-file log driver")),
        }
    }
    if max_file > 1 && max_size.is_none() {
        return Err(invalid!("max-size must be set when max-file is greater than 1"));
    }
    Ok(Log::JsonFile { path, max_size, max_file })
}
