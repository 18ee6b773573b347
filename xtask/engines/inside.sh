# In the tree: starts dockerd and compares the engines' behaviour under runc and under dhow.
set -u
cd /srv/work
ip link set lo up
sysctl -qw net.ipv4.ip_forward=1
mkdir -p image/bin image/etc image/tmp
cp /bin/busybox image/bin/
for applet in $(busybox --list); do [ "$applet" = busybox ] || ln -f image/bin/busybox "image/bin/$applet"; done
printf 'root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000::/:/bin/sh\n' >image/etc/passwd
printf 'root:x:0:\nalice:x:1000:\n' >image/etc/group
tar -C image -cf image.tar .
dockerd --add-runtime dhow=/srv/work/dhow-runtime --bip 172.30.0.1/24 >dockerd.log 2>&1 &
for _ in $(seq 200); do docker version >/dev/null 2>&1 && break; sleep 0.1; done
docker import -c 'CMD ["sh"]' image.tar busybox >/dev/null || { tail dockerd.log; exit 1; }
export CONTAINERD_ADDRESS=/run/docker/containerd/containerd.sock
failed=0
# compare NAME RUNC-COMMAND DHOW-COMMAND
compare() {
    local name=$1; shift
    sh -c "$1" >"$name.runc" 2>&1; sh -c "$2" >"$name.dhow" 2>&1
    for file in "$name.runc" "$name.dhow"; do
        # Numbers, identifiers and moments are nobody's; the name in front of an error is each runtime's own.
        sed -E -i 's/[0-9a-f]{64}/ID/g; s/\r//g; s/runc|dhow-runtime|dhow/RT/g; s#/(usr/sbin|usr/bin|srv/work)/RT#RT#g
            s/time="[^"]*"/time=T/g; s/^time=T level=warning msg="Using cgroups-v1.*//; /^$/d
            s/RT: time=T level=error msg="(.*)": OCI/RT: \1: OCI/; s/RT: time=T level=error msg="(.*)"$/RT: \1/; s/\\"/"/g' "$file"
    done
    local checks; checks=$(grep -c '^+' "$name.dhow")
    if [ "$checks" -gt 10 ] && diff "$name.runc" "$name.dhow"; then
        echo "ok: $name, $checks steps"
    else
        echo "FAILED: $name"; failed=1
    fi
}
drill() { echo "ENGINE='$1' RUN='$2' IMAGE='$3' bash drill.sh"; }
compare docker "$(drill docker 'docker run --runtime runc' busybox)" "$(drill docker 'docker run --runtime dhow' busybox)"
pod='unshare -m sh -c "umount /sys/fs/cgroup/unified 2>/dev/null; exec bash drill.sh"'
podman() { echo "export ENGINE='podman --cgroup-manager cgroupfs --runtime $1' IMAGE=localhost/busybox; export RUN=\"\$ENGINE run\"; $pod"; }
unshare -m sh -c 'umount /sys/fs/cgroup/unified 2>/dev/null; podman import image.tar localhost/busybox' >/dev/null 2>&1
compare podman "$(podman /usr/sbin/runc)" "$(podman /srv/work/dhow-runtime)"
compare containerd 'RUNTIME=/usr/sbin/runc bash drill.sh containerd' 'RUNTIME=/srv/work/dhow-runtime bash drill.sh containerd'
docker ps -aq | grep . && failed=1
rmdir /sys/fs/cgroup/*/dhow-drill /sys/fs/cgroup/*/libpod_parent/* /sys/fs/cgroup/*/libpod_parent 2>/dev/null
exit $failed
