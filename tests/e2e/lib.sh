# What every end-to-end test uses: a temporary folder with a store of its own, bases made from Debian's packages, checks.
# A test is a bash script that sources this; it ends 0, 77 (skipped: the last line says why), or something else.
set -eu
export LC_ALL=C.UTF-8
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
: "${CBUILD:=$top/build/release/cbuild}"
work=$(mktemp -d "${TMPDIR:-/tmp}/cbuild-e2e.XXXXXX")
export CBUILD_ROOT=$work/store
cleanup_more() { :; }
finish() {
	rc=$?
	cleanup_more || true
	if [ "$rc" -ne 0 ] && [ "$rc" -ne 77 ] && [ -n "${KEEP:-}" ]; then echo "kept: $work"; else rm -rf "$work"; fi
	exit $rc
}
trap finish EXIT
cd "$work"

skip() { echo "$*"; exit 77; }
fail() { echo "FAILED: $*" >&2; exit 1; }
need() { for p; do command -v "$p" > /dev/null || skip "no $p here"; done; }
[ "$(id -u)" = 0 ] || skip "not root"

# Tests wait for the disk, so that no tail outlives its command.
cbuild() { "$CBUILD" --durable "$@"; }

# expect STATUS COMMAND…: runs, keeps what it printed in $out and $err, and compares the exit status.
expect() {
	local want=$1 rc=0
	shift
	"$@" > "$work/.out" 2> "$work/.err" < /dev/null || rc=$?
	out=$(cat "$work/.out") err=$(cat "$work/.err")
	[ "$rc" = "$want" ] || { echo "$out"; echo "$err" >&2; fail "exit $rc, expected $want: $*"; }
}
# has TEXT PATTERN: a fixed string is in a text; lacks: it is not.
has() { case $1 in *"$2"*) ;; *) echo "$1"; fail "'$2' is not in the text above" ;; esac; }
lacks() { case $1 in *"$2"*) echo "$1"; fail "'$2' is in the text above" ;; esac; }
same() { [ "$1" = "$2" ] || fail "'$1' is not '$2'${3:+ ($3)}"; }

# A busybox base of Debian's busybox-static as a tar, and its import as busybox:1.
busybox_tar() {
	local r=$work/busybox-root
	[ -x /bin/busybox ] || skip "no /bin/busybox (package busybox-static)"
	mkdir -p "$r"/{bin,etc,tmp,root,proc,sys,dev,var/tmp,usr/bin}
	chmod 1777 "$r/tmp" "$r/var/tmp"
	cp /bin/busybox "$r/bin/busybox"
	local a
	for a in $(/bin/busybox --list); do [ "$a" = busybox ] || ln -sf busybox "$r/bin/$a"; done
	printf 'root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/:/bin/false\napp:x:1000:1000:app:/home/app:/bin/sh\n' > "$r/etc/passwd"
	printf 'root:x:0:\ndaemon:x:1:\napp:x:1000:\naudio:x:29:app\n' > "$r/etc/group"
	tar -C "$r" --numeric-owner --owner=0 --group=0 --mtime=@1700000000 --sort=name -cf "$1" .
}
import_busybox() {
	busybox_tar "$work/busybox.tar"
	cbuild import "$work/busybox.tar" busybox:1 > /dev/null
}

# A minimal Debian 12 as a tar.zst; made once a machine (it takes the network and 25 s).
debian_tar() {
	local cache=${CBUILD_TEST_CACHE:-/var/tmp/cbuild-test}
	mkdir -p "$cache"
	(
		flock 9
		if [ ! -s "$cache/debian12.tar.zst" ]; then
			need mmdebstrap
			mmdebstrap --quiet --variant=minbase bookworm "$cache/debian12.part.tar.zst" > "$work/mmdebstrap.log" 2>&1 ||
				{ cat "$work/mmdebstrap.log"; exit 1; }
			mv "$cache/debian12.part.tar.zst" "$cache/debian12.tar.zst"
		fi
	) 9> "$cache/lock" || fail "mmdebstrap"
	echo "$cache/debian12.tar.zst"
}

# What must not be left behind by anything: mounts of the store, processes of the helper, work folders, leases.
no_leftovers() {
	if grep -q "$CBUILD_ROOT" /proc/self/mountinfo; then grep "$CBUILD_ROOT" /proc/self/mountinfo; fail "mounts are left"; fi
	local left
	left=$(find "$CBUILD_ROOT/tmp" -mindepth 1 -maxdepth 1 ! -name partial 2> /dev/null | head -n 5)
	[ -z "$left" ] || fail "work is left: $left"
	left=$(find "$CBUILD_ROOT/leases" -mindepth 1 2> /dev/null | head -n 5)
	[ -z "$left" ] || fail "leases are left: $left"
	left=$(find "$CBUILD_ROOT/run/steps" -mindepth 1 2> /dev/null | head -n 5)
	[ -z "$left" ] || fail "records of steps are left: $left"
}
