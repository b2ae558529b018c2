# SIGKILL and ENOSPC at every 5th write, rename, fsync and mount of a small build: the next build is right, nothing is left.
. "$(dirname "$0")/lib.sh"
need strace
strace -f -o /dev/null true 2> /dev/null || skip "ptrace is refused here"
import_busybox
mkdir ctx && echo one > ctx/a
cat > ctx/Dockerfile <<'END'
FROM busybox:1
RUN echo made > /made
COPY a /x/a
WORKDIR /w
RUN cat /x/a /made > /both && rm /made
END
cp -a "$CBUILD_ROOT" template
mkdir walk
python3 "$top/tests/lib/crash.py" --template "$work/template" --work "$work/walk" --every "${EVERY:-5}" --max-per-call "${PER_CALL:-12}" -- \
	"$CBUILD" --durable build --progress plain -o type=oci,dest={out} ctx
