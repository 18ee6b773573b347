//! `system check`: every room looks at what is its own; here their findings only come together.

use crate::config::Config;
use crate::rooms::{self, Rooms};
use anyhow::{Context, Result};
use api::system::Check;
use container::Containers;
use fault::{Fault, Outcome, Survey};
use image::Images;
use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;
use volume::Volumes;

/// Where work goes on, what is found once may just be happening: it is looked for again after this.
const PAUSE: Duration = Duration::from_millis(250);

/// What was found in each room.
type Found = Vec<(&'static str, Vec<Fault>)>;

/// Checks the engine while it works. Blocks.
///
/// # Errors
/// When a room cannot be looked at.
pub fn running(rooms: &Rooms, repair: bool) -> crate::error::Result<Check> {
    let mut found = look(rooms, |_| Survey::looking())?;
    if found.iter().any(|(_, faults)| !faults.is_empty()) {
        std::thread::sleep(PAUSE);
        let mut earlier = found;
        found = look(rooms, |room| {
            let of_room = earlier.iter_mut().find(|(name, _)| *name == room);
            Survey::again(of_room.map(|(_, faults)| std::mem::take(faults)).unwrap_or_default(), repair)
        })?;
    }
    Ok(answer(found))
}

fn look(rooms: &Rooms, mut survey: impl FnMut(&str) -> Survey) -> crate::error::Result<Found> {
    let mut found = Vec::new();
    let mut containers = survey("container");
    rooms.containers.check(&mut containers, true)?;
    found.push(("container", containers.into_faults()));
    let mut networks = survey("network");
    rooms.networks.check(&mut networks, |id| rooms.containers.may_hold(id))?;
    found.push(("network", networks.into_faults()));
    let mut images = survey("image");
    rooms.images.check(&mut images, || kept(&rooms.containers))?;
    found.push(("image", images.into_faults()));
    let mut volumes = survey("volume");
    rooms.volumes.check(&mut volumes, || rooms.containers.volumes(), true)?;
    found.push(("volume", volumes.into_faults()));
    let mut engine = survey("engine");
    rooms::check_id(&rooms.config().data_root, &rooms.id, &mut engine);
    found.push(("engine", engine.into_faults()));
    Ok(found)
}

/// Whose writable layers are needed.
fn kept(containers: &Containers) -> std::io::Result<HashSet<String>> {
    containers.kept().map(|kept| kept.into_iter().collect()).map_err(std::io::Error::other)
}

/// Checks the state of an engine that does not run, and prints what is wrong; true when nothing is (any more).
///
/// # Errors
/// When the engine runs, or a room cannot be opened at all.
pub fn at_rest(config: &Config, init: &Path) -> Result<bool> {
    let (root, run) = (&config.data_root, &config.exec_root);
    let survey = || if config.repair { Survey::mending() } else { Survey::looking() };
    let [mut of_layers, mut of_images, mut of_networks, mut of_containers, mut of_volumes] = [(); 5].map(|()| survey());
    let layers = layer::Layers::open_surveyed(&root.join("layer"), &mut of_layers).context("opening the layers")?;
    let images = rooms::image_config(config);
    let images = Images::open_surveyed(&root.join("image"), layers.clone(), images, &mut of_images);
    let images = images.context("opening the images")?;
    let networks = rooms::network_config(config)?;
    let networks = network::Networks::open_surveyed(&run.join("network"), networks, &mut of_networks);
    let networks = networks.context("opening the networks")?;
    let volumes = Volumes::look(&root.join("volume"));
    let paths = container::Paths { root: root.join("container"), run: run.join("container"), init: init.to_owned() };
    let joined =
        container::Rooms { images: images.clone(), layers, networks: networks.clone(), volumes: volumes.clone() };
    let containers = Containers::at_rest(paths, joined, rooms::options(config)?, &mut of_containers);
    let containers = containers.context("opening the containers")?;
    containers.check(&mut of_containers, false)?;
    networks.check_at_rest(&mut of_networks)?;
    images.check(&mut of_images, || kept(&containers))?;
    if root.join("volume").exists() {
        volumes.check(&mut of_volumes, || containers.volumes(), false)?;
    }
    let found = [
        ("layer", of_layers),
        ("container", of_containers),
        ("network", of_networks),
        ("image", of_images),
        ("volume", of_volumes),
    ];
    let check = answer(found.map(|(room, survey)| (room, survey.into_faults())).into());
    check.faults.iter().for_each(|fault| println!("{fault}"));
    Ok(!check.faults.iter().any(api::system::Fault::remains))
}

fn answer(found: Found) -> Check {
    let of_room = |(room, faults): (&'static str, Vec<Fault>)| faults.into_iter().map(move |fault| told(room, fault));
    Check { faults: found.into_iter().flat_map(of_room).collect() }
}

fn told(room: &str, fault: Fault) -> api::system::Fault {
    let (outcome, detail) = match fault.outcome {
        Outcome::Left => ("left", String::new()),
        Outcome::Stays(text) => ("stays", text),
        Outcome::Mended(text) => ("mended", text),
        Outcome::Failed(text) => ("failed", text),
    };
    api::system::Fault {
        room: room.into(),
        path: fault.path.display().to_string(),
        cause: fault.cause,
        outcome: outcome.into(),
        detail,
    }
}
