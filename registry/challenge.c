#include "registry/challenge.h"

struct cursor {
	struct arena *arena;
	struct str left;
};

static void skip(struct cursor *c, const char *set)
{
	while (c->left.n && c->left.p[0] && strchr(set, c->left.p[0]))
		c->left = str_sub(c->left, 1, c->left.n);
}

static struct str take_token(struct cursor *c)
{
	size_t i = 0;
	for (; i < c->left.n; i++) {
		char x = c->left.p[i], l = str_lower(x);
		if (!(l >= 'a' && l <= 'z') && !(x >= '0' && x <= '9') &&
		    !(x && strchr("!#$%&'*+-.^_`|~", x)))
			break;
	}
	struct str token = str_sub(c->left, 0, i);
	c->left = str_sub(c->left, i, c->left.n);
	return token;
}

/* A quoted string without its quotes and escapes; one that is not closed ends with the header. */
static struct str take_quoted(struct cursor *c)
{
	char *out = arena_alloc(c->arena, c->left.n + 1);
	size_t n = 0, i = 1;
	for (; i < c->left.n && c->left.p[i] != '"'; i++) {
		if (c->left.p[i] == '\\' && i + 1 < c->left.n)
			i++;
		out[n++] = c->left.p[i];
	}
	c->left = str_sub(c->left, i + 1, c->left.n);
	return (struct str){ out, n };
}

static struct str take_value(struct cursor *c)
{
	if (c->left.n && c->left.p[0] == '"')
		return take_quoted(c);
	/* Tokens, and what servers write without the quotes they owe: up to a comma or a blank. */
	size_t i = 0;
	while (i < c->left.n && !strchr(", \t", c->left.p[i]))
		i++;
	struct str v = arena_str(c->arena, str_sub(c->left, 0, i));
	c->left = str_sub(c->left, i, c->left.n);
	return v;
}

static void set_param(struct challenge *ch, struct str name, struct str value)
{
	static const struct {
		struct str name;
		size_t at;
	} known[] = {
		{ { "realm", 5 }, offsetof(struct challenge, realm) },
		{ { "service", 7 }, offsetof(struct challenge, service) },
		{ { "scope", 5 }, offsetof(struct challenge, scope) },
		{ { "error", 5 }, offsetof(struct challenge, error) },
	};
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		struct str *at = (struct str *)(void *)((char *)ch + known[i].at);
		if (str_ieq(name, known[i].name) && !at->p)
			*at = value;
	}
}

static enum challenge_scheme scheme_of(struct str token)
{
	if (str_ieq(token, STR("bearer")))
		return CHALLENGE_BEARER;
	return str_ieq(token, STR("basic")) ? CHALLENGE_BASIC : CHALLENGE_OTHER;
}

void challenge_parse(struct arena *a, struct str header, struct challenge *v, size_t *n)
{
	struct cursor c = { a, header };
	struct challenge *now = NULL;
	for (;;) {
		skip(&c, ", \t");
		if (!c.left.n)
			return;
		struct str token = take_token(&c);
		struct cursor before = c;
		skip(&c, " \t");
		bool is_param = c.left.n && c.left.p[0] == '=' && now;
		if (!token.n) {
			/* No token begins here: on to the next comma. */
			size_t comma = str_find(c.left, ',', 0);
			c.left = str_sub(c.left, comma == SIZE_MAX ? c.left.n : comma, c.left.n);
		} else if (is_param) {
			c.left = str_sub(c.left, 1, c.left.n);
			skip(&c, " \t");
			set_param(now, token, take_value(&c));
		} else {
			if (*n == CHALLENGE_MAX)
				return;
			c = before;
			now = &v[(*n)++];
			*now = (struct challenge){ .scheme = scheme_of(token) };
		}
	}
}

const struct challenge *challenge_choose(const struct challenge *v, size_t n)
{
	const struct challenge *basic = NULL;
	for (size_t i = 0; i < n; i++) {
		if (v[i].scheme == CHALLENGE_BEARER && v[i].realm.n)
			return &v[i];
		if (v[i].scheme == CHALLENGE_BASIC && !basic)
			basic = &v[i];
	}
	return basic;
}
