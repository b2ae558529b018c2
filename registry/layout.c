#include "registry/layout.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/io.h"
#include "base/json.h"
#include "base/map.h"
#include "cache/blob.h"
#include "cache/name.h"
#include "cache/oci.h"
#include "cache/ref.h"

enum { BLOCK = 256 * 1024, TAR_BLOCK = 512, MANIFEST_MAX = 4 * 1024 * 1024 };

#define REF_NAME "org.opencontainers.image.ref.name"
#define IMAGE_NAME "io.containerd.image.name"
static const char layout_file[] = "{\"imageLayoutVersion\":\"1.0.0\"}";

/* One writing. */
struct writing {
	struct cache *c;
	struct arena *a;
	const struct layout_options *o;
	struct oci_descriptor image;
	struct oci_manifest manifest;
	struct map written; /* hex → this */
	char *buf;
};

static bool canceled(const struct writing *w)
{
	return w->o->cancel && atomic_load_explicit(w->o->cancel, memory_order_relaxed);
}

/* ---- the tar */

static int tar_failed(const struct writing *w, struct err **err)
{
	const struct err *e = w->o->tar->err;
	return err_set(err, e ? e->code : ERR_IO, "write the archive: %s", e ? e->msg : "failed");
}

/* A number field: octal, or base-256 where it does not fit. */
static void put_number(char *field, size_t n, uint64_t v)
{
	if (v >> (3 * (n - 1)) == 0) {
		snprintf(field, n, "%0*" PRIo64, (int)n - 1, v);
		return;
	}
	for (size_t i = n; i-- > 0; v >>= 8)
		field[i] = (char)(v & 0xff);
	field[0] |= (char)0x80;
}

/* USTAR; all our names fit its field. */
static int tar_header(struct writing *w, const char *name, uint64_t size, char type,
		      struct err **err)
{
	char h[TAR_BLOCK] = { 0 };
	snprintf(h, 100, "%s", name);
	put_number(h + 100, 8, type == '5' ? 0755 : 0644);
	put_number(h + 108, 8, 0);
	put_number(h + 116, 8, 0);
	put_number(h + 124, 12, size);
	put_number(h + 136, 12, 0);
	memset(h + 148, ' ', 8);
	h[156] = type;
	memcpy(h + 257,
	       "ustar\0"
	       "00",
	       8);
	unsigned sum = 0;
	for (size_t i = 0; i < sizeof(h); i++)
		sum += (unsigned char)h[i];
	snprintf(h + 148, 8, "%06o", sum);
	return io_write(w->o->tar, h, sizeof(h)) < 0 ? tar_failed(w, err) : 0;
}

static int tar_pad(struct writing *w, uint64_t size, struct err **err)
{
	static const char zero[TAR_BLOCK];
	size_t rest = (size_t)(-size % TAR_BLOCK);
	return rest && io_write(w->o->tar, zero, rest) < 0 ? tar_failed(w, err) : 0;
}

static int tar_end(struct writing *w, struct err **err)
{
	static const char zero[2 * TAR_BLOCK];
	return io_write(w->o->tar, zero, sizeof(zero)) < 0 ? tar_failed(w, err) : 0;
}

/* ---- files, in the tar or in the folder */

static int put_file(struct writing *w, const char *name, struct str data, struct err **err)
{
	if (!w->o->tar)
		return io_replace_file(w->o->dir_fd, name, data, 0644, false, err);
	if (tar_header(w, name, data.n, '0', err) < 0)
		return -1;
	if (data.n && io_write(w->o->tar, data.p, data.n) < 0)
		return tar_failed(w, err);
	return tar_pad(w, data.n, err);
}

/* Copies size bytes of a blob to a descriptor, or to the tar (-1). */
static int copy_blob(struct writing *w, int from, uint64_t size, int to, const char *name,
		     struct err **err)
{
	for (uint64_t left = size; left;) {
		if (canceled(w))
			return err_set(err, ERR_CANCELED, "canceled");
		ssize_t n = io_read_full(from, w->buf, left < BLOCK ? (size_t)left : BLOCK);
		if (n <= 0) {
			errno = n ? errno : EIO;
			return err_sys(err, "read blob '%s'", name);
		}
		if (to < 0 && io_write(w->o->tar, w->buf, (size_t)n) < 0)
			return tar_failed(w, err);
		if (to >= 0 && io_write_full(to, w->buf, (size_t)n) < 0)
			return err_sys(err, "write '%s'", name);
		left -= (uint64_t)n;
	}
	return 0;
}

/* A blob of that name and size is taken for what it says: folders are added to, image after image. */
static bool is_there(const struct writing *w, const char *path, uint64_t size)
{
	struct stat st;
	return !fstatat(w->o->dir_fd, path, &st, AT_SYMLINK_NOFOLLOW) && S_ISREG(st.st_mode) &&
		(uint64_t)st.st_size == size;
}

static int blob_to_folder(struct writing *w, int from, uint64_t size, const char *path,
			  struct err **err)
{
	if (is_there(w, path, size))
		return 0;
	_cleanup_free_ char *temp = xasprintf("%s.part", path);
	unlinkat(w->o->dir_fd, temp, 0);
	_cleanup_close_ int to = openat(w->o->dir_fd, temp,
					O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (to < 0)
		return err_sys(err, "create '%s'", temp);
	int r = copy_blob(w, from, size, to, path, err);
	if (!r && renameat(w->o->dir_fd, temp, w->o->dir_fd, path) < 0)
		r = err_sys(err, "rename '%s'", temp);
	if (r < 0)
		unlinkat(w->o->dir_fd, temp, 0);
	return r;
}

static int put_blob(struct writing *w, const struct digest *d, struct err **err)
{
	char hex[DIGEST_HEX], path[16 + DIGEST_HEX];
	_cleanup_close_ int fd = -1;
	uint64_t size;
	digest_hex(d, hex);
	if (map_put(&w->written, str_c(hex), w))
		return 0;
	if (cache_blob_open(w->c, d, &fd, &size, err) < 0)
		return -1;
	snprintf(path, sizeof(path), "blobs/sha256/%s", hex);
	if (!w->o->tar)
		return blob_to_folder(w, fd, size, path, err);
	if (tar_header(w, path, size, '0', err) < 0 || copy_blob(w, fd, size, -1, path, err) < 0)
		return -1;
	return tar_pad(w, size, err);
}

static int put_blobs(struct writing *w, struct err **err)
{
	if (w->o->tar &&
	    (tar_header(w, "blobs/", 0, '5', err) < 0 ||
	     tar_header(w, "blobs/sha256/", 0, '5', err) < 0))
		return -1;
	if (!w->o->tar && io_mkdirs(w->o->dir_fd, "blobs/sha256", 0755, err) < 0)
		return -1;
	for (size_t i = 0; i < w->manifest.n_entries; i++)
		if (put_blob(w, &w->manifest.entries[i].digest, err) < 0)
			return -1;
	return put_blob(w, &w->manifest.config.digest, err) < 0
		? -1
		: put_blob(w, &w->image.digest, err);
}

/* ---- the index */

static json_t *index_entry(const struct writing *w, const struct str *name)
{
	char text[DIGEST_TEXT];
	json_t *e = json_object();
	json_put_str(e, "mediaType", w->image.media_type);
	json_put_str(e, "digest", str_c(digest_text(&w->image.digest, text)));
	json_put_int(e, "size", (int64_t)w->image.size);
	if (!name)
		return e;
	_cleanup_(err_dropp) struct err *ignored = NULL;
	struct ref ref;
	json_t *notes = json_object();
	json_put_str(notes, IMAGE_NAME, *name);
	/* docker's way, which others follow: the tag alone. */
	if (!ref_parse(w->a, *name, &ref, &ignored) && ref.tag.n)
		json_put_str(notes, REF_NAME, ref.tag);
	json_put(e, "annotations", notes);
	return e;
}

/* Whether an entry that is there gives way: it has one of our names, or is our image without a name. */
static bool replaced(const struct writing *w, const json_t *entry)
{
	char text[DIGEST_TEXT];
	struct str name = json_get_str(json_object_get(entry, "annotations"), IMAGE_NAME);
	struct str tag = json_get_str(json_object_get(entry, "annotations"), REF_NAME);
	if (str_eq_c(json_get_str(entry, "digest"), digest_text(&w->image.digest, text)) &&
	    !name.n && !tag.n)
		return true;
	for (size_t i = 0; i < w->o->n_names; i++) {
		size_t colon = str_rfind(w->o->names[i], ':');
		if (str_eq(name, w->o->names[i]) ||
		    (!name.n && str_eq(tag, str_sub(w->o->names[i], colon + 1, w->o->names[i].n))))
			return true;
	}
	return false;
}

static int old_entries(const struct writing *w, json_t *list, struct err **err)
{
	_cleanup_(sb_releasep) struct sb text;
	sb_init(&text, MANIFEST_MAX);
	_cleanup_(err_dropp) struct err *e = NULL;
	if (w->o->tar ||
	    (io_read_file(w->o->dir_fd, "index.json", &text, &e) < 0 && e->code == ERR_NOT_FOUND))
		return 0;
	if (e)
		return err_move(err, STEAL(e));
	_cleanup_(json_unrefp) json_t *j = json_parse(sb_str(&text), "index.json", err);
	if (!j)
		return -1;
	json_t *old = json_object_get(j, "manifests");
	for (size_t i = 0; i < json_array_size(old); i++)
		if (!replaced(w, json_array_get(old, i)))
			json_push(list, json_incref(json_array_get(old, i)));
	return 0;
}

static int put_index(struct writing *w, struct err **err)
{
	_cleanup_(json_unrefp) json_t *index = json_object();
	_cleanup_(sb_releasep) struct sb text = { 0 };
	json_t *list = json_array();
	json_put_int(index, "schemaVersion", 2);
	json_put_str(index, "mediaType", STR(OCI_INDEX));
	json_put(index, "manifests", list);
	if (old_entries(w, list, err) < 0)
		return -1;
	for (size_t i = 0; i < w->o->n_names; i++)
		json_push(list, index_entry(w, &w->o->names[i]));
	if (!w->o->n_names)
		json_push(list, index_entry(w, NULL));
	json_print(index, &text);
	return put_file(w, "index.json", sb_str(&text), err);
}

static json_t *blob_path(const struct digest *d)
{
	char hex[DIGEST_HEX], path[16 + DIGEST_HEX];
	snprintf(path, sizeof(path), "blobs/sha256/%s", digest_hex(d, hex));
	return json_text(str_c(path));
}

/* Docker's manifest.json over the same blobs. */
static int put_docker(struct writing *w, struct err **err)
{
	_cleanup_(json_unrefp) json_t *all = json_array();
	_cleanup_(sb_releasep) struct sb text = { 0 };
	json_t *one = json_object(), *tags = json_array(), *layers = json_array();
	json_push(all, one);
	json_put(one, "Config", blob_path(&w->manifest.config.digest));
	json_put(one, "RepoTags", tags);
	json_put(one, "Layers", layers);
	for (size_t i = 0; i < w->o->n_names; i++) {
		struct ref ref;
		_cleanup_(err_dropp) struct err *ignored = NULL;
		if (!ref_parse(w->a, w->o->names[i], &ref, &ignored) && ref.tag.n)
			json_push(tags, json_text(ref_familiar(w->a, &ref)));
	}
	for (size_t i = 0; i < w->manifest.n_entries; i++)
		json_push(layers, blob_path(&w->manifest.entries[i].digest));
	json_print(all, &text);
	return put_file(w, "manifest.json", sb_str(&text), err);
}

static int write_all(struct writing *w, struct err **err)
{
	const struct layout_options *o = w->o;
	if (put_file(w, "oci-layout", str_c(layout_file), err) < 0)
		return -1;
	/* In a folder the index appears when all that it names is there. */
	if (!o->tar && put_blobs(w, err) < 0)
		return -1;
	if ((o->docker && put_docker(w, err) < 0) || put_index(w, err) < 0)
		return -1;
	if (!o->tar)
		return 0;
	return put_blobs(w, err) < 0 ? -1 : tar_end(w, err);
}

int registry_layout_write(struct cache *c, struct arena *a, const struct digest *image_id,
			  const struct layout_options *o, struct err **err)
{
	struct writing w = { .c = c, .a = a, .o = o };
	_cleanup_(sb_releasep) struct sb bytes;
	sb_init(&bytes, MANIFEST_MAX);
	if (cache_image_manifest(c, a, image_id, o->form ? o->form : "gzip", &w.image, err) < 0 ||
	    cache_blob_read(c, &w.image.digest, &bytes, err) < 0)
		return -1;
	if (oci_manifest_parse(a, arena_str(a, sb_str(&bytes)), w.image.media_type, &w.manifest,
			       err) < 0)
		return -1;
	w.buf = xmalloc(BLOCK);
	int r = write_all(&w, err);
	map_release(&w.written);
	free(w.buf);
	return r;
}
