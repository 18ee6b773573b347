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
        if let (None, Some(health)) = (&config.healthcheck, &image.healthcheck) {
            config.healthcheck = serde_json::from_value::<HealthConfig>(health.clone()).ok();
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
    fn the_rest() {
        let own = ContainerConfig { env: vec!["A=own".to_owned()].into(), user: "bob".into(), ..Default::default() };
        let (config, _) = merged(own);
        assert_eq!(*config.env, ["A=own", "PATH=/bin"]);
        assert_eq!((config.user.as_str(), config.working_dir.as_str()), ("bob", "/w"));
    }
}
