/*
 * lib_archive: libarchive, opened on first use. lib_archive.c defines the functions that cbuild
 * calls under the library's own names, so call sites and the library's type checks stay as they
 * are; linking costs nothing until a foreign tar is read.
 */
#pragma once

#include "base/mem.h"

struct err;

/* Opens the library; to be called before its first function. Any thread. ERR_UNSUPPORTED names the
 * missing package. */
NODISCARD int lib_archive_load(struct err **err);
