#include "registry/load.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/io.h"
#include "base/json.h"
#include "base/map.h"
#include "base/path.h"
#include "base/vec.h"
#include "base/zip.h"
#include "cache/blob.h"
#include "cache/layer.h"
#include "cache/lib_archive.h"
#include "cache/name.h"
#include "cache/ref.h"
#include "registry/choose.h"

enum {
	READ_SIZE = 256 * 1024,
	TEXT_MAX = 4 * 1024 * 1024,
	HEADER_MAX = 1024 * 1024,
	MAX_FILES = 100000,
	MAX_LINKS = 8,
	MAX_NESTING = 4,
	PATH_LIMIT = 1024
};

#define REF_NAME "org.opencontainers.image.ref.name"
#define IMAGE_NAME "io.containerd.image.name"

/* A file of the archive. In the arena. */
struct file {
	struct str text; /* of those that are kept in memory */
	struct str link; /* path of another; else a blob: */
	struct digest digest;
	uint64_t size;
};

struct loading {
	struct cache *c;
	struct arena *a;
	const struct load_options *o;
	int dir_fd;       /* of a folder; -1: everything is in `files` */
	struct map files; /* clean path → struct file */
	VEC(struct loaded) images;
	/* while a tar is read */
	struct source *tar;
	struct archive *archive;
	char *buf;
	uint64_t header_bytes; /* read since the last entry's data */
	struct err *read_err;
};

/* ---- files */

static bool in_memory(struct str path)
{
	static const char *const names[] = { "oci-layout", "index.json", "manifest.json" };
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (str_eq_c(path, names[i]))
			return true;
	return false;
}

/* The digest that a name promises. */
static bool promised(struct str path, struct digest *ret)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	return str_starts(path, STR("blobs/sha256/")) &&
		!digest_parse_hex(str_sub(path, 13, path.n), ret, &e);
}

/* Layers and configs of the forms that we know. */
static bool may_be_blob(struct str path)
{
	struct digest d;
	return promised(path, &d) || str_ends(path, STR(".tar")) || str_ends(path, STR(".json")) ||
		str_ends(path, STR(".tar.gz"));
}

/* Clean, without a leading slash or "./"; false for one that leads out or is too long. */
static bool clean_path(struct arena *a, struct str raw, struct str *ret)
{
	if (!raw.n || raw.n > PATH_LIMIT)
		return false;
	struct str p = path_clean(a, path_join(a, STR("/"), raw));
	*ret = str_sub(p, 1, p.n);
	return ret->n > 0;
}

static struct file *add_file(struct loading *l, struct str path)
{
	struct file *f = arena_new_of(l->a, struct file);
	map_put(&l->files, path, f);
	return f;
}

static int wrap_path(struct err **err, struct str path)
{
	_cleanup_(sb_releasep) struct sb b = { 0 };
	sb_add_printable(&b, str_sub(path, 0, 200));
	return err_wrap(err, "read '%s'", sb_c(&b));
}

/* Takes a stream in as text or as a blob. `read`: up to n bytes, 0 at the end. */
static int take_file(struct loading *l, struct str path,
		     ssize_t (*read)(void *arg, const void **p, struct err **err), void *arg,
		     struct err **err)
{
	struct digest want;
	bool text = in_memory(path), named = promised(path, &want);
	_cleanup_(sb_releasep) struct sb b;
	sb_init(&b, TEXT_MAX);
	struct blob_writer *w = text ? NULL : cache_blob_begin(l->c, 0, err);
	if (!text && !w)
		return -1;
	struct file f = { 0 };
	const void *p;
	ssize_t n;
	while ((n = read(arg, &p, err)) > 0) {
		f.size += (uint64_t)n;
		if (text)
			sb_add(&b, p, (size_t)n);
		else if (cache_blob_write(w, p, (size_t)n, err) < 0)
			break;
	}
	if (n) {
		if (w)
			cache_blob_abort(w);
		return -1;
	}
	if (text && sb_check(&b, "file", err) < 0)
		return wrap_path(err, path);
	if (!text && cache_blob_commit(l->c, w, named ? &want : NULL, NULL, &f.digest, err) < 0)
		return wrap_path(err, path);
	if (text)
		f.text = arena_str(l->a, sb_str(&b));
	*add_file(l, path) = f;
	return 0;
}

/* ---- a folder */

struct fd_reader {
	int fd;
	char *buf;
};

static ssize_t read_fd(void *arg, const void **p, struct err **err)
{
	struct fd_reader *r = arg;
	ssize_t n = io_read_full(r->fd, r->buf, READ_SIZE);
	*p = r->buf;
	return n < 0 ? err_sys(err, "read") : n;
}

static int take_from_folder(struct loading *l, struct str path, bool *ret_found, struct err **err)
{
	_cleanup_free_ char *name = str_dup(path);
	_cleanup_close_ int fd = path_open_in(l->dir_fd, name, O_RDONLY | O_NONBLOCK, 0);
	struct stat st;
	*ret_found = fd >= 0 && !fstat(fd, &st) && S_ISREG(st.st_mode);
	if (!*ret_found)
		return 0;
	_cleanup_free_ char *buf = xmalloc(READ_SIZE);
	return take_file(l, path, read_fd, &(struct fd_reader){ fd, buf }, err);
}

/* The file of a path, through links; NULL in *ret where it is not there. */
static int find_file(struct loading *l, struct str path, const struct file **ret, struct err **err)
{
	*ret = NULL;
	for (int i = 0; i < MAX_LINKS; i++) {
		if (!clean_path(l->a, path, &path))
			return 0;
		struct file *f = map_get(&l->files, path);
		bool found = false;
		if (!f && l->dir_fd >= 0 && take_from_folder(l, path, &found, err) < 0)
			return -1;
		if (found)
			f = map_get(&l->files, path);
		if (!f || !f->link.n) {
			*ret = f;
			return 0;
		}
		path = f->link;
	}
	return 0;
}

/* ---- a tar */

static la_ssize_t on_read(struct archive *a, void *data, const void **ret)
{
	(void)a;
	struct loading *l = data;
	ssize_t n = io_read(l->tar, l->buf, READ_SIZE);
	if (n < 0) {
		l->read_err = STEAL(l->tar->err);
		return -1;
	}
	l->header_bytes += (uint64_t)n;
	if (l->header_bytes > HEADER_MAX + 2 * READ_SIZE) {
		err_set(&l->read_err, ERR_LIMIT, "a tar header is larger than %d bytes",
			HEADER_MAX);
		return -1;
	}
	*ret = l->buf;
	return n;
}

static int tar_failed(struct loading *l, struct err **err)
{
	if (l->read_err)
		return err_move(err, STEAL(l->read_err));
	const char *text = archive_error_string(l->archive);
	return err_set(err, ERR_INVALID, "read tar: %s", text ? text : "it is damaged");
}

struct entry_reader {
	struct loading *l;
	la_int64_t at;
};

static ssize_t read_entry(void *arg, const void **p, struct err **err)
{
	struct entry_reader *r = arg;
	size_t n = 0;
	/* An empty block is not the end. */
	while (!n) {
		la_int64_t offset = 0;
		r->l->header_bytes = 0;
		int rc = archive_read_data_block(r->l->archive, p, &n, &offset);
		if (rc == ARCHIVE_EOF)
			return 0;
		if (rc != ARCHIVE_OK)
			return tar_failed(r->l, err);
		if (offset != r->at)
			return err_set(err, ERR_UNSUPPORTED,
				       "sparse files are not accepted in an archive of images");
	}
	r->at += (la_int64_t)n;
	return (ssize_t)n;
}

/* Reads over a file that is of no use. */
static int skip_entry(struct loading *l, struct err **err)
{
	struct entry_reader r = { l, 0 };
	const void *p;
	ssize_t n;
	while ((n = read_entry(&r, &p, err)) > 0)
		;
	return (int)n;
}

static int take_entry(struct loading *l, struct archive_entry *e, struct err **err)
{
	const char *name = archive_entry_pathname(e), *hard = archive_entry_hardlink(e),
		   *soft = archive_entry_symlink(e);
	struct str path, target;
	if (!name || !clean_path(l->a, str_c(name), &path))
		return skip_entry(l, err);
	if (l->files.n >= MAX_FILES)
		return err_set(err, ERR_LIMIT, "more than %d files in an archive of images",
			       MAX_FILES);
	if (hard || (soft && *soft)) {
		/* docker save linked equal layers: ../<id>/layer.tar, from the folder of the link */
		struct str raw = hard    ? str_c(hard)
			: soft[0] == '/' ? str_c(soft)
					 : path_join(l->a, path_dir(l->a, path), str_c(soft));
		if (clean_path(l->a, raw, &target))
			add_file(l, path)->link = target;
		return 0;
	}
	if (archive_entry_filetype(e) != AE_IFREG)
		return 0;
	if (!in_memory(path) && !may_be_blob(path))
		return skip_entry(l, err);
	return take_file(l, path, read_entry, &(struct entry_reader){ l, 0 }, err);
}

static int read_entries(struct loading *l, struct err **err)
{
	if (archive_read_support_format_tar(l->archive) != ARCHIVE_OK ||
	    archive_read_set_read_callback(l->archive, on_read) != ARCHIVE_OK ||
	    archive_read_set_callback_data(l->archive, l) != ARCHIVE_OK ||
	    archive_read_open1(l->archive) != ARCHIVE_OK)
		return tar_failed(l, err);
	for (;;) {
		struct archive_entry *e;
		l->header_bytes = 0;
		int rc = archive_read_next_header(l->archive, &e);
		if (rc == ARCHIVE_EOF)
			return 0;
		if (rc != ARCHIVE_OK && rc != ARCHIVE_WARN)
			return tar_failed(l, err);
		if (take_entry(l, e, err) < 0)
			return -1;
	}
}

/* Consumes the tar. */
static int read_tar(struct loading *l, struct source *tar, struct err **err)
{
	if (lib_archive_load(err) < 0) {
		_cleanup_(err_dropp) struct err *ignored = NULL;
		if (io_source_close(tar, &ignored) < 0)
			err_drop(&ignored);
		return -1;
	}
	l->tar = zip_source(tar, NULL, err);
	if (!l->tar)
		return -1;
	l->buf = xmalloc(READ_SIZE);
	l->archive = archive_read_new();
	if (!l->archive)
		mem_fail();
	int r = read_entries(l, err);
	archive_read_free(l->archive);
	free(STEAL(l->buf));
	err_drop(&l->read_err);
	_cleanup_(err_dropp) struct err *close_err = NULL;
	if (io_source_close(l->tar, &close_err) < 0 && !r)
		r = err_move(err, STEAL(close_err));
	return r;
}

/* ---- images */

static void add_name(struct loading *l, struct loaded *image, struct str text)
{
	struct ref ref;
	_cleanup_(err_dropp) struct err *e = NULL;
	if (!text.n || ref_parse(l->a, text, &ref, &e) < 0)
		return;
	struct str full = ref_full(l->a, &ref);
	for (size_t i = 0; i < image->n_names; i++)
		if (str_eq(image->names[i], full))
			return;
	struct str *more = arena_array_of(l->a, struct str, image->n_names + 1);
	if (image->n_names)
		memcpy(more, image->names, image->n_names * sizeof(*more));
	more[image->n_names++] = full;
	image->names = more;
}

/* What an image is made of, whichever form named it. */
struct parts {
	struct digest config;
	const struct digest *layers;
	size_t n_layers;
	const struct digest *manifest; /* NULL: it has none */
};

static int unpack_layer(struct loading *l, const struct digest *blob, const struct digest *diffid,
			struct chain *chain, struct err **err)
{
	struct layer *layer = &chain->v[chain->n];
	bool found = false;
	int fd;
	char text[DIGEST_TEXT];
	if (cache_layer_find(l->c, diffid, &found, layer, err) < 0)
		return -1;
	if (!found) {
		if (cache_blob_open(l->c, blob, &fd, NULL, err) < 0)
			return -1;
		struct source *tar = io_source_fd(fd, true, digest_text(blob, text));
		if (cache_layer_unpack(l->c, tar, diffid, chain, blob, layer, err) < 0)
			return err_wrap(err, "unpack layer '%s'", digest_text(blob, text));
	}
	chain->n++;
	return 0;
}

static int put_image(struct loading *l, const struct parts *p, struct loaded *image,
		     struct err **err)
{
	_cleanup_(sb_releasep) struct sb config;
	sb_init(&config, TEXT_MAX);
	struct oci_image parsed;
	if (cache_blob_read(l->c, &p->config, &config, err) < 0 ||
	    oci_image_parse(l->a, arena_str(l->a, sb_str(&config)), &parsed, err) < 0)
		return -1;
	if (parsed.n_diff_ids != p->n_layers)
		return err_set(err, ERR_INVALID,
			       "an image's config names %zu layers, %zu are there",
			       parsed.n_diff_ids, p->n_layers);
	struct chain chain = { arena_array_of(l->a, struct layer, p->n_layers + 1), 0 };
	for (size_t i = 0; i < p->n_layers; i++)
		if (unpack_layer(l, &p->layers[i], &parsed.diff_ids[i], &chain, err) < 0)
			return -1;
	return cache_image_put(l->c, sb_str(&config), &chain, p->manifest, image->names,
			       image->n_names, &image->id, err);
}

/* The blob of a path that something names. */
static int need_file(struct loading *l, struct str path, const struct file **ret, struct err **err)
{
	if (find_file(l, path, ret, err) < 0)
		return -1;
	if (*ret && !(*ret)->text.p)
		return 0;
	_cleanup_(sb_releasep) struct sb b = { 0 };
	sb_add_printable(&b, str_sub(path, 0, 200));
	return err_set(err, ERR_NOT_FOUND, "the archive names '%s' and does not have it", sb_c(&b));
}

static int need_blob(struct loading *l, const struct digest *d, struct err **err)
{
	char hex[DIGEST_HEX];
	const struct file *f;
	return need_file(l, arena_printf(l->a, "blobs/sha256/%s", digest_hex(d, hex)), &f, err);
}

static int read_manifest(struct loading *l, const struct oci_descriptor *d,
			 struct oci_manifest *ret, struct err **err)
{
	_cleanup_(sb_releasep) struct sb b;
	sb_init(&b, TEXT_MAX);
	if (need_blob(l, &d->digest, err) < 0 || cache_blob_read(l->c, &d->digest, &b, err) < 0)
		return -1;
	return oci_manifest_parse(l->a, arena_str(l->a, sb_str(&b)), d->media_type, ret, err);
}

/* An entry of index.json: an image, or an index of which one is chosen. */
static int load_entry(struct loading *l, const struct oci_descriptor *d, struct loaded *image,
		      struct err **err)
{
	struct oci_manifest m;
	for (int depth = 0;; depth++) {
		if (read_manifest(l, d, &m, err) < 0)
			return -1;
		if (!m.is_index)
			break;
		d = choose_entry(&m, l->o->platform);
		if (!d || depth == MAX_NESTING)
			return err_set(err, d ? ERR_LIMIT : ERR_NOT_FOUND, "%s",
				       d ? "indexes nested too deeply"
					 : "no image of this platform in the archive");
	}
	struct digest *layers = arena_array_of(l->a, struct digest, m.n_entries + 1);
	for (size_t i = 0; i < m.n_entries; i++) {
		layers[i] = m.entries[i].digest;
		if (need_blob(l, &layers[i], err) < 0)
			return -1;
	}
	if (need_blob(l, &m.config.digest, err) < 0)
		return -1;
	return put_image(l, &(struct parts){ m.config.digest, layers, m.n_entries, &d->digest },
			 image, err);
}

static void add_names_of_entry(struct loading *l, struct loaded *image,
			       const struct oci_descriptor *d)
{
	struct str full = choose_annotation(d, IMAGE_NAME), name = choose_annotation(d, REF_NAME);
	add_name(l, image, full);
	/* A tag alone names nothing; other tools write whole references there. */
	if (!full.n && (str_find(name, ':', 0) != SIZE_MAX || str_find(name, '/', 0) != SIZE_MAX))
		add_name(l, image, name);
}

/* Several entries that differ in platform alone are one image. */
static bool is_one_image(const struct oci_manifest *index)
{
	size_t images = 0;
	for (size_t i = 0; i < index->n_entries; i++) {
		const struct oci_descriptor *d = &index->entries[i];
		if (choose_is_attestation(d))
			continue;
		images++;
		if (!d->platform.os.n || choose_annotation(d, IMAGE_NAME).n ||
		    choose_annotation(d, REF_NAME).n)
			return false;
	}
	return images > 1;
}

static int load_oci(struct loading *l, struct str text, struct err **err)
{
	struct oci_manifest index;
	if (oci_manifest_parse(l->a, text, STR(OCI_INDEX), &index, err) < 0)
		return err_wrap(err, "index.json");
	const struct oci_descriptor *only =
		is_one_image(&index) ? choose_entry(&index, l->o->platform) : NULL;
	if (is_one_image(&index) && !only)
		return err_set(err, ERR_NOT_FOUND, "no image of this platform in the archive");
	for (size_t i = 0; i < index.n_entries; i++) {
		const struct oci_descriptor *d = &index.entries[i];
		struct loaded image = { 0 };
		if (choose_is_attestation(d) || (only && d != only))
			continue;
		add_names_of_entry(l, &image, d);
		if (load_entry(l, d, &image, err) < 0)
			return -1;
		bool known = false;
		for (size_t k = 0; k < l->images.n && !known; k++) {
			known = digest_eq(&l->images.v[k].id, &image.id);
			for (size_t n = 0; known && n < image.n_names; n++)
				add_name(l, &l->images.v[k], image.names[n]);
		}
		if (!known)
			VEC_PUSH(&l->images, image);
	}
	return 0;
}

static int docker_parts(struct loading *l, const json_t *one, struct parts *p, struct err **err)
{
	const json_t *list = json_object_get(one, "Layers");
	const struct file *f;
	struct digest *layers = arena_array_of(l->a, struct digest, json_array_size(list) + 1);
	if (need_file(l, json_get_str(one, "Config"), &f, err) < 0)
		return -1;
	p->config = f->digest;
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *path = json_string_value(json_array_get(list, i));
		if (need_file(l, str_c(path), &f, err) < 0)
			return -1;
		layers[i] = f->digest;
	}
	p->layers = layers;
	p->n_layers = json_array_size(list);
	return 0;
}

/* The images of manifest.json, or, where `names_only`, the names that it gives to images which are loaded already. */
static int load_docker(struct loading *l, struct str text, bool names_only, struct err **err)
{
	_cleanup_(json_unrefp) json_t *all = json_parse(text, "manifest.json", err);
	if (!all)
		return -1;
	for (size_t i = 0; i < json_array_size(all); i++) {
		const json_t *one = json_array_get(all, i),
			     *tags = json_object_get(one, "RepoTags");
		struct loaded image = { 0 };
		struct parts p = { 0 };
		for (size_t k = 0; k < json_array_size(tags); k++)
			add_name(l, &image, str_c(json_string_value(json_array_get(tags, k))));
		if (docker_parts(l, one, &p, err) < 0)
			return -1;
		bool known = false;
		for (size_t k = 0; k < l->images.n && !known; k++)
			known = digest_eq(&l->images.v[k].id, &p.config);
		if (names_only != known)
			continue;
		if (put_image(l, &p, &image, err) < 0)
			return -1;
		if (!names_only) {
			VEC_PUSH(&l->images, image);
			continue;
		}
		for (size_t k = 0; k < l->images.n; k++)
			for (size_t n = 0;
			     digest_eq(&l->images.v[k].id, &image.id) && n < image.n_names; n++)
				add_name(l, &l->images.v[k], image.names[n]);
	}
	return 0;
}

static int load_all(struct loading *l, struct err **err)
{
	const struct file *layout, *index, *docker;
	if (find_file(l, STR("oci-layout"), &layout, err) < 0 ||
	    find_file(l, STR("index.json"), &index, err) < 0 ||
	    find_file(l, STR("manifest.json"), &docker, err) < 0)
		return -1;
	bool oci = layout && index && index->text.p;
	if (!oci && !(docker && docker->text.p))
		return err_set(err, ERR_INVALID,
			       "neither an OCI image layout nor an archive of docker save");
	if (oci && load_oci(l, index->text, err) < 0)
		return -1;
	return docker && docker->text.p ? load_docker(l, docker->text, oci, err) : 0;
}

static int finish(struct loading *l, int r, struct loaded **ret, size_t *ret_n)
{
	if (!r) {
		*ret = arena_array_of(l->a, struct loaded, l->images.n + 1);
		if (l->images.n)
			memcpy(*ret, l->images.v, l->images.n * sizeof(**ret));
		*ret_n = l->images.n;
	}
	map_release(&l->files);
	VEC_RELEASE(&l->images);
	return r;
}

int registry_load(struct cache *c, struct arena *a, struct source *tar,
		  const struct load_options *o, struct loaded **ret, size_t *ret_n,
		  struct err **err)
{
	struct loading l = { .c = c, .a = a, .o = o, .dir_fd = -1 };
	int r = read_tar(&l, tar, err);
	return finish(&l, r < 0 ? r : load_all(&l, err), ret, ret_n);
}

int registry_load_folder(struct cache *c, struct arena *a, int dir_fd, const struct load_options *o,
			 struct loaded **ret, size_t *ret_n, struct err **err)
{
	struct loading l = { .c = c, .a = a, .o = o, .dir_fd = dir_fd };
	return finish(&l, load_all(&l, err), ret, ret_n);
}
