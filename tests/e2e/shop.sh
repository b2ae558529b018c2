# The walk of the README: a Debian base, apt over the network, pip from a wheel, COPY, ENTRYPOINT; failed, mended and changed builds.
. "$(dirname "$0")/lib.sh"
base=$(debian_tar)
expect 0 cbuild import "$base" debian:12-slim
cp -r "$top/testdata/shop" shop

expect 0 cbuild build --progress plain -f shop/Dockerfile -t shop --iidfile iid shop
first=$(cat iid)
has "$err" "RUN apt-get update"
has "$err" "DONE"
has "$err" "[6/6] COPY src/ /opt/shop/"

# Nothing changed: nothing runs, the same image; also as `cbuild -t shop`.
expect 0 cbuild -t shop --progress plain --iidfile iid shop
same "$(cat iid)" "$first"
same "$(grep -c ' CACHED' <<< "$err")" 6 "cached steps"

# One source line changed: only the last COPY runs.
sed -i 's/Welcome to the shop/Welcome back/' shop/src/shop.py
expect 0 cbuild build --progress plain -t shop --iidfile iid shop
[ "$(cat iid)" != "$first" ] || fail "the image did not change"
same "$(grep -c ' CACHED' <<< "$err")" 5 "cached steps after a change"

# A RUN that fails: the place, an excerpt, exit 1.
sed 's|^EXPOSE.*|RUN echo about to fail \&\& exit 3|' shop/Dockerfile > shop/Dockerfile.bad
expect 1 cbuild build --progress plain -f shop/Dockerfile.bad -t shop shop
has "$err" 'did not complete successfully: exit code: 3'
has "$err" 'Dockerfile.bad:12'
has "$err" '>>> RUN echo about to fail'
has "$err" 'about to fail'

# The mended file: every earlier step comes from the cache.
sed 's|^EXPOSE.*|RUN echo mended|' shop/Dockerfile > shop/Dockerfile.bad
expect 0 cbuild build --progress plain -f shop/Dockerfile.bad -t shop:mended shop
same "$(grep -c ' CACHED' <<< "$err")" 6 "cached steps after mending"

expect 0 cbuild images
has "$out" "REPOSITORY"
has "$out" "shop"
expect 0 cbuild tag shop shop:v1
expect 0 cbuild rmi shop:v1
same "$out" "Untagged: shop:v1"

# What later steps saw is what the exported image holds: kind, mode, owner, size, link text, link groups, attributes.
need umoci
mkdir look
cat > look/list.py <<'END'
import os, stat, sys
root = sys.argv[1].rstrip("/")
skip = {"/proc", "/sys", "/dev", "/list", "/list.py", "/etc/hosts", "/etc/resolv.conf"}
seen, groups = [], {}
def walk(d):
    for n in sorted(os.listdir(root + d)):
        p = d + n
        if p in skip:
            continue
        s = os.lstat(root + p)
        kind = stat.S_IFMT(s.st_mode)
        x = ["%s=%s" % (a, os.getxattr(root + p, a, follow_symlinks=False).hex()) for a in sorted(os.listxattr(root + p, follow_symlinks=False))]
        text = os.readlink(root + p) if stat.S_ISLNK(kind) else ""
        seen.append((p, oct(s.st_mode), s.st_uid, s.st_gid, 0 if stat.S_ISDIR(kind) else s.st_size, text, x))
        if s.st_nlink > 1 and not stat.S_ISDIR(kind):
            groups.setdefault(s.st_ino, []).append(p)
        if stat.S_ISDIR(kind):
            walk(p + "/")
walk("/")
for e in seen:
    print(*e)
for g in sorted(g for g in groups.values() if len(g) > 1):
    print("links", *g)
END
cat > look/Dockerfile <<'END'
FROM shop
RUN python3 -c "open('/one', 'w'); import os; os.setxattr('/one', 'user.seen', b'yes'); os.setxattr('/usr/bin/env', 'security.capability', bytes.fromhex('0100000200040000000000000000000000000000'))"; \
    echo one > /one && ln /one /two && ln -s one /three && mkfifo /pipe && chown 5:6 /pipe && chmod 4755 /one
COPY list.py /
RUN python3 /list.py / > /list
END
expect 0 cbuild build --progress plain -t list --output type=oci,dest=list.tar look
mkdir oci && tar -C oci -xf list.tar
umoci unpack --image oci:latest bundle > umoci.log 2>&1 || { cat umoci.log; fail "umoci unpack"; }
python3 look/list.py bundle/rootfs > seen
diff bundle/rootfs/list seen > diff.txt || { head -n 20 diff.txt; fail "the exported tree differs"; }
has "$(cat seen)" "links /one /two"
has "$(cat seen)" "user.seen=796573"
has "$(cat seen)" "security.capability="

expect 0 cbuild debug fsck
no_leftovers
