#include "solver/plan_internal.h"

#include "parser/words.h"

static unsigned digits(unsigned n)
{
	unsigned d = 1;
	for (; n >= 10; n /= 10)
		d++;
	return d;
}

/* "[stage 2/5] ", and counts the step. */
static void add_prefix(struct plan_bases *b, struct plan_state *s, struct sb *out)
{
	if (!s->step_total)
		return;
	sb_add_ch(out, '[');
	if (!b->one)
		sb_printf(out, "%.*s ", STR_ARG(s->label));
	sb_printf(out, "%*u/%u] ", (int)digits(s->step_total), ++s->step_no, s->step_total);
}

/* One line: what would break it becomes a blank. */
static void add_line(struct sb *out, struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		sb_add_ch(out, s.p[i] == '\n' || s.p[i] == '\r' ? ' ' : s.p[i]);
}

/* The text with its keyword in upper case. */
static struct str finish(const struct plan_at *p, struct str text, bool link)
{
	_cleanup_(sb_releasep) struct sb out = { 0 };
	add_prefix(p->b, p->s, &out);
	if (p->cmd->trigger && out.n)
		sb_add_c(&out, "ONBUILD ");
	if (link)
		sb_add_c(&out, "LINK ");
	size_t word = str_find(text, ' ', 0);
	word = word == SIZE_MAX ? text.n : word;
	for (size_t i = 0; i < word; i++)
		sb_add_ch(&out,
			  text.p[i] >= 'a' && text.p[i] <= 'z' ? (char)(text.p[i] - 32)
							       : text.p[i]);
	add_line(&out, str_sub(text, word, text.n));
	return arena_str(p->b->a, sb_str(&out));
}

static struct str expanded(const struct plan_at *p, struct str text, struct df_expansion *x,
			   const struct plan_names *masked)
{
	_cleanup_(err_dropp) struct err *ignored = NULL;
	struct plan_scope scope = plan_scope(p->b->a, &p->s->env);
	struct str out;
	scope.masked = masked;
	if (df_expand(p->b->a, text, &scope.env, x, &out, &ignored) < 0)
		out = text;
	VEC_RELEASE(&x->unmatched);
	return out;
}

struct str plan_name(const struct plan_at *p, struct str text, bool link)
{
	struct df_expansion x = { .escape = p->b->f->escape };
	return finish(p, expanded(p, text, &x, NULL), link);
}

struct str plan_name_run(const struct plan_at *p, struct str text, const struct plan_names *masked)
{
	struct df_expansion x = { .escape = p->b->f->escape,
				  .keep_quotes = true,
				  .keep_unset = true };
	return finish(p, expanded(p, text, &x, masked), false);
}

struct str plan_name_from(struct plan_bases *b, struct plan_state *s, struct str ref)
{
	_cleanup_(sb_releasep) struct sb out = { 0 };
	add_prefix(b, s, &out);
	sb_printf(&out, "FROM %.*s", STR_ARG(ref));
	return arena_str(b->a, sb_str(&out));
}
