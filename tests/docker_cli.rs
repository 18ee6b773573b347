//! The unmodified docker CLI drives the daemon.

use tests::{Engine, need_root};

#[test]
fn the_commands_of_a_day() {
    need_root!();
    let e = Engine::with_busybox();
    assert!(e.docker(["version"]).ok().contains("Server:"));
    assert!(e.docker(["info"]).ok().contains("Server Version"));
    assert_eq!(e.docker(["run", "--rm", "busybox", "echo", "ahoy"]).ok(), "ahoy");
    assert_eq!(e.docker(["run", "--rm", "busybox", "sh", "-c", "exit 42"]).code, 42);
    assert_eq!(e.docker(["run", "--rm", "busybox", "nosuch"]).code, 127);
    assert_eq!(e.docker(["run", "--rm", "busybox", "/etc/passwd"]).code, 126);
    let id = e
        .docker([
            "run", "-d", "--name", "d1", "-p", "8000:80", "-v", "vol:/v", "--label", "a=b", "busybox", "sleep", "1d",
        ])
        .ok();
    assert_eq!(e.docker(["ps", "--no-trunc", "-q", "--filter", "label=a=b"]).ok(), id);
    assert_eq!(e.docker(["exec", "d1", "echo", "in"]).ok(), "in");
    assert_eq!(
        e.docker(["inspect", "-f", "{{.State.Status}} {{.HostConfig.NetworkMode}}", "d1"]).ok(),
        "running bridge"
    );
    assert!(e.docker(["ps"]).ok().contains("0.0.0.0:8000->80/tcp"));
    assert!(e.docker(["top", "d1"]).ok().contains("sleep 1d"));
    e.docker(["rename", "d1", "d2"]).ok();
    e.docker(["pause", "d2"]).ok();
    e.docker(["unpause", "d2"]).ok();
    e.docker(["restart", "-t", "0", "d2"]).ok();
    e.docker(["stop", "-t", "0", "d2"]).ok();
    assert_eq!(e.docker(["wait", "d2"]).ok(), "137");
    e.docker(["start", "d2"]).ok();
    e.docker(["rm", "-f", "d2"]).ok();
    e.docker(["volume", "rm", "vol"]).ok();
    assert_eq!(e.docker(["ps", "-aq"]).ok(), "");
    assert!(e.docker(["images", "--format", "{{.Repository}}:{{.Tag}}"]).ok().contains("busybox:latest"));
    assert!(e.docker(["network", "ls", "--format", "{{.Name}}"]).ok().contains("bridge\nhost\nnone"));
    e.docker(["rmi", "busybox"]).ok();
}

#[test]
fn both_clients_say_the_same() {
    need_root!();
    let e = Engine::with_busybox();
    e.dhow([
        "run", "-d", "--name", "same", "-p", "8001:80", "-v", "vol:/v", "--label", "a=b", "busybox", "sleep", "1d",
    ])
    .ok();
    e.dhow(["create", "--name", "made", "--network", "none", "busybox", "echo", "<a&b>"]).ok();
    e.dhow(["run", "--name", "done", "busybox", "sh", "-c", "echo out; echo err >&2; touch /new"]).ok();
    for args in [
        &["ps", "-a"][..],
        &["ps", "-a", "--no-trunc", "--format", "json"],
        &["images"],
        &["inspect", "same"],
        &["image", "inspect", "busybox"],
        &["port", "same"],
        &["network", "ls"],
        &["network", "inspect", "bridge"],
        &["volume", "ls"],
        &["inspect", "-f", "{{json .Config}}", "same"],
        &["inspect", "-f", "{{range $p, $c := .NetworkSettings.Ports}}{{$p}}={{(index $c 0).HostPort}}{{end}}", "same"],
        &["stop", "nobody"],
        &["inspect", "nobody"],
        &["rm", "same"],
        &["ps", "-aq", "--no-trunc"],
        &["ps", "-a", "--filter", "label=a=b", "--format", "{{.Names}}"],
        &["ps", "-a", "--filter", "status=exited", "--format", "{{.Names}} {{.State}}"],
        &["ps", "-a", "--filter", "volume=vol", "--format", "{{.Names}} {{.Mounts}} {{.LocalVolumes}}"],
        &["ps", "-a", "--filter", "nonsense=x"],
        &["ps", "-a", "--filter", "nonsense"],
        &["ps", "-a", "--filter", "status=nonsense"],
        &["ps", "-a", "--format", "table {{.Names}}\t{{.Ports}}\t{{.Networks}}"],
        &["ps", "-a", "--format", "{{upper .Names}} {{printf \"%-8s|%q\" .State .Image}} {{.Label \"a\"}}"],
        &["ps", "-a", "--format", "{{.Nope}}"],
        &["ps", "-a", "--format", "{{nofunc}}"],
        &["ps", "-a", "--no-trunc", "--format", "{{.Command}}"],
        &["images", "-q", "--no-trunc"],
        &["images", "--filter", "reference=busy*", "--format", "{{.Repository}} {{.Tag}} {{.Size}}"],
        &["images", "--filter", "nope=1"],
        &["history", "-q", "busybox"],
        &["history", "--format", "{{.ID}} {{.Size}} {{.CreatedBy}} {{.Comment}}", "busybox"],
        &["inspect", "made", "vol", "busybox"],
        &["inspect", "-s", "vol"],
        &["inspect", "--type", "volume", "same"],
        &["inspect", "-f", "{{.Nope}}", "same"],
        &["inspect", "-f", "{{json .HostConfig}}", "same"],
        &["inspect", "-f", "{{.Config.Env}} {{.Args}} {{.HostConfig.RestartPolicy}} {{len .Mounts}}", "same"],
        &["image", "inspect", "-f", "{{.RepoTags}} {{.Os}}/{{.Architecture}} {{json .RootFS.Layers}}", "busybox"],
        &["volume", "inspect", "-f", "{{.Mountpoint}} {{.Labels}} {{json .}}", "vol"],
        &["network", "inspect", "-f", "{{.Name}} {{.Id}} {{.Options}}", "bridge"],
        &["port", "same", "80"],
        &["port", "same", "99"],
        &["port", "same", "x"],
        &["top", "same", "-o", "pid,comm"],
        &["top", "made"],
        &["diff", "done"],
        &["logs", "done"],
        &["logs", "-t", "done"],
        &["logs", "--tail", "1", "done"],
        &["logs", "nobody"],
        &["version", "-f", "{{.Server.Version}} {{.Server.Os}} {{json .Server}}"],
        &["info", "-f", "{{.ServerVersion}} {{.Driver}} {{.Containers}} {{.Images}} {{.SecurityOptions}}"],
        &["volume", "ls", "--filter", "name=vo", "--format", "{{.Name}} {{.Mountpoint}} {{.Scope}}"],
        &["volume", "rm", "vol"],
        &["network", "ls", "--no-trunc", "--format", "{{.ID}} {{.Name}} {{.Driver}}"],
        &["exec", "same", "sh", "-c", "exit 9"],
        &["exec", "made", "true"],
        &["wait", "done"],
        &["kill", "made"],
        &["unpause", "same"],
        &["rename", "same", "done"],
        &["rmi", "nothing"],
        &["tag", "busybox", "UPPER"],
        &["pull", "UPPER"],
        &["-l", "nonsense", "ps"],
        &["system", "df", "--format", "{{.Type}} {{.TotalCount}} {{.Reclaimable}}"],
    ] {
        let both = || (e.dhow(args), e.docker(args));
        let (mut ours, mut theirs) = both();
        for _ in 0..5 {
            // A second may have passed between the two, on a busy machine again and again, and some of them show ages.
            if ours.out == theirs.out {
                break;
            }
            (ours, theirs) = both();
        }
        assert_eq!((ours.code, &ours.out), (theirs.code, &theirs.out), "{args:?}\nours {ours:?}\ntheirs {theirs:?}");
        assert_eq!(ours.err.replace("dhow ps", "docker ps"), theirs.err, "{args:?}");
    }
}
