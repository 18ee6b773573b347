# The third boot, with systemd: the unit, the socket that starts it, and a stop and a start.
. /vm/lib.sh
is "the socket waits, the engine sleeps" "active inactive" \
	"$(systemctl is-active dhow.socket) $(systemctl is-active dhow.service)"
is "the socket" "srw-rw---- root" "$(stat -c '%A %U' /run/dhow.sock)"
has "a client wakes the engine" "Hello from dhow!" "$(dhow run --rm hello 2>&1)"
is "the unit" "active notify" "$(systemctl is-active dhow.service) $(systemctl show -P Type dhow.service)"
is "one engine" "$(systemctl show -P MainPID dhow.service)" "$(pidof dhow)"
busybox_image
dhow run -d --name long --restart unless-stopped busybox sleep 1d >/dev/null
pid=$(field '{{.State.Pid}}' long)
systemctl daemon-reload
is "a container after daemon-reload" "$pid" "$(field '{{.State.Pid}}' long)"
systemctl reload dhow.service
is "reload" 0 $?
systemctl restart dhow.service
is "restart" 0 $?
is "a container outlives the restart" "$pid true" "$(field '{{.State.Pid}} {{.State.Running}}' long)"
kill -9 "$(systemctl show -P MainPID dhow.service)"
until_ok sh -c '[ "$(systemctl is-active dhow.service)" = active ] && dhow ps -q'
is "a container outlives the engine" "$pid true" "$(field '{{.State.Pid}} {{.State.Running}}' long)"
systemctl stop dhow.service
is "a container outlives the unit" "sleep" "$(cat /proc/$pid/comm)"
is "the socket wakes it again" "$pid" "$(field '{{.State.Pid}}' long)"
dhow exec long true
is "exec" 0 $?
dhow rm -f long >/dev/null
. /vm/scope.sh
is "nothing that failed" "" "$(systemctl list-units --failed --plain --no-legend 'dhow*' | tr -d '\n')"
echo "vm: end"
sync
echo o >/proc/sysrq-trigger
sleep 60
