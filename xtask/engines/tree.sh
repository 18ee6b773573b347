#!/bin/bash
# tree.sh DIR MIRROR DHOW-INIT: Docker, containerd and Podman of Debian unstable in a tree below DIR, in mount and network
# namespaces of their own; then drill.sh in it under runc and under DHOW-INIT. Fails when they differ.
set -euo pipefail
dir=$1 mirror=$2 init=$3
here=$(cd "$(dirname "$0")" && pwd)
tree=${ENGINES_TREE:-$dir/tree}
packages="docker.io docker-cli containerd runc crun conmon podman containernetworking-plugins netavark aardvark-dns
 busybox-static iptables nftables iproute2 procps curl ca-certificates bsdutils"
if [ ! -e "$tree/.ready" ]; then
    rm -rf "$tree"; mkdir -p "$tree"
    debootstrap --variant=minbase unstable "$tree" "$mirror"
    # Nothing that is installed may start.
    printf '#!/bin/sh\nexit 101\n' >"$tree/usr/sbin/policy-rc.d"; chmod +x "$tree/usr/sbin/policy-rc.d"
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive chroot "$tree" apt-get install -yq --no-install-recommends $packages
    touch "$tree/.ready"
fi
work=$(mktemp -d "$dir/work-XXXXXX")
trap 'rm -rf "$work"' EXIT
install -s -m 755 "$init" "$work/dhow-runtime"
cp "$here/drill.sh" "$here/inside.sh" "$work/"
unshare --mount --net --pid --fork --kill-child --propagation private bash -s "$tree" "$work" <<'E2'
set -euo pipefail
tree=$1 work=$2
mkdir -p "$work/root"; mount --bind "$tree" "$work/root"; cd "$work/root"
mkdir -p old proc sys dev run tmp srv/work
mount -t proc proc proc; mount -t sysfs sysfs sys; mount --rbind /dev dev; mount --rbind /sys/fs/cgroup sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run; mount -t tmpfs tmpfs tmp; mount --bind "$work" srv/work; mkdir -p run/lock run/netns
for d in docker containers containerd; do
    mkdir -p "$work/var/$d" "var/lib/$d"; mount --bind "$work/var/$d" "var/lib/$d"
done
pivot_root . old; cd /; umount -l /old
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 TERM=xterm
exec bash /srv/work/inside.sh
E2
