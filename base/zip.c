#include "base/zip.h"

#include <isa-l.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "base/err.h"

enum { IN_SIZE = 128 * 1024, OUT_SIZE = 256 * 1024, GZIP_BLOCK = 256 * 1024, WINDOW_LOG_MAX = 27 };
enum { ZSTD_LEVEL = 3, ZSTD_JOB = 2 << 20, ZSTD_WORKERS = 2, GZIP_LEVEL = 1 };

enum zip_kind zip_detect(const void *p, size_t n)
{
	static const struct {
		const char *magic;
		size_t n;
		enum zip_kind kind;
	} table[] = {
		{ "\x1f\x8b\x08", 3, ZIP_GZIP },
		{ "\x28\xb5\x2f\xfd", 4, ZIP_ZSTD },
		{ "BZh", 3, ZIP_BZIP2 },
		{ "\xfd"
		  "7zXZ",
		  6, ZIP_XZ },
	};
	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		if (n >= table[i].n && !memcmp(p, table[i].magic, table[i].n))
			return table[i].kind;
	/* A skippable zstd frame (pzstd, eStargz' cousins) is zstd too. */
	const uint8_t *b = p;
	if (n >= 4 && (b[0] & 0xf0) == 0x50 && b[1] == 0x2a && b[2] == 0x4d && b[3] == 0x18)
		return ZIP_ZSTD;
	return ZIP_NONE;
}

const char *zip_form(enum zip_kind kind)
{
#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)
	switch (kind) {
	case ZIP_GZIP:
		return "gzip-1/isal-" TEXT(ISAL_MAJOR_VERSION) "." TEXT(ISAL_MINOR_VERSION);
	case ZIP_ZSTD:
		return "zstd-3/zstd-" TEXT(ZSTD_VERSION_MAJOR) "." TEXT(ZSTD_VERSION_MINOR);
	default:
		return "none";
	}
}

/* ---- reading */

struct unzip {
	struct source source;
	struct source *from;
	enum zip_kind kind;
	uint8_t *in;
	size_t in_pos, in_n;
	bool in_end;  /* `from` has given its last byte */
	bool between; /* at the border of two members or frames */
	struct inflate_state gz;
	ZSTD_DCtx *zd;
};

/* Fills the input buffer when it is empty; 0 also at the end. */
static int refill(struct unzip *u)
{
	if (u->in_pos < u->in_n || u->in_end)
		return 0;
	ssize_t k = io_read(u->from, u->in, IN_SIZE);
	if (k < 0)
		return err_move(&u->source.err, STEAL(u->from->err));
	u->in_pos = 0;
	u->in_n = (size_t)k;
	u->in_end = !k;
	return 0;
}

static int damaged(struct unzip *u, const char *what)
{
	return err_set(&u->source.err, ERR_INTEGRITY, "decompress %s: %s",
		       u->kind == ZIP_GZIP ? "gzip" : "zstd", what);
}

static ssize_t read_plain(struct unzip *u, void *p, size_t n)
{
	if (u->in_pos == u->in_n) {
		/* Nothing is held back: large reads need no detour through our buffer. */
		ssize_t k = io_read(u->from, p, n);
		return k < 0 ? err_move(&u->source.err, STEAL(u->from->err)) : k;
	}
	size_t k = u->in_n - u->in_pos;
	if (k > n)
		k = n;
	memcpy(p, u->in + u->in_pos, k);
	u->in_pos += k;
	return (ssize_t)k;
}

static void gzip_start(struct inflate_state *s)
{
	isal_inflate_reset(s);
	s->crc_flag = ISAL_GZIP;
}

static ssize_t read_gzip(struct unzip *u, void *p, size_t n)
{
	struct inflate_state *s = &u->gz;
	s->next_out = p;
	s->avail_out = (uint32_t)(n > OUT_SIZE ? OUT_SIZE : n);
	uint32_t want = s->avail_out;
	while (s->avail_out == want) {
		if (refill(u) < 0)
			return -1;
		if (u->in_end && u->in_pos == u->in_n) {
			if (u->between)
				return 0;
			/* What is still in the decoder's window may come without input; then no
			 * progress means the end is missing. */
			s->next_in = u->in;
			s->avail_in = 0;
			if (isal_inflate(s) != ISAL_DECOMP_OK || s->avail_out == want)
				return damaged(u, "it ends in the middle");
			break;
		}
		if (u->between) {
			gzip_start(s);
			u->between = false;
		}
		s->next_in = u->in + u->in_pos;
		s->avail_in = (uint32_t)(u->in_n - u->in_pos);
		int r = isal_inflate(s);
		if (r == ISAL_INCORRECT_CHECKSUM)
			return damaged(u, "the checksum differs");
		if (r < 0 || r == ISAL_NEED_DICT || r == ISAL_NAME_OVERFLOW ||
		    r == ISAL_COMMENT_OVERFLOW || r == ISAL_EXTRA_OVERFLOW)
			return damaged(u, "the data are not valid");
		u->in_pos = u->in_n - s->avail_in;
		u->between = s->block_state == ISAL_BLOCK_FINISH;
	}
	return want - s->avail_out;
}

static ssize_t read_zstd(struct unzip *u, void *p, size_t n)
{
	ZSTD_outBuffer out = { p, n, 0 };
	while (!out.pos) {
		if (refill(u) < 0)
			return -1;
		bool end = u->in_end && u->in_pos == u->in_n;
		if (end && u->between)
			return 0;
		ZSTD_inBuffer in = { u->in + u->in_pos, u->in_n - u->in_pos, 0 };
		size_t r = ZSTD_decompressStream(u->zd, &out, &in);
		if (ZSTD_isError(r))
			return damaged(u, ZSTD_getErrorName(r));
		u->in_pos += in.pos;
		u->between = r == 0;
		if (end && !out.pos)
			return damaged(u, "it ends in the middle");
	}
	return (ssize_t)out.pos;
}

static ssize_t unzip_read(struct source *s, void *p, size_t n)
{
	struct unzip *u = (struct unzip *)s;
	if (!n)
		return 0;
	if (u->kind == ZIP_GZIP)
		return read_gzip(u, p, n);
	return u->kind == ZIP_ZSTD ? read_zstd(u, p, n) : read_plain(u, p, n);
}

static void unzip_close(struct source *s)
{
	struct unzip *u = (struct unzip *)s;
	struct err *e = NULL;
	if (io_source_close(u->from, &e) < 0)
		err_drop(&e); /* it was moved to ours where a read met it */
	ZSTD_freeDCtx(u->zd);
	free(u->in);
	free(u);
}

struct source *zip_source(struct source *from, enum zip_kind *ret_kind, struct err **err)
{
	struct unzip *u = xcalloc(1, sizeof(*u));
	u->source = (struct source){ .read = unzip_read, .close = unzip_close };
	u->from = from;
	u->in = xmalloc(IN_SIZE);
	while (u->in_n < 6 && !u->in_end) {
		ssize_t k = io_read(from, u->in + u->in_n, IN_SIZE - u->in_n);
		if (k < 0) {
			err_move(err, STEAL(from->err));
			unzip_close(&u->source);
			return NULL;
		}
		u->in_n += (size_t)k;
		u->in_end = !k;
	}
	u->in_end = u->in_end && !u->in_n;
	u->kind = zip_detect(u->in, u->in_n);
	if (u->kind == ZIP_BZIP2 || u->kind == ZIP_XZ) {
		err_set(err, ERR_UNSUPPORTED, "not supported yet: %s compression",
			u->kind == ZIP_XZ ? "xz" : "bzip2");
		unzip_close(&u->source);
		return NULL;
	}
	if (u->kind == ZIP_GZIP) {
		isal_inflate_init(&u->gz);
		u->gz.crc_flag = ISAL_GZIP;
	} else if (u->kind == ZIP_ZSTD) {
		u->zd = ZSTD_createDCtx();
		if (!u->zd ||
		    ZSTD_isError(
			    ZSTD_DCtx_setParameter(u->zd, ZSTD_d_windowLogMax, WINDOW_LOG_MAX)))
			mem_fail();
	}
	if (ret_kind)
		*ret_kind = u->kind;
	return &u->source;
}

/* ---- writing */

struct zip {
	struct sink sink;
	struct sink *to;
	enum zip_kind kind;
	uint8_t *out;
	struct isal_zstream gz;
	uint8_t *gz_level;
	uint8_t *block; /* gzip: what waits for a whole block */
	size_t block_n;
	ZSTD_CCtx *zc;
};

static int emit(struct zip *z, const void *p, size_t n)
{
	if (io_write(z->to, p, n) < 0)
		return err_move(&z->sink.err, STEAL(z->to->err));
	return 0;
}

static int gzip_run(struct zip *z, const void *p, size_t n, bool end)
{
	z->gz.next_in = (uint8_t *)(uintptr_t)p;
	z->gz.avail_in = (uint32_t)n;
	z->gz.end_of_stream = end;
	do {
		z->gz.next_out = z->out;
		z->gz.avail_out = OUT_SIZE;
		if (isal_deflate(&z->gz) != COMP_OK)
			BUG("isal_deflate refuses its arguments");
		if (emit(z, z->out, OUT_SIZE - z->gz.avail_out) < 0)
			return -1;
	} while (z->gz.avail_in || !z->gz.avail_out ||
		 (end && z->gz.internal_state.state != ZSTATE_END));
	return 0;
}

static int zstd_run(struct zip *z, const void *p, size_t n, bool end)
{
	ZSTD_inBuffer in = { p, n, 0 };
	size_t left;
	do {
		ZSTD_outBuffer out = { z->out, OUT_SIZE, 0 };
		left = ZSTD_compressStream2(z->zc, &out, &in, end ? ZSTD_e_end : ZSTD_e_continue);
		if (ZSTD_isError(left))
			return err_set(&z->sink.err, ERR_IO, "compress zstd: %s",
				       ZSTD_getErrorName(left));
		if (emit(z, z->out, out.pos) < 0)
			return -1;
	} while (end ? left != 0 : in.pos < in.size);
	return 0;
}

/* ISA-L's deflate blocks depend on how much it is given at once (tried), so it always gets whole
 * blocks of one size. */
static int gzip_blocks(struct zip *z, const void *p, size_t n)
{
	while (n) {
		if (!z->block_n && n >= GZIP_BLOCK) {
			if (gzip_run(z, p, GZIP_BLOCK, false) < 0)
				return -1;
			p = (const char *)p + GZIP_BLOCK;
			n -= GZIP_BLOCK;
			continue;
		}
		size_t k = GZIP_BLOCK - z->block_n < n ? GZIP_BLOCK - z->block_n : n;
		memcpy(z->block + z->block_n, p, k);
		z->block_n += k;
		p = (const char *)p + k;
		n -= k;
		if (z->block_n == GZIP_BLOCK) {
			z->block_n = 0;
			if (gzip_run(z, z->block, GZIP_BLOCK, false) < 0)
				return -1;
		}
	}
	return 0;
}

static int zip_run(struct zip *z, const void *p, size_t n, bool end)
{
	if (z->kind == ZIP_NONE)
		return emit(z, p, n);
	if (z->kind == ZIP_ZSTD)
		return zstd_run(z, p, n, end);
	return end ? gzip_run(z, z->block, z->block_n, true) : gzip_blocks(z, p, n);
}

static int zip_write(struct sink *s, const void *p, size_t n)
{
	return zip_run((struct zip *)s, p, n, false);
}

static int zip_finish(struct sink *s)
{
	struct zip *z = (struct zip *)s;
	if (zip_run(z, NULL, 0, true) < 0)
		return -1;
	struct sink *to = STEAL(z->to);
	return io_sink_close(to, true, &s->err);
}

static void zip_close(struct sink *s)
{
	struct zip *z = (struct zip *)s;
	struct err *none = NULL;
	if (z->to && io_sink_close(z->to, false, &none) < 0)
		err_drop(&none);
	ZSTD_freeCCtx(z->zc);
	free(z->gz_level);
	free(z->block);
	free(z->out);
	free(z);
}

static void gzip_init(struct zip *z, int level)
{
	static const uint32_t size[] = { 0, ISAL_DEF_LVL1_DEFAULT, ISAL_DEF_LVL2_DEFAULT,
					 ISAL_DEF_LVL3_DEFAULT };
	isal_deflate_init(&z->gz);
	z->gz.level = (uint32_t)level;
	z->block = xmalloc(GZIP_BLOCK);
	z->gz.level_buf_size = size[level];
	z->gz.level_buf = z->gz_level = xmalloc(size[level]);
	/* The header is ours, the trailer the library's: nothing of the header is left to its
	 * version. */
	z->gz.gzip_flag = IGZIP_GZIP_NO_HDR;
}

static void zstd_init(struct zip *z, int level)
{
	/* With workers the bytes depend on the job size, not on how many there are; without they
	 * would differ. */
	const struct {
		ZSTD_cParameter name;
		int value;
	} set[] = { { ZSTD_c_compressionLevel, level },
		    { ZSTD_c_checksumFlag, 1 },
		    { ZSTD_c_nbWorkers, ZSTD_WORKERS },
		    { ZSTD_c_jobSize, ZSTD_JOB } };
	z->zc = ZSTD_createCCtx();
	if (!z->zc)
		mem_fail();
	for (size_t i = 0; i < ARRAY_SIZE(set); i++)
		if (ZSTD_isError(ZSTD_CCtx_setParameter(z->zc, set[i].name, set[i].value)))
			BUG("libzstd refuses parameter %d", (int)set[i].name);
}

struct sink *zip_sink(struct sink *to, enum zip_kind kind, int level, struct err **err)
{
	static const uint8_t gzip_header[10] = { 0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255 };
	int max = kind == ZIP_GZIP ? 3 : 19;
	if (kind > ZIP_ZSTD || level < 0 || level > max) {
		err_set(err, ERR_INVALID, "compression level %d is not within 1–%d", level, max);
		goto failed;
	}
	if (kind == ZIP_GZIP && io_write(to, gzip_header, sizeof(gzip_header)) < 0) {
		err_move(err, STEAL(to->err));
		goto failed;
	}
	struct zip *z = xcalloc(1, sizeof(*z));
	z->sink = (struct sink){ .write = zip_write, .finish = zip_finish, .close = zip_close };
	z->to = to;
	z->kind = kind;
	z->out = xmalloc(OUT_SIZE);
	if (kind == ZIP_GZIP)
		gzip_init(z, level ? level : GZIP_LEVEL);
	else if (kind == ZIP_ZSTD)
		zstd_init(z, level ? level : ZSTD_LEVEL);
	return &z->sink;
failed:;
	struct err *none = NULL;
	if (io_sink_close(to, false, &none) < 0)
		err_drop(&none);
	return NULL;
}
