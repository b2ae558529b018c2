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
python3 "$top/tests/lib/crash.py" --template "$work/template" --work "$work/walk" --every "${EVERY:-5}" --max-per-call "${PER_CALL:-100000}" -- \
	"$CBUILD" --durable build --progress plain -o type=oci,dest={out} ctx

# The same for a pull.
need skopeo docker-registry curl
port=$((20000 + RANDOM % 20000))
printf 'version: 0.1\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: "127.0.0.1:%s"}\n' "$work/registry" "$port" > registry.yml
docker-registry serve registry.yml > registry.log 2>&1 &
registry=$!
cleanup_more() { kill "$registry" 2> /dev/null; }
for i in $(seq 100); do curl -sf "http://127.0.0.1:$port/v2/" > /dev/null && break; sleep 0.1; done
expect 0 cbuild build -q -o type=oci,dest=image.tar ctx
skopeo copy -q --dest-tls-verify=false oci-archive:image.tar "docker://127.0.0.1:$port/x/y:1"
CBUILD_ROOT=$work/empty
export CBUILD_ROOT
expect 0 cbuild images -q
rm -rf walk && mkdir walk
python3 "$top/tests/lib/crash.py" --template "$work/empty" --work "$work/walk" --every "${EVERY:-5}" --max-per-call "${PER_CALL:-100000}" -- \
	"$CBUILD" --durable pull -q "127.0.0.1:$port/x/y:1"
