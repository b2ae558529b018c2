/*
 * digest: sha256 (OpenSSL), its text form "sha256:<64 hex>", and the field hash of cbuild's keys: H(d, f1 … fn) =
 * sha256(L(d) L(f1) … L(fn)) with L(x) = length of x (8 bytes, little-endian), then x.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/str.h"

struct err;

struct digest {
	uint8_t b[32];
};

enum {
	DIGEST_HEX = 64 + 1,      /* "<64 hex>" and NUL */
	DIGEST_TEXT = 7 + 64 + 1, /* "sha256:<64 hex>" and NUL */
};

/* Comparison. */
bool digest_eq(const struct digest *a, const struct digest *b);
bool digest_is_zero(const struct digest *d);

/* Writes "sha256:…" or the hex alone into buf, which has DIGEST_TEXT or DIGEST_HEX bytes; returns buf. */
char *digest_text(const struct digest *d, char *buf);
char *digest_hex(const struct digest *d, char *buf);

/* "sha256:" and 64 lower-case hex digits; ERR_INVALID otherwise. */
NODISCARD int digest_parse(struct str text, struct digest *ret, struct err **err);
/* 64 lower-case hex digits. */
NODISCARD int digest_parse_hex(struct str hex, struct digest *ret, struct err **err);

/* The digest of some bytes. */
struct digest digest_of(const void *p, size_t n);

/* A running sha256. A zeroed struct is not valid: digest_begin() first, then digest_end() or digest_abandon() once. */
struct digester {
	void *ctx;
};

/* Begins; adds bytes; ends with the digest; ends without one. */
void digest_begin(struct digester *h);
void digest_add(struct digester *h, const void *p, size_t n);
struct digest digest_end(struct digester *h);
void digest_abandon(struct digester *h);
/* The digest of what was added so far, without ending. */
struct digest digest_peek(const struct digester *h);

/* The field hash. digest_fields() begins it with the domain "cbuild.…"; end it with digest_end(). */
void digest_fields(struct digester *h, const char *domain);
void digest_field(struct digester *h, const void *p, size_t n);
void digest_field_str(struct digester *h, struct str s);
void digest_field_c(struct digester *h, const char *s);
void digest_field_int(struct digester *h, int64_t v); /* as decimal text */
void digest_field_digest(struct digester *h, const struct digest *d);

/* Appends L(x) to a buffer: for lists, which are one field L(a)L(b)…. */
void digest_put_field(struct sb *b, struct str s);
