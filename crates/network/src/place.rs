//! A place on the bridge: a namespace with an interface that is up and lacks only an address. The kernel takes the longer
//! to make one the more there are, so one is made ahead.

use crate::Result;
use crate::bridge::{Bridge, marker};
use crate::namespace::{self, Namespace, write_sysctl};
use crate::netlink::route::{self, Veth};
use crate::netlink::{Batch, Failure};
use crate::networks::Inner;
use crate::reaper::remove_link;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Name of the interface in the container.
pub(crate) const INTERFACE: &str = "eth0";

/// What stands for the container's id in the alias of a pair that is nobody's yet.
pub(crate) const UNUSED: &str = "ready";

/// Dropped, it is gone: the kernel removes the pair with the namespace.
pub(crate) struct Place {
    pub(crate) namespace: Namespace,
    /// Index of the interface in the namespace.
    pub(crate) index: u32,
    /// Of the endpoint that it becomes.
    pub(crate) endpoint_id: String,
}

/// Name of the host's end.
pub(crate) fn veth_name(endpoint_id: &str) -> String {
    format!("veth{}", endpoint_id.get(..11).unwrap_or(endpoint_id))
}

impl Place {
    /// Makes one.
    pub(crate) fn make(inner: &Inner, bridge: &Bridge, endpoint_id: String) -> Result<Place> {
        let mut namespace = match inner.namespaces.take() {
            Some(ready) => ready,
            None => namespace::make(inner.ipv6)?,
        };
        let name = veth_name(&endpoint_id);
        let veth = Veth {
            name: &name,
            alias: &format!("{}{UNUSED}", marker(&inner.config.table)),
            bridge: bridge.index,
            mtu: inner.config.mtu,
            peer: INTERFACE,
            netns: namespace.outside.as_fd(),
            isolated: bridge.isolate,
        };
        let mut down = Batch::new();
        down.add_veth(&veth);
        inner.route.with(|socket| socket.apply(down))?;
        if inner.ipv6 {
            // No link-local address, and no routes either: the kernel walks over all of them whenever a device goes up or down.
            write_sysctl(&format!("net/ipv6/conf/{name}/disable_ipv6"), "1")?;
        }
        let mut up = Batch::new();
        up.raise_veth(&veth);
        inner.route.with(|socket| socket.apply(up))?;
        let index = route::find_link(&mut namespace.socket, INTERFACE)?.map(|link| link.index);
        let index =
            index.ok_or(Failure { doing: "find the container's interface", errno: rustix::io::Errno::NODEV })?;
        let mut inside = Batch::new();
        inside.set_up(index);
        namespace.socket.apply(inside)?;
        wait_until_running(inner, &name)?;
        // A bridge whose first port comes up is itself such a device.
        wait_until_running(inner, &bridge.name)?;
        Ok(Place { namespace, index, endpoint_id })
    }

    /// Name of the host's end.
    pub(crate) fn veth(&self) -> String {
        veth_name(&self.endpoint_id)
    }

    /// Takes it out of the kernel now.
    pub(crate) fn remove(self, inner: &Inner) -> Result<()> {
        Ok(remove_link(&inner.route, &self.veth())?)
    }
}

/// The kernel notices in a work queue of its own that a pair is up at both ends, and drops all packets until then: the
/// first one of a container would be lost and come again only after a second. Asking for the device's state makes newer
/// kernels look at once; older ones are waited for.
fn wait_until_running(inner: &Inner, name: &str) -> Result<()> {
    const ENOUGH: Duration = Duration::from_millis(100);
    let start = Instant::now();
    loop {
        let link = inner.route.with(|socket| route::find_link(socket, name))?;
        if link.is_none_or(|link| link.running) || start.elapsed() > ENOUGH {
            return Ok(());
        }
        std::thread::sleep(Duration::from_micros(100));
    }
}
