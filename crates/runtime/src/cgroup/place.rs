//! Where a container's cgroup is to be, and who makes it.

use super::Cgroup;
use crate::systemd::{self, Property, Systemd};
use crate::{Failure, create};
use oci::Scope;
use oci::runtime::{Resources, Spec};
use std::path::PathBuf;

/// Where a container's cgroup is to be.
#[derive(Debug)]
pub struct Place {
    path: String,
    scope: Option<Unit>,
}

/// A scope that systemd is to make.
#[derive(Debug)]
struct Unit {
    scope: Scope,
    description: String,
    /// What annotations ask for.
    annotated: Vec<Property>,
}

impl Place {
    /// That of the configuration; otherwise `/dhow/<id>`, or `dhow-<id>.scope` when `systemd` is to make it.
    ///
    /// # Errors
    /// `Invalid` when it names no scope, or systemd does not run here.
    pub fn new(spec: &Spec, id: &str, systemd: bool) -> Result<Place, Failure> {
        let asked = spec.linux.as_ref().map_or("", |linux| linux.cgroups_path.as_str());
        if !systemd {
            return Ok(Place { path: direct(asked, id), scope: None });
        }
        let default = if systemd::of_user() { "user.slice" } else { "system.slice" };
        let scope = Scope::parse(asked, id, default).map_err(|e| Failure::invalid("cgroup", e.to_string()))?;
        let annotated = systemd::annotated(&spec.annotations)?;
        // Asked now, before anything is made: it may not be there.
        let path = Systemd::connect()?.cgroup(&scope);
        Ok(Place { path, scope: Some(Unit { scope, description: format!("container {id}"), annotated }) })
    }

    /// The cgroup below the root of each hierarchy.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// systemd makes it, and only with a process in it.
    pub(crate) fn is_scope(&self) -> bool {
        self.scope.is_some()
    }

    /// Makes it by itself and sets the limits.
    pub(crate) fn make(&self, resources: &Resources) -> Result<Cgroup, Failure> {
        Cgroup::create(&self.path, resources)
    }

    /// Makes it with process `pid` in it. What it is to have besides is set by [`Cgroup::set_up`], as after a failure there
    /// the process must end before the cgroup can.
    pub(crate) fn make_with(&self, pid: i32, resources: &Resources) -> Result<Cgroup, Failure> {
        let Some(Unit { scope, description, annotated }) = &self.scope else {
            return self.make(resources);
        };
        if let Ok(there) = Cgroup::open(&self.path) {
            there.refuse_used()?;
        }
        let mut properties = systemd::resources(resources, create::unified())?;
        properties.extend(annotated.iter().cloned());
        Systemd::connect()?.start(scope, pid, description, properties)?;
        // On v1 systemd makes some of them.
        Ok(Cgroup::make(&self.path)?.0)
    }
}

/// A path from the root.
fn direct(asked: &str, id: &str) -> String {
    match asked {
        "" => format!("/dhow/{id}"),
        path => PathBuf::from("/").join(path).to_string_lossy().into_owned(),
    }
}

/// The scope that the cgroup `path` belongs to, if systemd says so.
fn scope_of(path: &str) -> Result<Option<(Systemd, Scope)>, Failure> {
    let Some(scope) = Scope::of_cgroup(path).filter(|_| systemd::runs()) else { return Ok(None) };
    let mut systemd = Systemd::connect()?;
    // Others' may be called so as well: a cgroup that was made directly, or a user's scope.
    let its = systemd.cgroup(&scope) == path && systemd.has(&scope)?;
    Ok(its.then_some((systemd, scope)))
}

/// Tells systemd of other limits, if the cgroup `path` is a scope's.
pub(super) fn tell(path: &str, resources: &Resources) -> Result<(), Failure> {
    let Some((mut systemd, scope)) = scope_of(path)? else { return Ok(()) };
    match systemd::resources(resources, create::unified())? {
        none if none.is_empty() => Ok(()),
        some => systemd.set(&scope, some),
    }
}

/// Moves a process into the cgroup `path` where this one may not, if it is a scope's; whether it is.
pub(super) fn attach(path: &str, pid: i32) -> Result<bool, Failure> {
    match scope_of(path)? {
        Some((mut systemd, scope)) => systemd.attach(&scope, pid).map(|()| true),
        None => Ok(false),
    }
}

/// Stops the scope that the cgroup `path` belonged to, if there is one: all of its processes have ended.
///
/// # Errors
/// `System` when systemd does not do so.
pub fn release(path: &str) -> Result<(), Failure> {
    match scope_of(path)? {
        Some((mut systemd, scope)) => systemd.stop(&scope),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci::runtime::Linux;

    fn spec(path: &str) -> Spec {
        Spec { linux: Some(Linux { cgroups_path: path.into(), ..Linux::default() }), ..Spec::default() }
    }

    #[test]
    fn paths() {
        let of = |path: &str| Place::new(&spec(path), "id", false).unwrap().path().to_owned();
        assert_eq!([of(""), of("/a/b"), of("a"), of("a.slice:b:c")], ["/dhow/id", "/a/b", "/a", "/a.slice:b:c"]);
    }

    #[test]
    fn a_scope_needs_its_form_first() {
        let said = |path: &str| Place::new(&spec(path), "id", true).unwrap_err().text;
        assert!(said("/a/b").starts_with("expected cgroupsPath to be of format"), "{}", said("/a/b"));
        if !systemd::runs() {
            assert!(said("").starts_with("systemd not running on this host, cannot use systemd cgroups manager"));
        }
    }
}
