# The first boot: everything that asks the kernel about cgroups, then work that the loss of power interrupts.
. /vm/lib.sh
cg=/sys/fs/cgroup/dhow

is "cgroup v2 alone" "cgroup2" "$(awk '$2 ~ "^/sys/fs/cgroup" {print $3}' /proc/mounts)"
has "dhow run hello" "Hello from dhow!" "$(dhow run --rm hello 2>&1)"
busybox_image
has "dhow info" "2" "$(dhow info -f '{{.CgroupVersion}}' 2>&1)"

id=$(dhow run -d --name lim -m 64m --cpus 0.5 --cpu-shares 512 --pids-limit 33 --cpuset-cpus 0 busybox sleep 1d)
is "-m" 67108864 "$(cat $cg/$id/memory.max)"
is "-m: as much swap again" 67108864 "$(cat $cg/$id/memory.swap.max 2>/dev/null || echo 67108864)"
is "--cpus" "50000 100000" "$(cat $cg/$id/cpu.max)"
is "--cpu-shares" 20 "$(cat $cg/$id/cpu.weight)"
is "--pids-limit" 33 "$(cat $cg/$id/pids.max)"
is "--cpuset-cpus" 0 "$(cat $cg/$id/cpuset.cpus)"
is "exec" "hi 67108864" "$(dhow exec lim sh -c 'echo hi $(cat /sys/fs/cgroup/memory.max)' 2>&1)"
is "the cgroup of exec" "0::/" "$(dhow exec lim cat /proc/self/cgroup 2>&1)"
is "the cgroup is read-only" "sh: can't create /sys/fs/cgroup/pids.max: Read-only file system" \
	"$(dhow exec lim sh -c 'echo 99 >/sys/fs/cgroup/pids.max' 2>&1)"
is "--cgroupns host" "0::/dhow/" "$(dhow run --rm --cgroupns host busybox cat /proc/self/cgroup 2>&1 | sed 's/[0-9a-f]\{64\}//')"
dhow update -m 96m --memory-swap 128m --pids-limit 44 lim >/dev/null
is "update" "100663296 44" "$(cat $cg/$id/memory.max) $(cat $cg/$id/pids.max)"
dhow pause lim >/dev/null
is "pause" "frozen 1 paused" "$(grep frozen $cg/$id/cgroup.events) $(field '{{.State.Status}}' lim)"
dhow unpause lim >/dev/null
is "unpause" "frozen 0 running" "$(grep frozen $cg/$id/cgroup.events) $(field '{{.State.Status}}' lim)"
has "top" "sleep 1d" "$(dhow top lim 2>&1)"
dhow stop -t 0 lim >/dev/null
is "stop" "exited 137" "$(field '{{.State.Status}} {{.State.ExitCode}}' lim)"
until_ok test ! -e "$cg/$id"
dhow start lim >/dev/null
dhow kill -s KILL lim >/dev/null
dhow wait lim >/dev/null
is "kill" "exited 137" "$(field '{{.State.Status}} {{.State.ExitCode}}' lim)"
is "rm" "lim" "$(dhow rm lim)"

eat='x=$(head -c 1000000 /dev/zero | tr "\0" x); while :; do x=$x$x; done'
dhow run --name oom -m 20m busybox sh -c "$eat" >/dev/null 2>&1
is "an OOM kill: the client's exit code" 137 $?
is "an OOM kill: inspect" "true 137" "$(field '{{.State.OOMKilled}} {{.State.ExitCode}}' oom)"
dhow run -d --name fine -m 64m busybox sh -c 'exit 3' >/dev/null
dhow wait fine >/dev/null
is "no OOM kill" "false 3" "$(field '{{.State.OOMKilled}} {{.State.ExitCode}}' fine)"
dhow rm oom fine >/dev/null
has "a fork bomb" "can't fork" \
	"$(dhow run --rm --pids-limit 10 busybox sh -c 'for n in $(seq 50); do sleep 5 & done; echo unreachable' 2>&1)"

# The names of so many layers are more than one option of a file system takes on kernels before 6.7.
mkdir -p /tmp/deep/tmp
for n in $(seq 40); do
	touch /tmp/deep/tmp/$n
	tar -C /tmp/deep -cf /tmp/deep/$n.tar tmp/$n
done
registry_image deep /tmp/busybox.tar $(seq -f '/tmp/deep/%g.tar' 40)
perl /vm/registry.pl /tmp/images 5000 &
registry=$!
until_ok busybox wget -qO- http://127.0.0.1:5000/v2/
dhow pull -q 127.0.0.1:5000/deep >/dev/null && dhow tag 127.0.0.1:5000/deep deep
kill $registry
is "an image of forty layers" "40 41" "$(dhow run --rm deep sh -c 'ls /tmp | wc -l') $(dhow inspect -f '{{len .RootFS.Layers}}' deep)"
dhow create --name layer deep >/dev/null
is "files of a stopped container of it" 40 "$(dhow cp layer:/tmp - | tar -t | grep -c '[0-9]$')"
is "its export" 40 "$(dhow export layer | tar -t | grep -c '^tmp/[0-9]')"
dhow rm layer >/dev/null
dhow rmi deep 127.0.0.1:5000/deep >/dev/null

disk=$(printf '%d %d' $(stat -c '0x%t 0x%T' /dev/vda))
in_box() { dhow run --rm "$@" 2>&1; }
is "a device that is not allowed" "head: /tmp/d: Operation not permitted" \
	"$(in_box busybox sh -c "mknod /tmp/d b $disk && head -c 1 /tmp/d")"
is "mknod without the capability" "mknod: /tmp/d: Operation not permitted" \
	"$(in_box --cap-drop MKNOD busybox mknod /tmp/d c 1 3)"
is "/dev/null" "4" "$(in_box busybox sh -c 'echo x >/dev/null; head -c 4 /dev/zero | wc -c')"
is "--device" "1024" "$(in_box --device /dev/vda:/dev/x:r busybox sh -c 'head -c 1024 /dev/x | wc -c')"
is "--device for reading" "sh: can't create /dev/x: Operation not permitted" \
	"$(in_box --device /dev/vda:/dev/x:r busybox sh -c ': >/dev/x')"
is "--device-cgroup-rule" "1024" \
	"$(in_box --device-cgroup-rule "b $(echo "$disk" | tr ' ' :) rm" busybox sh -c "mknod /tmp/d b $disk && head -c 1024 /tmp/d | wc -c")"
is "--privileged" "1024" "$(in_box --privileged busybox sh -c "mknod /tmp/d b $disk && head -c 1024 /tmp/d | wc -c")"
is "a cgroup of its own inside" "0::/sub" "$(in_box --privileged busybox sh -c \
	'mkdir /sys/fs/cgroup/sub && echo $$ >/sys/fs/cgroup/sub/cgroup.procs && cat /proc/self/cgroup')"

dhow run -d --name eater -m 30m busybox sh -c "sh -c '$eat' 2>/dev/null; echo survived; exec sleep 1d" >/dev/null
until_ok sh -c 'dhow logs eater | grep -q survived'
is "an OOM kill that the container survives" "true true" "$(field '{{.State.OOMKilled}} {{.State.Running}}' eater)"
has "the event of it" "container oom" "$(dhow events --since 1h --until 0s --filter event=oom --filter container=eater 2>&1)"
has "stats" "eater / 30MiB 1" "$(dhow stats --no-stream --format '{{.Name}} {{.MemUsage}} {{.PIDs}}' eater 2>&1 | sed 's/ [^ ]* \/ / \/ /')"
dhow rm -f eater >/dev/null
dhow run -d --name sick --health-cmd 'test -e /well' --health-interval 1s --health-retries 1 busybox sleep 1d >/dev/null
until_ok sh -c '[ "$(dhow inspect -f {{.State.Health.Status}} sick)" = unhealthy ]'
dhow exec sick touch /well
until_ok sh -c '[ "$(dhow inspect -f {{.State.Health.Status}} sick)" = healthy ]'
is "a health check" "healthy" "$(field '{{.State.Health.Status}}' sick)"
is "the profile strict" "1 512 2" "$(dhow run --rm --security-opt profile=strict busybox sh -c \
	'echo $(grep NoNewPrivs /proc/self/status | cut -f 2) $(cat /sys/fs/cgroup/pids.max) $(grep Seccomp: /proc/self/status | cut -f 2)' 2>&1)"
id=$(dhow inspect -f '{{.Id}}' sick)
kill -9 "$(sed 's/.*"supervisor":\([0-9]*\).*/\1/' /run/dhow/container/$id/start.json)"
until_ok sh -c '[ "$(dhow inspect -f {{.State.Status}} sick)" = exited ]'
is "a killed supervisor: the container's end" "137" "$(field '{{.State.ExitCode}}' sick)"
is "a killed supervisor: its cgroup" "gone" "$(test -e $cg/$id || echo gone)"
dhow rm sick >/dev/null
for n in 1 2 3 4 5 6 7 8; do
	dhow run -d --name "k$n" busybox sleep 1d >/dev/null 2>&1 &
	sleep "0.$((n * 13 % 10))$n"
	kill -9 "$(cat /run/dhow.pid)"
	wait $!
	until_ok dhow ps -q
	dhow inspect "k$n" >/dev/null 2>&1 || dhow create --name "k$n" busybox true >/dev/null || is "the name k$n" free taken
done
dhow ps -aq | xargs -r dhow rm -f >/dev/null
is "eight daemons killed in a start" "" "$(dhow ps -aq; ls $cg | grep -E '^[0-9a-f]{64}$')"

ip link add host0 type dummy && ip addr add 192.0.2.1/24 dev host0 && ip link set host0 up
id=$(dhow run -d --name web -p 8080:80 busybox httpd -f -p 80 -h /etc)
until_ok dhow exec web wget -qO- http://127.0.0.1/page
is "a published port by loopback" served "$(timeout 20 busybox wget -qO- http://127.0.0.1:8080/page 2>&1)"
is "a published port by an address" served "$(timeout 20 busybox wget -qO- http://192.0.2.1:8080/page 2>&1)"
is "from another container" served "$(in_box busybox timeout 20 wget -qO- http://192.0.2.1:8080/page)"

before=$(field '{{.State.Pid}} {{.State.StartedAt}}' web)
dhow run -d --name ends busybox sh -c 'sleep 3; echo bye; exit 6' >/dev/null
daemon=$(cat /run/dhow.pid)
kill -9 "$daemon"
until_ok gone "$daemon"
until_ok test -e /var/lib/dhow/container/$(ls -t /var/lib/dhow/container | grep -E '^[0-9a-f]{64}$' | head -n 1)/exit.json
is "a container outlives the daemon" "$before" "$(field '{{.State.Pid}} {{.State.StartedAt}}' web)"
is "what ended meanwhile" "6 bye" "$(dhow wait ends) $(dhow logs ends)"
is "exec after the daemon's death" still "$(dhow exec web echo still 2>&1)"
is "a port after the daemon's death" served "$(timeout 20 busybox wget -qO- http://127.0.0.1:8080/page 2>&1)"
dhow rm ends >/dev/null

dhow run -d --name again --restart always busybox sleep 1d >/dev/null
dhow run -d --name once -v data:/data busybox sh -c 'echo kept >/data/file; sync; echo written; exec sleep 1d' >/dev/null
until_ok sh -c 'dhow logs once | grep -q written'
left=$(ls -d $cg/*/ | wc -l)
is "a cgroup for each container that runs" 3 "$left"
echo "vm: cut the power"
sleep 600
