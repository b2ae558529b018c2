/*
 * lib_curl: libcurl is opened on first use, because linking it costs each command 3 ms before main. lib_curl.c defines the functions
 * that we call under the library's own names, so call sites and the library's type checks stay as they are; leaving that file out
 * and linking with -lcurl is the other build. A stub may be called only after registry_curl_load() has succeeded.
 */
#pragma once

#include "base/mem.h"

struct err;

/* Opens libcurl and finds all functions; once per process, any thread. ERR_UNSUPPORTED with a hint when it is not installed. */
NODISCARD int registry_curl_load(struct err **err);
