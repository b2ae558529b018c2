/*
 * The core with fake ops: what runs, what is found again, what waits for what. A fake step's layer is named by a text, M is its digest, so
 * "equal output" is an equal text. Answers come in an order that a seeded generator chooses.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/map.h"
#include "base/clock.h"
#include "solver/core/graph.h"
#include "solver/core/key.h"

struct files {
	int refs;
	char text[32];
};

static int live_files;

static struct files *new_files(const char *text)
{
	struct files *f = xcalloc(1, sizeof(*f));
	f->refs = 1;
	snprintf(f->text, sizeof(f->text), "%s", text);
	live_files++;
	return f;
}

static struct files *ref(struct files *f)
{
	f->refs++;
	return f;
}

static void unref(struct files *f)
{
	if (--f->refs)
		return;
	live_files--;
	free(f);
}

/* A step of the test: its op's text, what its layer is, how it fails. */
struct fake {
	const char *op, *output, *content;
	bool fail, change_once;
	unsigned runs;
	struct vertex *v;
};

struct record {
	struct digest key, op, r;
	char text[32];
	bool bare;
};

/* A world that outlives builds: records; and one build: pending answers. */
struct world {
	struct results results;
	struct record records[256];
	unsigned n_records;
	bool lock_busy;
	unsigned locks, unlocks;
	struct arena *arena;
	struct graph *g;
	struct pending {
		struct fake *f;
		int what; /* 0 files, 1 sealed, 2 content */
		unsigned input;
	} pending[256];
	unsigned n_pending, seed;
};

static struct world w;

static int lookup(struct results *r, struct vertex *v, const struct digest *key, struct found *ret)
{
	(void)r;
	(void)v;
	for (unsigned i = w.n_records; i-- > 0;) {
		if (!digest_eq(&w.records[i].key, key))
			continue;
		*ret = (struct found){ .r = w.records[i].r,
				       .files = w.records[i].bare ? NULL
								  : new_files(w.records[i].text) };
		return 1;
	}
	return 0;
}

static int by_result(struct results *s, const struct digest *r, struct found *ret)
{
	(void)s;
	for (unsigned i = 0; i < w.n_records; i++) {
		if (digest_eq(&w.records[i].r, r) && !w.records[i].bare) {
			*ret = (struct found){ .r = *r, .files = new_files(w.records[i].text) };
			return 1;
		}
	}
	return 0;
}

static bool has_op(struct results *s, const struct digest *op)
{
	(void)s;
	for (unsigned i = 0; i < w.n_records; i++)
		if (digest_eq(&w.records[i].op, op))
			return true;
	return false;
}

static bool content_known(struct results *s, const struct digest *r, const struct digest *sel,
			  struct digest *ret)
{
	(void)s;
	(void)r;
	(void)sel;
	(void)ret;
	return false;
}

static int lock(struct results *s, struct vertex *v, const struct digest *key)
{
	(void)s;
	(void)v;
	(void)key;
	if (w.lock_busy)
		return 0;
	w.locks++;
	return 1;
}

static void unlock(struct results *s, struct vertex *v)
{
	(void)s;
	(void)v;
	w.unlocks++;
}

static void publish(struct results *s, struct vertex *v)
{
	(void)s;
	struct record *r = &w.records[w.n_records++];
	*r = (struct record){ .key = v->key, .op = v->op, .r = v->r };
	memcpy(r->text, v->files->text, sizeof(r->text));
	w.unlocks += v->locked;
}

static void run(struct vertex *v)
{
	struct fake *f = v->owner;
	f->runs++;
	w.pending[w.n_pending++] = (struct pending){ f, 0, 0 };
}

static void content(struct vertex *v, unsigned i)
{
	w.pending[w.n_pending++] = (struct pending){ v->owner, 2, i };
}

static const struct op_class step = {
	.kind = "step", .source = OP_STEP, .run = run, .content = content
};
static const struct op_class fixed = { .kind = "fixed", .source = OP_FIXED, .run = run };
static const struct op_class context = { .kind = "context", .source = OP_CONTEXT };

static void transition(void *arg, struct vertex *v)
{
	(void)arg;
	(void)v;
}

static struct digest text_digest(const char *s)
{
	return digest_of(s, strlen(s));
}

static void begin(unsigned seed)
{
	w.results = (struct results){ lookup, by_result, has_op, content_known, lock,
				      unlock, publish,   ref,    unref };
	w.arena = arena_new();
	w.seed = seed;
	w.n_pending = 0;
	struct graph_hooks hooks = { .transition = transition, .slots = 4 };
	w.g = graph_new(w.arena, &w.results, &hooks);
}

static struct vertex *add(const struct op_class *class, struct fake *f, struct vertex *parent,
			  struct vertex *source)
{
	struct vertex *v = graph_vertex(w.g, class, f, (parent != NULL) + (source != NULL));
	unsigned n = 0;
	if (parent) {
		v->has_parent = true;
		v->inputs[n++].vertex = parent;
	}
	if (source) {
		v->inputs[n].vertex = source;
		v->inputs[n].by_content = true;
		v->inputs[n++].sel = text_digest("sel");
	}
	v->op = text_digest(f->op);
	f->v = v;
	graph_link(w.g, v);
	return v;
}

static struct vertex *base(void)
{
	static struct fake f = { .op = "base" };
	struct vertex *v = graph_vertex(w.g, &fixed, &f, 0);
	struct digest r = text_digest("base image");
	graph_fix(v, &r, new_files("base"));
	return v;
}

static void answer(struct pending p)
{
	struct fake *f = p.f;
	if (p.what == 2) {
		struct digest c = text_digest(
			f->content ? f->content : f->v->inputs[p.input].vertex->files->text);
		core_content(w.g, f->v, p.input, &c);
	} else if (p.what == 1) {
		struct digest m = text_digest(f->output);
		core_sealed(w.g, f->v, &m);
	} else if (f->fail) {
		struct err *e = NULL;
		err_set(&e, ERR_EXIT, "it failed");
		core_failed(w.g, f->v, e);
	} else if (f->change_once) {
		struct err *e = NULL;
		f->change_once = false;
		f->content = "new content";
		err_set(&e, ERR_INVALID, "changed");
		core_changed(w.g, f->v, e);
	} else {
		w.pending[w.n_pending++] = (struct pending){ f, 1, 0 };
		core_files(w.g, f->v, new_files(f->output), 1);
	}
}

/* Runs until nothing is left; answers in a seeded order. */
static void finish(struct vertex *target)
{
	graph_demand(w.g, target);
	while (w.n_pending) {
		w.seed = w.seed * 1103515245 + 12345;
		unsigned i = (w.seed >> 16) % w.n_pending;
		struct pending p = w.pending[i];
		w.pending[i] = w.pending[--w.n_pending];
		answer(p);
	}
	assert_true(graph_finished(w.g));
}

static void end(void)
{
	graph_free(w.g);
	arena_free(w.arena);
	assert_int_equal(live_files, 0);
	assert_int_equal(w.locks, w.unlocks);
}

static int reset(void **state)
{
	(void)state;
	memset(&w, 0, sizeof(w));
	return 0;
}

/* base ← a ← b ← c */
static void line(struct fake *a, struct fake *b, struct fake *c, unsigned seed)
{
	begin(seed);
	struct vertex *v = add(&step, a, base(), NULL);
	v = add(&step, b, v, NULL);
	finish(add(&step, c, v, NULL));
	end();
}

static void second_build_runs_nothing(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed < 50; seed++) {
		memset(&w, 0, sizeof(w));
		struct fake a = { .op = "a", .output = "A" }, b = { .op = "b", .output = "B" },
			    c = { .op = "c", .output = "C" };
		line(&a, &b, &c, seed);
		assert_int_equal(a.runs + b.runs + c.runs, 3);
		assert_int_equal(w.n_records, 3);
		line(&a, &b, &c, seed + 1);
		assert_int_equal(a.runs + b.runs + c.runs, 3);
	}
}

static void changed_op_runs_what_follows(void **state)
{
	(void)state;
	struct fake a = { .op = "a", .output = "A" }, b = { .op = "b", .output = "B" },
		    c = { .op = "c", .output = "C" };
	line(&a, &b, &c, 1);
	struct fake b2 = { .op = "b2", .output = "B2" };
	line(&a, &b2, &c, 2);
	assert_int_equal(a.runs, 1);
	assert_int_equal(b2.runs, 1);
	assert_int_equal(c.runs, 2);
}

static void equal_output_cuts_off(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed < 50; seed++) {
		memset(&w, 0, sizeof(w));
		struct fake a = { .op = "a", .output = "A" }, b = { .op = "b", .output = "B" },
			    c = { .op = "c", .output = "C" };
		line(&a, &b, &c, seed);
		struct fake b2 = { .op = "b2", .output = "B" };
		begin(seed);
		struct vertex *v = add(&step, &a, base(), NULL);
		v = add(&step, &b2, v, NULL);
		v = add(&step, &c, v, NULL);
		finish(v);
		assert_int_equal(v->how, HOW_CUT_OFF);
		assert_int_equal(c.runs, 1);
		end();
	}
}

static void nonce_stops_the_cut_off(void **state)
{
	(void)state;
	struct fake a = { .op = "a", .output = "A" }, b = { .op = "b", .output = "B" },
		    c = { .op = "c", .output = "C" };
	line(&a, &b, &c, 1);
	struct fake b2 = { .op = "b2", .output = "B" };
	begin(2);
	struct vertex *v = add(&step, &a, base(), NULL);
	v = add(&step, &b2, v, NULL);
	v->nonce = true;
	finish(add(&step, &c, v, NULL));
	assert_int_equal(c.runs, 2);
	end();
}

static void forced_runs_all_that_stands_on_it(void **state)
{
	(void)state;
	struct fake a = { .op = "a", .output = "A" }, b = { .op = "b", .output = "B" },
		    c = { .op = "c", .output = "C" };
	line(&a, &b, &c, 1);
	begin(2);
	struct vertex *v = add(&step, &a, base(), NULL);
	struct vertex *f = graph_vertex(w.g, &step, &b, 1);
	f->has_parent = f->forced = true;
	f->inputs[0].vertex = v;
	f->op = text_digest("b");
	b.v = f;
	graph_link(w.g, f);
	finish(add(&step, &c, f, NULL));
	assert_int_equal(a.runs, 1);
	assert_int_equal(b.runs, 2);
	assert_int_equal(c.runs, 2);
	end();
}

static void consumer_by_content_hits_over_a_new_source(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed < 30; seed++) {
		memset(&w, 0, sizeof(w));
		struct fake build = { .op = "build", .output = "bin" },
			    copy = { .op = "copy", .output = "X", .content = "same file" };
		begin(seed);
		finish(add(&step, &copy, base(), add(&step, &build, base(), NULL)));
		end();
		struct fake build2 = { .op = "build2", .output = "other log, same bin" };
		begin(seed + 7);
		finish(add(&step, &copy, base(), add(&step, &build2, base(), NULL)));
		assert_int_equal(build2.runs, 1);
		assert_int_equal(copy.runs, 1);
		end();
	}
}

static void failure_is_reported_and_earlier_steps_are_kept(void **state)
{
	(void)state;
	struct fake a = { .op = "a", .output = "A" },
		    b = { .op = "b", .output = "B", .fail = true },
		    c = { .op = "c", .output = "C" };
	begin(3);
	struct vertex *v = add(&step, &a, base(), NULL);
	struct vertex *bad = add(&step, &b, v, NULL);
	finish(add(&step, &c, bad, NULL));
	assert_true(graph_failed(w.g));
	assert_int_equal(bad->state, VERTEX_FAILED);
	assert_int_equal(c.runs, 0);
	end();
	assert_int_equal(w.n_records, 1);
	b.fail = false;
	line(&a, &b, &c, 4);
	assert_int_equal(a.runs, 1);
	assert_int_equal(c.runs, 1);
}

static void changed_context_is_keyed_again(void **state)
{
	(void)state;
	struct fake copy = { .op = "copy",
			     .output = "X",
			     .content = "old content",
			     .change_once = true },
		    ctx = { .op = "context" };
	begin(1);
	struct vertex *v = add(&step, &copy, base(), graph_vertex(w.g, &context, &ctx, 0));
	finish(v);
	assert_int_equal(copy.runs, 2);
	struct digest now = text_digest("new content");
	assert_true(digest_eq(&v->inputs[1].c, &now));
	end();
	assert_int_equal(w.n_records, 1);
}

static void bare_record_still_keys_what_follows(void **state)
{
	(void)state;
	struct fake a = { .op = "a", .output = "A" }, b = { .op = "b", .output = "B" },
		    c = { .op = "c", .output = "C" };
	line(&a, &b, &c, 1);
	for (unsigned i = 0; i < w.n_records; i++)
		w.records[i].bare = strcmp(w.records[i].text, "C") != 0;
	line(&a, &b, &c, 2);
	assert_int_equal(a.runs + b.runs + c.runs, 3);
	/* The last one's files are gone as well: all three are needed, and the middle one gives something else now. */
	w.records[2].bare = true;
	b.output = "B2";
	line(&a, &b, &c, 3);
	assert_int_equal(a.runs, 2);
	assert_int_equal(b.runs, 2);
	assert_int_equal(c.runs, 2);
}

static void busy_lock_is_waited_for(void **state)
{
	(void)state;
	struct fake a = { .op = "a", .output = "A" };
	begin(1);
	clock_fake(1000000000);
	w.lock_busy = true;
	struct vertex *v = add(&step, &a, base(), NULL);
	graph_demand(w.g, v);
	assert_int_equal(v->state, VERTEX_LOCKING);
	assert_int_equal(a.runs, 0);
	/* The other process publishes and lets go. */
	struct record *r = &w.records[w.n_records++];
	*r = (struct record){ .key = v->key, .op = v->op, .r = text_digest("their result") };
	memcpy(r->text, "theirs", 7);
	w.lock_busy = false;
	clock_fake(graph_timer(w.g));
	graph_tick(w.g);
	assert_int_equal(v->state, VERTEX_DONE);
	assert_string_equal(v->files->text, "theirs");
	assert_int_equal(a.runs, 0);
	clock_fake(-1);
	end();
}

static void step_waits_for_m_only_where_it_matters(void **state)
{
	(void)state;
	struct fake a = { .op = "a", .output = "A" }, b = { .op = "b", .output = "B" };
	begin(1);
	struct vertex *va = add(&step, &a, base(), NULL);
	struct vertex *vb = add(&step, &b, va, NULL);
	graph_demand(w.g, vb);
	answer(w.pending[--w.n_pending]); /* files of a; its seal is pending */
	assert_int_equal(va->state, VERTEX_SEALING);
	assert_int_equal(vb->state, VERTEX_RUNNING);
	assert_true(vb->started_unkeyed);
	finish(vb);
	assert_true(vb->has_key);
	end();
	assert_int_equal(w.n_records, 2);
	/* Now a record with b's op exists: a changed a makes b wait for its M. */
	struct fake a2 = { .op = "a2", .output = "A2" };
	begin(1);
	va = add(&step, &a2, base(), NULL);
	vb = add(&step, &b, va, NULL);
	graph_demand(w.g, vb);
	answer(w.pending[--w.n_pending]);
	assert_int_equal(vb->state, VERTEX_WAITING);
	finish(vb);
	end();
}

/* Each stage copies from the two before it: the number of ways to the first one doubles, the work must not. */
static void deep_key_of_a_diamond(void **state)
{
	(void)state;
	enum { STAGES = 60 };
	struct fake stages[STAGES];
	begin(1);
	struct vertex *v[STAGES];
	for (unsigned i = 0; i < STAGES; i++) {
		stages[i] = (struct fake){ .op = "stage", .output = "S", .content = "C" };
		v[i] = i < 2 ? add(&step, &stages[i], base(), NULL)
			     : add(&step, &stages[i], v[i - 1], v[i - 2]);
	}
	finish(v[STAGES - 1]);
	struct digest deep, again;
	assert_true(vertex_deep(v[STAGES - 1], &deep));
	assert_true(vertex_deep(v[STAGES - 1], &again));
	assert_true(digest_eq(&deep, &again));
	end();
}

/* Another process published a result whose files are gone again, and the step on it hits: no timer may stay in the past. */
static void bare_result_of_a_busy_lock_ends_the_wait(void **state)
{
	(void)state;
	struct fake a = { .op = "a", .output = "A" }, b = { .op = "b", .output = "B" };
	struct digest theirs = text_digest("their result"), op = text_digest("b");
	struct digester key;
	begin(1);
	struct vertex *v = add(&step, &a, base(), NULL);
	struct vertex *target = add(&step, &b, v, NULL);
	key_begin(&key, &op);
	key_input(&key, 'R', &theirs);
	w.records[w.n_records++] = (struct record){
		.key = digest_end(&key), .op = op, .r = text_digest("on theirs"), .text = "B"
	};
	clock_fake(INT64_C(1000000000));
	w.lock_busy = true;
	graph_demand(w.g, target);
	assert_int_equal(v->state, VERTEX_LOCKING);
	w.records[w.n_records++] =
		(struct record){ .key = v->key, .op = v->op, .r = theirs, .bare = true };
	w.lock_busy = false;
	clock_fake(graph_timer(w.g));
	graph_tick(w.g);
	assert_int_equal(target->state, VERTEX_DONE);
	assert_true(graph_timer(w.g) == INT64_MAX);
	clock_fake(-1);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(second_build_runs_nothing, reset),
		cmocka_unit_test_setup(changed_op_runs_what_follows, reset),
		cmocka_unit_test_setup(equal_output_cuts_off, reset),
		cmocka_unit_test_setup(nonce_stops_the_cut_off, reset),
		cmocka_unit_test_setup(forced_runs_all_that_stands_on_it, reset),
		cmocka_unit_test_setup(consumer_by_content_hits_over_a_new_source, reset),
		cmocka_unit_test_setup(failure_is_reported_and_earlier_steps_are_kept, reset),
		cmocka_unit_test_setup(changed_context_is_keyed_again, reset),
		cmocka_unit_test_setup(bare_record_still_keys_what_follows, reset),
		cmocka_unit_test_setup(busy_lock_is_waited_for, reset),
		cmocka_unit_test_setup(step_waits_for_m_only_where_it_matters, reset),
		cmocka_unit_test_setup(deep_key_of_a_diamond, reset),
		cmocka_unit_test_setup(bare_result_of_a_busy_lock_ends_the_wait, reset),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
