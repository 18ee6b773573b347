//! version

use crate::engine::{Ask, Engine};
use crate::failure::{Failure, Result};
use crate::flags::Parsed;
use crate::format::tabwriter::{Layout, align};
use crate::format::{time, typed};
use crate::output;
use template::{Template, Value};

/// What this client is, as `version --format` shows it.
pub fn client(engine: &Engine<'_>, negotiated: &str) -> Vec<(String, Value)> {
    let default = engine.settings.api_version.as_deref().unwrap_or(api::VERSION);
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let text = |name: &str, value: &str| (name.to_string(), Value::str(value));
    vec![
        text("Version", env!("CARGO_PKG_VERSION")),
        text("ApiVersion", negotiated),
        text("DefaultAPIVersion", default),
        text("GitCommit", option_env!("DHOW_COMMIT").unwrap_or("")),
        text("GoVersion", ""),
        text("Os", std::env::consts::OS),
        text("Arch", arch),
        text("BuildTime", option_env!("DHOW_BUILT").unwrap_or("")),
        text("Context", "default"),
    ]
}

/// `version`
pub async fn version(engine: &Engine<'_>, flags: &Parsed) -> Result<()> {
    let template = match flags.text("format") {
        "" => None,
        "json" => Some(named("{{json .}}")?),
        text => Some(named(text).map_err(|f| f.with_code(64))?),
    };
    let fetched = match template.is_some() && !wants_server(flags.text("format")) {
        true => Ok(None),
        false => engine.bytes(Ask::get("/version")).await.map(Some),
    };
    let client = client(engine, &engine.version());
    let (server, failure) = match fetched {
        Ok(Some(bytes)) => (serde_json::from_slice::<Value>(&bytes).unwrap_or_default(), None),
        Ok(None) => (Value::Nil, None),
        Err(failure) => (Value::Nil, Some(failure)),
    };
    let text = match template {
        Some(template) => {
            let both = Value::map(vec![("Client".into(), Value::map(client)), ("Server".into(), server)]);
            let both = typed::structure(&both, "system.versionInfo");
            let done = template.execute(&both);
            // the line is ended also where a template failed
            output::print(&format!("{}\n", done.as_deref().unwrap_or_default()))?;
            return match done {
                Ok(_) => failure.map_or(Ok(()), Err),
                Err(e) => Err(Failure::new(e.to_string())),
            };
        }
        None => {
            let document = serde_json::from_str(&template::to_json(&server)).unwrap_or_default();
            align(&pretty(engine, &document), Layout { min_width: 20, padding: 1 })
        }
    };
    output::print(&text)?;
    failure.map_or(Ok(()), Err)
}

/// Docker's errors call this template by its name.
fn named(text: &str) -> Result<Template> {
    Template::parse_named("version", text).map_err(|e| Failure::new(format!("template parsing error: {e}")))
}

/// Whether a template says anything of the engine.
fn wants_server(format: &str) -> bool {
    format == "json" || format.contains(".Server") || format.contains("json .") || format.trim() == "{{.}}"
}

fn pretty(engine: &Engine<'_>, server: &serde_json::Value) -> String {
    let negotiated = engine.version();
    let default = engine.settings.api_version.as_deref().unwrap_or(api::VERSION);
    let lowered = if negotiated == default { String::new() } else { format!(" (downgraded from {default})") };
    let mut out = format!("Client:\n Version:\t{}\n API version:\t{negotiated}{lowered}\n", env!("CARGO_PKG_VERSION"));
    for (name, value) in [("Git commit", option_env!("DHOW_COMMIT")), ("Built", option_env!("DHOW_BUILT"))] {
        if let Some(value) = value {
            out.push_str(&format!(" {name}:\t{value}\n"));
        }
    }
    let arch = if std::env::consts::ARCH == "x86_64" { "amd64" } else { std::env::consts::ARCH };
    out.push_str(&format!(" OS/Arch:\t{}/{arch}\n Context:\tdefault\n", std::env::consts::OS));
    if server.is_null() {
        return out;
    }
    let platform = server["Platform"]["Name"].as_str().unwrap_or("");
    out.push_str(&format!("\nServer:{}\n", if platform.is_empty() { String::new() } else { format!(" {platform}") }));
    for component in server["Components"].as_array().into_iter().flatten() {
        let name = component["Name"].as_str().unwrap_or("");
        let version = component["Version"].as_str().unwrap_or("");
        let detail = |key: &str| component["Details"][key].as_str().unwrap_or("").to_string();
        out.push_str(&format!(" {name}:\n  Version:\t{version}\n"));
        if name == "Engine" {
            let (api, least) = (detail("ApiVersion"), detail("MinAPIVersion"));
            out.push_str(&format!("  API version:\t{api} (minimum version {least})\n"));
            out.push_str(&format!("  Go version:\t{}\n  Git commit:\t{}\n", detail("GoVersion"), detail("GitCommit")));
            out.push_str(&format!("  Built:\t{}\n", time::ansic(&detail("BuildTime"))));
            out.push_str(&format!(
                "  OS/Arch:\t{}/{}\n  Experimental:\t{}\n",
                detail("Os"),
                detail("Arch"),
                detail("Experimental")
            ));
        } else {
            for (key, value) in component["Details"].as_object().into_iter().flatten() {
                out.push_str(&format!("  {key}:\t{}\n", value.as_str().unwrap_or("")));
            }
        }
    }
    out
}
