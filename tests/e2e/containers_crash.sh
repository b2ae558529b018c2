#!/usr/bin/env bash
# Containers whose commands and monitors are killed at every N-th call (EVERY, PER_CALL).
. "$(dirname "$0")/lib.sh"
need python3 strace
strace -qq -o /dev/null -e trace=none true 2> /dev/null || skip "strace may not trace here"
cleanup_more() {
	local all
	all=$("$CBUILD" ps -aq 2> /dev/null) || true
	[ -z "$all" ] || "$CBUILD" rm -f $all > /dev/null 2>&1 || true
}
import_busybox
python3 "$top/tests/e2e/containers_crash.py" "$CBUILD" "$CBUILD_ROOT"
expect 0 cbuild debug fsck
