//! The request's configuration over the image's. Pure.

use crate::error::{Result, invalid};
use api::container::{ContainerConfig, HealthConfig};
use api::{Empty, List};

/// Fills what the request leaves open with what the image says, as Docker does.
///
/// # Errors
/// When in the end there is nothing to run.
pub(crate) fn merge(config: &mut ContainerConfig, image: Option<&oci::image::ContainerConfig>) -> Result<()> {
    if let Some(image) = image {
        if config.user.is_empty() {
            config.user.clone_from(&image.user);
        }
        for port in image.exposed_ports.keys() {
            config.exposed_ports.entry(port.clone()).or_insert(Empty {});
        }
        merge_env(&mut config.env, &image.env);
        for (key, value) in &image.labels {
            config.labels.entry(key.clone()).or_insert_with(|| value.clone());
        }
        if config.entrypoint.is_empty() {
            if config.cmd.is_empty() {
                config.cmd = list(&image.cmd);
                config.args_escaped = image.args_escaped;
            }
            if config.entrypoint.is_null() {
                config.entrypoint = list(&image.entrypoint);
            }
        }
        if config.working_dir.is_empty() {
            config.working_dir.clone_from(&image.working_dir);
        }
        for volume in image.volumes.keys() {
            config.volumes.entry(volume.clone()).or_insert(Empty {});
        }
        if config.stop_signal.is_empty() {
            config.stop_signal.clone_from(&image.stop_signal);
        }
        let of_image = image.healthcheck.as_ref().and_then(|h| serde_json::from_value::<HealthConfig>(h.clone()).ok());
        if let Some(of_image) = of_image {
            merge_health(&mut config.healthcheck, of_image);
        }
        if config.shell.is_empty()
            && let Some(shell) = &image.shell
        {
            config.shell = shell.clone().into();
        }
    }
    if let [only] = &config.entrypoint[..]
        && only.is_empty()
    {
        config.entrypoint = List::null();
    }
    match config.entrypoint.is_empty() && config.cmd.is_empty() {
        true => Err(invalid!("no command specified")),
        false => Ok(()),
    }
}

fn list(of_image: &Option<Vec<String>>) -> List<String> {
    of_image.clone().map_or_else(List::null, List::from)
}

/// The image's variables that the request does not name come after the request's own.
fn merge_env(env: &mut List<String>, image: &[String]) {
    let name = |e: &str| e.split('=').next().unwrap_or_default().to_owned();
    if env.is_empty() {
        *env = image.to_vec().into();
        return;
    }
    let named: Vec<String> = env.iter().map(|e| name(e)).collect();
    env.extend(image.iter().filter(|e| !named.contains(&name(e))).cloned());
}

/// The image's health check, or what the request leaves open of its own.
fn merge_health(own: &mut Option<HealthConfig>, image: HealthConfig) {
    let Some(own) = own else {
        *own = Some(image);
        return;
    };
    if own.test.is_empty() {
        own.test = image.test;
    }
    let fields = [
        (&mut own.interval, image.interval),
        (&mut own.timeout, image.timeout),
        (&mut own.start_period, image.start_period),
        (&mut own.start_interval, image.start_interval),
        (&mut own.retries, image.retries),
    ];
    for (field, of_image) in fields {
        if *field == 0 {
            *field = of_image;
        }
    }
}

/// Path and arguments of the first process.
pub(crate) fn command(config: &ContainerConfig) -> (String, Vec<String>) {
    let mut words = config.entrypoint.iter().chain(config.cmd.iter()).cloned();
    (words.next().unwrap_or_default(), words.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> oci::image::ContainerConfig {
        oci::image::ContainerConfig {
            env: vec!["PATH=/bin".into(), "A=image".into()],
            entrypoint: Some(vec!["/entry".into()]),
            cmd: Some(vec!["arg".into()]),
            user: "ann".into(),
            working_dir: "/w".into(),
            ..Default::default()
        }
    }

    fn merged(mut config: ContainerConfig) -> (ContainerConfig, (String, Vec<String>)) {
        merge(&mut config, Some(&image())).unwrap();
        let command = command(&config);
        (config, command)
    }

    #[test]
    fn commands() {
        let words =
            |path: &str, args: &[&str]| (path.to_owned(), args.iter().map(|a| a.to_string()).collect::<Vec<_>>());
        assert_eq!(merged(ContainerConfig::default()).1, words("/entry", &["arg"]));
        let cmd = ContainerConfig { cmd: vec!["x".to_owned()].into(), ..Default::default() };
        assert_eq!(merged(cmd).1, words("/entry", &["x"]));
        let entry = ContainerConfig { entrypoint: vec!["/e".to_owned()].into(), ..Default::default() };
        assert_eq!(merged(entry).1, words("/e", &[]));
        let reset = ContainerConfig {
            entrypoint: vec![String::new()].into(),
            cmd: vec!["x".to_owned()].into(),
            ..Default::default()
        };
        assert_eq!(merged(reset).1, words("x", &[]));
        let mut nothing = ContainerConfig::default();
        assert_eq!(merge(&mut nothing, None).unwrap_err().to_string(), "no command specified");
    }

    #[test]
    fn health_checks() {
        let text = |h: Option<HealthConfig>| h.map(|h| serde_json::to_string(&h).unwrap()).unwrap_or_default();
        let with = |own: Option<HealthConfig>| {
            let mut config = ContainerConfig { healthcheck: own, ..Default::default() };
            let of_image = serde_json::json!({"Test": ["CMD", "x"], "Interval": 5, "Retries": 2});
            merge(&mut config, Some(&oci::image::ContainerConfig { healthcheck: Some(of_image), ..image() })).unwrap();
            text(config.healthcheck)
        };
        assert_eq!(with(None), r#"{"Test":["CMD","x"],"Interval":5,"Retries":2}"#);
        let own = HealthConfig { timeout: 9, retries: 4, ..HealthConfig::default() };
        assert_eq!(with(Some(own)), r#"{"Test":["CMD","x"],"Interval":5,"Timeout":9,"Retries":4}"#);
        let none = HealthConfig { test: vec!["NONE".to_owned()].into(), ..HealthConfig::default() };
        assert_eq!(with(Some(none)), r#"{"Test":["NONE"],"Interval":5,"Retries":2}"#);
    }

    #[test]
    fn the_rest() {
        let own = ContainerConfig { env: vec!["A=own".to_owned()].into(), user: "bob".into(), ..Default::default() };
        let (config, _) = merged(own);
        assert_eq!(*config.env, ["A=own", "PATH=/bin"]);
        assert_eq!((config.user.as_str(), config.working_dir.as_str()), ("bob", "/w"));
    }
}
