#define CBUILD_MAY_FORK
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <sys/wait.h>

#include "base/json.h"
#include "cache/blob.h"
#include "cache/name.h"
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

/* A config whose diff IDs are the chain's; `word` makes it another image. */
static struct str config_of(const struct chain *chain, const char *word)
{
	struct oci_image i = { .platform = oci_platform_host(),
			       .created_ns = INT64_C(1700000000000000000),
			       .author = str_c(word) };
	_cleanup_(sb_releasep) struct sb b = { 0 };
	struct err *err = NULL;
	i.n_diff_ids = chain->n;
	i.diff_ids = arena_array_of(arena, struct digest, chain->n);
	for (size_t k = 0; k < chain->n; k++)
		i.diff_ids[k] = chain->v[k].diffid;
	assert_int_equal(oci_image_print(&i, &b, &err), 0);
	return arena_str(arena, sb_str(&b));
}

static struct digest put(struct cache *c, const struct chain *chain, const char *word,
			 const char *name)
{
	struct err *err = NULL;
	struct digest id;
	struct str full = str_c(name);
	if (cache_image_put(c, config_of(chain, word), chain, NULL, &full, name ? 1 : 0, &id,
			    &err) < 0)
		fail_msg("%s", err->msg);
	return id;
}

#define BUSYBOX "docker.io/library/busybox:latest"

static void put_and_find(void **state)
{
	(void)state;
	_cleanup_(world_end) struct world w = world_begin();
	struct store *s = open_store(&w);
	struct cache *c = must_open(s);
	struct err *err = NULL;
	struct layer v[] = { make_layer(c, 1), make_layer(c, 2) };
	struct chain chain = { v, 2 };
	struct digest id = put(c, &chain, "a", BUSYBOX), got;
	struct image i;
	struct str name;
	char text[DIGEST_TEXT];
	bool has;
	assert_int_equal(cache_image_get(c, arena, &id, &i, &err), 0);
	assert_int_equal(i.chain.n, 2);
	assert_int_equal(i.chain.v[1].id, 2);
	assert_false(i.chain.v[1].absent);
	assert_int_equal(i.size, 200);
	assert_true(digest_is_zero(&i.manifest));
	assert_int_equal(i.created_ns, INT64_C(1700000000000000000));
	got = digest_of(i.config.p, i.config.n);
	assert_true(digest_eq(&got, &id));
	/* The config is a blob too. */
	assert_int_equal(cache_blob_has(c, &id, &has, NULL, &err), 0);
	assert_true(has);
	assert_int_equal(cache_name_get(c, STR(BUSYBOX), &got, &err), 0);
	assert_true(digest_eq(&got, &id));
	static const char *const finds[] = { "busybox", "busybox:latest", BUSYBOX };
	for (size_t k = 0; k < ARRAY_SIZE(finds); k++) {
		assert_int_equal(cache_image_find(c, arena, str_c(finds[k]), &i, &name, &err), 0);
		assert_string_equal(name.p, BUSYBOX);
	}
	digest_text(&id, text);
	assert_int_equal(cache_image_find(c, arena, str_c(text), &i, &name, &err), 0);
	assert_int_equal(name.n, 0);
	assert_int_equal(cache_image_find(c, arena, str_c(text + 7), &i, &name, &err), 0);
	assert_int_equal(cache_image_find(c, arena, (struct str){ text + 7, 5 }, &i, &name, &err),
			 0);
	assert_true(digest_eq(&i.id, &id));
	static const char *const missing[] = { "busybox:2", "nothing",         "Bad Name",
					       "ffffffff",  "sha256:00000000", "" };
	for (size_t k = 0; k < ARRAY_SIZE(missing); k++) {
		assert_int_equal(cache_image_find(c, arena, str_c(missing[k]), &i, &name, &err),
				 -1);
		assert_int_equal(err->code, ERR_NOT_FOUND);
		assert_non_null(strstr(err->msg, "no such image: "));
		err_drop(&err);
	}
	cache_close(c);
	cache_store_close(s);
}

static void ambiguous_prefixes(void **state)
{
	(void)state;
	_cleanup_(world_end) struct world w = world_begin();
	struct store *s = open_store(&w);
	struct cache *c = must_open(s);
	struct err *err = NULL;
	struct chain chain = { 0 };
	struct image i;
	struct str name;
	put(c, &chain, "a", NULL);
	put(c, &chain, "b", NULL);
	sql(&w, "index.db",
	    "UPDATE image SET id = CASE WHEN id = (SELECT min(id) FROM image) THEN "
	    "x'abcd100000000000000000000000000000000000000000000000000000000000' ELSE "
	    "x'abcd200000000000000000000000000000000000000000000000000000000000' END");
	exec_sql(
		c, DB_INDEX,
		"UPDATE image SET sum = rowsum('image', id, config, manifest, platform, created, used) WHERE 1 OR ?",
		"");
	assert_int_equal(cache_image_find(c, arena, STR("abcd"), &i, &name, &err), -1);
	assert_int_equal(err->code, ERR_INVALID);
	err_drop(&err);
	assert_int_equal(cache_image_find(c, arena, STR("abcd1"), &i, &name, &err), 0);
	assert_int_equal(i.id.b[2], 0x10);
	assert_int_equal(cache_image_find(c, arena, STR("abcd20"), &i, &name, &err), 0);
	assert_int_equal(i.id.b[2], 0x20);
	cache_close(c);
	cache_store_close(s);
}

static int64_t stamp(struct world *w)
{
	struct stat a, b;
	assert_int_equal(fstatat(w->fd, "r/index.db-wal", &a, 0), 0);
	assert_int_equal(fstatat(w->fd, "r/images.json", &b, 0), 0);
	return a.st_mtim.tv_sec * INT64_C(1000000000) + a.st_mtim.tv_nsec + a.st_size +
		(int64_t)b.st_ino;
}

static void what_is_there_is_not_written(void **state)
{
	(void)state;
	_cleanup_(world_end) struct world w = world_begin();
	struct store *s = open_store(&w);
	struct cache *c = must_open(s);
	struct layer v[] = { make_layer(c, 1), make_layer(c, 2) };
	struct chain chain = { v, 1 };
	put(c, &chain, "a", BUSYBOX);
	cache_close(c);
	cache_store_close(s);
	s = open_store(&w);
	c = must_open(s);
	int64_t before = stamp(&w);
	put(c, &chain, "a", BUSYBOX);
	assert_null(cache_store_lease_id(s));
	assert_true(stamp(&w) == before);
	/* Equal files from another layer: the image moves to it. */
	struct err *err = NULL;
	struct layer again = make_layer(c, 1);
	struct chain other = { &again, 1 };
	struct digest id = put(c, &other, "a", BUSYBOX);
	struct image i;
	assert_int_equal(cache_image_get(c, arena, &id, &i, &err), 0);
	assert_int_equal(i.chain.v[0].id, again.id);
	cache_close(c);
	cache_store_close(s);
}

static void refused_images(void **state)
{
	(void)state;
	_cleanup_(world_end) struct world w = world_begin();
	struct store *s = open_store(&w);
	struct cache *c = must_open(s);
	struct err *err = NULL;
	struct layer v[] = { make_layer(c, 1), make_layer(c, 2) };
	struct chain one = { v, 1 }, two = { v, 2 };
	struct digest id;
	struct str config = config_of(&two, "x"), name = STR(BUSYBOX);
	assert_int_equal(cache_image_put(c, config, &one, NULL, &name, 1, &id, &err), -1);
	assert_int_equal(err->code, ERR_INVALID);
	err_drop(&err);
	struct layer swapped[] = { v[1], v[0] };
	struct chain turned = { swapped, 2 };
	assert_int_equal(cache_image_put(c, config, &turned, NULL, &name, 1, &id, &err), -1);
	assert_int_equal(err->code, ERR_INVALID);
	err_drop(&err);
	/* A layer that is gone: nothing is stored, no blob either. */
	v[1].id = 99;
	assert_int_equal(cache_image_put(c, config, &two, NULL, &name, 1, &id, &err), -1);
	assert_int_equal(err->code, ERR_NOT_FOUND);
	err_drop(&err);
	assert_int_equal(sql(&w, "index.db", "SELECT count(*) FROM image"), 0);
	assert_int_equal(sql(&w, "index.db", "SELECT count(*) FROM name"), 0);
	id = digest_of(config.p, config.n);
	char path[BLOB_PATH_TEXT], whole[128];
	blob_path(&id, path);
	snprintf(whole, sizeof(whole), "r/%s", path);
	assert_false(present(&w, whole));
	cache_close(c);
	cache_store_close(s);
}

static void names_move_and_go(void **state)
{
	(void)state;
	_cleanup_(world_end) struct world w = world_begin();
	struct store *s = open_store(&w);
	struct cache *c = must_open(s);
	struct err *err = NULL;
	struct chain chain = { 0 };
	struct digest a = put(c, &chain, "a", BUSYBOX), b = put(c, &chain, "b", BUSYBOX), got,
		      none = { { 9 } };
	struct image_row *rows;
	size_t n;
	bool last;
	assert_int_equal(cache_name_get(c, STR(BUSYBOX), &got, &err), 0);
	assert_true(digest_eq(&got, &b));
	assert_int_equal(cache_image_list(c, arena, &rows, &n, &err), 0);
	assert_int_equal(n, 2);
	assert_int_equal(cache_name_set(c, STR("docker.io/library/b:1"), &b, &err), 0);
	assert_int_equal(cache_name_set(c, STR("docker.io/library/b:1"), &none, &err), -1);
	assert_int_equal(err->code, ERR_NOT_FOUND);
	err_drop(&err);
	assert_int_equal(cache_image_del(c, &b, &err), -1);
	assert_int_equal(err->code, ERR_EXISTS);
	assert_non_null(strstr(err->msg, "docker.io/library/b"));
	err_drop(&err);
	assert_int_equal(cache_name_del(c, STR(BUSYBOX), &last, &got, &err), 0);
	assert_false(last);
	assert_true(digest_eq(&got, &b));
	assert_int_equal(cache_name_del(c, STR(BUSYBOX), &last, &got, &err), -1);
	assert_int_equal(err->code, ERR_NOT_FOUND);
	err_drop(&err);
	assert_int_equal(cache_name_del(c, STR("docker.io/library/b:1"), &last, &got, &err), 0);
	assert_true(last);
	/* A container holds it. */
	sql(&w, "index.db",
	    "INSERT INTO pin(lease, kind, object) SELECT 'c/web', 'image', id FROM image");
	assert_int_equal(cache_image_del(c, &b, &err), -1);
	assert_non_null(strstr(err->msg, "container web"));
	err_drop(&err);
	sql(&w, "index.db", "DELETE FROM pin WHERE lease = 'c/web'");
	assert_int_equal(cache_image_del(c, &b, &err), 0);
	assert_int_equal(cache_image_del(c, &b, &err), -1);
	assert_int_equal(err->code, ERR_NOT_FOUND);
	err_drop(&err);
	assert_int_equal(cache_image_list(c, arena, &rows, &n, &err), 0);
	assert_int_equal(n, 1);
	assert_int_equal(rows[0].name.n, 0);
	assert_true(digest_eq(&rows[0].id, &a));
	cache_close(c);
	cache_store_close(s);
}

static void images_json_follows(void **state)
{
	(void)state;
	_cleanup_(world_end) struct world w = world_begin();
	struct store *s = open_store(&w);
	struct cache *c = must_open(s);
	struct err *err = NULL;
	struct chain chain = { 0 };
	struct digest a = put(c, &chain, "a", BUSYBOX);
	char text[DIGEST_TEXT];
	assert_int_equal(cache_name_set(c, STR("docker.io/library/a:1"), &a, &err), 0);
	_cleanup_(sb_releasep) struct sb b = { 0 }, want = { 0 };
	assert_int_equal(io_read_file(w.fd, "r/images.json", &b, &err), 0);
	digest_text(&a, text);
	sb_printf(&want, "{\"docker.io/library/a:1\":\"%s\",\"" BUSYBOX "\":\"%s\"}\n", text, text);
	assert_string_equal(sb_c(&b), sb_c(&want));
	assert_int_equal(cache_name_del(c, STR("docker.io/library/a:1"), NULL, NULL, &err), 0);
	assert_int_equal(cache_name_del(c, STR(BUSYBOX), NULL, NULL, &err), 0);
	sb_reset(&b);
	assert_int_equal(io_read_file(w.fd, "r/images.json", &b, &err), 0);
	assert_string_equal(sb_c(&b), "{}\n");
	cache_close(c);
	cache_store_close(s);
}

static void by_digest(void **state)
{
	(void)state;
	_cleanup_(world_end) struct world w = world_begin();
	struct store *s = open_store(&w);
	struct cache *c = must_open(s);
	struct err *err = NULL;
	struct chain chain = { 0 };
	struct digest manifest = { { 0xab } }, id;
	struct str config = config_of(&chain, "m"), full = STR("h.example/team/app:1"), name;
	struct image i;
	assert_int_equal(cache_image_put(c, config, &chain, &manifest, &full, 1, &id, &err), 0);
	char text[200], hex[DIGEST_TEXT];
	snprintf(text, sizeof(text), "h.example/team/app@%s", digest_text(&manifest, hex));
	assert_int_equal(cache_image_find(c, arena, str_c(text), &i, &name, &err), 0);
	assert_string_equal(name.p, "h.example/team/app:1");
	assert_true(digest_eq(&i.manifest, &manifest));
	/* With a tag that is not here the digest decides; another repository has it not. */
	snprintf(text, sizeof(text), "h.example/team/app:zzz@%s", hex);
	assert_int_equal(cache_image_find(c, arena, str_c(text), &i, &name, &err), 0);
	snprintf(text, sizeof(text), "h.example/team/ap@%s", hex);
	assert_int_equal(cache_image_find(c, arena, str_c(text), &i, &name, &err), -1);
	err_drop(&err);
	/* Named anew without a manifest it keeps the one it has. */
	assert_int_equal(cache_image_put(c, config, &chain, NULL, &full, 1, &id, &err), 0);
	assert_int_equal(cache_image_get(c, arena, &id, &i, &err), 0);
	assert_true(digest_eq(&i.manifest, &manifest));
	cache_close(c);
	cache_store_close(s);
}

static void absent_layers_and_damage(void **state)
{
	(void)state;
	_cleanup_(world_end) struct world w = world_begin();
	struct store *s = open_store(&w);
	struct cache *c = must_open(s);
	struct err *err = NULL;
	struct layer v[] = { make_layer(c, 1), make_layer(c, 2) };
	struct chain chain = { v, 2 };
	struct digest id = put(c, &chain, "a", BUSYBOX);
	struct image i;
	cache_close(c);
	cache_store_close(s);
	sql(&w, "index.db", "DELETE FROM layer WHERE id = 2");
	s = open_store(&w);
	c = must_open(s);
	assert_int_equal(cache_image_get(c, arena, &id, &i, &err), 0);
	assert_false(i.chain.v[0].absent);
	assert_true(i.chain.v[1].absent);
	assert_int_equal(i.chain.v[1].id, 0);
	assert_int_equal(i.chain.v[1].diffid.b[0], 2);
	struct oci_descriptor d;
	assert_int_equal(cache_image_manifest(c, arena, &id, "gzip", &d, &err), -1);
	assert_int_equal(err->code, ERR_NOT_FOUND);
	err_drop(&err);
	/* A damaged row: dropped and said. */
	sql(&w, "index.db", "UPDATE image SET created = 5");
	assert_int_equal(cache_image_get(c, arena, &id, &i, &err), -1);
	assert_int_equal(err->code, ERR_NOT_FOUND);
	err_drop(&err);
	assert_non_null(strstr(w.said, "damaged"));
	assert_int_equal(sql(&w, "index.db", "SELECT count(*) FROM name"), 0);
	cache_close(c);
	cache_store_close(s);
}

static void a_pulled_image_leaves_as_it_came(void **state)
{
	(void)state;
	_cleanup_(world_end) struct world w = world_begin();
	struct store *s = open_store(&w);
	struct cache *c = must_open(s);
	struct err *err = NULL;
	struct layer l = make_layer(c, 1);
	struct chain chain = { &l, 1 };
	exec_sql(c, DB_INDEX, "UPDATE layer SET kind = ?", "pulled");
	assert_int_equal(db_layer_sum(c, l.id, &err), 0);
	struct str config = config_of(&chain, "p"), full = STR(BUSYBOX);
	struct digest blob, id = digest_of(config.p, config.n), manifest;
	assert_int_equal(cache_blob_put(c, STR("layer bytes"), &blob, &err), 0);
	struct oci_descriptor entry = {
		.media_type = STR("application/vnd.docker.image.rootfs.diff.tar.gzip"),
		.digest = blob,
		.size = 11
	};
	struct oci_manifest m = { .media_type = STR(DOCKER_MANIFEST),
				  .entries = &entry,
				  .n_entries = 1 };
	m.config = (struct oci_descriptor){ .media_type = STR(DOCKER_CONFIG),
					    .digest = id,
					    .size = config.n };
	_cleanup_(sb_releasep) struct sb b = { 0 };
	oci_manifest_print(&m, &b);
	sb_add_ch(&b, ' '); /* not as we would print it */
	assert_int_equal(cache_blob_put(c, sb_str(&b), &manifest, &err), 0);
	assert_int_equal(cache_image_put(c, config, &chain, &manifest, &full, 1, &id, &err), 0);
	struct oci_descriptor d;
	assert_int_equal(cache_image_manifest(c, arena, &id, "zstd", &d, &err), 0);
	assert_true(digest_eq(&d.digest, &manifest));
	assert_string_equal(d.media_type.p, DOCKER_MANIFEST);
	assert_int_equal(d.size, b.n);
	/* A blob of it is gone: it would have to be packed anew, and there are no files. */
	char path[BLOB_PATH_TEXT], whole[128];
	blob_path(&blob, path);
	snprintf(whole, sizeof(whole), "r/%s", path);
	assert_int_equal(unlinkat(w.fd, whole, 0), 0);
	assert_int_equal(cache_image_manifest(c, arena, &id, "gzip", &d, &err), -1);
	assert_non_null(strstr(err->msg, "pack layer 1"));
	err_drop(&err);
	cache_close(c);
	cache_store_close(s);
}

static void count_finding(void *arg, const char *text)
{
	char(*said)[4096] = arg;
	strncat(*said, text, sizeof(*said) - strlen(*said) - 2);
	strncat(*said, "\n", sizeof(*said) - strlen(*said) - 1);
}

static size_t fsck(struct cache *c, char said[4096])
{
	struct err *err = NULL;
	size_t bad;
	said[0] = '\0';
	if (cache_fsck(c, true, count_finding, (char(*)[4096])said, &bad, &err) < 0)
		fail_msg("%s", err->msg);
	return bad;
}

static void fsck_finds(void **state)
{
	(void)state;
	_cleanup_(world_end) struct world w = world_begin();
	struct store *s = open_store(&w);
	struct cache *c = must_open(s);
	char said[4096], path[BLOB_PATH_TEXT], whole[128];
	struct chain chain = { 0 };
	if (fsck(c, said))
		fail_msg("%s", said);
	struct digest id = put(c, &chain, "a", BUSYBOX);
	if (fsck(c, said))
		fail_msg("%s", said);
	/* One damage at a time. */
	blob_path(&id, path);
	snprintf(whole, sizeof(whole), "r/%s", path);
	assert_int_equal(renameat(w.fd, whole, w.fd, "aside"), 0);
	assert_int_equal(fsck(c, said), 1);
	assert_non_null(strstr(said, "file is not there"));
	put_file(&w, whole, "x");
	assert_int_equal(fsck(c, said), 1);
	assert_non_null(strstr(said, "bytes"));
	assert_int_equal(renameat(w.fd, "aside", w.fd, whole), 0);
	int fd = openat(w.fd, whole, O_WRONLY | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "x", 1, 0), 1);
	assert_int_equal(fsck(c, said), 1);
	assert_non_null(strstr(said, "another digest"));
	assert_int_equal(pwrite(fd, "{", 1, 0), 1);
	close(fd);
	put_file(&w, "r/images.json", "{}");
	assert_int_equal(fsck(c, said), 1);
	assert_int_equal(unlinkat(w.fd, "r/images.json", 0), 0);
	assert_int_equal(fsck(c, said), 1);
	struct err *err = NULL;
	assert_int_equal(cache_name_set(c, STR(BUSYBOX), &id, &err), 0);
	assert_int_equal(fsck(c, said), 0);
	make_layer(c, 3);
	assert_int_equal(fsck(c, said), 1);
	assert_non_null(strstr(said, "layer 1: its folder is not there"));
	sql(&w, "index.db", "DELETE FROM layer");
	assert_int_equal(mkdirat(w.fd, "r/layers/5", 0700), 0);
	assert_int_equal(fsck(c, said), 1);
	assert_non_null(strstr(said, "layers/5: it has no row"));
	assert_int_equal(unlinkat(w.fd, "r/layers/5", AT_REMOVEDIR), 0);
	put_file(&w, "r/leases/0011223344556677", "");
	assert_int_equal(mkdirat(w.fd, "r/tmp/0011223344556677", 0700), 0);
	assert_int_equal(mkdirat(w.fd, "r/trash/x", 0700), 0);
	sql(&w, "index.db",
	    "INSERT INTO pin(lease, kind, object) VALUES('0011223344556677', 'layer', 1)");
	assert_int_equal(fsck(c, said), 3); /* the trash is emptied */
	assert_int_equal(unlinkat(w.fd, "r/leases/0011223344556677", 0), 0);
	assert_int_equal(unlinkat(w.fd, "r/tmp/0011223344556677", AT_REMOVEDIR), 0);
	assert_int_equal(count(&w, "r/trash"), 0);
	sql(&w, "index.db", "DELETE FROM pin WHERE lease = '0011223344556677'");
	sql(&w, "index.db", "UPDATE image SET used = used + 1");
	assert_int_equal(fsck(c, said), 1);
	assert_non_null(strstr(said, "its row is damaged"));
	cache_close(c);
	cache_store_close(s);
}

static void busy_child(struct world *w)
{
	struct store *s = open_store(w);
	struct cache *c = must_open(s);
	struct chain chain = { 0 };
	struct err *err = NULL;
	for (int i = 0;; i++) {
		char word[32], name[64];
		snprintf(word, sizeof(word), "%d %d", (int)getpid(), i);
		snprintf(name, sizeof(name), "docker.io/library/n:%d", i % 5);
		struct digest id = put(c, &chain, word, name);
		if (cache_name_set(c, STR(BUSYBOX), &id, &err) < 0 ||
		    cache_blob_put(c, str_c(word), NULL, &err) < 0 ||
		    (i % 3 == 0 && (cache_name_del(c, str_c(name), NULL, NULL, &err) < 0)))
			_exit(1);
		if (i % 7 == 0) {
			cache_close(c);
			cache_store_close(s);
			s = open_store(w);
			c = must_open(s);
		}
	}
}

/* What images.json cannot be told (here: a folder stands in its place) does not undo the name. */
static void a_copy_that_fails(void **state)
{
	(void)state;
	_cleanup_(world_end) struct world w = world_begin();
	struct store *s = open_store(&w);
	struct cache *c = must_open(s);
	struct chain chain = { 0 };
	struct err *err = NULL;
	struct digest got;
	assert_int_equal(mkdirat(w.fd, "r/images.json", 0700), 0);
	put(c, &chain, "a", BUSYBOX);
	assert_non_null(strstr(w.said, "images.json is not up to date"));
	assert_int_equal(cache_name_get(c, STR(BUSYBOX), &got, &err), 0);
	assert_int_equal(unlinkat(w.fd, "r/images.json", AT_REMOVEDIR), 0);
	/* A damaged name that is no UTF-8 is no end of it. */
	sql(&w, "index.db",
	    "INSERT INTO name(ref, image, updated) SELECT CAST(x'ff41' AS TEXT), id, 1 FROM image");
	assert_int_equal(names_renew_copy(c, &err), 0);
	sql(&w, "index.db", "DELETE FROM name WHERE ref = CAST(x'ff41' AS TEXT)");
	assert_int_equal(names_renew_copy(c, &err), 0);
	char said[4096];
	if (fsck(c, said))
		fail_msg("%s", said);
	cache_close(c);
	cache_store_close(s);
}

static int count_visible(struct world *w, const char *path)
{
	int n = 0;
	_cleanup_closedir_ DIR *d =
		fdopendir(openat(w->fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	assert_non_null(d);
	for (struct dirent *e; (e = readdir(d));)
		n += e->d_name[0] != '.';
	return n;
}

/* Wherever a command is killed, the next one finds a whole store and cleans up after it. */
static void killed_anywhere(void **state)
{
	(void)state;
	_cleanup_(world_end) struct world w = world_begin();
	cache_store_close(open_store(&w));
	for (int i = 0; i < 25; i++) {
		pid_t pid = fork();
		if (!pid) {
			busy_child(&w);
			_exit(0);
		}
		struct timespec t = { 0, (5 + i * 2) * 1000000L + i * 137137L };
		nanosleep(&t, NULL);
		kill(pid, SIGKILL);
		int status;
		waitpid(pid, &status, 0);
		assert_true(WIFSIGNALED(status));
		w.said[0] = '\0';
		struct store *s = open_store(&w);
		struct cache *c = must_open(s);
		char said[4096];
		if (fsck(c, said))
			fail_msg("%d: %s", i, said);
		assert_string_equal(w.said, "");
		/* One that was not yet renamed waits for its minute. */
		assert_int_equal(count_visible(&w, "r/leases"), 0);
		assert_int_equal(count(&w, "r/tmp"), 1);
		cache_close(c);
		cache_store_close(s);
	}
	assert_true(sql(&w, "index.db", "SELECT count(*) FROM image") > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(put_and_find),
		cmocka_unit_test(ambiguous_prefixes),
		cmocka_unit_test(what_is_there_is_not_written),
		cmocka_unit_test(refused_images),
		cmocka_unit_test(names_move_and_go),
		cmocka_unit_test(images_json_follows),
		cmocka_unit_test(by_digest),
		cmocka_unit_test(absent_layers_and_damage),
		cmocka_unit_test(a_pulled_image_leaves_as_it_came),
		cmocka_unit_test(fsck_finds),
		cmocka_unit_test(a_copy_that_fails),
		cmocka_unit_test(killed_anywhere),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
