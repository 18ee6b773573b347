//! On the real kernel, in a cgroup of the test's own; as another user there is nothing to test.

use super::*;
use oci::runtime::{Memory, Pids};
use std::process::{Command, Stdio};

struct Own(Cgroup);
impl Drop for Own {
    fn drop(&mut self) {
        self.0.kill_all();
        self.0.remove().unwrap();
    }
}

fn own(name: &str, resources: &Resources) -> Option<Own> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: needs root");
        return None;
    }
    Some(Own(Cgroup::create(&format!("/dhow-test-{}-{name}", std::process::id()), resources).unwrap()))
}

#[test]
fn paths_stay_below_the_root() {
    for bad in ["", "/", "x", "/../x", "/a/../../b", "/a/./b", "/a\n"] {
        assert_eq!(
            Cgroup::create(bad, &Resources::default()).map(|_| ()).unwrap_err().kind,
            FailureKind::Invalid,
            "{bad:?}"
        );
    }
}

#[test]
fn processes_are_limited_listed_frozen_killed_and_given_back() {
    let limits = Resources {
        memory: Some(Memory { limit: Some(64 << 20), ..Memory::default() }),
        pids: Some(Pids { limit: 7 }),
        ..Resources::default()
    };
    let Some(own) = own("life", &limits) else { return };
    let cgroup = &own.0;
    let mut child = Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap();
    cgroup.join(child.id() as i32).unwrap();
    assert_eq!(cgroup.pids(), [child.id() as i32]);
    let busy = Cgroup::create(cgroup.path(), &limits).map(|_| ()).unwrap_err();
    assert!(busy.text.contains("container's cgroup is not empty: 1 process(es)"), "{busy}");
    child.kill().unwrap();
    child.wait().unwrap();
    cgroup.pause().unwrap();
    let frozen = Cgroup::create(cgroup.path(), &limits).map(|_| ()).unwrap_err();
    assert!(frozen.text.contains("container's cgroup unexpectedly frozen"), "{frozen}");
    cgroup.resume().unwrap();
    let mut child = Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap();
    cgroup.join(child.id() as i32).unwrap();
    let view = cgroup.views();
    let pids_max = view.iter().map(|v| v.path.join("pids.max")).find(|p| p.exists()).unwrap();
    assert_eq!(std::fs::read_to_string(pids_max).unwrap().trim(), "7");
    cgroup.pause().unwrap();
    cgroup.resume().unwrap();
    cgroup.kill_all();
    use std::os::unix::process::ExitStatusExt;
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    let paths: Vec<_> = view.into_iter().map(|v| v.path).collect();
    drop(own);
    assert!(paths.iter().all(|p| !p.exists()));
}

#[test]
fn a_limit_that_cannot_be_leaves_nothing() {
    let bad = Resources {
        cpu: Some(oci::runtime::Cpu { cpus: "4000".into(), ..Default::default() }),
        ..Resources::default()
    };
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let path = format!("/dhow-test-{}-bad", std::process::id());
    let failure = Cgroup::create(&path, &bad).map(|_| ()).unwrap_err();
    assert!(failure.text.starts_with("cannot set cpu.cpus: write \"4000\""), "{failure}");
    assert!(Cgroup::open(&path).is_err());
}
