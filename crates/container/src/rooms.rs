//! The one place where the neighbours are called: what this room wants of them, in its own words.

use crate::containers::Shared;
use crate::error::{Error, Result};
use crate::mounts::{Kind, MountPoint};
use crate::state::{BoundPort, Endpoint};
use network::Netns;
use oci::Platform;
use oci::runtime::Mount;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// The image of a container that is to be made.
pub(crate) struct Base {
    pub image: image::Image,
    /// `linux/amd64`
    pub platform: Platform,
}

impl From<image::Error> for Error {
    fn from(e: image::Error) -> Error {
        let text = e.to_string();
        match e {
            image::Error::NotFound(_) => Error::NotFound(text),
            image::Error::Conflict(_) => Error::Conflict(text),
            image::Error::Invalid(_) => Error::Invalid(text),
            _ => Error::System(text),
        }
    }
}

impl From<layer::Error> for Error {
    fn from(e: layer::Error) -> Error {
        Error::System(e.to_string())
    }
}

impl From<network::Error> for Error {
    fn from(e: network::Error) -> Error {
        let text = e.to_string();
        match e {
            network::Error::Invalid(_) => Error::Invalid(text),
            network::Error::Conflict(_) => Error::Conflict(text),
            _ => Error::System(text),
        }
    }
}

impl From<volume::Error> for Error {
    fn from(e: volume::Error) -> Error {
        let text = e.to_string();
        match e {
            volume::Error::NotFound(_) => Error::NotFound(text),
            volume::Error::Conflict(_) => Error::Conflict(text),
            volume::Error::Invalid(_) => Error::Invalid(text),
            _ => Error::System(text),
        }
    }
}

impl Shared {
    /// Looks an image up; with a platform asked for, it must be that one.
    pub fn image(&self, name: &str, platform: Option<&Platform>) -> Result<Base> {
        let image = self.rooms.images.get(name)?;
        let is = image.config.platform.clone();
        if let Some(wanted) = platform
            && wanted.rank(&is).is_none()
        {
            return Err(Error::NotFound(format!(
                "image with reference {name} was found but its platform ({is}) does not match the specified platform ({wanted})"
            )));
        }
        Ok(Base { platform: is, image })
    }

    /// Makes the writable layer.
    pub fn prepare(&self, id: &str, base: Option<&Base>) -> Result<()> {
        Ok(self.rooms.layers.prepare(id, base.and_then(|b| b.image.chain.as_ref()))?)
    }

    /// The mount of the root, and where its relative paths start.
    pub fn rootfs(&self, id: &str, volatile: bool) -> Result<(Mount, PathBuf)> {
        let rootfs = self.rooms.layers.mount(id, volatile)?;
        Ok((rootfs.mount, rootfs.base))
    }

    /// Throws the writable layer away; it need not be there.
    pub fn discard(&self, id: &str) -> Result<()> {
        match self.rooms.layers.discard(id) {
            Ok(()) | Err(layer::Error::NotFound { .. }) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// Bytes of the writable layer, and of everything together.
    pub fn sizes(&self, id: &str, image: &str) -> Result<(i64, i64)> {
        let writable = self.rooms.layers.writable_size(id)?;
        let image = if image.is_empty() { 0 } else { self.rooms.images.get(image).map_or(0, |i| i.size) };
        let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        Ok((signed(writable), signed(writable.saturating_add(image))))
    }

    /// A place on the default network.
    pub fn join(&self, id: &str, join: &network::Join) -> Result<(Netns, Vec<OwnedFd>, Endpoint)> {
        self.leave_at_last(id);
        let lease = self.rooms.networks.join(id, join)?;
        let endpoint = self.endpoint(lease.endpoint);
        Ok((lease.netns, lease.sockets, endpoint))
    }

    /// The network's facts in our words.
    pub fn endpoint(&self, e: network::Endpoint) -> Endpoint {
        let port = |b: &network::Binding| BoundPort {
            protocol: b.proto.to_string(),
            container: b.container_port,
            host_ip: b.host_ip.into(),
            host: b.host_port,
        };
        Endpoint {
            ports: e.ports.iter().map(port).collect(),
            network_id: e.network_id,
            endpoint_id: e.endpoint_id,
            ip: Some(e.ip),
            prefix: e.prefix,
            gateway: Some(e.gateway),
            mac: e.mac.to_string(),
        }
    }

    /// A namespace with a loopback alone.
    pub fn loopback(&self) -> Result<Netns> {
        Ok(self.rooms.networks.loopback()?)
    }

    /// Gives the place back; what does not work is reported.
    pub fn leave(&self, id: &str) {
        // What the kernel refuses for a moment would otherwise hold address and ports until the next start.
        for _ in 0..2 {
            let errors = self.rooms.networks.release(id);
            if errors.is_empty() {
                return;
            }
            for error in errors {
                tracing::error!(container = id, "network not released: {error}");
            }
        }
    }

    /// Gives back a place that an earlier end could not give back, if there is one.
    pub fn leave_at_last(&self, id: &str) {
        if self.rooms.networks.endpoint(id).is_some() {
            self.leave(id);
        }
    }

    /// Makes a volume that is not there yet, and says where it is; true when it has been made just now.
    pub fn ensure_volume(&self, point: &mut MountPoint) -> Result<bool> {
        if point.kind != Kind::Volume {
            return Ok(false);
        }
        if point.name.is_empty() {
            point.name = crate::names::random_id();
        }
        let there = self.rooms.volumes.get(&point.name).is_ok();
        let mut labels = point.labels.clone();
        if point.anonymous {
            labels.insert("com.docker.volume.anonymous".into(), String::new());
        }
        self.rooms.volumes.create(&point.name, labels, point.driver_options.clone())?;
        point.source = self.rooms.volumes.mountpoint(&point.name)?.to_string_lossy().into_owned();
        Ok(!there)
    }

    /// Takes a volume away.
    pub fn remove_volume(&self, name: &str) -> Result<()> {
        Ok(self.rooms.volumes.remove(name)?)
    }

    /// The id of a network by its name.
    pub fn network_id(&self, name: &str) -> String {
        self.rooms.networks.id(name).unwrap_or_default().to_owned()
    }
}
