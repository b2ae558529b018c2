#include "registry/scope.h"

bool scope_next(struct str *list, struct str *ret)
{
	*list = str_trim(*list, " ");
	if (!list->n)
		return false;
	if (!str_cut(*list, ' ', ret, list)) {
		*ret = *list;
		*list = str_sub(*list, list->n, list->n);
	}
	return true;
}

/* "repository:a/b" and "pull,push": the resource may hold colons (a host with a port). */
static void split(struct str scope, struct str *resource, struct str *actions)
{
	size_t colon = str_rfind(scope, ':');
	*resource = str_sub(scope, 0, colon);
	*actions = colon == SIZE_MAX ? STR("") : str_sub(scope, colon + 1, scope.n);
}

/* Empty ones, as in "pull,,push", say nothing. */
static bool next_action(struct str *list, struct str *ret)
{
	while (list->n) {
		if (!str_cut(*list, ',', ret, list)) {
			*ret = *list;
			*list = STR("");
		}
		if (ret->n)
			return true;
	}
	return false;
}

static bool has_action(struct str actions, struct str one)
{
	for (struct str a; next_action(&actions, &a);)
		if (str_eq(a, one))
			return true;
	return false;
}

static bool has_resource(struct str list, struct str resource)
{
	for (struct str s, r, actions; scope_next(&list, &s);) {
		split(s, &r, &actions);
		if (str_eq(r, resource))
			return true;
	}
	return false;
}

static bool allows(struct str list, struct str resource, struct str action)
{
	for (struct str s, r, actions; scope_next(&list, &s);) {
		split(s, &r, &actions);
		if (str_eq(r, resource) && has_action(actions, action))
			return true;
	}
	return false;
}

bool scope_covers(struct str have, struct str want)
{
	for (struct str s, resource, actions, one; scope_next(&want, &s);) {
		split(s, &resource, &actions);
		while (next_action(&actions, &one))
			if (!allows(have, resource, one))
				return false;
	}
	return true;
}

/* Adds the actions for a resource in a list that are not yet in `out` behind `from`. */
static void add_actions(struct sb *out, size_t from, struct str list, struct str resource)
{
	for (struct str s, r, actions, one; scope_next(&list, &s);) {
		split(s, &r, &actions);
		while (str_eq(r, resource) && next_action(&actions, &one)) {
			if (has_action(str_sub(sb_str(out), from, out->n), one))
				continue;
			if (out->n > from)
				sb_add_ch(out, ',');
			sb_add_str(out, one);
		}
	}
}

static void add_scopes(struct sb *out, struct str list, struct str x, struct str y)
{
	for (struct str s, resource, actions; scope_next(&list, &s);) {
		split(s, &resource, &actions);
		if (has_resource(sb_str(out), resource))
			continue;
		if (out->n)
			sb_add_ch(out, ' ');
		sb_add_str(out, resource);
		sb_add_ch(out, ':');
		size_t from = out->n;
		add_actions(out, from, x, resource);
		add_actions(out, from, y, resource);
	}
}

struct str scope_merge(struct arena *a, struct str x, struct str y)
{
	_cleanup_(sb_releasep) struct sb out = { 0 };
	add_scopes(&out, x, x, y);
	add_scopes(&out, y, x, y);
	return arena_str(a, sb_str(&out));
}
