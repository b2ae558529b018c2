# Bad input: a clear error with its place and exit code, nothing left behind.
. "$(dirname "$0")/lib.sh"
import_busybox
mkdir ctx && echo x > ctx/app.txt

: > ctx/Dockerfile
expect 3 cbuild build ctx
has "$err" "the Dockerfile cannot be empty"
rm ctx/Dockerfile
expect 3 cbuild build ctx
has "$err" "failed to read dockerfile"
has "$err" "ctx/Dockerfile"
expect 3 cbuild build nowhere
has "$err" "nowhere"
printf 'FROM busybox:1\nRUM echo\n' > ctx/Dockerfile
expect 3 cbuild build ctx
has "$err" "unknown instruction: RUM (did you mean RUN?)"
has "$err" "Dockerfile:2"
has "$err" ">>> RUM echo"
printf 'FROM busybox:1\nCOPY app.tx /\n' > ctx/Dockerfile
expect 3 cbuild build ctx
has "$err" '"/app.tx": not found'
has "$err" "Dockerfile:2"
has "$err" 'app.txt'
printf 'FROM busybox:1\nRUN exit 7\n' > ctx/Dockerfile
expect 1 cbuild build ctx
has "$err" 'process "/bin/sh -c exit 7" did not complete successfully: exit code: 7'
has "$err" "Dockerfile:2"
printf 'FROM 127.0.0.1:1/none\n' > ctx/Dockerfile
expect 1 cbuild build ctx
has "$err" "127.0.0.1:1/none"
has "$err" "Dockerfile:1"
printf 'FROM busybox:1\nRUN --mount=type=cache,target=/c true\n' > ctx/Dockerfile
expect 3 cbuild build ctx
has "$err" "not supported yet: RUN --mount=type=cache"
has "$err" "Dockerfile:2"
printf 'FROM busybox:1\nRUN nosuchprogram\n' > ctx/Dockerfile
expect 1 cbuild build ctx
has "$err" "exit code: 127"
printf 'FROM busybox:1\nRUN ["/nosuch"]\n' > ctx/Dockerfile
expect 1 cbuild build ctx
has "$err" "no such file or directory"
printf 'FROM busybox:1\nUSER nobodyhere\nRUN true\n' > ctx/Dockerfile
expect 1 cbuild build ctx
has "$err" "unable to find user nobodyhere"
expect 2 cbuild build --nosuch ctx
has "$err" "unknown flag: --nosuch"
expect 2 cbuild build
expect 2 cbuild frobnicate
has "$err" "'frobnicate' is not a cbuild command"
expect 2 cbuild build -o type=zip,dest=x ctx
has "$err" "not supported yet"
expect 2 cbuild build -t 'UPPER case' ctx
expect 1 cbuild rmi nosuch
has "$err" "nosuch"
expect 1 cbuild tag nosuch other
expect 4 sh -c "printf 'FROM busybox:1\n' > ctx/Dockerfile; exec '$CBUILD' --durable build -o type=oci,dest=/nosuchdir/x.tar ctx"

# A device as destination is written to, never replaced: root's /dev/null stays one.
mknod null c 1 3
expect 0 cbuild build -q -o type=oci,dest=null --iidfile null ctx
[ -c null ] || fail "a device was replaced"
expect 0 sh -c "'$CBUILD' --durable build --iidfile /dev/stderr -o type=oci,dest=/dev/stdout ctx | tar t"
has "$out" "oci-layout"
has "$err" "sha256:"

# Not root: one sentence.
expect 1 setpriv --reuid 1000 --regid 1000 --clear-groups "$CBUILD" images
has "$err" "must be run as root"

# Ctrl-C in a RUN: 130, nothing left.
printf 'FROM busybox:1\nRUN sleep 30\n' > ctx/Dockerfile
python3 - "$CBUILD" <<'END'
import os, signal, subprocess, sys, time
p = subprocess.Popen([sys.argv[1], "--durable", "build", "--progress", "plain", "ctx"], stderr=subprocess.PIPE, start_new_session=True,
    preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))   # a test in the background has it ignored
end = time.time() + 20
while b"RUN uses" not in p.stderr.readline():
    if time.time() > end: sys.exit("the RUN did not start")
time.sleep(0.2)
t = time.time()
os.killpg(p.pid, signal.SIGINT)
p.stderr.read()
rc = p.wait(20)
if rc != 130: sys.exit("exit %d after SIGINT, expected 130" % rc)
if time.time() - t > 2: sys.exit("it took %.1f s to end" % (time.time() - t))
END
pgrep -f 'sleep 30' > /dev/null && fail "the RUN's process is left"
expect 0 cbuild debug fsck
no_leftovers

for c in build images pull tag rmi import version "debug fsck" "debug dump-dockerfile"; do
	expect 0 cbuild $c --help
	has "$out" "Usage:  cbuild $c"
done
