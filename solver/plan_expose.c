#include "solver/plan_internal.h"

#include <arpa/inet.h>

#include "base/map.h"
#include "parser/words.h"

/* One word of EXPOSE, split as [[ip:]host:]port[-end][/proto]. */
struct port_spec {
	struct str raw, ip, host, port, proto;
};

struct port_range {
	int64_t first, last;
};

static void split(struct str raw, struct port_spec *s)
{
	struct str rest = raw;
	*s = (struct port_spec){ .raw = raw, .proto = STR("tcp") };
	size_t slash = str_find(raw, '/', 0);
	if (slash != SIZE_MAX) {
		rest = str_sub(raw, 0, slash);
		if (slash + 1 < raw.n)
			s->proto = str_sub(raw, slash + 1, raw.n);
	}
	s->port = rest;
	size_t colon = str_rfind(rest, ':');
	if (colon == SIZE_MAX)
		return;
	s->port = str_sub(rest, colon + 1, rest.n);
	s->host = str_sub(rest, 0, colon);
	colon = str_rfind(s->host, ':');
	if (colon == SIZE_MAX)
		return;
	s->ip = str_sub(s->host, 0, colon);
	s->host = str_sub(s->host, colon + 1, s->host.n);
}

/* A decimal number of 16 bits; a plus and leading zeros are fine. */
static bool number(struct str s, int64_t *ret)
{
	_cleanup_(err_dropp) struct err *ignored = NULL;
	if (s.n && s.p[0] == '+')
		s = str_sub(s, 1, s.n);
	return str_int(s, 0, 65535, ret, &ignored) == 0;
}

static bool range(struct str s, struct port_range *ret)
{
	struct str first, last;
	if (!str_cut(s, '-', &first, &last))
		first = last = s;
	return number(first, &ret->first) && number(last, &ret->last) && ret->first <= ret->last;
}

static bool valid_ip(struct str s)
{
	_cleanup_free_ char *text = NULL;
	unsigned char buf[sizeof(struct in6_addr)];
	if (s.n >= 2 && s.p[0] == '[' && s.p[s.n - 1] == ']')
		s = str_sub(s, 1, s.n - 1);
	text = str_dup(s);
	return !s.n ||
		(strlen(text) == s.n &&
		 (inet_pton(AF_INET, text, buf) == 1 || inet_pton(AF_INET6, text, buf) == 1));
}

static void lint(const struct plan_at *p, const struct port_spec *s)
{
	const struct df_instruction *own = p->cmd->trigger ? NULL : p->cmd->ins;
	for (size_t i = 0; i < s->proto.n; i++) {
		if (s->proto.p[i] < 'A' || s->proto.p[i] > 'Z')
			continue;
		df_lint_warn(p->b->lint, LINT_EXPOSE_PROTO_CASING, own, p->cmd->at,
			     "Defined protocol '%.*s' in EXPOSE instruction should be lowercase",
			     STR_ARG(s->raw));
		break;
	}
	if (s->ip.n || s->host.n)
		df_lint_warn(
			p->b->lint, LINT_EXPOSE_INVALID_FORMAT, own, p->cmd->at,
			"EXPOSE instruction should not define an IP address or host-port mapping, found '%.*s'",
			STR_ARG(s->raw));
}

static int judge(const struct plan_at *p, const struct port_spec *s, struct port_range *ret,
		 struct err **err)
{
	static const char *const protos[] = { "tcp", "udp", "sctp" };
	struct port_range host;
	bool known = false;
	struct str quoted = config_quoted(p->b->a, s->raw);
	for (size_t i = 0; i < ARRAY_SIZE(protos); i++)
		known |= str_ieq(s->proto, str_c(protos[i]));
	if (!known)
		return err_set(err, ERR_SYNTAX, "invalid port: %.*s: invalid proto: %.*s",
			       STR_ARG(quoted), STR_ARG(s->proto));
	if (!s->port.n)
		return err_set(err, ERR_SYNTAX, "invalid port: %.*s: no port specified",
			       STR_ARG(quoted));
	lint(p, s);
	if (!valid_ip(s->ip))
		return err_set(err, ERR_SYNTAX, "invalid IP address: %.*s", STR_ARG(s->ip));
	if (!range(s->port, ret))
		return err_set(err, ERR_SYNTAX, "invalid containerPort: %.*s", STR_ARG(s->port));
	if (s->host.n && !range(s->host, &host))
		return err_set(err, ERR_SYNTAX, "invalid hostPort: %.*s", STR_ARG(s->host));
	if (s->host.n && ret->first != ret->last &&
	    host.last - host.first != ret->last - ret->first)
		return err_set(
			err, ERR_SYNTAX,
			"invalid ranges specified for container and host Ports: %.*s and %.*s",
			STR_ARG(s->port), STR_ARG(s->host));
	return 0;
}

/* "80/tcp" for each port of a word. */
static int add_ports(const struct plan_at *p, struct str word, struct oci_list *ports,
		     struct err **err)
{
	struct port_spec s;
	struct port_range r;
	split(word, &s);
	if (judge(p, &s, &r, err) < 0)
		return -1;
	_cleanup_free_ char *proto = str_dup(s.proto);
	for (char *c = proto; *c; c++)
		*c = str_lower(*c);
	for (int64_t i = r.first; i <= r.last; i++)
		config_list_add(p->b->a, ports,
				arena_printf(p->b->a, "%lld/%s", (long long)i, proto));
	return plan_check_size(p->b, p->s, err);
}

/* A range may hold all ports, so that a look along the list for each would be slow. */
static void expose(const struct plan_at *p, const struct oci_list *ports)
{
	struct oci_list *all = &p->s->img.config.exposed_ports;
	struct map known = { 0 };
	for (size_t i = 0; i < all->n; i++)
		map_put(&known, all->v[i], all);
	for (size_t i = 0; i < ports->n; i++)
		if (!map_put(&known, ports->v[i], all))
			config_list_add(p->b->a, all, ports->v[i]);
	map_release(&known);
}

int plan_expose(const struct plan_at *p, struct err **err)
{
	const struct df_list *raw = &p->cmd->ins->words;
	struct oci_list words = { 0 }, ports = { 0 };
	struct plan_scope scope = plan_scope(p->b->a, &p->s->env);
	for (size_t i = 0; i < raw->n; i++) {
		struct df_expansion x = { .escape = p->b->f->escape };
		struct str *v = NULL;
		size_t n = 0;
		int r = df_expand_words(p->b->a, raw->v[i].text, &scope.env, &x, &v, &n, err);
		VEC_RELEASE(&x.unmatched);
		if (r < 0)
			return -1;
		for (size_t k = 0; k < n; k++)
			config_list_add(p->b->a, &words, v[k]);
	}
	for (size_t i = 0; i < words.n; i++)
		if (add_ports(p, words.v[i], &ports, err) < 0)
			return -1;
	expose(p, &ports);
	struct str shown = config_text_list(p->b->a, ports.v, ports.n);
	plan_commit(p, NULL, CONFIG_TEXT(p->b->a, STR("EXPOSE "), shown));
	return 0;
}
