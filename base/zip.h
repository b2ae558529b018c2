/*
 * zip: gzip (ISA-L) and zstd as source and sink; detection by magic. Deterministic: mtime 0, OS
 * 255, fixed levels.
 */
#pragma once

#include "base/io.h"

enum zip_kind { ZIP_NONE, ZIP_GZIP, ZIP_ZSTD, ZIP_BZIP2, ZIP_XZ };

/* The kind that the first bytes of a stream show; 6 bytes decide. */
enum zip_kind zip_detect(const void *p, size_t n);

/* Decompresses `from` (which it owns) whatever its magic says: gzip members and zstd frames are
 * read through, others pass as they are. ERR_UNSUPPORTED for bzip2 and xz. `ret_kind` may be NULL;
 * else set before the return, after reading the magic. */
NODISCARD struct source *zip_source(struct source *from, enum zip_kind *ret_kind, struct err **err);

/* Compresses into `to` (which it owns). ZIP_NONE passes through. level 0: the default of the kind
 * (gzip 1 of ISA-L, zstd 3). */
NODISCARD struct sink *zip_sink(struct sink *to, enum zip_kind kind, int level, struct err **err);

/* The name of the form for the table `packed`: "gzip-1/isal-2.30". Static. */
const char *zip_form(enum zip_kind kind);
