use crate::world::*;
use serde_json::json;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

const USER: u32 = 65_534;

/// A world of an ordinary user's, who can reach the program too; nothing where the host gives such a user no namespaces.
fn world(args: &[&str]) -> Option<World> {
    if !Command::new("unshare")
        .args(["--user", "--map-root-user", "true"])
        .uid(USER)
        .gid(USER)
        .status()
        .unwrap()
        .success()
    {
        assert!(std::env::var_os("DHOW_TEST_NO_SKIP").is_none(), "users may make no namespaces here");
        eprintln!("SKIPPED: users may make no namespaces here");
        return None;
    }
    let mut world = World::new(args);
    world.spec["linux"] = json!({
        "namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}, {"type": "user"}],
        "uidMappings": [{"containerID": 0, "hostID": USER, "size": 1}],
        "gidMappings": [{"containerID": 0, "hostID": USER, "size": 1}],
    });
    let devpts = json!(["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]);
    world.spec["mounts"][2]["options"] = devpts;
    world.spec["mounts"].as_array_mut().unwrap().push(
        json!({"destination": "/sys", "type": "none", "source": "/sys", "options": ["rbind", "nosuid", "noexec", "nodev", "ro"]}),
    );
    std::fs::copy(env!("CARGO_BIN_EXE_dhow-init"), world.dir.join("dhow-runtime")).unwrap();
    own(&world.dir);
    Some(world)
}

fn own(dir: &Path) {
    std::os::unix::fs::lchown(dir, Some(USER), Some(USER)).unwrap();
    if !dir.is_symlink() && dir.is_dir() {
        std::fs::read_dir(dir).unwrap().flatten().for_each(|entry| own(&entry.path()));
    }
}

/// Runs the command `line` as the user.
fn run(world: &World, line: &[&str]) -> Said {
    let config = world.dir.join("bundle/config.json");
    std::fs::write(&config, serde_json::to_vec(&world.spec).unwrap()).unwrap();
    chown(&config, Some(USER), Some(USER)).unwrap();
    let mut command = Command::new(world.dir.join("dhow-runtime"));
    command.arg("--root").arg(world.state_root()).args(line).current_dir(world.dir.join("bundle")).uid(USER).gid(USER);
    let (out, err) = (world.dir.join("out"), world.dir.join("err"));
    let file = |path: &Path| std::fs::File::create(path).unwrap();
    command.stdin(std::process::Stdio::null()).stdout(file(&out)).stderr(file(&err));
    let code = wait(&mut command.spawn().unwrap());
    Said { code, out: std::fs::read_to_string(out).unwrap(), err: std::fs::read_to_string(err).unwrap() }
}

#[test]
fn an_ordinary_user_runs_a_container() {
    let Some(world) = world(&["/bin/sh", "-c", "id -u; touch /tmp/made; stat -c %u /tmp/made; exit 3"]) else { return };
    let said = run(&world, &["run", "c"]);
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (3, "0\n0\n", ""));
    use std::os::unix::fs::MetadataExt;
    assert_eq!(std::fs::metadata(world.rootfs().join("tmp/made")).unwrap().uid(), USER);
}

#[test]
fn a_remount_leaves_what_is_locked() {
    // Mounted for others before, without set-user-ID programs: so it stays.
    let Some(mut world) = world(&["grep", " /data ", "/proc/self/mountinfo"]) else { return };
    let data = world.dir.join("data");
    std::fs::create_dir(&data).unwrap();
    let mounted = |program: &str, options: &[&str]| {
        assert!(Command::new(program).args(options).arg(&data).status().unwrap().success(), "{program}");
    };
    mounted("mount", &["-t", "tmpfs", "-o", "nosuid,nodev,mode=755", "none"]);
    world.spec["mounts"].as_array_mut().unwrap().extend([
        json!({"destination": "/data", "source": data, "options": ["bind"]}),
        json!({"destination": "/data", "options": ["bind", "remount", "ro"]}),
    ]);
    let kept = run(&world, &["run", "c"]);
    world.spec["mounts"][5]["options"] = json!(["bind", "remount", "suid"]);
    let asked = run(&world, &["run", "c"]);
    mounted("umount", &[]);
    assert!(kept.fine().contains(" /data ro,nosuid,nodev,"));
    assert!(asked.refused(1).ends_with("remount: mount_setattr: operation not permitted"));
}

#[test]
fn its_whole_life() {
    let Some(mut world) = world(&["/bin/sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.05; done"]) else { return };
    assert_eq!(run(&world, &["create", "c"]).fine(), "");
    assert_eq!(run(&world, &["start", "c"]).fine(), "");
    let said = run(&world, &["exec", "c", "sh", "-c", "id -u; id -G; readlink /proc/self/ns/user; exit 4"]);
    let own = std::fs::read_link("/proc/self/ns/user").unwrap().display().to_string();
    assert_eq!(said.code, 4, "{said:?}");
    assert!(said.out.starts_with("0\n0\n") && !said.out.contains(&own), "{said:?}");
    // There is no cgroup of its own.
    assert_eq!(run(&world, &["pause", "c"]).refused(1), "cgroup not exist");
    assert_eq!(run(&world, &["kill", "c", "KILL"]).fine(), "");
    assert_eq!(run(&world, &["delete", "c"]).fine(), "");
    // With limits there has to be one.
    world.spec["linux"]["resources"] = json!({"pids": {"limit": 10}});
    let text = run(&world, &["run", "c"]).refused(1);
    assert!(text.contains("cannot make cgroup /dhow/c") && text.ends_with("permission denied"), "{text}");
    world.is_empty();
}
