#!/usr/bin/env python3
"""A registry that misbehaves to order, for tests.

    fake_registry.py '{"images": […], "auth": {…}, "rules": […], "log": "FILE"}'

It prints `port P storage Q` (two listeners of one process on 127.0.0.1; the second plays the object store behind redirects) and serves
until stdin is closed. FILE gets a JSON line for each request: method, path, authorization, range, connection number, listener.

images  {"name": "a/b", "tag": "1", "layers": [N or {"size": N, "link": "lower/file", "raw": true, "foreign": true}], "platforms": […], "nested": 1,
         "schema1": true, "hollow": true (index without the manifest), "twice": true (the first layer again)}
        each layer holds a file of N pseudo-random bytes; equal descriptions give equal bytes
auth    {"bearer": true | "basic": "u:p", "user": "u:p" (the token server wants it), "uses": N (requests that a token is good for),
         "expires_in": N, "token_status": [500, …] (answers before a good one), "extra_challenge": true, "no_challenge": true,
         "refuse": true (tokens that nothing accepts), "access_token": true, "wants": "repository:…" (scope in the challenge)}
rules   {"on": regex over "METHOD /path", "at": "self" | "storage", "skip": N, "times": N, and what is done:}
        "status" "headers" "body"; "close": no answer; "cut": N bytes of the body, then the connection ends; "stall": N bytes, then
        silence; "corrupt"; "extra": N bytes more than announced (chunked); "length": another Content-Length; "ignore_range";
        "wrong_range"; "redirect": URL ({storage}, {self} are replaced); "giant_header": N; "content_type"; "encoding"; "digest"
        (Docker-Content-Digest); "sleep": seconds; "location": form of an upload's Location (absolute, relative, query, storage, http)
        "status_put": answers of the closing PUT; "chunk_min": N; "resume": true; "lose": N (a PATCH keeps N bytes, then cuts); "keep": N
        (keeps N bytes of a PATCH and says so)
tls     path of a PEM file with key and certificate;  v6: listen on ::1;  location, resume, chunk_min: as in rules, for all"""
import base64, gzip, hashlib, http.server, io, json, random, re, socket, socketserver, sys, tarfile, threading, time

config = json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}
lock = threading.Lock()
log = open(config["log"], "w") if config.get("log") else None
OCI = "application/vnd.oci.image."
blobs, manifests, uploads, tokens = {}, {}, {}, {}   # (repo, digest), (repo, ref): bytes; id: session; text: uses left
tags = {}                                            # repo: set
counts = {"conn": 0, "token": 0, "upload": 0}
auth = config.get("auth", {})
rules = [dict(r, seen=0, re=re.compile(r["on"])) for r in config.get("rules", [])]
ports = {}


def digest(b):
    return "sha256:" + hashlib.sha256(b).hexdigest()


def layer(n, spec):
    size = spec if isinstance(spec, int) else spec["size"]
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as t:
        i = tarfile.TarInfo("layer%d" % n)
        data = random.Random(size * 1000 + n).randbytes(size)
        i.size = size
        t.addfile(i, io.BytesIO(data))
        if isinstance(spec, dict) and spec.get("link"):
            i = tarfile.TarInfo("link%d" % n)
            i.type, i.linkname = tarfile.LNKTYPE, spec["link"]
            t.addfile(i)
    tar = out.getvalue()
    raw = isinstance(spec, dict) and spec.get("raw")
    return tar, tar if raw else gzip.compress(tar, 1, mtime=0)


def put_blob(repo, b):
    blobs[repo, digest(b)] = b
    return b


def put_manifest(repo, ref, media, b):
    manifests[repo, digest(b)] = manifests[repo, ref] = (media, b)
    if ":" not in ref:
        tags.setdefault(repo, set()).add(ref)
    return {"mediaType": media, "digest": digest(b), "size": len(b)}


def make_image(spec):
    repo, tag = spec["name"], spec.get("tag", "latest")
    if spec.get("schema1"):
        b = json.dumps({"schemaVersion": 1, "name": repo, "tag": tag, "fsLayers": [], "history": [], "signatures": []}).encode()
        return put_manifest(repo, tag, "application/vnd.docker.distribution.manifest.v1+prettyjws", b)
    entries = []
    for p in spec.get("platforms", ["linux/amd64"]):
        layers, ids = [], []
        specs = list(enumerate(spec.get("layers", [100])))
        for n, s in specs + (specs[:1] if spec.get("twice") else []):
            tar, b = layer(n, s)
            put_blob(repo, b)
            ids.append(digest(tar))
            d = {"mediaType": OCI + "layer.v1.tar" + ("" if tar is b else "+gzip"), "digest": digest(b), "size": len(b)}
            if isinstance(s, dict) and s.get("foreign"):
                d["mediaType"] = OCI + "layer.nondistributable.v1.tar+gzip"
                d["urls"] = ["ftp://x/", "http://127.0.0.1:%d/v2/%s/blobs/%s" % (ports["storage"], repo, digest(b))]
            layers.append(d)
        os_, arch = p.split("/")[:2]
        c = json.dumps({"architecture": arch, "os": os_, "config": {"Env": ["P=" + p]}, "rootfs": {"type": "layers", "diff_ids": ids}})
        c = put_blob(repo, c.encode())
        m = json.dumps({"schemaVersion": 2, "mediaType": OCI + "manifest.v1+json",
                        "config": {"mediaType": OCI + "config.v1+json", "digest": digest(c), "size": len(c)}, "layers": layers})
        e = put_manifest(repo, tag, OCI + "manifest.v1+json", m.encode())
        entries.append(dict(e, platform={"os": os_, "architecture": arch}))
        if spec.get("hollow"):
            del manifests[repo, e["digest"]]
    for _ in range(spec.get("nested", 1 if "platforms" in spec else 0)):
        i = json.dumps({"schemaVersion": 2, "mediaType": OCI + "index.v1+json", "manifests": entries}).encode()
        e = put_manifest(repo, tag, OCI + "index.v1+json", i)
        entries = [e]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        super().setup()
        with lock:
            counts["conn"] += 1
            self.conn = counts["conn"]
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def log_message(self, *a):
        pass

    @property
    def storage(self):
        return self.server.server_port == ports["storage"]

    def handle_one_request(self):
        try:
            super().handle_one_request()
        except (ConnectionError, ValueError, OSError):
            self.close_connection = True

    def handle_expect_100(self):
        # "early" rules answer before the body is asked for.
        line = self.command + " " + self.path
        return any(r.get("early") and r["re"].search(line) for r in rules) or super().handle_expect_100()

    # ---- answering

    def body(self):
        if self.headers.get("Transfer-Encoding"):
            out = b""
            while True:
                n = int(self.rfile.readline().split(b";")[0], 16)
                out += self.rfile.read(n)
                self.rfile.readline()
                if not n:
                    return out
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def rule(self):
        line = self.command + " " + self.path
        for r in rules:
            if r["re"].search(line) and r.get("at", "storage" if self.storage else "self") == ("storage" if self.storage else "self"):
                with lock:
                    r["seen"] += 1
                    n = r["seen"] - r.get("skip", 0)
                if 0 < n <= r.get("times", 1 << 30):
                    return r
        return {}

    def fill(self, s):
        return s.replace("{storage}", "127.0.0.1:%d" % ports["storage"]).replace("{self}", "127.0.0.1:%d" % ports["self"])

    def answer(self, status, data=b"", headers=(), r={}, ctype="application/json"):
        headers = dict(headers)
        rng = self.headers.get("Range")
        if status == 200 and rng and not r.get("ignore_range"):
            m = re.match(r"bytes=(\d+)-(\d*)$", rng)
            a, total = int(m[1]), len(data)
            if a >= total:
                status, headers["Content-Range"], data = 416, "bytes */%d" % total, b""
            else:
                shown = a + 1 if r.get("wrong_range") else a
                headers["Content-Range"] = "bytes %d-%d/%d" % (shown, total - 1, total)
                status, data = 206, data[a:]
        if r.get("corrupt") and data:
            data = bytes([data[0] ^ 1]) + data[1:]
        self.send_response(status)
        self.send_header("Content-Type", r.get("content_type", ctype))
        for k, v in headers.items():
            for one in v if isinstance(v, list) else [v]:
                self.send_header(k, one)
        if r.get("encoding"):
            self.send_header("Content-Encoding", r["encoding"])
        if r.get("giant_header"):
            self.send_header("X-Giant", "x" * r["giant_header"])
        if "extra" in r:
            self.send_header("Transfer-Encoding", "chunked")
        elif status != 204:
            self.send_header("Content-Length", str(r.get("length", len(data))))
        self.end_headers()
        if self.command == "HEAD":
            return
        if "extra" in r:
            data += b"x" * r["extra"]
            for i in range(0, len(data), 65536):
                part = data[i:i + 65536]
                self.wfile.write(b"%x\r\n" % len(part) + part + b"\r\n")
            self.wfile.write(b"0\r\n\r\n")
            return
        if "cut" in r or "stall" in r:
            self.wfile.write(data[:r.get("cut", r.get("stall"))])
            self.wfile.flush()
            if "stall" in r:
                time.sleep(60)
            self.end()
            return
        self.wfile.write(data)

    def end(self):
        self.close_connection = True
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def error(self, status, code, headers=(), message="as told"):
        self.answer(status, json.dumps({"errors": [{"code": code, "message": message}]}).encode(), headers)

    # ---- authorization

    def challenge(self, error=None):
        if auth.get("no_challenge") and self.path != "/v2/":
            return {}
        c = ['Basic realm="fake, with comma"'] if "basic" in auth else []
        if auth.get("extra_challenge"):
            c.append("Negotiate")
        if auth.get("bearer"):
            m = re.match(r"/v2/(.+?)/(blobs|manifests|tags)/", self.path)
            scope = auth.get("wants") or ("repository:%s:pull%s" % (m[1], "" if self.command in ("GET", "HEAD") else ",push") if m else "")
            realm = self.fill(auth.get("realm", "http://{self}/token?own=1"))
            c.append('Bearer realm="%s",service="fake",scope="%s"%s' % (realm, scope, ',error="%s"' % error if error else ""))
        return {"WWW-Authenticate": c}

    def authorized(self):
        if not auth or self.storage:
            return True
        given = self.headers.get("Authorization", "")
        if "basic" in auth:
            return given == "Basic " + base64.b64encode(auth["basic"].encode()).decode()
        with lock:
            left = tokens.get(given[7:], 0)
            if given.startswith("Bearer ") and left > 0 and not auth.get("refuse"):
                tokens[given[7:]] = left - 1
                return True
        return False

    def token(self):
        form = self.body().decode()
        with lock:
            counts["token"] += 1
            n = counts["token"]
        statuses = auth.get("token_status", [])
        if n <= len(statuses):
            return self.answer(statuses[n - 1], b"not now", {"Retry-After": "0"} if statuses[n - 1] == 429 else {})
        if self.command == "POST" and not (auth.get("identity") and "refresh_token=" + auth["identity"] in form):
            return self.answer(405)
        user = auth.get("user")
        if user and self.headers.get("Authorization") != "Basic " + base64.b64encode(user.encode()).decode() and self.command == "GET":
            return self.error(401, "UNAUTHORIZED")
        t = "token%d" % n
        with lock:
            tokens[t] = auth.get("uses", 1 << 30)
        time.sleep(auth.get("token_sleep", 0))
        a = {"access_token" if auth.get("access_token") else "token": t}
        if "expires_in" in auth:
            a["expires_in"] = auth["expires_in"]
        self.answer(200, json.dumps(a).encode())

    # ---- the protocol

    def serve(self):
        if log:
            with lock:
                log.write(json.dumps({"method": self.command, "path": self.path, "authorization": self.headers.get("Authorization"),
                                      "range": self.headers.get("Range"), "conn": self.conn, "storage": self.storage,
                                      "length": self.headers.get("Content-Length"), "type": self.headers.get("Content-Type"),
                                      "content_range": self.headers.get("Content-Range")}) + "\n")
                log.flush()
        path = self.path.split("?")[0]
        if path == "/token":
            return self.token()
        r = self.rule()
        time.sleep(r.get("sleep", 0))
        if r.get("close"):
            return self.end()
        if "redirect" in r:
            return self.answer(r.get("status", 307), headers={"Location": self.fill(r["redirect"])})
        if "status" in r and "location" not in r:
            if self.command in ("POST", "PUT", "PATCH") and not r.get("early"):
                self.body()
            data = r.get("body", json.dumps({"errors": [{"code": "FAKE", "message": "told \u001b[31mso"}]})).encode()
            return self.answer(r["status"], data, {k: self.fill(v) for k, v in r.get("headers", {}).items()},
                               dict({k: v for k, v in r.items() if k in ("length", "stall")}, content_type=r.get("content_type", "text/plain")))
        if not self.authorized():
            if self.command in ("POST", "PUT", "PATCH"):
                self.body()
            return self.error(401, "UNAUTHORIZED", self.challenge())
        if path == "/v2/":
            return self.answer(200, b"{}")
        m = re.match(r"/v2/(.+)/(blobs/uploads|blobs|manifests|tags)/(.*)$", path)
        if not m:
            return self.error(404, "UNSUPPORTED")
        repo, kind, what = m.groups()
        if self.command in ("GET", "HEAD") and kind in ("blobs", "manifests"):
            return self.get(repo, kind, what, r)
        if kind == "tags":
            names = sorted(tags.get(repo, []))
            return self.answer(200, json.dumps({"name": repo, "tags": names}).encode()) if names else self.error(404, "NAME_UNKNOWN")
        if kind == "manifests" and self.command == "PUT":
            return self.put_manifest(repo, what, r)
        if kind == "blobs/uploads":
            return self.upload(repo, what, r)
        self.error(405, "UNSUPPORTED")

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = serve

    def get(self, repo, kind, what, r):
        if kind == "blobs":
            b = blobs.get((repo, what))
            if b is None:
                return self.error(404, "BLOB_UNKNOWN")
            return self.answer(200, b, {"Docker-Content-Digest": r.get("digest", what)}, r, "application/octet-stream")
        if (repo, what) not in manifests:
            return self.error(404, "MANIFEST_UNKNOWN")
        media, b = manifests[repo, what]
        self.answer(200, b, {"Docker-Content-Digest": r.get("digest", digest(b))}, r, media)

    def put_manifest(self, repo, what, r):
        b = self.body()
        j = json.loads(b)
        for d in [j.get("config")] + j.get("layers", []):
            if d and (repo, d["digest"]) not in blobs:
                return self.error(400, "MANIFEST_BLOB_UNKNOWN")
        put_manifest(repo, what, self.headers.get("Content-Type"), b)
        self.answer(201, headers={"Docker-Content-Digest": digest(b), "Location": "/v2/%s/manifests/%s" % (repo, digest(b))})

    def location(self, repo, u, r):
        s = uploads[u]
        s["state"] += 1
        path = "/v2/%s/blobs/uploads/%s" % (repo, u)
        query = "?state=%d&x=%%2Fa+b" % s["state"]
        form = r.get("location") or config.get("location", "query")
        return {"query": path + query, "relative": u + query, "absolute": self.fill("http://{self}") + path + query,
                "own": "http://" + self.headers["Host"] + path + query,
                "storage": self.fill("http://{storage}") + path + query, "plain": path}[form]

    def upload(self, repo, what, r):
        q = dict(p.partition("=")[::2] for p in self.path.partition("?")[2].split("&"))
        if self.command == "POST":
            self.body()
            source = (q.get("from", "").replace("%2F", "/"), q.get("mount", "").replace("%3A", ":"))
            if source in blobs:
                blobs[repo, source[1]] = blobs[source]
                return self.answer(201, headers={"Location": "/v2/%s/blobs/%s" % (repo, source[1])})
            with lock:
                counts["upload"] += 1
                u = "u%d" % counts["upload"]
            uploads[u] = {"data": b"", "state": 0}
            h = {"Location": self.location(repo, u, r), "Range": "0-0"}
            if r.get("resume") or config.get("resume"):
                h["Cbuild-Resume"] = "1"
            if config.get("chunk_min"):
                h["OCI-Chunk-Min-Length"] = str(config["chunk_min"])
            return self.answer(202, headers=h)
        s = uploads.get(what)
        if not s or ("state" in q and int(q["state"]) != s["state"]) or ("state" not in q and s["state"] and "plain" not in
                                                                        (r.get("location"), config.get("location"))):
            self.body()
            return self.error(404, "BLOB_UPLOAD_UNKNOWN")
        if self.command == "GET":
            return self.answer(204, headers={"Location": self.location(repo, what, r), "Range": "0-%d" % max(len(s["data"]) - 1, 0)})
        if self.command == "DELETE":
            uploads.pop(what)
            return self.answer(204)
        if "lose" in r:
            s["data"] += self.rfile.read(r["lose"])
            return self.end()
        data = self.body()
        rng = self.headers.get("Content-Range")
        if rng and int(rng.split("-")[0]) != len(s["data"]):
            return self.error(416, "BLOB_UPLOAD_INVALID", {"Range": "0-%d" % max(len(s["data"]) - 1, 0), "Location": self.location(repo, what, r)})
        s["data"] += data
        if len(data) < int(self.headers.get("Content-Length", 0)):   # the sender is gone: what came stays
            return self.end()
        if self.command == "PATCH" and "keep" in r:
            s["data"] = s["data"][:len(s["data"]) - len(data) + r["keep"]]
        if self.command == "PATCH":
            return self.answer(202, headers={"Location": self.location(repo, what, r), "Range": "0-%d" % max(len(s["data"]) - 1, 0)})
        d = q.get("digest", "").replace("%3A", ":")
        if digest(s["data"]) != d:
            return self.error(400, "DIGEST_INVALID")
        blobs[repo, d] = s["data"]
        uploads.pop(what)
        self.answer(201, headers={"Docker-Content-Digest": d, "Location": "/v2/%s/blobs/%s" % (repo, d)})


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, address):
        pass


class Server6(Server):
    address_family = socket.AF_INET6


def listen(name):
    s = (Server6 if config.get("v6") else Server)(("::1" if config.get("v6") else "127.0.0.1", 0), Handler)
    if config.get("tls") and name == "self":
        import ssl
        c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        c.load_cert_chain(config["tls"])
        s.socket = c.wrap_socket(s.socket, server_side=True, do_handshake_on_connect=False)
    ports[name] = s.server_port
    return s


servers = [listen("self"), listen("storage")]
for spec in config.get("images", []):
    make_image(spec)
for s in servers:
    threading.Thread(target=s.serve_forever, daemon=True).start()
print("port %d storage %d" % (ports["self"], ports["storage"]), flush=True)
sys.stdin.read()
