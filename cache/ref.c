#include "cache/ref.h"

#include <stdlib.h>

#include "base/err.h"

enum { PATH_MAX_BYTES = 255, TAG_MAX_BYTES = 128, SHOWN_BYTES = 300 };

static const struct str hub = { "docker.io", 9 };

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_lower_alnum(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z');
}

static bool is_upper(char c)
{
	return c >= 'A' && c <= 'Z';
}

static bool is_alnum(char c)
{
	return is_lower_alnum(c) || is_upper(c);
}

static bool is_hex(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'f');
}

bool ref_is_id(struct str text, size_t min)
{
	if (!text.n || text.n < min || text.n > 64)
		return false;
	for (size_t i = 0; i < text.n; i++)
		if (!is_hex(text.p[i]))
			return false;
	return true;
}

/* Fails with "invalid reference format: WHY ("TEXT")"; TEXT made safe for a terminal and cut. */
static int refuse(struct str text, struct err **err, const char *why)
{
	_cleanup_(sb_releasep) struct sb b = { 0 };
	sb_add_printable(&b, str_sub(text, 0, SHOWN_BYTES));
	return err_set(err, ERR_INVALID, "invalid reference format: %s (\"%s\")", why, sb_c(&b));
}

/* A label of a host name: letters, digits and inner dashes. */
static bool label_ok(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!is_alnum(s.p[i]) && s.p[i] != '-')
			return false;
	return s.n && s.p[0] != '-' && s.p[s.n - 1] != '-';
}

/* An IPv6 address in brackets, without zone and without embedded IPv4. */
static bool bracket_ok(struct str s)
{
	if (s.n < 3 || s.p[s.n - 1] != ']')
		return false;
	for (size_t i = 1; i < s.n - 1; i++)
		if (!is_hex(str_lower(s.p[i])) && s.p[i] != ':')
			return false;
	return true;
}

static bool domain_ok(struct str s)
{
	size_t colon = str_rfind(s, ':');
	size_t bracket = str_rfind(s, ']');
	if (colon != SIZE_MAX && (bracket == SIZE_MAX || colon > bracket)) {
		struct str port = str_sub(s, colon + 1, s.n);
		for (size_t i = 0; i < port.n; i++)
			if (!is_digit(port.p[i]))
				return false;
		if (!port.n)
			return false;
		s = str_sub(s, 0, colon);
	}
	if (s.n && s.p[0] == '[')
		return bracket_ok(s);
	for (;;) {
		struct str label = s, rest;
		bool more = str_cut(s, '.', &label, &rest);
		if (!label_ok(label))
			return false;
		if (!more)
			return true;
		s = rest;
	}
}

/* Length of the separator at s.p[i]: one dot, one or two underscores, any number of dashes; 0 for none. */
static size_t separator(struct str s, size_t i)
{
	size_t n = 0;
	while (i + n < s.n && s.p[i + n] == s.p[i])
		n++;
	switch (s.p[i]) {
	case '.':
		return n == 1 ? n : 0;
	case '_':
		return n <= 2 ? n : 0;
	case '-':
		return n;
	default:
		return 0;
	}
}

static bool component_ok(struct str s)
{
	if (!s.n || !is_lower_alnum(s.p[0]) || !is_lower_alnum(s.p[s.n - 1]))
		return false;
	for (size_t i = 0; i < s.n;) {
		size_t n = is_lower_alnum(s.p[i]) ? 1 : separator(s, i);
		if (!n || (i + n < s.n && !is_lower_alnum(s.p[i]) && !is_lower_alnum(s.p[i + n])))
			return false;
		i += n;
	}
	return true;
}

static bool path_ok(struct str s)
{
	for (;;) {
		struct str comp = s, rest;
		bool more = str_cut(s, '/', &comp, &rest);
		if (!component_ok(comp))
			return false;
		if (!more)
			return true;
		s = rest;
	}
}

static bool tag_ok(struct str s)
{
	if (!s.n || s.n > TAG_MAX_BYTES || s.p[0] == '.' || s.p[0] == '-')
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (!is_alnum(s.p[i]) && s.p[i] != '_' && s.p[i] != '.' && s.p[i] != '-')
			return false;
	return true;
}

static bool has_upper(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (is_upper(s.p[i]))
			return true;
	return false;
}

/* Whether what stands before the first slash is a domain (else it belongs to a path on docker.io). */
static bool looks_like_domain(struct str s)
{
	return str_find(s, '.', 0) != SIZE_MAX || str_find(s, ':', 0) != SIZE_MAX ||
		str_eq_c(s, "localhost") || has_upper(s);
}

static int refuse_upper(struct arena *a, struct str text, struct str path, struct err **err)
{
	_cleanup_(sb_releasep) struct sb b = { 0 };
	sb_add_printable(&b, str_sub(path, 0, SHOWN_BYTES));
	err_set(err, ERR_INVALID,
		"invalid reference format: repository name (%s) must be lowercase", sb_c(&b));
	struct str low = arena_str(a, str_sub(text, 0, SHOWN_BYTES));
	sb_reset(&b);
	for (size_t i = 0; i < low.n; i++) {
		char c = str_lower(low.p[i]);
		sb_add_printable(&b, (struct str){ &c, 1 });
	}
	return err_hint(err, "write \"%s\"", sb_c(&b));
}

/* Cuts digest and tag off the end of what follows the domain. */
static int cut_suffixes(struct str text, struct str *name, struct ref *r, struct err **err)
{
	struct str digest;
	if (str_cut(*name, '@', name, &digest)) {
		_cleanup_(err_dropp) struct err *e = NULL;
		if (digest_parse(digest, &r->digest, &e) < 0)
			return refuse(
				text, err,
				"the digest after '@' must be \"sha256:\" and 64 lower-case hex digits");
		r->has_digest = true;
	}
	size_t colon = str_rfind(*name, ':'), slash = str_rfind(*name, '/');
	if (colon != SIZE_MAX && (slash == SIZE_MAX || colon > slash)) {
		r->tag = str_sub(*name, colon + 1, name->n);
		*name = str_sub(*name, 0, colon);
		if (!tag_ok(r->tag))
			return refuse(
				text, err,
				"the tag must be 1 to 128 letters, digits, '_', '.' or '-', not beginning with '.' or '-'");
	}
	return 0;
}

int ref_parse(struct arena *a, struct str text, struct ref *ret, struct err **err)
{
	struct ref r = { .domain = hub };
	struct str head, tail, name = text;
	if (!text.n)
		return err_set(err, ERR_INVALID, "invalid reference format: it is empty");
	if (memchr(text.p, '\0', text.n))
		return refuse(text, err, "it holds a NUL byte");
	if (ref_is_id(text, 64))
		return refuse(text, err, "64 hex digits are an image id, not a name");
	if (str_cut(text, '/', &head, &tail) && looks_like_domain(head)) {
		if (!domain_ok(head))
			return refuse(
				text, err,
				"what stands before the first '/' is not a valid host name and port");
		r.domain = str_eq_c(head, "index.docker.io") ? hub : head;
		name = tail;
	}
	if (cut_suffixes(text, &name, &r, err) < 0)
		return -1;
	if (str_eq(r.domain, hub) && name.n && str_find(name, '/', 0) == SIZE_MAX)
		name = arena_printf(a, "library/%.*s", STR_ARG(name));
	if (has_upper(name))
		return refuse_upper(a, text, name, err);
	if (!path_ok(name))
		return refuse(
			text, err,
			"the repository must be lower-case letters and digits, parted by '.', '_', '__', '-' or '/'");
	if (name.n > PATH_MAX_BYTES)
		return refuse(text, err, "the repository has more than 255 characters");
	r.domain = arena_str(a, r.domain);
	r.path = arena_str(a, name);
	r.tag = arena_str(a, r.tag);
	*ret = r;
	return 0;
}

/* Name with tag and digest where they are there. */
static struct str with_suffixes(struct arena *a, struct str name, struct str tag,
				const struct ref *r)
{
	char digest[DIGEST_TEXT] = "";
	if (r->has_digest)
		digest_text(&r->digest, digest);
	return arena_printf(a, "%.*s%s%.*s%s%s", STR_ARG(name), tag.n ? ":" : "", STR_ARG(tag),
			    r->has_digest ? "@" : "", digest);
}

struct str ref_full(struct arena *a, const struct ref *r)
{
	struct str tag = r->tag.n || r->has_digest ? r->tag : STR("latest");
	return with_suffixes(a, arena_printf(a, "%.*s/%.*s", STR_ARG(r->domain), STR_ARG(r->path)),
			     tag, r);
}

struct str ref_familiar_name(struct arena *a, const struct ref *r)
{
	struct str path = r->path, head, tail;
	struct str whole = arena_printf(a, "%.*s/%.*s", STR_ARG(r->domain), STR_ARG(r->path));
	if (!str_eq(r->domain, hub))
		return whole;
	if (str_starts(path, STR("library/")) && str_find(path, '/', 8) == SIZE_MAX)
		path = str_sub(path, 8, path.n);
	/* The short form must mean the same when it is read again. */
	if (ref_is_id(path, 64) || (str_cut(path, '/', &head, &tail) && looks_like_domain(head)))
		return whole;
	return arena_str(a, path);
}

struct str ref_familiar(struct arena *a, const struct ref *r)
{
	return with_suffixes(a, ref_familiar_name(a, r), r->tag, r);
}
