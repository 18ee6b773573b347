# Read by the scripts that run in the virtual machine. The host counts the lines that `is` prints.

# is WHAT EXPECTED ACTUAL
is() {
	if [ "$2" = "$3" ]; then
		echo "ok      $1"
	else
		echo "FAILED  $1"
		echo "expected: $2"
		echo "but was:  $3"
	fi
}

# has WHAT PART ACTUAL
has() {
	case $3 in
	*"$2"*) echo "ok      $1" ;;
	*) is "$1" "something with: $2" "$3" ;;
	esac
}

# Waits until a command succeeds, at most a minute.
until_ok() {
	for _ in $(seq 600); do
		"$@" >/dev/null 2>&1 && return 0
		sleep 0.1
	done
	echo "FAILED  waited for: $*"
	return 1
}

gone() { ! kill -0 "$1" 2>/dev/null; }
field() { dhow inspect -f "$1" "$2" 2>&1; }

# A root file system with busybox, in /tmp/root.
busybox_tree() {
	mkdir -p /tmp/root/bin /tmp/root/etc /tmp/root/tmp /tmp/root/proc /tmp/root/sys /tmp/root/dev
	cp /bin/busybox /tmp/root/bin/busybox
	busybox --list | while read -r a; do [ "$a" = busybox ] || ln /tmp/root/bin/busybox "/tmp/root/bin/$a"; done
	echo root:x:0:0:root:/:/bin/sh >/tmp/root/etc/passwd
	echo served >/tmp/root/etc/page
}

# The image `busybox`.
busybox_image() {
	busybox_tree
	tar -C /tmp/root -cf /tmp/busybox.tar . && dhow import -c 'CMD ["sh"]' /tmp/busybox.tar busybox >/dev/null
}

# registry_image NAME LAYER…: an image of these archives for registry.pl, which serves /tmp/images.
registry_image() {
	dir=/tmp/images/$1
	shift
	mkdir -p "$dir/blobs"
	ids='' layers=''
	for layer; do
		sum=$(blob "$layer")
		ids="$ids${ids:+,}\"sha256:$sum\""
		layers="$layers${layers:+,}$(descriptor layer.v1.tar "$sum")"
	done
	printf '{"architecture":"amd64","os":"linux","config":{"Cmd":["sh"]},"rootfs":{"type":"layers","diff_ids":[%s]}}' "$ids" >/tmp/config
	printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":%s,"layers":[%s]}' \
		"$(descriptor config.v1+json "$(blob /tmp/config)")" "$layers" >"$dir/manifest"
}
blob() {
	sum=$(sha256sum <"$1")
	cp "$1" "$dir/blobs/${sum%% *}"
	echo "${sum%% *}"
}
descriptor() {
	printf '{"mediaType":"application/vnd.oci.image.%s","digest":"sha256:%s","size":%s}' "$1" "$2" "$(stat -c %s "$dir/blobs/$2")"
}
