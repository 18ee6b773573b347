//! A configuration, read and checked: everything that can be refused is refused here, before there is a process, and what
//! the child then does needs no further thought.

use crate::hooks::Told;
use crate::mount::is_of_no_device;
use crate::namespaces::{self, Namespaces};
use crate::notify::Notified;
use crate::options::{self, Options};
use crate::privileges::{self, Capabilities};
use crate::seccomp::Filter;
use crate::sysctl;
use crate::{Create, Failure};
use oci::runtime::{self as spec, Hook, Hooks, Linux, Mount, Process, Spec};
use rustix::process::{Resource, Rlimit};
use std::ffi::CString;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use sys::clone::flags as ns;

/// What one container is made of.
#[derive(Debug)]
pub(crate) struct Plan {
    pub namespaces: Namespaces,
    /// Mounted as `/`; a bind of `root.path` when the caller gave no mount.
    pub root: Mount,
    pub root_options: Options,
    /// What relative paths of `root` start from.
    pub base: PathBuf,
    pub root_readonly: bool,
    pub root_propagation: Option<(u64, bool)>,
    pub mounts: Vec<(Mount, Options)>,
    /// For each of them its source, where only the parent can make it (`idmap.rs`); then that of the root.
    pub sources: Vec<Option<OwnedFd>>,
    pub devices: Vec<Device>,
    /// A bind covers /dev: it is somebody else's, and nothing is made in it.
    pub dev_is_bound: bool,
    pub masked: Vec<String>,
    pub readonly: Vec<String>,
    pub sysctl: Vec<(String, String)>,
    pub hostname: String,
    pub domainname: String,
    pub manner: Manner,
    pub process: Work,
    /// The hooks, where there are any, and what they are told.
    pub hooks: Option<Box<(Hooks, Told)>>,
    /// Some of them are the parent's to run before pivot_root.
    pub runs_hooks: bool,
    /// The root file system is mounted over itself instead of over the host's `/`.
    pub root_in_place: bool,
    /// It is entered by chroot(2).
    pub no_pivot: bool,
    /// A sysfs for the first mount of one.
    pub sysfs: Option<OwnedFd>,
    /// A mount namespace with nothing in it, to have the container's be a copy of: nothing but binds has to be looked for among
    /// the host's mounts, and those are cloned before it is entered.
    pub bare: Option<OwnedFd>,
    /// The host has a /proc/kcore, to which /dev/core leads.
    pub has_kcore: bool,
    /// Sources of binds are cloned one by one, so that the list of mounts has the order of the configuration; otherwise all at
    /// once, before their propagation is changed.
    pub in_order: bool,
    /// An ordinary user's: what the parent would do with root's rights is left to the child, in its own user namespace.
    pub rootless: bool,
    /// The mount namespace is the host's: everything is mounted below the root file system's own place, to be taken away by
    /// [`unmount_root`].
    pub on_host: bool,
}

/// What holds for the first process and for all that join it, and no namespace or cgroup keeps.
#[derive(Debug, Clone, Default)]
pub(crate) struct Manner {
    personality: Option<u32>,
    memory_policy: Option<(u32, Vec<u64>)>,
}

impl Manner {
    pub fn new(linux: &Linux) -> Result<Manner, Failure> {
        Ok(Manner {
            personality: linux.personality.as_ref().map(privileges::personality).transpose()?,
            memory_policy: linux.memory_policy.as_ref().map(privileges::memory_policy).transpose()?,
        })
    }

    /// Takes it on.
    pub fn adopt(&self) -> Result<(), Failure> {
        if let Some(personality) = self.personality {
            sys::process::personality(personality).map_err(|e| Failure::system("personality", "personality", e))?;
        }
        if let Some((mode, nodes)) = &self.memory_policy {
            sys::sched::set_mempolicy(*mode, nodes).map_err(|e| Failure::system("memoryPolicy", "set_mempolicy", e))?;
        }
        Ok(())
    }
}

/// Whether `rootfsPropagation` makes the mounts of the container's namespace private before the first of its own.
pub(crate) fn changes_propagation(propagation: Option<(u64, bool)>) -> bool {
    use sys::mount::attr;
    matches!(propagation, Some((attr::PROPAGATION_SHARED | attr::PROPAGATION_UNBINDABLE, _)) | Some((_, false)))
}

/// A device node to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Device {
    pub path: String,
    pub kind: rustix::fs::FileType,
    pub number: u64,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

/// What a process is to become: the same for the first one and for an exec.
#[derive(Debug)]
pub(crate) struct Work {
    /// A terminal of this many lines and columns.
    pub terminal: Option<(u16, u16)>,
    pub args: Vec<CString>,
    pub env: Vec<CString>,
    pub cwd: String,
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
    pub umask: u32,
    pub capabilities: Capabilities,
    pub rlimits: Vec<(Resource, Rlimit)>,
    pub no_new_privileges: bool,
    /// The file below `/proc/self/attr` and what to write there.
    pub label: Option<(&'static str, String)>,
    pub oom_score_adj: Option<i32>,
    pub scheduler: Option<sys::sched::SchedAttr>,
    /// The container is bound to some CPUs.
    pub on_some_cpus: bool,
    pub io_priority: Option<(u16, u16)>,
    pub seccomp: Option<Filter>,
    /// Who gets the notifications of the filter.
    pub notified: Option<Notified>,
    /// The name of a session keyring of its own.
    pub keyring: Option<CString>,
    /// There is no command: it ends instead of executing one.
    pub idle: bool,
}

impl Work {
    /// Of a configuration without `process`: everything is made, and then it ends well.
    fn idle(id: &str, seccomp: Option<&spec::Seccomp>) -> Result<Work, Failure> {
        let process = Process { cwd: "/".into(), args: vec!["".into()], ..Process::default() };
        Ok(Work { idle: true, ..Work::new(id, &process, seccomp)? })
    }

    pub fn new(id: &str, process: &Process, seccomp: Option<&spec::Seccomp>) -> Result<Work, Failure> {
        let invalid = |text: String| Failure::invalid("process", text);
        if process.args.is_empty() {
            return Err(invalid("args must not be empty".into()));
        }
        if !process.cwd.starts_with('/') {
            return Err(invalid(format!("Cwd must be an absolute path: {:?}", process.cwd)));
        }
        for variable in &process.env {
            if variable.find('=').is_none_or(|at| at == 0) {
                return Err(invalid(format!("invalid environment variable {variable:?}")));
            }
        }
        let strings = |list: &[String], what: &str| {
            let one =
                |s: &String| CString::new(s.as_str()).map_err(|_| invalid(format!("{what} {s:?} contains a NUL")));
            list.iter().map(one).collect::<Result<Vec<_>, _>>()
        };
        let notified = seccomp.map(|profile| Notified::of(id, profile)).transpose()?.flatten();
        let seccomp = seccomp.map(crate::seccomp::take).transpose()?;
        let size = process.console_size.as_ref().map_or((0, 0), |size| (size.height, size.width));
        Ok(Work {
            terminal: process.terminal.then_some(size),
            args: strings(&process.args, "argument")?,
            env: strings(&last_of_each(&process.env), "environment variable")?,
            cwd: process.cwd.clone(),
            uid: process.user.uid,
            gid: process.user.gid,
            groups: process.user.additional_gids.clone(),
            umask: process.user.umask.unwrap_or(0o022),
            capabilities: privileges::capabilities(process.capabilities.as_ref())?,
            rlimits: process.rlimits.iter().map(privileges::rlimit).collect::<Result<_, _>>()?,
            no_new_privileges: process.no_new_privileges,
            label: label(process)?,
            oom_score_adj: process.oom_score_adj,
            scheduler: process.scheduler.as_ref().map(privileges::scheduler).transpose()?,
            on_some_cpus: false,
            io_priority: process.io_priority.as_ref().map(privileges::io_priority).transpose()?,
            seccomp,
            notified,
            keyring: Some(
                CString::new(format!("_ses.{id}")).map_err(|_| invalid(format!("the ID {id:?} contains a NUL")))?,
            ),
            idle: false,
        })
    }
}

/// Of variables of one name only the last, at its place.
fn last_of_each(env: &[String]) -> Vec<String> {
    let name = |variable: &str| variable.split('=').next().map(str::len);
    let again = |n: usize, variable: &String| {
        let prefix = &variable.as_bytes()[..=name(variable).unwrap_or(0)];
        env[n + 1..].iter().any(|later| later.as_bytes().starts_with(prefix))
    };
    env.iter().enumerate().filter(|(n, variable)| !again(*n, variable)).map(|(_, variable)| variable.clone()).collect()
}

/// What to write to `/proc/self/attr`; a label that nothing on this host would enforce is an error.
fn label(process: &Process) -> Result<Option<(&'static str, String)>, Failure> {
    let named = |label: &Option<String>| label.clone().filter(|l| !l.is_empty());
    if let Some(profile) = named(&process.apparmor_profile) {
        if has_apparmor() {
            return Ok(Some(("apparmor/exec", format!("exec {profile}"))));
        }
        if profile != "unconfined" {
            return Err(Failure::invalid(
                "apparmor",
                format!("apparmorProfile {profile:?}: this host has no AppArmor"),
            ));
        }
    }
    match named(&process.selinux_label) {
        Some(label) if has_selinux() => Ok(Some(("exec", label))),
        Some(label) => Err(Failure::invalid("selinux", format!("selinuxLabel {label:?}: this host has no SELinux"))),
        None => Ok(None),
    }
}

/// Whether this host has AppArmor.
pub fn has_apparmor() -> bool {
    std::fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|y| y.starts_with(b"Y"))
}

/// Whether this host has SELinux.
pub fn has_selinux() -> bool {
    Path::new("/sys/fs/selinux/enforce").exists()
}

impl Plan {
    pub fn new(create: &Create) -> Result<Plan, Failure> {
        let spec = create.spec;
        let none = Linux::default();
        let linux = spec.linux.as_ref().unwrap_or(&none);
        refuse(linux)?;
        let hooks = hooks(create)?;
        let listed = |lists: fn(&Hooks) -> [&Vec<Hook>; 2]| {
            hooks.as_ref().is_some_and(|all| lists(&all.0).iter().any(|list| !list.is_empty()))
        };
        let runs_hooks = listed(|h| [&h.prestart, &h.create_runtime]);
        let looked_for = runs_hooks || listed(|h| [&h.create_container, &h.create_container]);
        let namespaces = namespaces::read(linux, create.netns)?;
        let on_host = namespaces.own() & ns::NEWNS == 0;
        if on_host && (create.detached.is_none() || namespaces.has_user()) {
            return Err(Failure::invalid("namespaces", "a mount namespace is needed".into()));
        }
        crate::netdev::check(linux, &namespaces)?;
        if !spec.hostname.is_empty() && namespaces.own() & ns::NEWUTS == 0 {
            return Err(Failure::invalid("hostname", "unable to set hostname without a private UTS namespace".into()));
        }
        if !spec.domainname.is_empty() && namespaces.own() & ns::NEWUTS == 0 {
            return Err(Failure::invalid(
                "domainname",
                "unable to set domainname without a private UTS namespace".into(),
            ));
        }
        let maps_itself = namespaces.maps.is_some();
        let (root, root_readonly) = root(create)?;
        let base = if create.rootfs_base.as_os_str().is_empty() { Path::new("/") } else { create.rootfs_base };
        if !base.is_absolute() {
            return Err(Failure::invalid(
                "rootfs",
                format!("the base {base:?} of the root file system is not absolute"),
            ));
        }
        let own_root = create.rootfs.is_none().then(|| clean(&base.join(&root.source).to_string_lossy()));
        let mut mounts = mounts(spec, own_root.as_deref())?;
        let mut root_options = options::parse("/", &root.kind, &root.options)?;
        let propagation = match linux.rootfs_propagation.as_str() {
            "" => None,
            name => Some(
                options::propagation(name)
                    .ok_or_else(|| Failure::invalid("rootfs", format!("rootfsPropagation={name} is not supported")))?,
            ),
        };
        if !linux.mount_label.is_empty() {
            if !has_selinux() {
                let text = format!("mountLabel {:?}: this host has no SELinux", linux.mount_label);
                return Err(Failure::invalid("selinux", text));
            }
            let all = std::iter::once((&root, &mut root_options)).chain(mounts.iter_mut().map(|(m, o)| (&*m, o)));
            for (_, options) in all.filter(|(m, _)| ["tmpfs", "devpts", "overlay"].contains(&m.kind.as_str())) {
                options.data.push(("context".into(), Some(linux.mount_label.clone())));
            }
        }
        let sysctl = if linux.sysctl.is_empty() {
            Vec::new()
        } else {
            sysctl::parse(&linux.sysctl, namespaces::own(&namespaces))?
        };
        let mut work = match &spec.process {
            Some(process) => Work::new(create.id, process, linux.seccomp.as_ref())?,
            None if create.detached.is_some() => Work::idle(create.id, linux.seccomp.as_ref())?,
            None => return Err(Failure::invalid("process", "process is missing".into())),
        };
        let cpu = linux.resources.as_ref().and_then(|resources| resources.cpu.as_ref());
        work.on_some_cpus = cpu.is_some_and(|cpu| !cpu.cpus.is_empty());
        if create.detached.as_ref().is_some_and(|detached| detached.keeps_keyring) {
            work.keyring = None;
        }
        if let Some(notified) = &mut work.notified {
            notified.told = told(create);
        }
        if on_host && (root_options.bind.is_none() || place(base, &root)? == Path::new("/")) {
            let text = "without a mount namespace the root file system must be a directory of its own";
            return Err(Failure::invalid("rootfs", text.into()));
        }
        let given = |fd: BorrowedFd| {
            let own = rustix::io::fcntl_dupfd_cloexec(fd, 3);
            own.map_err(|e| Failure::system("start", "duplicate what was made ahead", e))
        };
        let alone = create.detached.is_none() && hooks.is_none() && may_be_bare(&namespaces, propagation, &mounts);
        let bare = create.bare.filter(|_| alone).map(given).transpose()?;
        let sysfs = create.sysfs.filter(|_| !namespaces.has_user()).map(given).transpose()?;
        let root_in_place = (looked_for || on_host) && root_options.bind.is_some();
        Ok(Plan {
            root_options,
            root,
            base: base.into(),
            root_readonly,
            root_propagation: propagation,
            sources: Vec::new(),
            dev_is_bound: mounts.iter().any(|(m, o)| o.binds().is_some() && is(&m.destination, "dev")),
            mounts,
            devices: linux.devices.iter().map(device).collect::<Result<_, _>>()?,
            masked: linux.masked_paths.clone(),
            readonly: linux.readonly_paths.clone(),
            sysctl,
            hostname: spec.hostname.clone(),
            domainname: spec.domainname.clone(),
            manner: Manner::new(linux)?,
            process: work,
            namespaces,
            hooks,
            runs_hooks,
            root_in_place,
            no_pivot: create.detached.as_ref().is_some_and(|detached| detached.no_pivot),
            on_host,
            sysfs,
            bare,
            has_kcore: rustix::fs::access("/proc/kcore", rustix::fs::Access::EXISTS).is_ok(),
            rootless: crate::create::rootless() && maps_itself,
            in_order: create.detached.is_some() && !changes_propagation(propagation),
        })
    }
}

/// Whether the mount namespace can be a copy of one that has none of the host's mounts.
fn may_be_bare(namespaces: &Namespaces, propagation: Option<(u64, bool)>, mounts: &[(Mount, Options)]) -> bool {
    let asks_nothing_of_host = |(mount, options): &(Mount, Options)| {
        options.remount || options.binds().is_some() || is_of_no_device(&mount.kind)
    };
    // Root of another user namespace could not enter it.
    let made = namespaces.new & ns::NEWNS != 0 && !namespaces.has_user();
    made && propagation.is_none() && mounts.iter().all(asks_nothing_of_host)
}

/// Fields that this runtime has nothing for.
fn refuse(linux: &Linux) -> Result<(), Failure> {
    let refused = |field: &str| Err(Failure::invalid("config", format!("{field} is not supported")));
    if linux.intel_rdt.is_some() {
        return refused("linux.intelRdt");
    }
    Ok(())
}

/// The configuration's hooks. Of a container that does not outlive its maker nobody would run those of its end.
fn hooks(create: &Create) -> Result<Option<Box<(Hooks, Told)>>, Failure> {
    let Some(h) = &create.spec.hooks else { return Ok(None) };
    let lists = [
        ("prestart", &h.prestart),
        ("createRuntime", &h.create_runtime),
        ("createContainer", &h.create_container),
        ("startContainer", &h.start_container),
        ("poststart", &h.poststart),
        ("poststop", &h.poststop),
    ];
    if lists.iter().all(|(_, list)| list.is_empty()) {
        return Ok(None);
    }
    if create.detached.is_none() {
        return Err(Failure::invalid("config", "hooks are not supported of an engine's container".into()));
    }
    lists.iter().try_for_each(|(name, list)| crate::hooks::check(name, list))?;
    Ok(Some(Box::new((h.clone(), told(create)))))
}

/// What others are told of the container.
pub(crate) fn told(create: &Create) -> Told {
    Told {
        version: create.spec.oci_version.clone(),
        id: create.id.into(),
        bundle: create.rootfs_base.into(),
        annotations: create.spec.annotations.clone(),
    }
}

fn root(create: &Create) -> Result<(Mount, bool), Failure> {
    let root = create.spec.root.as_ref();
    let readonly = root.is_some_and(|root| root.readonly);
    if let Some(mount) = create.rootfs {
        return Ok((mount.clone(), readonly));
    }
    let path = root.map(|root| root.path.as_path()).filter(|path| !path.as_os_str().is_empty());
    let source =
        path.and_then(Path::to_str).ok_or_else(|| Failure::invalid("rootfs", "root.path is missing".into()))?;
    let bind = Mount { kind: "bind".into(), source: source.into(), options: vec!["rbind".into()], ..Mount::default() };
    Ok((bind, readonly))
}

/// Where the root file system is, without links.
fn place(base: &Path, root: &Mount) -> Result<PathBuf, Failure> {
    let path = base.join(&root.source);
    std::fs::canonicalize(&path).map_err(|e| Failure::system("rootfs", &format!("find {}", path.display()), errno(&e)))
}

/// Whether `destination` is plainly `/<name>`.
pub(crate) fn is(destination: &str, name: &str) -> bool {
    let mut names = destination.split('/').filter(|part| !part.is_empty() && *part != ".");
    names.next() == Some(name) && names.next().is_none()
}

/// `destination` as an absolute path without `.` and `..`.
fn clean(destination: &str) -> String {
    let mut names = Vec::new();
    for name in destination.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    format!("/{}", names.join("/"))
}

/// What is left of an absolute path when it is `root`, the place of the root file system, or below.
fn below<'a>(path: &'a str, root: Option<&str>) -> Option<&'a str> {
    let rest = path.strip_prefix(root.filter(|root| *root != "/")?)?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

fn mounts(spec: &Spec, root: Option<&str>) -> Result<Vec<(Mount, Options)>, Failure> {
    let one = |mount: &Mount| {
        let mut options = options::parse(&mount.destination, &mount.kind, &mount.options)?;
        crate::idmap::check(mount, &options, spec.linux.as_ref())?;
        if mount.kind.is_empty() && options.bind.is_none() {
            return Err(Failure::invalid("mounts", format!("the mount at {:?} has no type", mount.destination)));
        }
        let destination = clean(&mount.destination);
        // By the host's path of the root file system: what is there in the container.
        let destination = below(&destination, root).map_or(destination.clone(), clean);
        if options.binds().is_some() && options.idmap.is_none() && mount.uid_mappings.is_empty() {
            options.inside = below(&clean(&mount.source), root).map(str::to_owned);
        }
        if destination == "/" {
            return Err(Failure::invalid("mounts", format!("{:?} is not a place to mount on", mount.destination)));
        }
        Ok((Mount { destination, ..mount.clone() }, options))
    };
    spec.mounts.iter().map(one).collect()
}

fn device(device: &spec::Device) -> Result<Device, Failure> {
    let invalid = |what: &str| Failure::invalid("devices", format!("device {:?} has {what}", device.path));
    let kind = match device.kind.as_str() {
        "c" | "u" => rustix::fs::FileType::CharacterDevice,
        "b" => rustix::fs::FileType::BlockDevice,
        "p" => rustix::fs::FileType::Fifo,
        _ => return Err(invalid("an unknown type")),
    };
    if !device.path.starts_with('/') {
        return Err(invalid("a path that is not absolute"));
    }
    let number = |n: i64| u32::try_from(n).map_err(|_| invalid("a number that cannot be"));
    let number = match kind {
        rustix::fs::FileType::Fifo => 0,
        _ => rustix::fs::makedev(number(device.major)?, number(device.minor)?),
    };
    Ok(Device {
        path: device.path.clone(),
        kind,
        number,
        mode: device.file_mode.unwrap_or(0o666) & 0o7777,
        uid: device.uid.unwrap_or(0),
        gid: device.gid.unwrap_or(0),
    })
}

/// The kernel's error inside one of std.
pub(crate) fn errno(e: &std::io::Error) -> rustix::io::Errno {
    rustix::io::Errno::from_io_error(e).unwrap_or(rustix::io::Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations() {
        for (given, cleaned) in [
            ("/a/b", "/a/b"),
            ("a//b/", "/a/b"),
            ("/../../x", "/x"),
            ("/x/../proc/.", "/proc"),
            ("", "/"),
            ("/..", "/"),
        ] {
            assert_eq!(clean(given), cleaned);
        }
        assert!(is("/proc", "proc") && is("//proc/", "proc") && !is("/proc/x", "proc") && !is("/", "proc"));
    }

    #[test]
    fn what_lies_below_the_root() {
        let root = Some("/b/rootfs");
        assert_eq!((below("/b/rootfs/x/y", root), below("/b/rootfs", root)), (Some("/x/y"), Some("")));
        assert_eq!((below("/b/rootfs2/x", root), below("/x", root), below("/x", None)), (None, None, None));
        assert_eq!(below("/x", Some("/")), None);
    }

    #[test]
    fn the_last_variable_of_a_name_counts() {
        let of = |list: &[&str]| last_of_each(&list.iter().map(|s| s.to_string()).collect::<Vec<_>>());
        assert_eq!(of(&["A=1", "AB=2", "A=3", "B="]), ["AB=2", "A=3", "B="]);
        assert_eq!(of(&["A==", "A="]), ["A="]);
    }

    #[test]
    fn device_numbers() {
        let of = |kind: &str, path: &str, major| {
            device(&spec::Device { path: path.into(), kind: kind.into(), major, minor: 1, ..spec::Device::default() })
        };
        assert_eq!(of("c", "/dev/x", 4).unwrap().number, rustix::fs::makedev(4, 1));
        assert!(of("c", "/dev/x", -1).is_err());
        assert!(of("c", "/dev/x", 1 << 40).is_err());
        assert!(of("x", "/dev/x", 1).is_err());
        assert!(of("c", "dev/x", 1).is_err());
    }
}
