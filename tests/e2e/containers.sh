#!/usr/bin/env bash
# Containers: from run to rm, their words and exit codes; many at once; what must not be left behind.
. "$(dirname "$0")/lib.sh"
need python3
import_busybox

# Nothing of containers may be left at the end, whatever happened.
cleanup_more() {
	local all
	all=$("$CBUILD" ps -aq 2> /dev/null) || true
	[ -z "$all" ] || "$CBUILD" rm -f $all > /dev/null 2>&1 || true
}
# What a container of --rm leaves is removed behind its end: a moment is given.
left_now() {
	find "$CBUILD_ROOT/containers" "$CBUILD_ROOT/names" -mindepth 1 -maxdepth 1 2> /dev/null
	python3 - "$CBUILD_ROOT/index.db" << 'END'
import glob, os, sqlite3, sys
db = sqlite3.connect(sys.argv[1])
for lease, in db.execute("select distinct lease from pin where lease like 'c/%'"):
    print("pin of", lease)
uuid = db.execute("select v from meta where k = 'uuid'").fetchone()[0]
short = (uuid.hex() if isinstance(uuid, bytes) else uuid.replace("-", ""))[:8]
for top in glob.glob("/sys/fs/cgroup/cbuild/" + short) + glob.glob("/sys/fs/cgroup/*/cbuild/" + short):
    for name in os.listdir(top):
        if os.path.isdir(os.path.join(top, name)) and name != "monitors" and not name.startswith("containers."):
            print("control group", top, name)
END
}
none_left() {
	local i left
	for i in $(seq 50); do
		left=$(left_now)
		[ -n "$left" ] || break
		sleep 0.1
	done
	[ -z "$left" ] || fail "left behind: $left"
	no_leftovers
}

# ---- exit codes
expect 0 cbuild run --rm busybox:1 true
expect 7 cbuild run --rm busybox:1 sh -c 'exit 7'
expect 143 cbuild run --rm busybox:1 sh -c 'sleep 100 & kill -TERM $!; wait $!'
expect 127 cbuild run --rm busybox:1 nope
has "$err" 'exec: "nope": executable file not found in $PATH'
expect 126 cbuild run --rm busybox:1 /etc/passwd
has "$err" 'permission denied'
expect 125 cbuild run --rm --pull never nowhere.invalid/x:1 true
expect 125 cbuild run --nonsense busybox:1
expect 125 cbuild run -m 64m busybox:1 true
has "$err" 'not supported yet: -m, --memory'
expect 125 cbuild run --network bridge busybox:1 true
has "$err" 'not supported yet: --network bridge'
expect 1 cbuild run --rm -it busybox:1 sh
has "$err" 'the input device is not a TTY'
expect 125 cbuild exec
expect 1 cbuild exec nobody true
has "$err" 'No such container: nobody'
same "$(echo in | cbuild run --rm -i busybox:1 sh -c 'cat; echo err >&2' 2> /dev/null)" in
head -c 3000000 /dev/urandom > bytes
cbuild run --rm -i busybox:1 cat < bytes | cmp - bytes
# Arguments arrive byte for byte, also those that JSON cannot hold.
cbuild run --rm busybox:1 printf '%s|' $'a\xff\xfeb' 'ünï' '' $'\n' > args
printf 'a\xff\xfeb|ünï||\n|' | cmp - args
# Nobody reads: the command ends as others do, the container's end is its own.
rc=0
cbuild run --rm busybox:1 sh -c 'yes | head -c 4000000' | head -c 1 > /dev/null || rc=$?
none_left

# ---- the walk
start=$(date +%s%N)
id=$(cbuild run -d --name web busybox:1 sh -c 'trap "echo bye; exit 4" TERM; echo hello; echo oops >&2; while :; do sleep 0.05; done')
[ $((($(date +%s%N) - start) / 1000000)) -lt 5000 ] || fail "run -d does not return at once"
same "${#id}" 64
expect 0 cbuild ps
has "$out" 'CONTAINER ID   IMAGE       COMMAND'
has "$out" "$(echo "$id" | cut -c1-12)"
has "$out" 'Up '
same "$(cbuild ps -q)" "$(echo "$id" | cut -c1-12)"
same "$(cbuild ps -q --no-trunc --filter name=we)" "$id"
same "$(cbuild ps -q --filter name=nothing)" ""
same "$(cbuild inspect -f '{{.State.Status}} {{.Name}} {{.Path}} {{len .Args}}' "$(echo "$id" | cut -c1-5)")" "running /web sh 2"
expect 125 cbuild run --name web busybox:1 true
has "$err" "already in use by container \"$id\""
expect 1 cbuild rm web
has "$err" 'container is running: stop the container before removing or force remove'
expect 1 cbuild rmi busybox:1
has "$err" "container $(echo "$id" | cut -c1-12) is using its referenced image"
cbuild tag busybox:1 busybox:other
expect 0 cbuild rmi busybox:other
expect 1 cbuild rmi "$(cbuild images -q)"
has "$err" 'image is being used by container'
expect 0 cbuild exec web sh -c 'echo $$ >&2; id -u; exit 0'
same "$out" 0
expect 9 cbuild exec -u app -w /tmp -e X=y web sh -c '[ "$X$(pwd)$(id -u)" = y/tmp1000 ] && exit 9'
expect 127 cbuild exec web nope
expect 126 cbuild exec web /etc/passwd
same "$(echo deep | cbuild exec -i web cat)" deep
cbuild exec -d web sh -c 'touch /made; sleep 1000'
for i in $(seq 50); do cbuild exec web test -e /made && break; sleep 0.1; done
expect 0 cbuild exec web test -e /made
same "$(cbuild logs web 2> /dev/null)" hello
same "$(cbuild logs web 2>&1 > /dev/null)" oops
same "$(cbuild logs -n 1 web 2>&1 | grep -cE '^(hello|oops)$')" 1
cbuild logs -t web 2> /dev/null | grep -qE '^[0-9-]{10}T[0-9:]{8}\.[0-9]{9}Z hello$' || fail "logs -t"
same "$(cbuild logs --since 1h web 2>&1 | wc -l)" 2
same "$(cbuild logs --since 2020-01-01 --until 2021-01-01 web 2>&1 | wc -l)" 0
cbuild rename web site
same "$(cbuild stop site)" site
expect 0 cbuild ps -a --format '{{.Names}} {{.State}} {{.Status}}'
has "$out" 'site exited Exited (4) '
same "$(cbuild wait site)" 4
same "$(cbuild stop site)" site
expect 1 cbuild kill site
has "$err" 'is not running'
expect 1 cbuild exec site true
has "$err" 'is not running'
same "$(cbuild start site)" site
same "$(cbuild start site)" site
expect 0 cbuild exec site test -e /made
same "$(cbuild kill -s TERM site)" site
same "$(cbuild wait site)" 4
same "$(cbuild logs site 2> /dev/null)" "$(printf 'hello\nbye\nhello\nbye')"
same "$(cbuild rm site)" site
expect 1 cbuild rm site
expect 0 cbuild rm -f site
expect 1 cbuild inspect site
same "$out" '[]'
has "$err" 'No such object: site'
none_left

# ---- create, start -a; stdin of a stopped one; follow
id=$(cbuild create --name once -i -e A=b --label x=y -h host1 busybox:1 sh -c 'read line; echo "got $line on $(hostname) $A"; exit 3')
same "$(cbuild ps -a --filter label=x=y --format '{{.ID}} {{.Status}} {{.Label "x"}}')" "$(echo "$id" | cut -c1-12) Created y"
rc=0
text=$(echo words | cbuild start -ai once) || rc=$?
same "$rc $text" "3 got words on host1 b"
cbuild rm once > /dev/null
cbuild run -d --name follow busybox:1 sh -c 'for i in 1 2 3; do echo $i; sleep 0.2; done' > /dev/null
same "$(cbuild logs -f follow | tr '\n' ' ')" "1 2 3 "
same "$(cbuild inspect -f '{{.State.Running}}' follow)" false
cbuild rm follow > /dev/null
# --rm goes by itself, also with nobody there.
cbuild run -d --rm --name gone busybox:1 true > /dev/null
for i in $(seq 100); do [ -z "$(cbuild ps -aq --filter name=gone)" ] && break; sleep 0.1; done
same "$(cbuild ps -aq)" ""
# Also where the store was named from another folder: the monitor has none.
(cd "$work" && CBUILD_ROOT=$(basename "$CBUILD_ROOT") "$CBUILD" run -d --rm --name gone busybox:1 true > /dev/null)
for i in $(seq 100); do [ -z "$(cbuild ps -aq --filter name=gone)" ] && break; sleep 0.1; done
same "$(find "$CBUILD_ROOT/containers" -mindepth 1 -maxdepth 1 | wc -l)" 0
# --init reaps and passes signals on.
expect 143 cbuild run --rm --init busybox:1 sh -c 'kill -TERM $$'
same "$(cbuild run --rm --init busybox:1 sh -c 'for i in 1 2 3 4 5; do (sleep 0.01 &) ; done; sleep 0.3; cat /proc/[0-9]*/status | grep -c "^State:.Z"' || true)" 0
none_left

# ---- a slow client never holds the container, and gets everything
cat > slow.py << 'END'
import subprocess, sys, time, signal, os
cbuild = sys.argv[1]
subprocess.run([cbuild, "run", "-d", "-i", "--name", "slow", "busybox:1", "sh", "-c", "read x; head -c 20000000 /dev/zero | tr '\\0' x; echo; echo end >&2; read y"], check=True, stdout=subprocess.DEVNULL)
p = subprocess.Popen([cbuild, "attach", "slow"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
p.stdin.write(b"go\n"); p.stdin.flush()
time.sleep(0.5)
p.send_signal(signal.SIGSTOP)
for i in range(200):
    r = subprocess.run([cbuild, "logs", "-n", "100", "slow"], capture_output=True)
    if r.stderr == b"end\n":
        break
    time.sleep(0.1)
else:
    sys.exit("the container waits for a client that is stopped")
p.send_signal(signal.SIGCONT)
p.stdin.write(b"bye\n"); p.stdin.flush()
out, err = p.communicate(timeout=60)
assert len(out) == 20000001 and err == b"end\n", (len(out), err)
subprocess.run([cbuild, "rm", "-f", "slow"], check=True, stdout=subprocess.DEVNULL)
END
python3 slow.py "$CBUILD"

# ---- Ctrl-C of the foreground group: the command's container gets it, another one does not
cat > group.py << 'END'
import os, signal, subprocess, sys, time
cbuild = sys.argv[1]
script = f"id=$({cbuild} run -d --name other busybox:1 sleep 1000); exec {cbuild} run --rm --name fore busybox:1 sh -c 'trap \"exit 5\" INT; echo up; while :; do sleep 0.05; done'"
# In a background job SIGINT is ignored, and what is ignored stays so.
p = subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, start_new_session=True,
                     preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
assert p.stdout.readline() == b"up\n"
os.killpg(p.pid, signal.SIGINT)
assert p.wait(30) == 5, p.returncode
r = subprocess.run([cbuild, "inspect", "-f", "{{.State.Running}}", "other"], capture_output=True, text=True)
assert r.stdout == "true\n", r
subprocess.run([cbuild, "rm", "-f", "other"], check=True, stdout=subprocess.DEVNULL)
END
python3 group.py "$CBUILD"
none_left

# ---- seen from inside: as a RUN has it, for the first process, another user, and exec
cbuild run -d --name inside busybox:1 sleep 1000 > /dev/null
cat > look << 'END'
grep -E "^(CapEff|CapBnd|Seccomp|NoNewPrivs):" /proc/self/status | tr -d "\t"
ls /proc/self/fd | tr "\n" ,
env | grep -c SECRET
cut -d" " -f5 /proc/self/mountinfo | grep -vcE "^/(|proc(/.*)?|sys(/.*)?|dev(/.*)?|etc/(hosts|hostname|resolv.conf))$"
cat /proc/[0-9]*/comm | grep -c cbuild
true
END
look=$(cat look)
for how in "run --rm busybox:1" "run --rm -u 1000 busybox:1" "exec inside" "exec -u 1000 inside"; do
	text=$(env SECRET_OF_CALLER=1 "$CBUILD" $how sh -c "$look" 2> /dev/null)
	eff=00000000a80425fb
	case $how in *1000*) eff=0000000000000000 ;; esac
	# Descriptors: 0, 1, 2, and 3 by which ls reads the folder.
	same "$(echo $text)" "CapEff:$eff CapBnd:00000000a80425fb NoNewPrivs:0 Seccomp:2 0,1,2,3,0 0 0" "$how"
done
rc=0
cbuild exec inside sh -c 'for p in 1 $$; do echo x > /proc/$p/exe; done' 2> /dev/null || rc=$?
[ "$rc" != 0 ] || fail "/proc/PID/exe could be written"
# What executes itself is the helper in sealed memory, which says what it is: with more capabilities too, no file of the host is behind it.
before=$(sha256sum < "$CBUILD")
cbuild run -d --cap-add SYS_ADMIN --cap-add SYS_PTRACE --name more busybox:1 sleep 1000 > /dev/null
cbuild exec more sh -c 'printf "#!/proc/self/exe\n" > /x; chmod 755 /x'
expect 1 cbuild exec more /x
has "$err" 'a part of cbuild'
cbuild exec more sh -c 'cd /proc; /x & for i in $(seq 20); do for p in [0-9]*; do (echo x > $p/exe) 2> /dev/null; done; done' > /dev/null 2>&1 || true
cbuild rm -f more > /dev/null
same "$(sha256sum < "$CBUILD")" "$before" "the program on the disk was changed"
cbuild rm -f inside > /dev/null
none_left

# ---- at a terminal
python3 "$top/tests/e2e/containers_tty.py" "$CBUILD"
none_left

# ---- 200 by four at once; each exit code is right; ps shows them in time
many=${MANY:-200}
four() {
	local i rc
	for i in $(seq $((many / 4))); do
		rc=0
		"$CBUILD" run --rm busybox:1 sh -c "exit $((i % 100))" || rc=$?
		[ "$rc" = $((i % 100)) ] || { echo "exit $rc instead of $((i % 100))" >> wrong; }
		"$CBUILD" create --name "n$1.$i" busybox:1 true > /dev/null || echo "create" >> wrong
	done
}
for s in 1 2 3 4; do four $s & done
wait
[ ! -s wrong ] || { sort wrong | uniq -c; fail "containers started at once"; }
same "$(cbuild ps -aq | sort -u | wc -l)" "$((many / 4 * 4))"
python3 - "$CBUILD" << 'END'
import subprocess, sys, time
def once():
    t = time.perf_counter()
    subprocess.run([sys.argv[1], "ps", "-a"], check=True, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - t) * 1000
times = sorted(once() for _ in range(15))
print(f"ps -a of all: median {times[7]:.1f} ms, least {times[0]:.1f} ms")
END
all=$(cbuild ps -aq)
for s in 0 1 2 3; do (echo "$all" | awk -v s=$s 'NR % 4 == s' | xargs "$CBUILD" rm > /dev/null || echo rm >> wrong) & done
wait
[ ! -s wrong ] || fail "rm by four at once"
none_left
expect 0 cbuild debug fsck
echo "containers: ok"
