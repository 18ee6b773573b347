#!/usr/bin/env bash
# Makes the images that the pull figures are about and pushes them into a registry by plain HTTP:
#   big     about 300 MB of large files in one gzip layer
#   small   about 50 000 small files in one gzip layer
#   debian  a Debian root file system in several layers
# usage: bench/images.sh 127.0.0.1:5000 [WORK-DIRECTORY]      needs: debootstrap umoci skopeo cpio
# REACH: words before skopeo, to reach a registry in another network namespace (nsenter -t PID -n)
set -euo pipefail
registry=$1 work=${2:-$(mktemp -d)}
mkdir -p "$work"; cd "$work"
layout() { [ -d layout ] || umoci init --layout layout; umoci new --image "layout:$1" 2>/dev/null || true; }
add() { umoci raw add-layer --image "layout:$1" "$2"; }
push() { umoci config --image "layout:$1" --config.cmd sh; ${REACH:-} skopeo copy -q --insecure-policy --dest-tls-verify=false "oci:layout:$1" "docker://$registry/$1:latest"; }

root() { # a Debian root file system, once
  [ -e debian-root/.made ] && return
  mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | grep -oE '(https?|mirror)[^ ]*/debian/?( |$)' | head -n 1 | tr -d ' ')
  debootstrap --variant=minbase stable debian-root ${mirror:+"$mirror"} >/dev/null
  chroot debian-root apt-get update -q >/dev/null
  touch debian-root/.made
}

layout big
mkdir -p big
# Real binaries, so that they compress as binaries do.
(set +o pipefail; while :; do find /usr -xdev -type f -size +200k -print0 | sort -z | xargs -0 cat; done 2>/dev/null | head -c 300M | split -b 30M - big/file)
tar --owner=0 --group=0 -cf big.tar -C big .; add big big.tar; push big

layout small
if [ ! -d small ]; then
  mkdir small; n=0
  while [ "$(find small -type f | wc -l)" -lt 50000 ]; do
    n=$((n + 1)); mkdir "small/copy$n"
    find /usr/share /usr/lib/python3 /usr/include -xdev -type f -size -8k -print0 2>/dev/null | head -z -n 15000 | cpio --quiet -0pdm "small/copy$n" 2>/dev/null || true
  done
fi
tar --owner=0 --group=0 -cf small.tar -C small .; add small small.tar; push small

layout debian
root
tar --numeric-owner -cf d1.tar -C debian-root --exclude=./.made --exclude=./usr/share --exclude=./var --exclude=./dev .; add debian d1.tar
tar --numeric-owner -cf d2.tar -C debian-root ./usr/share; add debian d2.tar
tar --numeric-owner -cf d3.tar -C debian-root ./var; add debian d3.tar
push debian
rm -f ./*.tar
