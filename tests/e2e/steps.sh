# A build that is stopped (Ctrl-Z) does not hold up others, and goes on; a step that prints without end fills no disk.
. "$(dirname "$0")/lib.sh"
import_busybox
mkdir ctx
printf 'FROM busybox:1\nRUN echo begun > /begun; sleep 2\nRUN for i in 1 2 3; do echo $i > /$i; done\n' > ctx/Dockerfile
"$CBUILD" --durable build -q ctx > stopped.out 2> stopped.err &
build=$!
cleanup_more() { kill -CONT "$build" 2> /dev/null; kill "$build" 2> /dev/null; }
for i in $(seq 100); do ls "$CBUILD_ROOT"/run/steps/* > /dev/null 2>&1 && break; sleep 0.05; done
kill -TSTP "$build"
for i in $(seq 100); do case $(ps -o stat= -p "$build") in T*) break ;; esac; sleep 0.05; done
case $(ps -o stat= -p "$build") in T*) ;; *) fail "not stopped" ;; esac
printf 'FROM busybox:1\nRUN echo other\n' > ctx/Dockerfile.other
expect 0 timeout 20 "$CBUILD" --durable build -q -f ctx/Dockerfile.other ctx
lacks "$err" WARNING
kill -CONT "$build"
wait "$build" || fail "the stopped build: $(cat stopped.err)"
has "$(cat stopped.out)" sha256:
no_leftovers

if [ -z "${SMALL:-}" ]; then
	printf 'FROM busybox:1\nRUN yes 012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789 | head -c 1100000000\n' > ctx/Dockerfile.yes
	expect 0 cbuild build -q -f ctx/Dockerfile.yes ctx
	largest=$(find "$CBUILD_ROOT/logs" -name '*.log' -printf '%s\n' | sort -n | tail -n 1)
	[ "$largest" -gt 1000000000 ] && [ "$largest" -lt $(((1 << 30) + 100)) ] || fail "a log of $largest bytes"
	has "$(find "$CBUILD_ROOT/logs" -size +900M -exec tail -n 1 {} +)" "the log ends here"
	no_leftovers
fi
