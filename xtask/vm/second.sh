# The second boot, after the power was cut.
. /vm/lib.sh
is "the engine starts" 0 "$(dhow ps -q >/dev/null 2>&1; echo $?)"
until_ok sh -c '[ "$(dhow inspect -f {{.State.Status}} again)" = running ]'
is "what shall always run" "running " "$(field '{{.State.Status}} {{.State.Error}}' again)"
is "what ran when the power went" "exited exited" "$(field '{{.State.Status}}' once) $(field '{{.State.Status}}' web)"
is "a volume" kept "$(dhow run --rm -v data:/data busybox cat /data/file 2>&1)"
has "dhow run hello" "Hello from dhow!" "$(dhow run --rm hello 2>&1)"
dhow start web >/dev/null
until_ok dhow exec web wget -qO- http://127.0.0.1/page
is "its port" served "$(timeout 20 busybox wget -qO- http://127.0.0.1:8080/page 2>&1)"
dhow rm -f again once web >/dev/null
is "all removed" "" "$(dhow ps -aq)"
until_ok sh -c '! ls -d /sys/fs/cgroup/dhow/*/'
