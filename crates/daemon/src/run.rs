//! The daemon's life: start, serve, reload, end.

use crate::Carried;
use crate::config::{self, Command, Config};
use crate::rooms::{self, Rooms};
use crate::routes;
use crate::server::{Call, Server};
use crate::{check, install, listen, lock, notify};
use anyhow::{Context, Result};
use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::prelude::*;

/// How long requests that change something may take when the daemon ends; everybody is answered meanwhile.
const GRACE: Duration = Duration::from_secs(10);
/// How long then the others may take, while nobody is accepted any more.
const LAST_GRACE: Duration = Duration::from_millis(200);
/// After so long without a request, memory that work left behind goes back to the kernel.
const QUIET: Duration = Duration::from_secs(10);

/// The filter of the log, so that a reload can change it.
type Filter = tracing_subscriber::reload::Handle<LevelFilter, tracing_subscriber::Registry>;

/// `dhow daemon ARGS…`
pub fn main(args: &[OsString], carried: Carried) -> ExitCode {
    let Ok(args) = args.iter().cloned().map(OsString::into_string).collect::<Result<Vec<_>, _>>() else {
        eprintln!("an argument is not UTF-8");
        return ExitCode::from(125);
    };
    let config = match config::load(&args) {
        Ok(Command::Run(config)) => *config,
        Ok(Command::Help) => {
            print!("{}", config::help());
            return ExitCode::SUCCESS;
        }
        Ok(Command::Version) => {
            println!("dhow version {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        Err(e) => {
            eprintln!("{e}");
            return ExitCode::from(if e.contains("--help") { 125 } else { 1 });
        }
    };
    if config.validate {
        eprintln!("configuration OK");
        return ExitCode::SUCCESS;
    }
    if config.repair && !config.check {
        eprintln!("--repair goes with --check");
        return ExitCode::FAILURE;
    }
    if config.check {
        return match check(&config, carried) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(e) => {
                eprintln!("the state of the engine cannot be checked: {e:#}");
                ExitCode::from(2)
            }
        };
    }
    match run(config, args, carried) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("failed to start daemon: {e:#}");
            ExitCode::FAILURE
        }
    }
}

/// Looks at the state of an engine that does not run; true when nothing is wrong (any more).
fn check(config: &Config, carried: Carried) -> Result<bool> {
    if !rustix::process::geteuid().is_root() {
        anyhow::bail!("this needs root privileges");
    }
    check_kernel()?;
    if !config.data_root.exists() {
        return Ok(true);
    }
    let _root = lock::data_root(&config.data_root)?;
    let init = install::init(&config.exec_root, carried.init)?;
    check::at_rest(config, &init)
}

/// Refuses a kernel without mount_setattr(2), the youngest of the system calls that every container needs (Linux 5.12).
fn check_kernel() -> Result<()> {
    check_release(&rustix::system::uname().release().to_string_lossy())
}

fn check_release(release: &str) -> Result<()> {
    const OLDEST: (u32, u32) = (5, 12);
    let mut numbers = release.split(['.', '-', '+']).map_while(|part| part.parse().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) if (major, minor) < OLDEST => anyhow::bail!(
            "the kernel is {release}, and Linux {}.{} or newer is needed: boot a newer one",
            OLDEST.0,
            OLDEST.1
        ),
        _ => Ok(()),
    }
}

fn run(mut config: Config, args: Vec<String>, carried: Carried) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        anyhow::bail!("dhow daemon needs to be started with root privileges");
    }
    check_kernel()?;
    rooms::add_stock_runtime(&mut config);
    sys::malloc::frugal();
    let (filter, handle) = tracing_subscriber::reload::Layer::new(level(&config));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false).with_target(false);
    // A test may have a logger already.
    let _ = tracing_subscriber::registry().with(filter).with(lines).try_init();
    if config.oom_score_adjust != 0 {
        std::fs::write("/proc/self/oom_score_adj", config.oom_score_adjust.to_string())
            .context("setting the OOM score adjustment")?;
    }
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let _root = lock::data_root(&config.data_root)?;
    let _pid = lock::pidfile(&config.pidfile())?;
    let init = match &config.init_path {
        Some(path) => {
            let program = std::fs::read(path).with_context(|| format!("reading the init binary {}", path.display()))?;
            install::init(&config.exec_root, &program)?
        }
        None => install::init(&config.exec_root, carried.init)?,
    };
    let (_sealed, init) = install::sealed(&init)?;
    sys::malloc::unneeded(carried.init);
    // From here on clients can connect; they are answered as soon as the rooms are open.
    let sockets = listen::open(&config.hosts, config.group.as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(512)
        .thread_keep_alive(Duration::from_secs(5))
        .enable_all()
        .build()
        .context("starting threads")?;
    let result = runtime.block_on(async {
        let opened = tokio::task::spawn_blocking(move || rooms::open(config, &init, carried)).await?;
        sys::malloc::unneeded(carried.hello);
        serve(Arc::new(opened?), &sockets, &args, &handle).await
    });
    listen::remove(&sockets);
    // Requests that still wait, for a container that runs on or for a pull, end with the process.
    runtime.shutdown_background();
    result
}

fn level(config: &Config) -> LevelFilter {
    config.log_level.parse().unwrap_or(LevelFilter::INFO)
}

async fn serve(rooms: Arc<Rooms>, sockets: &[listen::Socket], args: &[String], filter: &Filter) -> Result<()> {
    let mut ends = [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?];
    let mut hangup = signal(SignalKind::hangup())?;
    let of_server = rooms.clone();
    let server = Server::new(move |call: Call| routes::answer(of_server.clone(), call));
    let mut accepting = Vec::new();
    for socket in sockets {
        let listener = tokio::net::UnixListener::from_std(socket.listener.try_clone()?)?;
        accepting.push(tokio::spawn(server.clone().accept(listener)));
    }
    let tidy = tokio::spawn(tidy(server.clone()));
    notify::send("READY=1");
    tracing::info!("API listening on {}", rooms.config().hosts.join(", "));
    let [terminate, interrupt] = &mut ends;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => reload(&rooms, args, filter),
        }
    }
    tracing::info!("ending");
    notify::send("STOPPING=1");
    tidy.abort();
    if tokio::time::timeout(GRACE, server.changing().none()).await.is_err() {
        tracing::warn!("{} requests did not end in time", server.changing().now());
    }
    for task in &accepting {
        task.abort();
    }
    if tokio::time::timeout(LAST_GRACE, server.working().none()).await.is_err() {
        tracing::debug!("{} requests had no answer", server.working().now());
    }
    let config = rooms.config();
    let closing = tokio::task::spawn_blocking(move || {
        rooms.containers.close();
        if !config.live_restore {
            routes::stop_all(&rooms, config.shutdown_timeout);
        }
        rooms.images.flush().context("writing the images' records")
    });
    closing.await?
}

/// Gives memory back when it has become quiet.
async fn tidy<F, Fut>(server: Arc<Server<F>>)
where
    F: Fn(Call) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = crate::error::Result<http::Response<crate::response::Body>>> + Send + 'static,
{
    let mut just_started = true;
    loop {
        let mut before = server.served();
        loop {
            tokio::time::sleep(QUIET).await;
            let now = server.served();
            if now == before {
                break;
            }
            before = now;
        }
        sys::malloc::trim();
        if std::mem::take(&mut just_started) {
            sys::malloc::unneeded_code();
        }
        server.next_request().await;
    }
}

/// Reads the settings again and takes over what can change while running.
fn reload(rooms: &Rooms, args: &[String], filter: &Filter) {
    notify::send("RELOADING=1");
    let now = rooms.config();
    match config::load(args) {
        Ok(Command::Run(mut fresh)) => {
            rooms::add_stock_runtime(&mut fresh);
            let mut next = (*now).clone();
            next.labels = fresh.labels.clone();
            next.debug = fresh.debug;
            next.log_level = fresh.log_level.clone();
            next.live_restore = fresh.live_restore;
            next.shutdown_timeout = fresh.shutdown_timeout;
            if next != *fresh {
                tracing::warn!(
                    "some changed settings take effect at the next start only; labels, debug, log-level, live-restore and shutdown-timeout at once"
                );
            }
            if filter.reload(level(&next)).is_err() {
                tracing::warn!("the level of the log cannot be changed");
            }
            let changed = next != *now;
            rooms.set_config(next);
            tracing::info!("{}", if changed { "settings reloaded" } else { "settings reloaded: none changed" });
            routes::reloaded(rooms);
        }
        Ok(_) => {}
        Err(e) => tracing::error!("settings not reloaded: {e}"),
    }
    notify::send("READY=1");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels() {
        for new in ["5.12.0", "5.15.0-25-generic", "6.1.0-50-cloud-amd64", "6.18.44", "7.0-rc1", "unreadable"] {
            check_release(new).unwrap();
        }
        for old in ["4.18.0-553.el8.x86_64", "5.10.0-30-amd64", "5.11"] {
            let text = check_release(old).unwrap_err().to_string();
            assert_eq!(text, format!("the kernel is {old}, and Linux 5.12 or newer is needed: boot a newer one"));
        }
    }
}
