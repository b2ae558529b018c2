# Real parts: Debian's docker-registry, skopeo; a base that is pulled, a registry that lies, memory that does not grow.
. "$(dirname "$0")/lib.sh"
need docker-registry skopeo curl python3
port=$((20000 + RANDOM % 20000))
cat > registry.yml <<END
version: 0.1
storage: {filesystem: {rootdirectory: $work/registry}}
http: {addr: "127.0.0.1:$port"}
END
docker-registry serve registry.yml > registry.log 2>&1 &
registry=$!
cleanup_more() { kill "$registry" 2> /dev/null; [ -z "${fake:-}" ] || kill "$fake" 2> /dev/null; }
for i in $(seq 100); do curl -sf "http://127.0.0.1:$port/v2/" > /dev/null && break; sleep 0.1; done
R=127.0.0.1:$port

# An image made here, carried by skopeo, pulled again.
import_busybox
mkdir ctx && printf 'FROM busybox:1\nRUN echo carried > /carried\nCMD ["cat", "/carried"]\n' > ctx/Dockerfile
expect 0 cbuild build -o type=oci,dest=image.tar --iidfile iid ctx
skopeo copy -q --dest-tls-verify=false oci-archive:image.tar "docker://$R/library/busybox:latest"
CBUILD_ROOT=$work/store2
export CBUILD_ROOT
expect 0 cbuild pull "$R/library/busybox"
has "$out" "Status: Downloaded newer image"
expect 0 cbuild pull "$R/library/busybox"
has "$out" "Status: Image is up to date"
expect 0 cbuild images
has "$out" "$R/library/busybox   latest"
same "$("$CBUILD" images -q --no-trunc)" "$(cat iid)" "the id of what was carried"
expect 0 cbuild tag "$R/library/busybox" local:1
expect 0 cbuild rmi local:1
printf 'FROM %s/library/busybox\nRUN test "$(cat /carried)" = carried\n' "$R" > ctx/Dockerfile
expect 0 cbuild build --progress plain ctx

# A build pulls its base itself, once; the second does not connect.
CBUILD_ROOT=$work/store3
expect 0 cbuild build --progress plain --iidfile iid3 ctx
requests=$(grep -c 'http.request.uri="/v2/' registry.log || true)
expect 0 cbuild build --progress plain --iidfile iid4 ctx
same "$(cat iid3)" "$(cat iid4)"
same "$(grep -c 'http.request.uri="/v2/' registry.log || true)" "$requests" "requests of a second build"

# What is not there, and a registry that is not there.
expect 1 cbuild pull "$R/library/none"
has "$err" "not found"
has "$err" "library/none"
expect 1 cbuild pull 127.0.0.1:1/x
has "$err" "127.0.0.1:1"
printf 'FROM %s/library/busibox\n' "$R" > ctx/Dockerfile.no
expect 1 cbuild build -f ctx/Dockerfile.no ctx
has "$err" "Dockerfile.no:1"
has "$err" "not found"

# A registry that lies about a layer: nothing of it is kept.
mkfifo hold
python3 "$top/tests/lib/fake_registry.py" '{"images": [{"name": "a/b", "tag": "1", "layers": [50000]}], "rules": [{"on": "GET /v2/a/b/blobs/", "skip": 1, "corrupt": true}]}' < hold > fake.out &
fake=$!
exec 8> hold
for i in $(seq 50); do [ -s fake.out ] && break; sleep 0.1; done
fake_port=$(sed -n 's/^port \([0-9]*\).*/\1/p' fake.out)
CBUILD_ROOT=$work/store4
expect 1 cbuild pull "127.0.0.1:$fake_port/a/b:1"
has "$err" "sha256:"
expect 0 cbuild images -q
same "$out" "" "images after a pull that failed"
expect 0 cbuild debug fsck --data

# 1 GiB through COPY, export and pull: at most 64 MiB of memory each.
if [ -z "${SMALL:-}" ]; then
	CBUILD_ROOT=$work/store5
	expect 0 cbuild import "$work/busybox.tar" busybox:1
	head -c 1G /dev/urandom > ctx/big
	printf 'FROM busybox:1\nCOPY big /big\n' > ctx/Dockerfile.big
	rss() { python3 -c 'import resource,subprocess,sys
r = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
k = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(k)
if r.returncode: sys.exit(r.stderr.decode()[-500:])
sys.exit(0 if k <= 64 * 1024 else "%d KiB, more than 64 MiB: %s" % (k, sys.argv[1:4]))' "$@"; }
	echo "COPY and export: $(rss "$CBUILD" --durable build -q -f ctx/Dockerfile.big -o type=oci,dest=big.tar ctx) KiB"
	rm ctx/big
	skopeo copy -q --dest-tls-verify=false oci-archive:big.tar "docker://$R/big:1"
	rm -rf "$CBUILD_ROOT" big.tar
	echo "pull: $(rss "$CBUILD" --durable pull -q "$R/big:1") KiB"
	expect 0 cbuild debug fsck
	no_leftovers
fi
