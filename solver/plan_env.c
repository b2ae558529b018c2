#include "solver/plan_internal.h"

#include "parser/diag.h"
#include "parser/words.h"

/* What planning one Dockerfile may take. The largest real files stay far below; without a bound, values that double, or lists that are
 * walked for each of their members, would take any machine's memory or time. */
enum {
	MAX_PLAN = 256 << 20,
	MAX_VARIABLES = 10000,
	MAX_ARGS = 2000,
	MAX_WORK = 1000000000,
	NEAR_WORK = 50
};

void *plan_grow(struct arena *a, void *v, size_t n, size_t *cap, size_t size)
{
	if (n < *cap)
		return v;
	*cap = *cap ? 2 * *cap : 8;
	void *wider = arena_alloc_array(a, *cap, size);
	if (n)
		memcpy(wider, v, n * size);
	return wider;
}

int plan_check_size(struct plan_bases *b, const struct plan_state *s, struct err **err)
{
	if (s)
		b->work += s->env.n + s->img.config.n_labels + s->img.config.volumes.n;
	if (b->work > MAX_WORK)
		return err_set(err, ERR_LIMIT, "planning this Dockerfile takes more than %d steps",
			       MAX_WORK);
	if (arena_used(b->a) - b->arena_before > MAX_PLAN)
		return err_set(err, ERR_LIMIT, "planning this Dockerfile needs more than %d MiB",
			       MAX_PLAN >> 20);
	if (b->globals.n > MAX_VARIABLES || b->declared.n > MAX_VARIABLES ||
	    (s &&
	     (s->env.n > MAX_VARIABLES || s->img.config.n_labels > MAX_VARIABLES ||
	      s->img.config.volumes.n > MAX_VARIABLES)))
		return err_set(err, ERR_LIMIT,
			       "a stage has more than %d variables, labels or volumes",
			       MAX_VARIABLES);
	if (s && s->n_args > MAX_ARGS)
		return err_set(err, ERR_LIMIT, "a stage declares more than %d ARGs", MAX_ARGS);
	return 0;
}

/* ---- lists of variables */

static struct plan_pair *find(const struct plan_env *e, struct str name)
{
	for (size_t i = e->n; i-- > 0;)
		if (str_eq(e->v[i].name, name))
			return &e->v[i];
	return NULL;
}

void plan_env_set(struct arena *a, struct plan_env *e, struct str name, struct str value)
{
	if (e->shared) {
		struct plan_pair *own = arena_array_of(a, struct plan_pair, e->n + 8);
		if (e->n)
			memcpy(own, e->v, e->n * sizeof(*own));
		e->v = own;
		e->cap = e->n + 8;
		e->shared = false;
	}
	struct plan_pair *old = find(e, name);
	if (old) {
		memmove(old, old + 1, (size_t)(e->v + e->n - (old + 1)) * sizeof(*old));
		e->n--;
	}
	PLAN_ADD(a, e->v, e->n, e->cap, ((struct plan_pair){ name, value }));
}

bool plan_env_get(const struct plan_env *e, struct str name, struct str *ret)
{
	const struct plan_pair *p = find(e, name);
	if (p)
		*ret = p->value;
	return p;
}

struct plan_pair *plan_env_share(struct plan_env *e)
{
	e->shared = true;
	return e->v;
}

void plan_names_add(struct arena *a, struct plan_names *l, struct str name)
{
	if (!plan_names_has(l, name))
		PLAN_ADD(a, l->v, l->n, l->cap, name);
}

bool plan_names_has(const struct plan_names *l, struct str name)
{
	for (size_t i = 0; i < l->n; i++)
		if (str_eq(l->v[i], name))
			return true;
	return false;
}

const struct plan_pair *plan_build_arg(const struct plan_options *o, struct str name)
{
	for (size_t i = o->n_build_args; i-- > 0;)
		if (str_eq(o->build_args[i].name, name))
			return &o->build_args[i];
	return NULL;
}

/* ---- expansion */

static bool scope_get(const struct df_env *env, struct str name, struct str *ret)
{
	const struct plan_scope *s = (const struct plan_scope *)env;
	if (s->masked && plan_names_has(s->masked, name)) {
		*ret = STR("****");
		return true;
	}
	if (!s->vars || !plan_env_get(s->vars, name, ret))
		return false;
	if (s->matched)
		plan_names_add(s->a, s->matched, arena_str(s->a, name));
	return true;
}

struct plan_scope plan_scope(struct arena *a, const struct plan_env *vars)
{
	return (struct plan_scope){ .env.get = scope_get, .vars = vars, .a = a };
}

struct str plan_env_near(struct arena *a, const struct plan_env *e, struct str name)
{
	struct str *names = arena_array_of(a, struct str, e->n);
	for (size_t i = 0; i < e->n; i++)
		names[i] = e->v[i].name;
	return df_near(name, names, e->n, false);
}

bool plan_is_scan_arg(struct str name)
{
	return str_eq_c(name, "BUILDKIT_SBOM_SCAN_CONTEXT") ||
		str_eq_c(name, "BUILDKIT_SBOM_SCAN_STAGE");
}

static bool is_declared(const struct plan_state *s, struct str name)
{
	for (size_t i = 0; i < s->n_args; i++)
		if (str_eq(s->args[i].name, name))
			return true;
	return plan_is_scan_arg(name);
}

void plan_report_undefined(const struct plan_at *p, const struct df_expansion *x)
{
	for (size_t i = 0; p->b->lint && i < x->unmatched.n; i++) {
		struct str name = x->unmatched.v[i];
		if (is_declared(p->s, name))
			continue;
		struct str near = plan_env_near(p->b->a, &p->s->env, name);
		p->b->work += NEAR_WORK * p->s->env.n;
		df_lint_warn(p->b->lint, LINT_UNDEFINED_VAR, p->cmd->trigger ? NULL : p->cmd->ins,
			     p->cmd->at,
			     near.p ? "Usage of undefined variable '$%.*s' (did you mean $%.*s?)"
				    : "Usage of undefined variable '$%.*s'",
			     STR_ARG(name), STR_ARG(near));
	}
}

static int expand(const struct plan_at *p, struct str word, struct df_expansion *x, struct str *ret,
		  struct err **err)
{
	struct plan_scope scope = plan_scope(p->b->a, &p->s->env);
	int r = df_expand(p->b->a, word, &scope.env, x, ret, err);
	plan_report_undefined(p, x);
	VEC_RELEASE(&x->unmatched);
	return r;
}

int plan_expand(const struct plan_at *p, struct str word, struct str *ret, struct err **err)
{
	struct df_expansion x = { .escape = p->b->f->escape };
	return expand(p, word, &x, ret, err);
}

int plan_expand_body(const struct plan_at *p, struct str body, struct str *ret, struct err **err)
{
	/* The escape of a heredoc body is a backslash whatever the directive says. */
	struct df_expansion x = { .escape = '\\', .plain_quotes = true };
	return expand(p, body, &x, ret, err);
}
