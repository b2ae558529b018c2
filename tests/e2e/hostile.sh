# Hostile tars, by import and by pull: nothing is written outside of the layer, a clear reason, nothing left.
. "$(dirname "$0")/lib.sh"
need python3
python3 "$top/testdata/tars/make.py" tars
# Everything outside that the tars could reach is looked at before and after.
outside() { { ls / /etc; ls -la --time-style=+ /etc; md5sum /etc/passwd; find "$work/tars" -type f | sort | xargs md5sum
	find "$work" -maxdepth 1 ! -name '*.txt' ! -name '.*' | sort; } | md5sum; }
mkdir oci store
[ ! -e /outside ] || fail "/outside exists"
before=$(outside)
accepted=0 refused=0
for t in tars/*; do
	rc=0
	"$CBUILD" --durable import "$t" "t:1" > out.txt 2> err.txt || rc=$?
	case $rc in
	0) accepted=$((accepted + 1)) ;;
	1) refused=$((refused + 1)); grep -q "^ERROR: import '" err.txt || { cat err.txt; fail "$t: no clear reason"; } ;;
	*) cat err.txt; fail "$t: exit $rc" ;;
	esac
	same "$(outside)" "$before" "what is outside, after $t"
done
echo "$accepted accepted, $refused refused"
[ "$refused" -ge 10 ] || fail "only $refused were refused"
# The kinds that must be refused, each for its own reason.
for t in dotdot device-zero whiteout-bare; do
	[ -e "tars/$t" ] || continue
	expect 1 cbuild import "tars/$t" t:1
done
# The same through a registry.
python3 - "$work" <<'END'
import hashlib, json, os, sys
w = sys.argv[1]
for n in sorted(os.listdir(w + "/tars")):
    d = "%s/oci/%s" % (w, n)
    os.makedirs(d + "/blobs/sha256")
    def put(data):
        h = hashlib.sha256(data).hexdigest()
        open(d + "/blobs/sha256/" + h, "wb").write(data)
        return {"digest": "sha256:" + h, "size": len(data)}
    tar = open(w + "/tars/" + n, "rb").read()
    if tar[:2] == b"\x1f\x8b":
        continue
    layer = put(tar)
    config = put(json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]}}).encode())
    manifest = put(json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": dict(config, mediaType="application/vnd.oci.image.config.v1+json"),
        "layers": [dict(layer, mediaType="application/vnd.oci.image.layer.v1.tar")]}).encode())
    json.dump({"schemaVersion": 2, "manifests": [dict(manifest, mediaType="application/vnd.oci.image.manifest.v1+json")]}, open(d + "/index.json", "w"))
    open(d + "/oci-layout", "w").write('{"imageLayoutVersion": "1.0.0"}')
    open(d + "/name", "w").write(manifest["digest"])
END
cat > serve.txt <<'END'
import http.server, json, os, re, sys
class H(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *a): pass
    def do_GET(self):
        m = re.match(r"/v2/([a-z0-9-]+)/(manifests|blobs)/(.+)$", self.path)
        if not m:
            data, kind = b"{}", "application/json"
        else:
            d = "oci/" + m[1]
            ref = open(d + "/name").read() if m[3] == "1" else m[3]
            data = open(d + "/blobs/" + ref.replace(":", "/"), "rb").read()
            kind = "application/vnd.oci.image.manifest.v1+json" if m[2] == "manifests" else "application/octet-stream"
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD": self.wfile.write(data)
    do_HEAD = do_GET
s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), H)
print(s.server_port, flush=True)
s.serve_forever()
END
python3 serve.txt > port.txt & server=$!
cleanup_more() { kill "$server"; }
for i in $(seq 50); do [ -s port.txt ] && break; sleep 0.1; done
refused=0
for d in oci/*; do
	[ -e "$d/name" ] || continue
	rc=0
	timeout 60 "$CBUILD" --durable pull -q "127.0.0.1:$(cat port.txt)/$(basename "$d"):1" > out.txt 2> err.txt || rc=$?
	[ "$rc" = 0 ] || [ "$rc" = 1 ] || { cat err.txt; fail "$d: exit $rc"; }
	[ "$rc" = 0 ] || refused=$((refused + 1))
	same "$(outside)" "$before" "what is outside, after pulling $d"
done
[ "$refused" -ge 10 ] || fail "only $refused were refused by pull"
expect 0 cbuild debug fsck --data
no_leftovers
