//! Scopes of systemd, which `linux.cgroupsPath` names as `slice:prefix:name` where systemd makes a container's cgroup.

use crate::Error;

/// The longest name of a unit (systemd's UNIT_NAME_MAX).
const MAX_NAME: usize = 255;
/// Controllers whose files begin with their name: systemd keeps directories apart from those.
const CONTROLLERS: [&str; 10] =
    ["cpu", "cpuacct", "cpuset", "io", "blkio", "memory", "devices", "pids", "bpf-firewall", "cgroup"];

/// A scope: a unit of processes that systemd has not started itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// `a-b.slice`
    pub slice: String,
    /// `prefix-name.scope`
    pub name: String,
}

impl Scope {
    /// Reads `slice:prefix:name`. Empty is `dhow-<id>.scope`, an empty slice is `default`.
    ///
    /// # Errors
    /// When it has another form, or names a unit that cannot be.
    pub fn parse(cgroups_path: &str, id: &str, default: &str) -> Result<Scope, Error> {
        let parts: Vec<&str> =
            if cgroups_path.is_empty() { vec!["", "dhow", id] } else { cgroups_path.split(':').collect() };
        let [slice, prefix, name] = parts[..] else { return Err(Error::CgroupsPath(cgroups_path.into())) };
        let slice = if slice.is_empty() { default } else { slice };
        expand(slice)?;
        let name = if prefix.is_empty() { format!("{name}.scope") } else { format!("{prefix}-{name}.scope") };
        check_name(&name)?;
        Ok(Scope { slice: slice.into(), name })
    }

    /// The scope whose cgroup `path` may be. Below what is no slice it is in the root slice of some systemd.
    pub fn of_cgroup(path: &str) -> Option<Scope> {
        let mut parts = path.split('/').filter(|part| !part.is_empty()).rev().map(unescaped);
        let name = parts.next().filter(|name| name.ends_with(".scope"))?;
        let slice = parts.next().filter(|part| expand(part).is_ok()).unwrap_or("-.slice");
        check_name(name).is_ok().then(|| Scope { slice: slice.into(), name: name.into() })
    }

    /// Where its cgroup is below that of the systemd which makes it.
    pub fn cgroup(&self) -> String {
        // Both were checked when it was made.
        let slice = expand(&self.slice).unwrap_or_default();
        format!("{slice}/{}", escaped(&self.name))
    }
}

/// The directory of a slice: `a-b.slice` lies in `/a.slice/a-b.slice`; the root slice is the root.
///
/// # Errors
/// When it is not the name of a slice.
pub fn expand(slice: &str) -> Result<String, Error> {
    let wrong = || Error::Slice(slice.into());
    let stem = slice.strip_suffix(".slice").ok_or_else(wrong)?;
    if stem == "-" {
        return Ok(String::new());
    }
    check_name(slice)?;
    // `a--b` and `-a` would have parents without a name.
    if stem.split('-').any(str::is_empty) {
        return Err(wrong());
    }
    let ends = stem.match_indices('-').map(|(at, _)| at).chain([stem.len()]);
    Ok(ends.map(|end| format!("/{}", escaped(&format!("{}.slice", &stem[..end])))).collect())
}

fn check_name(name: &str) -> Result<(), Error> {
    let good = |c: char| c.is_ascii_alphanumeric() || ":-_.\\".contains(c);
    let stem = name.rsplit_once('.').map_or("", |(stem, _)| stem);
    if stem.is_empty() || name.len() > MAX_NAME || !name.chars().all(good) {
        return Err(Error::UnitName(name.into()));
    }
    Ok(())
}

/// The name of a unit's directory, which is not to be one that the kernel gives to a file.
fn escaped(name: &str) -> String {
    let reserved = name.starts_with(['_', '.'])
        || CONTROLLERS.iter().any(|c| name.strip_prefix(c).is_some_and(|rest| rest.starts_with('.')));
    if reserved { format!("_{name}") } else { name.into() }
}

fn unescaped(directory: &str) -> &str {
    directory.strip_prefix('_').unwrap_or(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_lie_in_each_other() {
        let good = [
            ("system.slice", "/system.slice"),
            ("a-b-c.slice", "/a.slice/a-b.slice/a-b-c.slice"),
            ("-.slice", ""),
            (
                "kubepods-besteffort-pod1_2.slice",
                "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod1_2.slice",
            ),
            ("memory.slice", "/_memory.slice"),
        ];
        for (slice, path) in good {
            assert_eq!(expand(slice).unwrap(), path, "{slice}");
        }
        for bad in
            ["", ".slice", "a", "a.scope", "/a.slice", "a/b.slice", "-a.slice", "a-.slice", "a--b.slice", "é.slice"]
        {
            assert!(expand(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn scopes_and_their_cgroups() {
        let table = [
            ("system.slice:docker:1f", "/system.slice/docker-1f.scope"),
            ("", "/system.slice/dhow-id.scope"),
            (":libpod:x", "/system.slice/libpod-x.scope"),
            ("a-b.slice::x", "/a.slice/a-b.slice/x.scope"),
            ("-.slice:p:x", "/p-x.scope"),
            ("a.slice::cpu", "/a.slice/_cpu.scope"),
        ];
        for (text, path) in table {
            let scope = Scope::parse(text, "id", "system.slice").unwrap();
            assert_eq!(scope.cgroup(), path, "{text}");
            assert_eq!(Scope::of_cgroup(path), Some(scope.clone()), "{text}");
            assert_eq!(Scope::of_cgroup(&format!("/user.slice/u.service{path}")).map(|s| s.name), Some(scope.name));
        }
        for other in ["", "/", "/dhow/1f", "/system.slice/dhow.service", "/a/é.scope"] {
            assert_eq!(Scope::of_cgroup(other), None, "{other}");
        }
    }

    #[test]
    fn what_names_no_scope_is_refused() {
        let said = |text| Scope::parse(text, "id", "system.slice").unwrap_err().to_string();
        assert_eq!(
            said("/dhow/1"),
            "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got \"/dhow/1\" instead"
        );
        assert_eq!(said("a:b:c"), "invalid slice name: a");
        assert_eq!(said("a.slice:b:c/d"), "invalid name of a systemd unit: b-c/d.scope");
        assert!(said(&format!("a.slice:b:{}", "x".repeat(300))).starts_with("invalid name of a systemd unit"));
    }
}
