# A boot after the power was cut in the middle of work, then more such work until it is cut again.
#
# What the host has heard of the last boot lies on the fourth disk, a line each: `must WHAT NAME` for what was answered so
# long before the cut that it must be there, `may WHAT NAME` for what was answered just before it.
. /vm/lib.sh
root=/var/lib/dhow
round=$(sed 's/.*round=\([0-9]*\).*/\1/' /proc/cmdline)
tr -d '\0' </dev/vdd >/tmp/heard
say() { echo "ack $*"; }

start=$(cut -d ' ' -f 1 /proc/uptime)
is "the engine starts by itself" 0 "$(dhow ps -aq >/dev/null 2>&1; echo $?)"
echo "vm: the engine answers $start..$(cut -d ' ' -f 1 /proc/uptime) s after the start of the kernel"
is "nothing is damaged" "" "$(ls -A $root/*/quarantine $root/*/damaged 2>/dev/null | grep -v :$ | tr -d '\n')"
if dhow system check --help >/dev/null 2>&1; then
	is "dhow system check" 0 "$(dhow system check >/tmp/check 2>&1; echo $?)$(grep -v '^ok' /tmp/check | tail -n 3)"
fi
# I4: each blob has its own hash.
for blob in "$root"/layer/blobs/sha256/*; do
	[ -e "$blob" ] || continue
	sum=$(sha256sum <"$blob")
	[ "${sum%% *}" = "${blob##*/}" ] || is "a blob" "${blob##*/}" "${sum%% *}"
done
# I1, I4: what was pulled is there, and so is every byte of every file.
has_image() { dhow image inspect "127.0.0.1:5000/$1" >/dev/null 2>&1; }
while read -r force what name; do
	case $force-$what in
	must-pull) has_image "$name" || is "the image $name" there gone ;;
	must-create) dhow inspect "$name" >/dev/null 2>&1 || is "the container $name" there gone ;;
	must-remove) ! dhow inspect "$name" >/dev/null 2>&1 || is "the container $name" gone there ;;
	must-write) is "what was written and synchronised: $name" "$name" "$(dhow run --rm -v data:/data hello-box cat "/data/$name" 2>&1)" ;;
	may-create)
		# Wholly there, or the name is free.
		dhow inspect "$name" >/dev/null 2>&1 || dhow create --name "$name" hello-box true >/dev/null || is "the name $name" free taken
		;;
	esac
done </tmp/heard
if ! dhow image inspect hello-box >/dev/null 2>&1; then
	[ "$round" = 0 ] || is "the first image" there gone
	busybox_image
	dhow tag busybox hello-box
fi
for image in $(dhow images --format '{{.Repository}}' | grep 127.0.0.1); do
	is "every file of $image" 0 "$(dhow run --rm "$image" sha256sum -cs /sums >/dev/null 2>&1; echo $?)"
done
for name in $(dhow ps -a --format '{{.Names}}'); do
	dhow start "$name" >/dev/null 2>/tmp/why || is "start of $name" 0 "$(cat /tmp/why)"
done
dhow ps -aq | xargs -r dhow rm -f >/dev/null
is "all is removed" "" "$(dhow ps -aq; ls /sys/fs/cgroup/dhow 2>/dev/null | grep -E '^[0-9a-f]{64}$')"
dhow images --format '{{.Repository}}' | grep 127.0.0.1 | xargs -r dhow rmi >/dev/null

# Images to be pulled: two layers each, busybox and files that nobody has seen yet with their sums.
[ -e /tmp/busybox.tar ] || { busybox_tree && tar -C /tmp/root -cf /tmp/busybox.tar .; }
for n in 1 2 3 4; do
	mkdir -p /tmp/layer
	rm -f /tmp/layer/*
	for file in a b c d; do head -c $((20000 * n)) /dev/urandom >/tmp/layer/$file; done
	(cd /tmp/layer && sha256sum a b c d >sums && sed -i 's|  |  /|' sums && tar -cf /tmp/layer.tar .)
	registry_image "r$round-$n" /tmp/busybox.tar /tmp/layer.tar
done
perl /vm/registry.pl /tmp/images 5000 &
until_ok busybox wget -qO- http://127.0.0.1:5000/v2/
echo "vm: begin"
for n in 1 2 3 4 5 6 7 8 9; do
	# Some work without a pull before it, too.
	[ $n -gt 4 ] || image=127.0.0.1:5000/r$round-$n
	dhow pull -q "$image" >/dev/null 2>/tmp/why || is "pull" 0 "$(cat /tmp/why)"
	say pull "${image##*/}"
	name=c$round-$n
	dhow create --name "$name" -v data:/data "$image" sh -c "echo $name >/data/$name && sync /data/$name && echo written && exec sleep 1d" >/dev/null
	say create "$name"
	dhow start "$name" >/dev/null
	say start "$name"
	until_ok sh -c "dhow logs $name | grep -q written"
	say write "$name"
	dhow run -d --name "t$round-$n" "$image" true >/dev/null
	dhow rm -f "t$round-$n" >/dev/null
	say remove "t$round-$n"
done
echo "vm: at rest"
sleep 600
