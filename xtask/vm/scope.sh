# Cgroups that systemd makes: the runtime by itself, beside runc and by an ordinary user, then the engine.
cg=/sys/fs/cgroup
cp /run/dhow/dhow-init /usr/local/bin/dhow-runtime
mkdir -p /tmp/b
cd /tmp/b || exit

# bundle CGROUPSPATH RESOURCES SCRIPT
bundle() {
	cat >config.json <<-END
		{"ociVersion": "1.0.2", "root": {"path": "/tmp/root"}, "annotations": {"org.systemd.property.TimeoutStopSec": "7"},
		 "process": {"user": {"uid": 0, "gid": 0}, "args": ["sh", "-c", "$3"], "env": ["PATH=/bin"], "cwd": "/",
		  "capabilities": {"bounding": ["CAP_MKNOD"], "effective": ["CAP_MKNOD"], "permitted": ["CAP_MKNOD"]}},
		 "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"},
		  {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]},
		  {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"]},
		  {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"]}],
		 "linux": {"cgroupsPath": "$1", "resources": $2, "namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "ipc"},
		  {"type": "uts"}, {"type": "network"}, {"type": "cgroup"}]}}
	END
}
limits='{"devices": [{"allow": false, "access": "rwm"}], "memory": {"limit": 67108864, "swap": 100663296, "reservation": 33554432},
 "cpu": {"shares": 512, "quota": 33333, "period": 100000, "cpus": "0"}, "pids": {"limit": 33}, "unified": {"memory.high": "62914560"}}'
runtime() { dhow-runtime --systemd-cgroup "$@" 2>&1 </dev/null; }
show() { systemctl show -P "$1" "$2"; }
# Every property by which the two could differ, but what names the unit.
properties() {
	systemctl show "$1" | grep -E '^(Slice|Delegate|DelegateControllers|MemoryMax|MemoryLow|MemoryHigh|MemorySwapMax|CPUWeight|CPUQuota.*|TasksMax|AllowedCPUs|IOWeight|.*Accounting|DefaultDependencies|TimeoutStopUSec|KillMode|OOMPolicy|ActiveState|SubState)='
}

bundle vm-own.slice:test:one "$limits" 'exec sleep 1d'
dhow-runtime --systemd-cgroup create one >/tmp/said 2>&1 </dev/null
is "a scope" "0 " "$? $(cat /tmp/said)"
dir=$cg/vm.slice/vm-own.slice/test-one.scope
is "its processes" "$(dhow-runtime state one | sed -n 's/.*"pid": \([0-9]*\).*/\1/p')" "$(cat $dir/cgroup.procs)"
is "its unit" "active running vm-own.slice" "$(show ActiveState test-one.scope) $(show SubState test-one.scope) $(show Slice test-one.scope)"
is "limits that systemd knows" "67108864 33554432 33554432 62914560 20 340ms 33 0 7s" "$(for p in MemoryMax MemorySwapMax MemoryLow MemoryHigh CPUWeight CPUQuotaPerSecUSec TasksMax AllowedCPUs TimeoutStopUSec; do show $p test-one.scope; done | xargs)"
files() { (cd "$1" && cat memory.max memory.low memory.high cpu.weight cpu.max pids.max cpuset.cpus | xargs); }
is "limits in the files" "67108864 33554432 62914560 20 33333 100000 33 0" "$(files $dir)"
properties test-one.scope >/tmp/ours
runtime start one
is "the root of its cgroups" "0::/" "$(runtime exec one cat /proc/self/cgroup)"
is "ps" 2 "$(runtime ps one | wc -l)"
has "events" '"limit":67108864' "$(runtime events --stats one)"
# In whole percents, as systemd before 254 keeps it.
is "update" "" "$(runtime update --memory 80m --memory-swap 120m --pids-limit 44 --cpu-quota 12000 one)"
is "an update that systemd knows" "83886080 41943040 44 120ms" "$(for p in MemoryMax MemorySwapMax TasksMax CPUQuotaPerSecUSec; do show $p test-one.scope; done | xargs)"
is "an update in the files" "83886080 33554432 62914560 20 12000 100000 44 0" "$(files $dir)"
systemctl daemon-reload
is "limits after daemon-reload" "83886080 33554432 62914560 20 12000 100000 44 0" "$(files $dir)"
disk=$(printf '%d %d' $(stat -c '0x%t 0x%T' /dev/vda))
is "devices after daemon-reload" "head: /dev/d: Operation not permitted" "$(runtime exec one sh -c "mknod /dev/d b $disk && head -c 1 /dev/d")"
runtime pause one
is "pause" "paused frozen 1" "$(dhow-runtime state one | sed -n 's/.*"status": "\(.*\)".*/\1/p') $(grep frozen $dir/cgroup.events)"
runtime resume one
runtime kill one KILL
runtime delete one
is "deleted: the unit" "not-found" "$(show LoadState test-one.scope)"
is "deleted: the cgroup" gone "$(test -e $dir || echo gone)"
is "a name that is free again at once" "" "$(for n in 1 2 3 4 5; do runtime run -d one; runtime delete --force one; done)"
runc --systemd-cgroup run -d one </dev/null >/tmp/said 2>&1 || cat /tmp/said
properties test-one.scope >/tmp/runcs
runc --systemd-cgroup delete --force one
is "its properties beside runc's" "" "$(diff /tmp/ours /tmp/runcs)"

bundle "" '{}' 'cat /proc/self/cgroup; readlink /proc/self/ns/cgroup >/dev/null; exit 3'
is "run, without a cgroupsPath" "0::/
3" "$(runtime run two | xargs; runtime run two >/dev/null; echo $?)"
is "its unit is gone" "" "$(systemctl list-units --all --plain --no-legend dhow-two.scope)"
bundle "" '{}' 'exec sleep 1d'
runtime run -d two
is "the default slice" "/system.slice/dhow-two.scope" "$(show ControlGroup dhow-two.scope)"
is "somebody else's name" "dhow create failed: unable to start container process: container's cgroup is not empty: 1 process(es) found in /system.slice/dhow-two.scope" \
	"$(dhow-runtime --systemd-cgroup --root /run/other create two 2>&1 | sed 's/^.*msg=//; s/^"//; s/"$//')"
is "it is left alone" running "$(show SubState dhow-two.scope)"
systemctl stop dhow-two.scope
is "a scope that was stopped from outside" stopped "$(dhow-runtime state two | sed -n 's/.*"status": "\(.*\)".*/\1/p')"
runtime delete two
eat='x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done'
bundle "" '{"memory": {"limit": 20971520, "swap": 20971520}}' "$eat"
is "an OOM kill" 137 "$(runtime run oom >/dev/null; echo $?)"
is "nothing of it is left" "" "$(systemctl list-units --all --plain --no-legend dhow-oom.scope)"

mv /run/systemd/private /run/systemd/aside
bundle "" '{}' 'exit 4'
is "by the system bus" 4 "$(runtime run three; echo $?)"
mv /run/dbus/system_bus_socket /run/dbus/aside
has "without any socket" "cannot reach systemd: /run/dbus/system_bus_socket: cannot talk to systemd over D-Bus" "$(runtime run three)"
mv /run/dbus/aside /run/dbus/system_bus_socket
mv /run/systemd/aside /run/systemd/private

useradd -m -u 1000 somebody
systemctl start user@1000.service
user() { (cd /tmp/u && setpriv --reuid 1000 --regid 1000 --clear-groups env XDG_RUNTIME_DIR=/run/user/1000 "$@" 2>&1 </dev/null); }
bundle "" '{"memory": {"limit": 67108864}}' 'exec sleep 1d'
mkdir /tmp/u
sed 's|\[{"type": "pid"}|[{"type": "user"}, {"type": "pid"}|; s|"linux": {|&"uidMappings": [{"containerID": 0, "hostID": 1000, "size": 1}], "gidMappings": [{"containerID": 0, "hostID": 1000, "size": 1}], |; /sysfs/d; s|"resources"|"maskedPaths": [], &|' config.json >/tmp/u/config.json
sed -i 's|{"destination": "/sys/fs/cgroup"|{"destination": "/sys", "type": "none", "source": "/sys", "options": ["rbind", "ro"]}, &|' /tmp/u/config.json
chown -R 1000 /tmp/u
is "an ordinary user's" "0 " "$(user dhow-runtime --systemd-cgroup run -d mine >/tmp/said; echo $?) $(cat /tmp/said)"
mine=$cg/user.slice/user-1000.slice/user@1000.service/user.slice/dhow-mine.scope
is "in that user's systemd" "67108864 67108864" "$(cat $mine/memory.max) $(user systemctl --user show -P MemoryMax dhow-mine.scope)"
is "an exec of an ordinary user's" "0::/ 2" "$(user dhow-runtime exec mine cat /proc/self/cgroup) $(user dhow-runtime exec mine sh -c 'cat /sys/fs/cgroup/cgroup.procs' | wc -l)"
user dhow-runtime delete --force mine
is "and gone" "not-found gone" "$(user systemctl --user show -P LoadState dhow-mine.scope) $(test -e $mine || echo gone)"
systemctl stop user@1000.service

cd /
mkdir -p /etc/dhow
echo '{"exec-opts": ["native.cgroupdriver=systemd"], "runtimes": {"crun": {"path": "/usr/bin/crun"}}}' >/etc/dhow/daemon.json
dhow run -d --name before busybox sleep 1d >/dev/null
systemctl restart dhow.service
is "info" "systemd 2" "$(dhow info -f '{{.CgroupDriver}} {{.CgroupVersion}}')"
id=$(dhow run -d --name long -m 64m --cpus 0.5 --pids-limit 33 --restart unless-stopped busybox sleep 1d)
unit=dhow-$id.scope dir=$cg/system.slice/dhow-$id.scope
is "a container's unit" "running 67108864 500ms 33" "$(show SubState $unit) $(show MemoryMax $unit) $(show CPUQuotaPerSecUSec $unit) $(show TasksMax $unit)"
is "its files" "67108864 50000 100000 33" "$(cat $dir/memory.max $dir/cpu.max $dir/pids.max | xargs)"
is "--cgroupns host" "0::/system.slice/dhow-.scope" "$(dhow run --rm --cgroupns host busybox cat /proc/self/cgroup 2>&1 | sed 's/[0-9a-f]\{64\}//')"
has "stats" "long / 64MiB 1" "$(dhow stats --no-stream --format '{{.Name}} {{.MemUsage}} {{.PIDs}}' long 2>&1 | sed 's/ [^ ]* \/ / \/ /')"
is "exec" "0::/" "$(dhow exec long cat /proc/self/cgroup)"
has "top" "sleep 1d" "$(dhow top long)"
dhow pause long >/dev/null
is "pause" "frozen 1 paused" "$(grep frozen $dir/cgroup.events) $(field '{{.State.Status}}' long)"
dhow unpause long >/dev/null
dhow update -m 96m --memory-swap 128m --pids-limit 44 long >/dev/null
is "update" "100663296 44 100663296 44" "$(show MemoryMax $unit) $(show TasksMax $unit) $(cat $dir/memory.max $dir/pids.max | xargs)"
pid=$(field '{{.State.Pid}}' long)
systemctl daemon-reload
is "after daemon-reload" "100663296 44 $pid" "$(cat $dir/memory.max $dir/pids.max | xargs) $(field '{{.State.Pid}}' long)"
systemctl restart dhow.service
is "after a restart of the unit" "$pid true running" "$(field '{{.State.Pid}} {{.State.Running}}' long) $(show SubState $unit)"
kill -9 "$(show MainPID dhow.service)"
until_ok sh -c '[ "$(systemctl is-active dhow.service)" = active ] && dhow ps -q'
is "after the engine's death" "$pid true still" "$(field '{{.State.Pid}} {{.State.Running}}' long) $(dhow exec long echo still)"
is "one that was made directly" "true 0::/" "$(field '{{.State.Running}}' before) $(dhow exec before cat /proc/self/cgroup)"
is "system check" 0 "$(dhow system check >/tmp/said 2>&1; echo $?; grep -q . /tmp/said && sed 's/^/  /' /tmp/said >&2)"
dhow restart -t 0 long >/dev/null && dhow restart -t 0 long >/dev/null
is "restarts" "true running" "$(field '{{.State.Running}}' long) $(show SubState $unit)"
dhow stop -t 0 long >/dev/null
is "stop" "exited 137 not-found gone" "$(field '{{.State.Status}} {{.State.ExitCode}}' long) $(show LoadState $unit) $(test -e $dir || echo gone)"
dhow start long >/dev/null
is "start" running "$(show SubState $unit)"
kill -9 "$(sed 's/.*"supervisor":\([0-9]*\).*/\1/' /run/dhow/container/$id/start.json)"
until_ok sh -c '[ "$(dhow inspect -f {{.RestartCount}}{{.State.Status}} long)" = 1running ]'
is "a killed supervisor" running "$(show SubState $unit)"
dhow rm -f long >/dev/null
is "rm" "not-found gone" "$(show LoadState $unit) $(test -e $dir || echo gone)"
is "--cgroup-parent" "/own.slice/own-part.slice/dhow-x.scope" "$(dhow run --rm --cgroupns host --cgroup-parent own-part.slice busybox cat /proc/self/cgroup 2>&1 | sed 's/0:://; s/[0-9a-f]\{64\}/x/')"
has "--cgroup-parent that is no slice" 'cgroup-parent for systemd cgroup should be a valid slice named as "xxx.slice"' "$(dhow run --rm --cgroup-parent /x busybox true 2>&1)"
eat='x=$(head -c 1000000 /dev/zero | tr "\0" x); while :; do x=$x$x; done'
dhow run --name oom -m 20m busybox sh -c "$eat" >/dev/null 2>&1
is "an OOM kill of the engine's" "137 true 137" "$? $(field '{{.State.OOMKilled}} {{.State.ExitCode}}' oom)"
dhow run -d --name eater -m 30m busybox sh -c "sh -c '$eat' 2>/dev/null; echo survived; exec sleep 1d" >/dev/null
until_ok sh -c 'dhow logs eater | grep -q survived'
is "an OOM kill that the container survives" "true true" "$(field '{{.State.OOMKilled}} {{.State.Running}}' eater)"
dhow rm -f oom eater before >/dev/null
for other in runc crun; do
	id=$(dhow run -d --name other --runtime "$other" -m 64m busybox sleep 1d)
	is "$other" "running 67108864 2" "$(show SubState dhow-$id.scope) $(dhow exec other cat /sys/fs/cgroup/memory.max) $(dhow top other | wc -l)"
	dhow rm -f other >/dev/null
	is "$other: rm" "not-found gone" "$(show LoadState dhow-$id.scope) $(test -e $cg/system.slice/dhow-$id.scope || echo gone)"
done
for n in 1 2 3 4; do
	dhow run -d --name "k$n" busybox sleep 1d >/dev/null 2>&1 &
	sleep "0.$((n * 17 % 10))$n"
	kill -9 "$(show MainPID dhow.service)"
	wait $!
	until_ok dhow ps -q
done
dhow ps -aq | xargs -r dhow rm -f >/dev/null
is "engines killed in a start" "" "$(dhow ps -aq; systemctl list-units --all --plain --no-legend 'dhow-*.scope'; ls $cg/system.slice | grep 'dhow-.*scope')"
is "system check at the end" 0 "$(dhow system check >/tmp/said 2>&1; echo $?; grep -q . /tmp/said && sed 's/^/  /' /tmp/said >&2)"
