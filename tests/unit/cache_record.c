#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>

#include "base/clock.h"
#include "cache/blob.h"
#include "cache/record.h"
#include "tests/unit/cache_help.h"

static struct arena *arena;

static int setup(void **state)
{
	(void)state;
	arena = arena_new();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	arena_free(arena);
	return 0;
}

static struct record get(struct cache *c, uint8_t key, bool want)
{
	struct err *err = NULL;
	struct digest k = { { key } };
	struct record r = { 0 };
	bool found;
	if (cache_record_get(c, arena, &k, &found, &r, &err) < 0)
		fail_msg("%s", err->msg);
	assert_int_equal(found, want);
	return r;
}

static void put(struct cache *c, uint8_t key, uint8_t result, const struct chain *chain,
		int64_t checked, bool replace)
{
	struct err *err = NULL;
	struct record r = { .key = { { key } },
			    .op = { { 0x40 } },
			    .r = { { result } },
			    .chain = *chain,
			    .created_ns = -7,
			    .checked_ns = checked,
			    .cost_ms = 1234 };
	assert_int_equal(cache_record_put(c, &r, replace, &err), 0);
}

static void round_trip(void **state)
{
	(void)state;
	_cleanup_(world_end) struct world w = world_begin();
	struct store *s = open_store(&w);
	struct cache *c = must_open(s);
	struct err *err = NULL;
	struct layer v[] = { make_layer(c, 1), make_layer(c, 2) };
	struct named_input inputs[] = {
		{ .slot = 1, .name = STR("B"), .kind = STR("arg"), .text = STR("x=\0y") },
		{ .slot = 0, .name = STR("src"), .kind = STR("selection"), .digest = { { 9 } } },
		{ .slot = 1, .name = STR("A"), .kind = STR("env"), .text = STR("") },
	};
	struct record r = { .key = { { 1 } },
			    .op = { { 2 } },
			    .deep = { { 3 } },
			    .r = { { 4 } },
			    .chain = { v, 2 },
			    .created_ns = 5,
			    .checked_ns = 6,
			    .cost_ms = 7,
			    .inputs = inputs,
			    .n_inputs = 3 };
	bool has;
	get(c, 1, false);
	assert_int_equal(cache_record_has_op(c, &r.op, &has, &err), 0);
	assert_false(has);
	assert_int_equal(cache_record_put(c, &r, false, &err), 0);
	struct record got = get(c, 1, true);
	assert_true(digest_eq(&got.op, &r.op) && digest_eq(&got.deep, &r.deep) &&
		    digest_eq(&got.r, &r.r));
	assert_int_equal(got.chain.n, 2);
	assert_int_equal(got.chain.v[1].id, v[1].id);
	assert_int_equal(got.chain.v[1].created_ns, v[1].created_ns);
	assert_true(digest_eq(&got.chain.v[0].diffid, &v[0].diffid));
	assert_false(got.bare);
	assert_int_equal(got.created_ns, 5);
	assert_int_equal(got.checked_ns, 6);
	assert_int_equal(got.cost_ms, 7);
	assert_int_equal(got.n_inputs, 3);
	assert_string_equal(got.inputs[0].name.p, "src");
	assert_int_equal(got.inputs[0].digest.b[0], 9);
	assert_string_equal(got.inputs[1].name.p, "A");
	assert_int_equal(got.inputs[2].text.n, 4);
	assert_int_equal(cache_record_has_op(c, &r.op, &has, &err), 0);
	assert_true(has);
	/* Nothing was pinned: there is no lease. */
	assert_int_equal(sql(&w, "index.db", "SELECT count(*) FROM pin"), 0);
	cache_close(c);
	cache_store_close(s);
}

static void bare_and_replaced(void **state)
{
	(void)state;
	_cleanup_(world_end) struct world w = world_begin();
	struct store *s = open_store(&w);
	struct cache *c = must_open(s);
	struct layer one = make_layer(c, 1), two = make_layer(c, 2);
	struct chain a = { &one, 1 }, b = { &two, 1 }, none = { 0 };
	put(c, 1, 10, &a, 100, false);
	/* The first live one stays. */
	put(c, 1, 11, &b, 101, false);
	assert_int_equal(get(c, 1, true).r.b[0], 10);
	put(c, 1, 12, &b, 102, true);
	assert_int_equal(get(c, 1, true).r.b[0], 12);
	/* A result without layers is live. */
	put(c, 2, 13, &none, 103, false);
	assert_false(get(c, 2, true).bare);
	cache_close(c);
	cache_store_close(s);
	sql(&w, "index.db", "UPDATE layer SET state = 'dead' WHERE id = 2");
	s = open_store(&w);
	c = must_open(s);
	struct record r = get(c, 1, true);
	assert_true(r.bare);
	assert_int_equal(r.chain.n, 0);
	assert_int_equal(r.r.b[0], 12);
	/* In the place of a bare one comes a live one. */
	put(c, 1, 14, &a, 104, false);
	r = get(c, 1, true);
	assert_false(r.bare);
	assert_int_equal(r.r.b[0], 14);
	cache_close(c);
	cache_store_close(s);
}

static void by_result_takes_the_newest_live(void **state)
{
	(void)state;
	_cleanup_(world_end) struct world w = world_begin();
	struct store *s = open_store(&w);
	struct cache *c = must_open(s);
	struct err *err = NULL;
	struct layer one = make_layer(c, 1), two = make_layer(c, 2),
		     gone = { .id = 99, .diffid = { { 9 } } };
	struct chain a = { &one, 1 }, b = { &two, 1 }, g = { &gone, 1 };
	struct digest r = { { 50 } }, other = { { 51 } };
	struct record rec;
	bool found;
	put(c, 1, 50, &a, 100, false);
	put(c, 2, 50, &b, 300, false);
	put(c, 3, 50, &g, 500, false);
	put(c, 4, 52, &a, 900, false);
	assert_int_equal(cache_record_by_result(c, arena, &r, &found, &rec, &err), 0);
	assert_true(found);
	assert_int_equal(rec.key.b[0], 2);
	assert_int_equal(cache_record_by_result(c, arena, &other, &found, &rec, &err), 0);
	assert_false(found);
	cache_close(c);
	cache_store_close(s);
}

static void hits_are_pinned(void **state)
{
	(void)state;
	_cleanup_(world_end) struct world w = world_begin();
	struct store *s = open_store(&w);
	struct cache *c = must_open(s);
	struct err *err = NULL;
	struct layer v[] = { make_layer(c, 1), make_layer(c, 2) };
	struct chain chain = { v, 2 };
	bool live;
	put(c, 1, 10, &chain, 1, false);
	get(c, 1, true);
	assert_int_equal(cache_store_lease(s, &err), 0);
	get(c, 1, true);
	assert_int_equal(sql(&w, "index.db", "SELECT count(*) FROM pin WHERE kind = 'layer'"), 2);
	/* `used` was never set, so it is now; and the sum is right. */
	assert_int_equal(sql(&w, "index.db", "SELECT count(*) FROM layer WHERE used > 0"), 2);
	struct stat before, after;
	assert_int_equal(fstatat(w.fd, "r/index.db-wal", &before, 0), 0);
	get(c, 1, true);
	assert_int_equal(cache_chain_pin(c, &chain, &live, &err), 0);
	assert_true(live);
	assert_int_equal(fstatat(w.fd, "r/index.db-wal", &after, 0), 0);
	assert_int_equal(before.st_size, after.st_size);
	/* One that is gone. */
	struct layer gone[] = { v[0], { .id = 77, .diffid = { { 7 } } } };
	struct chain lost = { gone, 2 };
	assert_int_equal(cache_chain_pin(c, &lost, &live, &err), 0);
	assert_false(live);
	struct chain none = { 0 };
	assert_int_equal(cache_chain_pin(c, &none, &live, &err), 0);
	assert_true(live);
	cache_close(c);
	cache_store_close(s);
	assert_int_equal(sql(&w, "index.db", "SELECT count(*) FROM pin"), 0);
	s = open_store(&w);
	c = must_open(s);
	assert_false(get(c, 1, true).bare);
	cache_close(c);
	cache_store_close(s);
}

static void damaged_records_are_dropped(void **state)
{
	(void)state;
	_cleanup_(world_end) struct world w = world_begin();
	struct store *s = open_store(&w);
	struct cache *c = must_open(s);
	struct chain none = { 0 };
	put(c, 1, 10, &none, 1, false);
	put(c, 2, 10, &none, 1, false);
	sql(&w, "cache.db",
	    "UPDATE record SET r = x'00' WHERE key = (SELECT min(key) FROM record)");
	get(c, 1, false);
	assert_non_null(strstr(w.said, "damaged"));
	assert_int_equal(sql(&w, "cache.db", "SELECT count(*) FROM record"), 1);
	get(c, 2, true);
	/* A chain of no whole number of layers, with a right sum. */
	sql(&w, "cache.db", "UPDATE record SET chain = x'0011'");
	exec_sql(
		c, DB_GUESS,
		"UPDATE record SET sum = rowsum('record', key, op, deep, r, chain, created, checked, cost_ms, uses, used, worth) "
		"WHERE 1 OR ?",
		"");
	get(c, 2, false);
	cache_close(c);
	cache_store_close(s);
}

static void contents_tags_and_the_rest(void **state)
{
	(void)state;
	_cleanup_(world_end) struct world w = world_begin();
	struct store *s = open_store(&w);
	struct cache *c = must_open(s);
	struct err *err = NULL;
	struct digest r = { { 1 } }, sel = { { 2 } }, content = { { 3 } }, got;
	struct tag_row row = { .index = { { 4 } }, .manifest = { { 5 } }, .asked_ns = 6 }, tag;
	bool found;
	assert_int_equal(cache_content_get(c, &r, &sel, &found, &got, &err), 0);
	assert_false(found);
	assert_int_equal(cache_content_put(c, &r, &sel, &content, &err), 0);
	assert_int_equal(cache_content_get(c, &r, &sel, &found, &got, &err), 0);
	assert_true(found && digest_eq(&got, &content));
	assert_int_equal(cache_content_get(c, &sel, &r, &found, &got, &err), 0);
	assert_false(found);
	assert_int_equal(cache_tag_put(c, STR("h/x:1"), STR("linux/amd64"), &row, &err), 0);
	assert_int_equal(cache_tag_get(c, STR("h/x:1"), STR("linux/amd64"), &found, &tag, &err), 0);
	assert_true(found && digest_eq(&tag.index, &row.index) &&
		    digest_eq(&tag.manifest, &row.manifest) && tag.asked_ns == 6);
	assert_int_equal(cache_tag_get(c, STR("h/x:1"), STR("linux/arm64"), &found, &tag, &err), 0);
	assert_false(found);
	row.index = (struct digest){ 0 };
	assert_int_equal(cache_tag_put(c, STR("h/x:1"), STR("linux/amd64"), &row, &err), 0);
	assert_int_equal(cache_tag_get(c, STR("h/x:1"), STR("linux/amd64"), &found, &tag, &err), 0);
	assert_true(found && digest_is_zero(&tag.index));
	assert_int_equal(cache_source_put(c, &r, STR("h"), STR("x"), &err), 0);
	assert_int_equal(cache_source_put(c, &r, STR("h"), STR("x"), &err), 0);
	assert_int_equal(sql(&w, "cache.db", "SELECT count(*) FROM source"), 1);
	assert_int_equal(cache_running_set(c, &r, true, &err), 0);
	assert_int_equal(sql(&w, "cache.db", "SELECT pid FROM running"), getpid());
	assert_int_equal(cache_running_set(c, &r, false, &err), 0);
	assert_int_equal(sql(&w, "cache.db", "SELECT count(*) FROM running"), 0);
	cache_close(c);
	cache_store_close(s);
}

struct worker {
	struct store *s;
	int n;
};

static void *work(void *arg)
{
	struct worker *me = arg;
	_cleanup_(cache_closep) struct cache *c = must_open(me->s);
	_cleanup_(arena_freep) struct arena *a = arena_new();
	struct err *err = NULL;
	assert_int_equal(cache_store_lease(me->s, &err), 0);
	for (int i = 0; i < 10; i++) {
		struct layer l = make_layer(c, (uint8_t)(me->n * 10 + i + 1));
		struct record r = { .key = { { (uint8_t)(i + 1) } },
				    .op = { { 2 } },
				    .r = { { 3 } },
				    .chain = { &l, 1 } },
			      got;
		struct digest blob, shared;
		char text[32];
		bool found;
		int n = snprintf(text, sizeof(text), "%d %d", me->n, i);
		assert_int_equal(cache_blob_put(c, (struct str){ text, (size_t)n }, &blob, &err),
				 0);
		assert_int_equal(cache_blob_put(c, STR("the same for all"), &shared, &err), 0);
		assert_int_equal(cache_record_put(c, &r, false, &err), 0);
		assert_int_equal(cache_record_get(c, a, &r.key, &found, &got, &err), 0);
		assert_true(found && !got.bare && got.chain.n == 1);
	}
	return NULL;
}

static void threads_share_a_store(void **state)
{
	(void)state;
	_cleanup_(world_end) struct world w = world_begin();
	struct store *s = open_store(&w);
	struct worker me[4];
	pthread_t t[4];
	for (int i = 0; i < 4; i++) {
		me[i] = (struct worker){ s, i };
		pthread_create(&t[i], NULL, work, &me[i]);
	}
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(count(&w, "r/leases"), 1);
	/* Of those who wrote one key the first live one stayed. */
	assert_int_equal(sql(&w, "cache.db", "SELECT count(*) FROM record"), 10);
	assert_int_equal(sql(&w, "index.db", "SELECT count(*) FROM blob"), 41);
	cache_store_close(s);
	assert_string_equal(w.said, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip),
		cmocka_unit_test(bare_and_replaced),
		cmocka_unit_test(by_result_takes_the_newest_live),
		cmocka_unit_test(hits_are_pinned),
		cmocka_unit_test(damaged_records_are_dropped),
		cmocka_unit_test(contents_tags_and_the_rest),
		cmocka_unit_test(threads_share_a_store),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
