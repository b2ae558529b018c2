#include "registry/url.h"

#include <arpa/inet.h>

#include "base/err.h"

static bool clean(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] <= ' ' || (unsigned char)s.p[i] >= 0x7f)
			return false;
	return true;
}

static int refuse(struct str text, const char *why, struct err **err)
{
	_cleanup_(sb_releasep) struct sb b = { 0 };
	sb_add_printable(&b, str_sub(text, 0, 200));
	return err_set(err, ERR_INVALID, "URL '%s': %s", sb_c(&b), why);
}

static bool host_ok(struct str host)
{
	if (!host.n)
		return false;
	bool v6 = host.p[0] == '[';
	if (v6 && (host.n < 4 || host.p[host.n - 1] != ']'))
		return false;
	struct str in = v6 ? str_sub(host, 1, host.n - 1) : host;
	for (size_t i = 0; i < in.n; i++) {
		char c = str_lower(in.p[i]);
		bool hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
		if (v6 ? !hex && c != ':' && c != '.'
		       : !hex && !(c >= 'g' && c <= 'z') && c != '-' && c != '.' && c != '_')
			return false;
	}
	return true;
}

/* Where the port's colon is in an authority, behind the bracket of an IPv6 address. */
static size_t port_colon(struct str authority)
{
	size_t close = str_find(authority, ']', 0);
	return str_find(authority, ':', close == SIZE_MAX ? 0 : close);
}

int url_parse(struct str text, struct url *ret, struct err **err)
{
	struct url u = { 0 };
	struct str rest;
	if (text.n > URL_MAX)
		return refuse(text, "too long", err);
	if (text.n >= 8 && str_ieq(str_sub(text, 0, 8), STR("https://"))) {
		u.tls = true;
		rest = str_sub(text, 8, text.n);
	} else if (text.n >= 7 && str_ieq(str_sub(text, 0, 7), STR("http://"))) {
		rest = str_sub(text, 7, text.n);
	} else {
		return refuse(text, "neither http nor https", err);
	}
	if (!clean(text))
		return refuse(text, "blanks or control characters", err);
	size_t end = 0;
	while (end < rest.n && !strchr("/?#", rest.p[end]))
		end++;
	u.authority = str_sub(rest, 0, end);
	u.rest = str_sub(rest, end, rest.n);
	size_t hash = str_find(u.rest, '#', 0);
	if (hash != SIZE_MAX)
		u.rest = str_sub(u.rest, 0, hash);
	if (str_find(u.authority, '@', 0) != SIZE_MAX)
		return refuse(text, "a user name in it is not accepted", err);
	size_t colon = port_colon(u.authority);
	u.host = str_sub(u.authority, 0, colon);
	if (!host_ok(u.host))
		return refuse(text, "no valid host", err);
	u.port = u.tls ? 443 : 80;
	if (colon != SIZE_MAX) {
		_cleanup_(err_dropp) struct err *e = NULL;
		int64_t port;
		if (str_int(str_sub(u.authority, colon + 1, u.authority.n), 1, 65535, &port, &e) <
		    0)
			return refuse(text, "no valid port", err);
		u.port = (unsigned)port;
	}
	*ret = u;
	return 0;
}

bool url_same_origin(const struct url *a, const struct url *b)
{
	return a->tls == b->tls && a->port == b->port && str_ieq(a->host, b->host);
}

/* Adds a path without "." and ".." segments (RFC 3986, 5.2.4). */
static void add_path(struct sb *out, struct str path)
{
	size_t start = out->n;
	for (bool last = false; !last;) {
		struct str segment;
		path = str_sub(path, 1, path.n); /* its "/" */
		last = !str_cut(path, '/', &segment, &path);
		if (last)
			segment = path;
		else
			path = (struct str){ path.p - 1, path.n + 1 };
		bool up = str_eq(segment, STR(".."));
		if (up) {
			size_t slash = str_rfind(str_sub(sb_str(out), start, out->n), '/');
			sb_trunc(out, start + (slash == SIZE_MAX ? 0 : slash));
		}
		if (up || str_eq(segment, STR("."))) {
			if (last)
				sb_add_ch(out, '/');
			continue;
		}
		sb_add_ch(out, '/');
		sb_add_str(out, segment);
	}
}

int url_join(struct str base, struct str location, struct sb *out, struct err **err)
{
	struct url b, check;
	if (url_parse(base, &b, err) < 0)
		return -1;
	if (!location.n || location.n > URL_MAX)
		return refuse(location, location.n ? "too long" : "empty", err);
	size_t colon = str_find(location, ':', 0), slash = str_find(location, '/', 0),
	       ask = str_find(location, '?', 0);
	sb_reset(out);
	if (colon < slash && colon < ask) {
		sb_add_str(out, location);
		return url_parse(sb_str(out), &check, err);
	}
	sb_add_c(out, b.tls ? "https:" : "http:");
	if (str_starts(location, STR("//"))) {
		sb_add_str(out, location);
		return url_parse(sb_str(out), &check, err);
	}
	sb_add_c(out, "//");
	sb_add_str(out, b.authority);
	struct str base_path = str_sub(b.rest, 0, str_find(b.rest, '?', 0));
	struct str path = str_sub(location, 0, ask),
		   query = ask == SIZE_MAX ? STR("") : str_sub(location, ask, location.n);
	_cleanup_(sb_releasep) struct sb merged = { 0 };
	if (!path.n) {
		sb_add_str(&merged, base_path);
	} else if (path.p[0] == '/') {
		sb_add_str(&merged, path);
	} else {
		size_t last = str_rfind(base_path, '/');
		sb_add_str(&merged, last == SIZE_MAX ? STR("/") : str_sub(base_path, 0, last + 1));
		sb_add_str(&merged, path);
	}
	if (merged.n)
		add_path(out, sb_str(&merged));
	sb_add_str(out, query);
	return url_parse(sb_str(out), &check, err);
}

bool url_is_loopback(struct str host)
{
	if (str_ieq(host, STR("localhost")) || str_eq(host, STR("[::1]")))
		return true;
	char text[INET_ADDRSTRLEN];
	struct in_addr a;
	if (host.n >= sizeof(text))
		return false;
	memcpy(text, host.p, host.n);
	text[host.n] = '\0';
	return inet_pton(AF_INET, text, &a) == 1 && (ntohl(a.s_addr) >> 24) == 127;
}

void url_add_escaped(struct sb *b, struct str s, const char *keep)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		bool plain = (c >= '0' && c <= '9') ||
			(str_lower(c) >= 'a' && str_lower(c) <= 'z') || (c && strchr("-._~", c));
		if (plain || (c && strchr(keep, c)))
			sb_add_ch(b, c);
		else
			sb_printf(b, "%%%02X", (unsigned char)c);
	}
}
