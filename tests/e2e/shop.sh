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

# What later steps saw is what the exported image holds.
need umoci
cat > shop/Dockerfile.list <<'END'
FROM shop
RUN find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /list -o -path /etc/hosts -o -path /etc/resolv.conf \) -prune -o -printf '%y %m %U:%G %P %l\n' | sort > /list
END
expect 0 cbuild build --progress plain -f shop/Dockerfile.list -t list --output type=oci,dest=list.tar shop
mkdir oci && tar -C oci -xf list.tar
umoci unpack --image oci:latest bundle > umoci.log 2>&1 || { cat umoci.log; fail "umoci unpack"; }
(cd bundle/rootfs && find . -xdev \( -path ./proc -o -path ./sys -o -path ./dev -o -path ./list -o -path ./etc/hosts -o -path ./etc/resolv.conf \) -prune \
	-o -printf '%y %m %U:%G %P %l\n' | sort) > seen
diff <(sed 's/ $//' bundle/rootfs/list | sed '1,1{/^d 755 0:0 $/d}') <(sed 's/ $//' seen) > diff.txt || { head -n 20 diff.txt; fail "the exported tree differs"; }

expect 0 cbuild debug fsck
no_leftovers
