# What a container lives through, step by step, with everything that is said about it and every exit code.
#   ENGINE='docker' RUN='docker run --runtime X' IMAGE=busybox drill.sh
#   RUNTIME=/path drill.sh containerd
# shellcheck disable=SC2016
step() {
    echo "+ $1"
    eval "timeout 60 bash -c '$1'" 2>&1 </dev/null
    local code=$?
    [ $code = 0 ] || echo "  [exit $code]"
}
until_says() { # WANTED COMMAND: at most ten seconds
    for _ in $(seq 100); do [ "$(eval "$2" 2>/dev/null)" = "$1" ] && break; sleep 0.1; done
}
export ENGINE RUN IMAGE RUNTIME
export LOOP='trap "exit 5" TERM; while :; do sleep 0.1; done'
export EAT='x=$(head -c 1000000 /dev/zero | tr "\0" x); while :; do x=$x$x; done'

containerd() {
    export C="ctr -n dhow-drill" R="--runc-binary $RUNTIME --rootfs" I=/srv/work/image
    step '$C run --rm $R $I c1 /bin/sh -c "echo hi; exit 3"'
    step '$C run -d $R --memory-limit 50003968 --cpu-quota 50000 --cpu-period 100000 $I c2 /bin/sh -c "$LOOP"'
    step 'cat /sys/fs/cgroup/memory/dhow-drill/c2/memory.limit_in_bytes /sys/fs/cgroup/cpu/dhow-drill/c2/cpu.cfs_quota_us'
    step '$C task exec --exec-id x1 c2 /bin/sh -c "/bin/id -u; exit 7"'
    step '$C task exec --exec-id x2 --user 1000:1000 --cwd /tmp c2 /bin/sh -c "/bin/id; pwd"'
    step 'script -qec "$C task exec -t --exec-id x3 c2 /bin/tty" /dev/null < <(sleep 1)'
    step '$C task exec --exec-id x4 c2 /bin/nosuch'
    step '$C task ps c2 | wc -l'
    step '$C task pause c2; $C task ls | tail -1 | cut -c1-2,10-; $C task resume c2' | sed 's/[0-9]* *PAUSED/PAUSED/'
    step '$C task kill -s TERM c2; sleep 1; $C task rm c2; $C container rm c2'
    step '$C run --rm --memory-limit 20000000 $R $I c3 /bin/sh -c "$EAT"'
    step '$C run --rm $R $I c4 /bin/nosuch'
    step '$C run --rm --privileged $R $I c5 /bin/grep CapEff /proc/self/status'
    step '$C run --rm --read-only --env A=b --cwd /tmp --hostname hh $R $I c6 /bin/sh -c "/bin/touch /x 2>&1; echo \$A; pwd; /bin/hostname"'
    step '$C run --rm --seccomp --mount type=bind,src=/etc,dst=/e,options=rbind:ro $R $I c7 /bin/sh -c "/bin/grep Seccomp: /proc/self/status; /bin/touch /e/x 2>&1"'
    step '$C task ls -q; $C container ls -q'
}

engine() {
    step '$RUN --rm $IMAGE sh -c "echo hi; id; exit 3"'
    step '$RUN -d --name aa $IMAGE sh -c "$LOOP"'
    step '$ENGINE exec aa sh -c "id -u; exit 7"'
    step '$ENGINE exec -u 1000:5 -w /tmp -e X=y aa sh -c "id; pwd; echo \$X"'
    step '$ENGINE exec aa nosuch'
    step '$ENGINE exec aa /etc'
    step 'echo abc | $ENGINE exec -i aa cat'
    step 'script -qec "stty rows 33 cols 77; $ENGINE exec -it aa sh -c \"tty; sleep 0.5; stty size; exit 4\"" /dev/null < <(sleep 3)'
    step '$ENGINE exec -d aa sh -c "echo bg >/tmp/bg"; sleep 1; $ENGINE exec aa cat /tmp/bg'
    step '$ENGINE exec --privileged aa grep CapEff /proc/self/status'
    step '$ENGINE top aa | wc -l'
    step '$ENGINE pause aa; $ENGINE inspect -f "{{.State.Status}}" aa; $ENGINE unpause aa'
    step '$ENGINE update -m 50m --memory-swap 100m --cpus 0.5 --pids-limit 40 aa'
    step 'cd /sys/fs/cgroup; cat {memory,cpu,pids}/*/*$($ENGINE inspect -f "{{.Id}}" aa)*/{memory.limit_in_bytes,cpu.cfs_quota_us,pids.max} 2>/dev/null'
    step '$ENGINE stop aa; $ENGINE inspect -f "{{.State.ExitCode}}" aa; $ENGINE start aa; $ENGINE restart -t 0 aa'
    step '$ENGINE kill -s KILL aa; $ENGINE wait aa; $ENGINE rm aa'
    step '$RUN --name oo -m 20m $IMAGE sh -c "$EAT"; $ENGINE rm oo'
    step '$RUN --rm $IMAGE nosuch'
    step '$RUN --rm $IMAGE /etc'
    step '$RUN --rm -w /no --read-only $IMAGE pwd'
    step 'script -qec "stty rows 33 cols 77; $RUN --rm -it $IMAGE sh -c \"tty; sleep 0.5; stty size\"" /dev/null < <(sleep 3)'
    step '$RUN --rm --privileged $IMAGE sh -c "grep CapEff /proc/self/status; mkdir /m; mount -t tmpfs x /m && echo mounted"'
    step '$RUN --rm --cap-drop all --cap-add net_admin $IMAGE grep Cap /proc/self/status'
    step '$RUN --rm --security-opt no-new-privileges --security-opt seccomp=unconfined $IMAGE grep -E "NoNewPrivs|Seccomp" /proc/self/status'
    step '$RUN --rm --user 1000:2000 --group-add 5 $IMAGE id'
    step '$RUN --rm --ulimit nofile=100 --sysctl net.core.somaxconn=77 --shm-size 1m --tmpfs /t:size=1m $IMAGE sh -c "ulimit -n; cat /proc/sys/net/core/somaxconn; df /dev/shm /t"'
    step '$RUN --rm -v /etc/hostname:/h:ro -v drill:/data $IMAGE sh -c "echo x >/data/f; cat /data/f; touch /h 2>&1"; $ENGINE volume rm drill'
    step '$RUN --rm --network host --hostname "" $IMAGE true'
    step '$RUN -d --name hh --health-cmd true --health-interval 1s $IMAGE sleep 100'
    until_says healthy '$ENGINE inspect -f "{{.State.Health.Status}}" hh'
    step '$ENGINE inspect -f "{{.State.Health.Status}}" hh; $ENGINE rm -f -t 0 hh || $ENGINE rm -f hh'
    step '$RUN -d --name ss $IMAGE sleep 1000; $RUN --rm --pid container:ss --network container:ss $IMAGE ps | wc -l'
    step 'echo data >/tmp/drill; $ENGINE cp /tmp/drill ss:/tmp/x; $ENGINE exec ss cat /tmp/x; $ENGINE rm -f ss'
    step '$RUN --rm --device /dev/kmsg --cpuset-cpus 0 $IMAGE sh -c "ls -l /dev/kmsg | cut -c1-10; grep Cpus_allowed_list /proc/self/status"'
    step '$RUN --rm $IMAGE sh -c "ls /dev; grep -E \"^(Umask|Uid|Gid|Groups|Cap|Seccomp|NoNew)\" /proc/self/status; env | grep -v HOSTNAME | sort"'
}

"${1:-engine}"
