# What is found again, what must not be, and two builds on one store.
. "$(dirname "$0")/lib.sh"
import_busybox
mkdir ctx && echo one > ctx/a && mkdir ctx/src && echo 'main' > ctx/src/main.c
cat > ctx/Dockerfile <<'END'
FROM busybox:1
RUN head -c16 /dev/urandom | od -An -tx1 > /id
COPY src /src
RUN cat /src/main.c > /out
END
expect 0 cbuild build --progress plain --iidfile iid ctx
id=$(cat iid)

# Nothing changed: nothing runs, no socket of the internet is opened, the same id without a network.
need strace
expect 0 strace -f -e trace=connect,socket -o trace.txt "$CBUILD" --durable build --progress plain --iidfile iid ctx
same "$(cat iid)" "$id"
same "$(grep -c ' CACHED' <<< "$err")" 4
lacks "$(cat trace.txt)" "AF_INET"
expect 0 unshare -n "$CBUILD" --durable build --iidfile iid ctx
same "$(cat iid)" "$id"

# One byte changed, size and time restored: it is seen all the same.
touch -r ctx/src/main.c stamp
printf 'mais\n' > ctx/src/main.c
touch -r stamp ctx/src/main.c
expect 0 cbuild build --progress plain --iidfile iid ctx
[ "$(cat iid)" != "$id" ] || fail "a changed byte was not seen"
same "$(grep -c ' CACHED' <<< "$err")" 2

# Touched, not changed: everything is cached.
touch ctx/src/main.c
id=$(cat iid)
expect 0 cbuild build --progress plain --iidfile iid ctx
same "$(cat iid)" "$id"

# Equal steps of two stages run once.
cat > ctx/Dockerfile.twice <<'END'
FROM busybox:1 AS a
RUN head -c16 /dev/urandom | od -An -tx1 > /twice
FROM busybox:1 AS b
RUN head -c16 /dev/urandom | od -An -tx1 > /twice
FROM busybox:1
COPY --from=a /twice /a
COPY --from=b /twice /b
RUN cmp /a /b
END
expect 0 cbuild build --progress plain -f ctx/Dockerfile.twice ctx

# Two processes, one store, the same new file: each step runs once, so the ids are equal.
for round in 1 2 3; do
	printf 'FROM busybox:1\nRUN echo %s; sleep 0.3; head -c16 /dev/urandom >/id\nRUN cat /id > /id2\n' "$round" > ctx/Dockerfile.both
	"$CBUILD" --durable build --iidfile iid1 -f ctx/Dockerfile.both ctx 2> log1 & one=$!
	"$CBUILD" --durable build --iidfile iid2 -f ctx/Dockerfile.both ctx 2> log2 || { cat log2; fail "the second of two builds"; }
	wait "$one" || { cat log1; fail "the first of two builds"; }
	same "$(cat iid1)" "$(cat iid2)" "ids of two builds at once"
done

# --no-cache runs RUN and COPY anew.
expect 0 cbuild build --no-cache --progress plain ctx
same "$(grep -c ' CACHED' <<< "$err")" 1 "only the base is there"

# Early cut-off: the changed step gives what it gave before, so what stands on it is not run.
cat > ctx/Dockerfile.cut <<'END'
FROM busybox:1
COPY a /a
RUN wc -l < /a > /n && rm /a
RUN head -c16 /dev/urandom | od -An -tx1 > /id
END
expect 0 cbuild build --progress plain --iidfile iid1 -f ctx/Dockerfile.cut ctx
cat > ctx/Dockerfile.cut2 <<'END'
FROM busybox:1
COPY a /a
RUN wc -l < /a > /n && rm /a && true
RUN head -c16 /dev/urandom | od -An -tx1 > /id
END
expect 0 cbuild build --progress plain -f ctx/Dockerfile.cut2 ctx
has "$err" "CUT-OFF (same output as before)"

# A file that changes while the build runs: never published under the old key.
dd if=/dev/zero of=ctx/big bs=1M count=64 status=none
printf 'FROM busybox:1\nCOPY big /big\nRUN md5sum /big > /sum\n' > ctx/Dockerfile.race
(for i in $(seq 40); do printf '%s' "$i" | dd of=ctx/big bs=1 seek=$((i * 100000)) conv=notrunc status=none; sleep 0.01; done) &
writer=$!
rc=0; "$CBUILD" --durable build --progress plain -f ctx/Dockerfile.race -t race ctx > race.out 2> race.err || rc=$?
wait "$writer"
[ "$rc" = 0 ] || [ "$rc" = 3 ] || { cat race.err; fail "exit $rc while the context changed"; }
[ "$rc" = 0 ] || has "$(cat race.err)" "changed during the build"
want=$(md5sum < ctx/big | cut -c1-32)
expect 0 cbuild build --progress plain -f ctx/Dockerfile.race --output type=oci,dest=race.tar ctx
python3 - race.tar "$want" <<'END'
import gzip, io, json, sys, tarfile
t = tarfile.open(sys.argv[1])
get = lambda d: t.extractfile("blobs/" + d.replace(":", "/")).read()
m = json.loads(get(json.load(t.extractfile("index.json"))["manifests"][0]["digest"]))
text = None
for l in m["layers"]:
    for e in (u := tarfile.open(fileobj=io.BytesIO(gzip.decompress(get(l["digest"]))))):
        if e.name == "sum":
            text = u.extractfile(e).read().decode()
if not text or text[:32] != sys.argv[2]:
    sys.exit("the image holds the sum %r of a file whose sum is %s" % (text, sys.argv[2]))
END

# COPY's diff IDs do not depend on store, umask, owner or times.
cp -a ctx ctx2 && find ctx2 -exec touch -d 2001-01-01 {} + && chown -R 1000:1000 ctx2
printf 'FROM busybox:1\nCOPY src /src\n' | tee ctx/Dockerfile.d > ctx2/Dockerfile.d
diffid() { python3 -c 'import json,sys,tarfile
t=tarfile.open(sys.argv[1]); g=lambda d: json.load(t.extractfile("blobs/"+d.replace(":","/")))
print(g(g(json.load(t.extractfile("index.json"))["manifests"][0]["digest"])["config"]["digest"])["rootfs"]["diff_ids"][-1])' "$1"; }
expect 0 cbuild build -f ctx/Dockerfile.d --output type=oci,dest=d1.tar ctx
(umask 077; CBUILD_ROOT=$work/store2; export CBUILD_ROOT; "$CBUILD" --durable import "$work/busybox.tar" busybox:1 > /dev/null
 "$CBUILD" --durable build -q -f ctx/Dockerfile.d --output type=oci,dest=d2.tar ctx > /dev/null)
same "$(diffid d1.tar)" "$(diffid d2.tar)" "diff IDs in two roots and umasks"

expect 0 cbuild debug fsck --data
no_leftovers
