/* Platforms: their text forms, normalisation and which of several fits, as containerd's package platforms has them. */
#include <stdlib.h>

#include "base/err.h"
#include "cache/oci.h"

#if defined(__x86_64__)
#define HOST_ARCH "amd64"
#elif defined(__aarch64__)
#define HOST_ARCH "arm64"
#elif defined(__arm__)
#define HOST_ARCH "arm"
#elif defined(__i386__)
#define HOST_ARCH "386"
#elif defined(__powerpc64__) && defined(__LITTLE_ENDIAN__)
#define HOST_ARCH "ppc64le"
#elif defined(__s390x__)
#define HOST_ARCH "s390x"
#elif defined(__riscv) && __riscv_xlen == 64
#define HOST_ARCH "riscv64"
#elif defined(__loongarch64)
#define HOST_ARCH "loong64"
#elif defined(__mips64) && defined(__MIPSEL__)
#define HOST_ARCH "mips64le"
#else
#error "name this machine's architecture as Go does"
#endif

#if !defined(__arm__)
#define HOST_VARIANT STR("")
#elif __ARM_ARCH >= 7
#define HOST_VARIANT STR("v7")
#else
#define HOST_VARIANT STR("v6")
#endif

enum { PLATFORM_MAX_BYTES = 256 };

static bool one_of(struct str s, const char *const *list)
{
	for (; *list; list++)
		if (str_eq_c(s, *list))
			return true;
	return false;
}

static bool known_os(struct str s)
{
	static const char *const list[] = { "aix",     "android", "darwin",  "dragonfly", "freebsd",
					    "hurd",    "illumos", "ios",     "js",        "linux",
					    "nacl",    "netbsd",  "openbsd", "plan9",     "solaris",
					    "windows", "zos",     NULL };
	return one_of(s, list);
}

static bool known_arch(struct str s)
{
	static const char *const list[] = {
		"386",     "amd64",   "amd64p32", "arm",    "armbe",    "arm64",     "arm64be",
		"loong64", "mips",    "mipsle",   "mips64", "mips64le", "mips64p32", "mips64p32le",
		"ppc",     "ppc64",   "ppc64le",  "riscv",  "riscv64",  "s390",      "s390x",
		"sparc",   "sparc64", "wasm",     NULL
	};
	return one_of(s, list);
}

/* Other names of an architecture, and the variant that the name says (NULL: the one given). */
static const struct alias {
	const char *name, *arch, *variant;
} aliases[] = {
	{ "x86_64", "amd64", NULL }, { "x86-64", "amd64", NULL }, { "aarch64", "arm64", NULL },
	{ "i386", "386", "" },       { "i486", "386", "" },       { "i586", "386", "" },
	{ "i686", "386", "" },       { "x86", "386", "" },        { "armhf", "arm", "v7" },
	{ "armel", "arm", "v6" },
};

static struct str lower(struct arena *a, struct str s)
{
	char *p = arena_cstr(a, s);
	for (size_t i = 0; i < s.n; i++)
		p[i] = str_lower(p[i]);
	return (struct str){ p, s.n };
}

static void normalize_arch(struct arena *a, struct str *arch, struct str *variant)
{
	*arch = lower(a, *arch);
	*variant = lower(a, *variant);
	for (size_t i = 0; i < ARRAY_SIZE(aliases); i++) {
		if (!str_eq_c(*arch, aliases[i].name))
			continue;
		*arch = str_c(aliases[i].arch);
		if (aliases[i].variant)
			*variant = str_c(aliases[i].variant);
		break;
	}
	bool arm = str_eq_c(*arch, "arm"), arm64 = str_eq_c(*arch, "arm64"),
	     amd64 = str_eq_c(*arch, "amd64");
	if ((arm || arm64 || amd64) && variant->n && variant->p[0] >= '0' && variant->p[0] <= '9')
		*variant = arena_printf(a, "v%.*s", STR_ARG(*variant));
	if (arm && !variant->n)
		*variant = STR("v7");
	if (arm64 && (str_eq_c(*variant, "v8") || str_eq_c(*variant, "v8.0")))
		*variant = STR("");
	if (amd64 && str_eq_c(*variant, "v1"))
		*variant = STR("");
}

static struct str normalize_os(struct arena *a, struct str os)
{
	if (!os.n)
		return STR("linux");
	os = lower(a, os);
	return str_eq_c(os, "macos") ? STR("darwin") : os;
}

struct oci_platform oci_platform_normalize(struct arena *a, const struct oci_platform *p)
{
	struct oci_platform n = *p;
	n.os = normalize_os(a, n.os);
	normalize_arch(a, &n.arch, &n.variant);
	return n;
}

static bool component_ok(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		bool ok = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
			(c >= 'A' && c <= 'Z') || c == '_' || c == '.' || c == '-';
		if (!ok)
			return false;
	}
	return s.n > 0;
}

/* Cuts "windows(10.0.17763)" into name and version. */
static void cut_os_version(struct str *os, struct str *version)
{
	size_t open = str_find(*os, '(', 0);
	if (open == SIZE_MAX || !str_ends(*os, STR(")")))
		return;
	*version = str_sub(*os, open + 1, os->n - 1);
	*os = str_sub(*os, 0, open);
}

static int refuse(struct str text, struct str part, struct err **err)
{
	_cleanup_(sb_releasep) struct sb whole = { 0 }, one = { 0 };
	sb_add_goquote(&whole, str_sub(text, 0, PLATFORM_MAX_BYTES));
	if (!part.p)
		return err_set(
			err, ERR_INVALID,
			"failed to parse platform: %s: cannot parse platform specifier: invalid argument",
			sb_c(&whole));
	sb_add_goquote(&one, str_sub(part, 0, PLATFORM_MAX_BYTES));
	return err_set(
		err, ERR_INVALID,
		"failed to parse platform: %s is an invalid component of %s: platform specifier component must match "
		"\"^[A-Za-z0-9_.-]+$\": invalid argument",
		sb_c(&one), sb_c(&whole));
}

int oci_platform_parse(struct arena *a, struct str text, const struct oci_platform *host,
		       struct oci_platform *ret, struct err **err)
{
	struct str part[3], rest = text;
	size_t n = 0;
	if (text.n > PLATFORM_MAX_BYTES || str_find(text, '*', 0) != SIZE_MAX)
		return refuse(text, (struct str){ NULL, 0 }, err);
	for (bool more = true; more; n++) {
		if (n == ARRAY_SIZE(part))
			return refuse(text, (struct str){ NULL, 0 }, err);
		part[n] = rest;
		more = str_cut(rest, '/', &part[n], &rest);
	}
	struct oci_platform p = { .os_version = STR("") };
	cut_os_version(&part[0], &p.os_version);
	for (size_t i = 0; i < n; i++)
		if (!component_ok(part[i]))
			return refuse(text, part[i], err);
	if (p.os_version.n && !component_ok(p.os_version))
		return refuse(text, p.os_version, err);
	p.os = normalize_os(a, part[0]);
	if (n == 1 && known_os(p.os)) {
		p.arch = host->arch;
		p.variant = host->variant;
	} else if (n == 1) {
		p.os = host->os;
		p.arch = part[0];
		p.variant = STR("");
	} else {
		p.arch = part[1];
		p.variant = n == 3 ? part[2] : STR("");
	}
	normalize_arch(a, &p.arch, &p.variant);
	if (n == 1 && !known_arch(p.arch)) {
		_cleanup_(sb_releasep) struct sb b = { 0 };
		sb_add_goquote(&b, text);
		return err_set(
			err, ERR_INVALID,
			"failed to parse platform: %s: unknown operating system or architecture: invalid argument",
			sb_c(&b));
	}
	p.os = arena_str(a, p.os);
	p.arch = arena_str(a, p.arch);
	p.variant = arena_str(a, p.variant);
	p.os_version = arena_str(a, p.os_version);
	*ret = p;
	return 0;
}

struct str oci_platform_text(struct arena *a, const struct oci_platform *p)
{
	struct str os = p->os.n ? p->os : STR("unknown"),
		   arch = p->arch.n ? p->arch : STR("unknown");
	return arena_printf(a, "%.*s/%.*s%s%.*s", STR_ARG(os), STR_ARG(arch),
			    p->variant.n ? "/" : "", STR_ARG(p->variant));
}

struct oci_platform oci_platform_host(void)
{
	return (struct oci_platform){ .os = STR("linux"),
				      .arch = STR(HOST_ARCH),
				      .variant = HOST_VARIANT,
				      .os_version = STR("") };
}

/* "v8" → 8, "v9.2" → 9 and 2; false for another text. An empty one is `or`. */
static bool version_of(struct str v, int or, int *major, int *minor)
{
	*minor = 0;
	*major = or ;
	if (!v.n)
		return true;
	bool dot = v.n == 4 && v.p[2] == '.';
	if ((v.n != 2 && !dot) || v.p[0] != 'v' || v.p[1] < '0' || v.p[1] > '9' ||
	    (dot && (v.p[3] < '0' || v.p[3] > '9')))
		return false;
	*major = v.p[1] - '0';
	*minor = dot ? v.p[3] - '0' : 0;
	return true;
}

/* Position of arm/vN in the list that begins with arm/v<from>; -1 when it is not in it. */
static int arm_rank(int from, struct str variant)
{
	int major, minor;
	if (!version_of(variant, 7, &major, &minor) || minor || major > from || major < 5)
		return -1;
	return from - major;
}

static int arm64_rank(const struct oci_platform *want, const struct oci_platform *have)
{
	int want_major, want_minor, major, minor;
	if (!version_of(want->variant, 8, &want_major, &want_minor) || want_major < 8 ||
	    want_major > 9)
		return str_eq(want->arch, have->arch) && str_eq(want->variant, have->variant) ? 0
											      : -1;
	/* v9.y is followed by the v8 that it includes, v8.(y+5); then come the 32-bit ones. */
	int nines = want_major == 9 ? want_minor + 1 : 0;
	int eight = want_major == 9 ? want_minor + 5 : want_minor;
	if (str_eq_c(have->arch, "arm")) {
		int r = arm_rank(8, have->variant);
		return r < 0 ? -1 : nines + eight + 1 + r;
	}
	if (!str_eq_c(have->arch, "arm64") || !version_of(have->variant, 8, &major, &minor))
		return -1;
	if (major == 9)
		return want_major == 9 && minor <= want_minor ? want_minor - minor : -1;
	return major == 8 && minor <= eight ? nines + eight - minor : -1;
}

static int amd64_rank(const struct oci_platform *want, const struct oci_platform *have)
{
	int from, major, minor;
	if (!version_of(want->variant, 1, &from, &minor) || minor || from < 1)
		return str_eq(want->arch, have->arch) && str_eq(want->variant, have->variant) ? 0
											      : -1;
	if (str_eq_c(have->arch, "386"))
		return from;
	if (!str_eq_c(have->arch, "amd64") || !version_of(have->variant, 1, &major, &minor) ||
	    minor || major > from || major < 1)
		return -1;
	return from - major;
}

/* Windows containers need the host's build: the first three numbers of the version. */
static bool version_fits(const struct oci_platform *want, const struct oci_platform *have)
{
	struct str w = want->os_version, h = have->os_version;
	if (!str_eq_c(want->os, "windows") || !w.n || !h.n)
		return true;
	for (int i = 0; i < 3; i++) {
		struct str x = w, y = h;
		if (!str_cut(w, '.', &x, &w))
			w = STR("");
		if (!str_cut(h, '.', &y, &h))
			h = STR("");
		if (!str_eq(x, y))
			return false;
	}
	return true;
}

int oci_platform_rank(const struct oci_platform *want_, const struct oci_platform *have_)
{
	_cleanup_(arena_freep) struct arena *a = arena_new();
	struct oci_platform want = oci_platform_normalize(a, want_),
			    have = oci_platform_normalize(a, have_);
	if (!str_eq(want.os, have.os) || !version_fits(&want, &have))
		return -1;
	if (str_eq_c(want.arch, "amd64"))
		return amd64_rank(&want, &have);
	if (str_eq_c(want.arch, "arm64"))
		return arm64_rank(&want, &have);
	if (!str_eq(want.arch, have.arch) && !str_eq_c(want.arch, "arm"))
		return -1;
	int from, minor;
	if (str_eq_c(want.arch, "arm") && version_of(want.variant, 7, &from, &minor) && !minor &&
	    from >= 5)
		return str_eq_c(have.arch, "arm") ? arm_rank(from, have.variant) : -1;
	return str_eq(want.arch, have.arch) && str_eq(want.variant, have.variant) ? 0 : -1;
}
