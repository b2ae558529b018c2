#include "solver/plan_internal.h"

#include "cache/ref.h"
#include "parser/diag.h"
#include "parser/parse.h"
#include "parser/words.h"

enum { MAX_IMAGES = 1024 };

struct plan_state *plan_state_new(struct plan_bases *b)
{
	struct plan_state *s = arena_new_of(b->a, struct plan_state);
	s->number = b->n_states;
	PLAN_ADD(b->a, b->states, b->n_states, b->cap_states, s);
	return s;
}

/* The reason why a text is no reference as BuildKit words it; what ours says more is the hint. */
static int bad_reference(const char *what, struct str shown, struct err *reason, struct err **err)
{
	static const char *const base = "invalid reference format";
	size_t n = strlen(base);
	const char *more = strncmp(reason->msg, base, n) == 0 && reason->msg[n] == ':'
		? reason->msg + n + 2
		: NULL;
	bool ours = more && strncmp(more, "repository name", 15) != 0;
	err_set(err, ERR_SYNTAX, "%s %.*s: %s", what, STR_ARG(shown), ours ? base : reason->msg);
	if (ours)
		err_hint(err, "%s", more);
	err_drop(&reason);
	return -1;
}

/* ---- named contexts */

/* "busybox" for busybox, busybox:latest and docker.io/library/busybox. */
static int context_name(struct arena *a, struct str name, struct str *ret, struct err **err)
{
	struct ref r;
	struct err *bad = NULL;
	if (ref_parse(a, name, &r, &bad) < 0)
		return bad_reference("invalid context name", name, bad, err);
	struct str s = ref_familiar(a, &r);
	*ret = str_ends(s, STR(":latest")) ? str_sub(s, 0, s.n - 7) : s;
	return 0;
}

/* Whether a --build-context is for that name, with ("busybox::linux/arm64") or without a platform. */
static bool is_context(struct arena *a, const struct plan_pair *c, struct str name,
		       struct str platform)
{
	struct str own = c->name, restricted = { 0 };
	_cleanup_(err_dropp) struct err *ignored = NULL;
	size_t at = str_find_str(c->name, STR("::"), 0);
	if (at != SIZE_MAX) {
		own = str_sub(c->name, 0, at);
		restricted = str_sub(c->name, at + 2, c->name.n);
	}
	if (!str_eq(restricted, platform))
		return false;
	return str_eq(own, name) ||
		(context_name(a, own, &own, &ignored) == 0 && str_eq(own, name));
}

int plan_context_find(struct plan_bases *b, struct str name, const struct oci_platform *platform,
		      const struct plan_pair **ret, struct err **err)
{
	*ret = NULL;
	if (str_ieq(name, STR("scratch")) || str_ieq(name, STR("context")))
		return 0;
	if (context_name(b->a, name, &name, err) < 0)
		return -1;
	struct str wanted[2] = { { 0 }, STR("") };
	if (b->o->n_contexts)
		wanted[0] = oci_platform_text(b->a, platform ? platform : &b->o->target_platform);
	for (size_t k = 0; k < 2; k++)
		for (size_t i = b->o->n_contexts; i-- > 0 && !*ret;)
			if (is_context(b->a, &b->o->contexts[i], name, wanted[k]))
				*ret = &b->o->contexts[i];
	return 0;
}

/* ---- what commands read from */

/* COPY --from and mounts mean the last stage of a name in the whole file, whatever its case. */
static struct plan_state *stage_named(const struct plan_bases *b, struct str name)
{
	for (size_t i = b->n_stages; i-- > 0;)
		if (b->states[i]->name.p && str_ieq(b->states[i]->name, name))
			return b->states[i];
	return NULL;
}

static struct plan_state *named(struct plan_bases *b, struct str name, struct span at)
{
	struct plan_state *s = stage_named(b, name);
	if (s)
		return s;
	s = plan_state_new(b);
	s->base_name = s->base_text = name;
	s->at = at;
	return s;
}

/* Go's strconv.Atoi for what could be an index. */
static bool is_index(struct str s, int64_t *ret)
{
	_cleanup_(err_dropp) struct err *ignored = NULL;
	bool sign = s.n && (s.p[0] == '-' || s.p[0] == '+');
	if (str_int(str_sub(s, sign, s.n), 0, INT64_MAX, ret, &ignored) < 0)
		return false;
	if (s.p[0] == '-')
		*ret = -*ret;
	return true;
}

static int copy_source(struct plan_bases *b, struct plan_cmd *cmd, struct err **err)
{
	struct str from = cmd->ins->from, same;
	struct plan_scope none = plan_scope(b->a, NULL);
	struct df_expansion x = { .escape = b->f->escape };
	int64_t index;
	if (!from.n)
		return 0;
	int r = df_expand(b->a, from, &none.env, &x, &same, err);
	VEC_RELEASE(&x.unmatched);
	if (r < 0)
		return -1;
	if (!str_eq(from, same))
		return err_set(
			err, ERR_SYNTAX,
			"variable expansion is not supported for --from, define a new stage with FROM using ARG from "
			"global scope as a workaround");
	cmd->sources = arena_new_of(b->a, struct plan_state *);
	cmd->n_sources = 1;
	if (!is_index(from, &index))
		cmd->sources[0] = named(b, from, cmd->at);
	else if (index >= 0 && (size_t)index < b->n_stages)
		cmd->sources[0] = b->states[index];
	else
		return err_set(err, ERR_SYNTAX, "invalid stage index %lld", (long long)index);
	return 0;
}

int plan_cmd_sources(struct plan_bases *b, struct plan_cmd *cmd, struct err **err)
{
	const struct df_instruction *ins = cmd->ins;
	if (ins->kind == DF_COPY)
		return copy_source(b, cmd, err);
	if (ins->kind != DF_RUN || !ins->n_mounts)
		return 0;
	cmd->sources = arena_array_of(b->a, struct plan_state *, ins->n_mounts);
	cmd->n_sources = ins->n_mounts;
	for (size_t i = 0; i < ins->n_mounts; i++)
		/* Without `from` it is scratch, of whatever type the mount is: a stage of that name is depended on then. The
		 * reference of a mount has no place in BuildKit's errors. */
		cmd->sources[i] =
			named(b, ins->mounts[i].from.n ? ins->mounts[i].from : STR("scratch"),
			      (struct span){ 0 });
	return 0;
}

/* ---- cycles */

struct walk {
	struct plan_state *s;
	size_t cmd, source; /* the next edge */
	struct span at;     /* of the edge that led here */
};

struct walks {
	struct walk *v;
	size_t n, cap;
	unsigned char *seen; /* by state number: 1 on the path, 2 done */
};

static int cycle(const struct walks *w, struct span last, struct str label, struct err **err)
{
	struct span at = last;
	for (size_t i = 1; i < w->n; i++) {
		at.last = at.last < w->v[i].at.last ? w->v[i].at.last : at.last;
		at.line = at.line > w->v[i].at.line ? w->v[i].at.line : at.line;
	}
	at.begin = at.end = 0;
	err_set(err, ERR_SYNTAX, "circular dependency detected on stage: %.*s", STR_ARG(label));
	return err_at(err, at);
}

/* Walks COPY --from and mounts, which may lead anywhere in the file; FROM only leads up. */
static int walk_from(struct plan_bases *b, struct walks *w, struct plan_state *first,
		     struct err **err)
{
	PLAN_ADD(b->a, w->v, w->n, w->cap, ((struct walk){ .s = first }));
	w->seen[first->number] = 1;
	while (w->n) {
		struct walk *top = &w->v[w->n - 1];
		while (top->cmd < top->s->n_cmds &&
		       top->source == top->s->cmds[top->cmd].n_sources) {
			top->cmd++;
			top->source = 0;
		}
		if (top->cmd == top->s->n_cmds) {
			w->seen[top->s->number] = 2;
			w->n--;
			continue;
		}
		const struct plan_cmd *cmd = &top->s->cmds[top->cmd];
		struct plan_state *next = cmd->sources[top->source++];
		if (w->seen[next->number] == 1)
			return cycle(w, cmd->at, first->label, err);
		if (w->seen[next->number])
			continue;
		w->seen[next->number] = 1;
		PLAN_ADD(b->a, w->v, w->n, w->cap, ((struct walk){ .s = next, .at = cmd->at }));
	}
	return 0;
}

int plan_cycles(struct plan_bases *b, struct err **err)
{
	struct walks w = { .seen = arena_alloc(b->a, b->n_states) };
	for (size_t i = 0; i < b->n_states; i++)
		if (!w.seen[i] && walk_from(b, &w, b->states[i], err) < 0)
			return -1;
	return 0;
}

/* ---- references */

static struct str image_of_context(const struct plan_pair *c)
{
	struct str head = STR("docker-image://");
	return str_starts(c->value, head) ? str_sub(c->value, head.n, c->value.n)
					  : (struct str){ 0 };
}

static int parse_reference(struct plan_bases *b, struct plan_state *s, struct str text,
			   struct err **err)
{
	struct ref r;
	struct err *bad = NULL;
	if (ref_parse(b->a, text, &r, &bad) < 0) {
		_cleanup_(sb_releasep) struct sb quoted = { 0 };
		sb_add_goquote(&quoted, text);
		bad_reference("failed to parse stage name", sb_str(&quoted), bad, err);
		return err_at(err, s->at);
	}
	s->ref = ref_full(b->a, &r);
	return 0;
}

static int reference(struct plan_bases *b, struct plan_state *s, struct err **err)
{
	if (s->base || s->scratch || s->ref.p || (s->context && !image_of_context(s->context).p))
		return 0;
	if (!s->context) {
		s->scratch = str_eq_c(s->base_name, "scratch");
		if (s->scratch)
			return 0;
		if (parse_reference(b, s, s->base_name, err) < 0)
			return -1;
		if (!b->o->no_client &&
		    plan_context_find(b, s->base_name, s->has_platform ? &s->platform : NULL,
				      &s->context, err) < 0)
			return err_at(err, s->at);
	}
	if (!s->context)
		return 0;
	struct str image = image_of_context(s->context);
	s->scratch = str_eq_c(image, "scratch");
	s->ref = (struct str){ 0 };
	return image.p && !s->scratch ? parse_reference(b, s, image, err) : 0;
}

int plan_references(struct plan_bases *b, struct err **err)
{
	for (size_t i = 0; i < b->n_stages; i++) {
		if (reference(b, b->states[i], err) < 0)
			return -1;
		for (size_t k = 0; k < b->states[i]->n_cmds; k++) {
			const struct plan_cmd *cmd = &b->states[i]->cmds[k];
			for (size_t m = 0; m < cmd->n_sources; m++)
				if (!cmd->sources[m]->st && reference(b, cmd->sources[m], err) < 0)
					return -1;
		}
	}
	return 0;
}

/* ---- what is needed */

/* For "not found": stages and the images whose names are mistyped most. */
static struct str near_image(struct plan_bases *b, struct str original)
{
	static const char *const usual[] = { "alpine", "busybox", "centos", "debian",
					     "golang", "ubuntu",  "fedora" };
	size_t n = 0, max = b->n_stages + 2 * ARRAY_SIZE(usual);
	struct str *names = arena_array_of(b->a, struct str, max);
	for (size_t i = 0; i < b->n_stages; i++)
		if (b->states[i]->name.p)
			names[n++] = b->states[i]->name;
	for (size_t i = 0; i < ARRAY_SIZE(usual); i++) {
		names[n++] = str_c(usual[i]);
		names[n++] = arena_printf(b->a, "%s:latest", usual[i]);
	}
	return df_near(original, names, n, false);
}

static bool same_platform(const struct oci_platform *x, const struct oci_platform *y)
{
	return str_eq(x->os, y->os) && str_eq(x->arch, y->arch) && str_eq(x->variant, y->variant) &&
		str_eq(x->os_version, y->os_version);
}

static void list_image(struct plan_bases *b, struct plan_state *s)
{
	if (!s->reached || !s->ref.p || s->image || b->n_images > MAX_IMAGES)
		return;
	struct oci_platform p = plan_platform(b, s);
	for (size_t i = 0; i < b->n_images && !s->image; i++)
		if (str_eq(b->images[i]->ref, s->ref) && same_platform(&b->images[i]->platform, &p))
			s->image = b->images[i];
	if (s->image)
		return;
	s->image = arena_new_of(b->a, struct plan_base);
	*s->image = (struct plan_base){
		.ref = s->ref, .original = s->base_name, .platform = p, .at = s->at
	};
	s->image->near = near_image(b, s->base_name);
	PLAN_ADD(b->a, b->images, b->n_images, b->cap_images, s->image);
}

/* Marks a state and puts it on the list of those whose own needs are still to be marked. */
static void mark(struct plan_state *s, struct plan_state **todo, size_t *n)
{
	if (!s || s->reached)
		return;
	s->reached = true;
	todo[(*n)++] = s;
}

int plan_reach(struct plan_bases *b, struct err **err)
{
	struct plan_state **todo = arena_array_of(b->a, struct plan_state *, b->n_states);
	size_t n = 0;
	for (size_t i = 0; i < b->n_states; i++) {
		/* A state that was marked before may have got new needs by its triggers. */
		bool again = b->states[i]->reached;
		b->states[i]->reached = false;
		if (again || b->o->all_stages || b->states[i] == b->target)
			mark(b->states[i], todo, &n);
	}
	while (n) {
		struct plan_state *s = todo[--n];
		if (s->replaced)
			continue;
		mark(s->base, todo, &n);
		for (size_t k = 0; k < s->n_cmds; k++)
			for (size_t m = 0; m < s->cmds[k].n_sources; m++)
				mark(s->cmds[k].sources[m], todo, &n);
	}
	for (size_t i = 0; i < b->n_stages; i++) {
		list_image(b, b->states[i]);
		for (size_t k = 0; b->states[i]->reached && k < b->states[i]->n_cmds; k++)
			for (size_t m = 0; m < b->states[i]->cmds[k].n_sources; m++)
				list_image(b, b->states[i]->cmds[k].sources[m]);
	}
	return b->n_images <= MAX_IMAGES
		? 0
		: err_set(err, ERR_LIMIT, "a Dockerfile needs more than %d images", MAX_IMAGES);
}

/* ---- triggers */

static int replay(struct plan_bases *b, struct plan_state *s, const struct str *triggers, size_t n,
		  struct err **err)
{
	struct plan_cmd *cmds = arena_array_of(b->a, struct plan_cmd, s->n_cmds + n);
	for (size_t i = 0; i < n; i++) {
		struct df_instruction *ins;
		if (df_parse_trigger(b->a, triggers[i], &ins, err) < 0)
			return -1;
		cmds[i] = (struct plan_cmd){ .ins = ins, .at = s->at, .trigger = true };
		if (plan_cmd_sources(b, &cmds[i], err) < 0)
			return -1;
	}
	if (s->n_cmds)
		memcpy(cmds + n, s->cmds, s->n_cmds * sizeof(*cmds));
	s->cmds = cmds;
	s->n_cmds += n;
	s->step_total += (unsigned)n;
	return 0;
}

/* A stage's triggers are those of its image, or what the stage that it is FROM says with ONBUILD itself. */
static int triggers_of(struct plan_bases *b, struct plan_state *s, struct err **err)
{
	struct str *v = NULL;
	size_t n = 0, cap = 0;
	if (s->image) {
		v = s->image->config->config.onbuild.v;
		n = s->image->config->config.onbuild.n;
	}
	for (size_t i = 0; s->base && i < s->base->st->n_instructions && !s->base->replaced; i++)
		if (s->base->st->instructions[i]->kind == DF_ONBUILD)
			PLAN_ADD(b->a, v, n, cap, s->base->st->instructions[i]->trigger);
	s->triggered = true;
	return n ? replay(b, s, v, n, err) : 0;
}

int plan_triggers(struct plan_bases *b, bool *ret_more, struct err **err)
{
	for (bool again = true; again;) {
		again = false;
		for (size_t i = 0; i < b->n_stages; i++) {
			struct plan_state *s = b->states[i];
			if (!s->reached || s->triggered || s->replaced ||
			    (s->image && !s->image->config))
				continue;
			again = true;
			if (triggers_of(b, s, err) < 0) {
				(*err)->at = s->at; /* not the place within the trigger */
				return -1;
			}
			if (plan_check_size(b, s, err) < 0)
				return -1;
		}
		if (plan_references(b, err) < 0 || plan_reach(b, err) < 0)
			return -1;
	}
	*ret_more = false;
	for (size_t i = 0; i < b->n_images; i++)
		*ret_more |= !b->images[i]->config;
	return 0;
}
