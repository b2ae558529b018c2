#!/usr/bin/env python3
"""Makes the hostile and odd tars of tests/unit/cache_tar.c and the seeds of the tar fuzzer.

    testdata/tars/make.py DIR

Bytes depend on nothing but this file. Names say what they try; the test says what must come of it."""
import gzip, io, os, sys

out = sys.argv[1]
os.makedirs(out, exist_ok=True)


def octal(v, n):
    return b"%0*o\0" % (n - 1, v)


def header(name, size=0, typ=b"0", link=b"", mode=0o644, uid=0, gid=0, mtime=1, major=0, minor=0, size_field=None):
    h = name[:100].ljust(100, b"\0") + octal(mode, 8) + octal(uid, 8) + octal(gid, 8)
    h += (size_field or octal(size, 12)) + octal(mtime, 12) + b" " * 8 + typ + link[:100].ljust(100, b"\0")
    h += b"ustar\00000" + b"\0" * 64 + octal(major, 8) + octal(minor, 8)
    h = h.ljust(512, b"\0")
    return h[:148] + b"%06o\0 " % sum(h) + h[156:]


def pad(data):
    return data + b"\0" * (-len(data) % 512)


def entry(name, data=b"", **k):
    return header(name, len(data), **k) + pad(data)


def record(key, value):
    rest = b" " + key + b"=" + value + b"\n"
    n = len(rest) + 1
    while len(str(n)) + len(rest) != n:
        n = len(str(n)) + len(rest)
    return str(n).encode() + rest


def pax(records, typ=b"x"):
    return entry(b"pax", b"".join(record(k, v) for k, v in records), typ=typ)


END = b"\0" * 1024
tars = {
    "dotdot": entry(b"ok", b"1") + entry(b"d/../../escape", b"out"),
    "dotdot-inside": entry(b"d/../inside", b"in"),
    "absolute": entry(b"/abs/file", b"in"),
    "link-out": entry(b"out", typ=b"2", link=b"/outside") + entry(b"out/file", b"x"),
    "link-up": entry(b"up", typ=b"2", link=b"../../..") + entry(b"up/file", b"x"),
    "link-inside": entry(b"real/", typ=b"5", mode=0o755) + entry(b"lnk", typ=b"2", link=b"/real") + entry(b"lnk/file", b"x"),
    "link-loop": entry(b"a", typ=b"2", link=b"b") + entry(b"b", typ=b"2", link=b"a") + entry(b"a/file", b"x"),
    "link-swap": entry(b"d/", typ=b"5", mode=0o755) + entry(b"d/x", b"1") + entry(b"d", typ=b"2", link=b"/outside") + entry(b"d/y", b"2"),
    "hard-dotdot": entry(b"h", typ=b"1", link=b"../../etc/passwd"),
    "hard-absolute": entry(b"h", typ=b"1", link=b"/etc/passwd"),
    "hard-through-link": entry(b"s", typ=b"2", link=b"/etc") + entry(b"h", typ=b"1", link=b"s/passwd"),
    "hard-folder": entry(b"d/", typ=b"5", mode=0o755) + entry(b"h", typ=b"1", link=b"d"),
    "hard-self": entry(b"f", b"same") + entry(b"f", typ=b"1", link=b"f"),
    "hard-symlink": entry(b"s", typ=b"2", link=b"nowhere") + entry(b"h", typ=b"1", link=b"s"),
    "wh-empty": entry(b"d/.wh."),
    "wh-dot": entry(b"d/.wh.."),
    "wh-dotdot": entry(b"d/.wh..."),
    "wh-folder": entry(b".wh.d/file", b"x"),
    "wh-root": entry(b".wh..wh..opq"),
    "wh-aufs": entry(b".wh..wh.aufs", b"x") + entry(b".wh..wh.plnk/1.2", b"x") + entry(b"f", b"1"),
    "wh-good": entry(b"a", b"1") + entry(b".wh.a") + entry(b".wh.b") + entry(b"d/x", b"1") + entry(b"d/.wh..wh..opq")
    + entry(b".wh.e") + entry(b"e/", typ=b"5", mode=0o755) + entry(b".wh.g") + entry(b"g/h", b"1")
    + entry(b"k/", typ=b"5", mode=0o755) + entry(b".wh.k"),
    "device-zero": entry(b"zero", typ=b"3"),
    "device": entry(b"null", typ=b"3", major=1, minor=3, mode=0o666) + entry(b"pipe", typ=b"6", mode=0o600),
    "overlay-xattrs": pax([(b"SCHILY.xattr.trusted.overlay.opaque", b"y"), (b"SCHILY.xattr.user.overlay.redirect", b"/etc"),
                           (b"SCHILY.xattr.user.kept", b"a\0=b")]) + entry(b"d/", typ=b"5", mode=0o755),
    "size-short": header(b"f", 5000) + b"x" * 512,
    "size-huge": header(b"f", 0, size_field=b"\x80" + b"\0" * 3 + b"\x7f" + b"\xff" * 7) + b"x" * 512,
    "size-big": header(b"f", 0, size_field=b"\x80" + b"\0" * 5 + b"\x02" + b"\0" * 5) + b"x" * 512,
    "size-negative": header(b"f", 0, size_field=b"\xff" * 12) + END,
    "cut": entry(b"f", b"x" * 2000)[:1000],
    "garbage": b"this is no tar at all" * 100,
    "bad-sum": entry(b"f", b"1").replace(b"ustar", b"Ustar", 1),
    "sparse-bomb": pax([(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.name", b"bomb"),
                        (b"GNU.sparse.realsize", b"%d" % (1 << 50))])
    + entry(b"GNUSparseFile.0/bomb", (b"1\n%d\n0\n" % (1 << 50)).ljust(512, b"\0")),
    "many": b"".join(entry(b"f%d" % i) for i in range(200)),
    "pax-big": pax([(b"comment", b"c" * (6 << 20))]) + entry(b"f"),
    "name-long": pax([(b"path", b"/".join([b"n" * 200] * 40))]) + entry(b"f"),
    "name-control": entry(b"a\x1b[31m\nx", typ=b"3"),
    "owner-big": pax([(b"uid", b"99999999999")]) + entry(b"f"),
    "file-as-folder": entry(b"f", b"1") + entry(b"f/x", b"2"),
    "replace": entry(b"d/x/y", b"1") + entry(b"d", b"file now") + entry(b"f", b"1") + entry(b"f/", typ=b"5", mode=0o700),
    "twice": entry(b"f", b"first") + entry(b"f", b"second", mode=0o600),
    "owners": pax([(b"uid", b"3000000"), (b"mtime", b"1234567890.123456789")]) + entry(b"f", b"x", mode=0o4755)
    + pax([(b"path", "na\u00efve/\u65e5\u672c".encode())]) + entry(b"x", b"utf8") + entry(b"raw\xff", b"raw"),
    "global": pax([(b"comment", b"git")], typ=b"g") + entry(b"f", b"1"),
    "gnu-long": entry(b"././@LongLink", b"l" * 150 + b"/" + b"m" * 150 + b"\0", typ=b"L") + entry(b"short", b"1"),
    "libarchive-xattr": pax([(b"LIBARCHIVE.xattr.user.x%3Dy", b"dmFsdWU")]) + entry(b"f", b"1"),
    "root": entry(b"./", typ=b"5", mode=0o1777, uid=7, gid=8) + entry(b"./f", b"1"),
    "empty": b"",
    "zeros": b"",
}
for name, data in tars.items():
    whole = data if name in ("empty", "cut", "size-short", "garbage") else data + END
    with open(os.path.join(out, name + ".tar"), "wb") as f:
        f.write(whole)
with open(os.path.join(out, "bomb.tar.gz"), "wb") as f:
    big = entry(b"f", b"\0" * (8 << 20)) + END
    f.write(gzip.compress(big, 9, mtime=0))
