/*
 * The SHA256_ functions, which OpenSSL 3 calls deprecated, on purpose: the first use of EVP reads openssl.cnf and loads providers,
 * 1.2 ms of each command (0.02 so), and telling it not to would take the user's settings from TLS too. The code below is the same.
 */
#define OPENSSL_SUPPRESS_DEPRECATED

#include "base/digest.h"

#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

bool digest_eq(const struct digest *a, const struct digest *b)
{
	return !memcmp(a->b, b->b, sizeof(a->b));
}

bool digest_is_zero(const struct digest *d)
{
	static const struct digest zero;
	return digest_eq(d, &zero);
}

char *digest_hex(const struct digest *d, char *buf)
{
	static const char hex[] = "0123456789abcdef";
	for (size_t i = 0; i < sizeof(d->b); i++) {
		buf[2 * i] = hex[d->b[i] >> 4];
		buf[2 * i + 1] = hex[d->b[i] & 15];
	}
	buf[64] = '\0';
	return buf;
}

char *digest_text(const struct digest *d, char *buf)
{
	memcpy(buf, "sha256:", 7);
	digest_hex(d, buf + 7);
	return buf;
}

static int nibble(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

int digest_parse_hex(struct str hex, struct digest *ret, struct err **err)
{
	struct digest d;
	bool good = hex.n == 64;
	for (size_t i = 0; good && i < 32; i++) {
		int hi = nibble(hex.p[2 * i]), lo = nibble(hex.p[2 * i + 1]);
		good = hi >= 0 && lo >= 0;
		d.b[i] = (uint8_t)((unsigned)hi << 4 | (unsigned)lo);
	}
	if (!good)
		return err_set(err, ERR_INVALID, "'%.*s' is not 64 lower-case hex digits",
			       STR_ARG(str_sub(hex, 0, 80)));
	*ret = d;
	return 0;
}

int digest_parse(struct str text, struct digest *ret, struct err **err)
{
	if (!str_starts(text, STR("sha256:")) || text.n != DIGEST_TEXT - 1)
		return err_set(err, ERR_INVALID, "'%.*s' is not a sha256 digest",
			       (int)(text.n < 80 ? text.n : 80), text.p ? text.p : "");
	char hex[DIGEST_HEX];
	memcpy(hex, text.p + 7, 64);
	hex[64] = '\0';
	return digest_parse_hex(str_c(hex), ret, err);
}

void digest_begin(struct digester *h)
{
	h->ctx = xmalloc(sizeof(SHA256_CTX));
	SHA256_Init(h->ctx);
}

void digest_add(struct digester *h, const void *p, size_t n)
{
	if (n)
		SHA256_Update(h->ctx, p, n);
}

struct digest digest_end(struct digester *h)
{
	struct digest d;
	SHA256_Final(d.b, h->ctx);
	digest_abandon(h);
	return d;
}

void digest_abandon(struct digester *h)
{
	free(h->ctx);
	h->ctx = NULL;
}

struct digest digest_peek(const struct digester *h)
{
	SHA256_CTX copy = *(const SHA256_CTX *)h->ctx;
	struct digest d;
	SHA256_Final(d.b, &copy);
	return d;
}

struct digest digest_of(const void *p, size_t n)
{
	struct digester h;
	digest_begin(&h);
	digest_add(&h, p, n);
	return digest_end(&h);
}

static void length(uint8_t b[8], uint64_t n)
{
	for (int i = 0; i < 8; i++)
		b[i] = (uint8_t)(n >> (8 * i));
}

void digest_field(struct digester *h, const void *p, size_t n)
{
	uint8_t len[8];
	length(len, n);
	digest_add(h, len, sizeof(len));
	digest_add(h, p, n);
}

void digest_fields(struct digester *h, const char *domain)
{
	digest_begin(h);
	digest_field_c(h, domain);
}

void digest_field_str(struct digester *h, struct str s)
{
	digest_field(h, s.p, s.n);
}

void digest_field_c(struct digester *h, const char *s)
{
	digest_field(h, s, strlen(s));
}

void digest_field_int(struct digester *h, int64_t v)
{
	char buf[24];
	int n = snprintf(buf, sizeof(buf), "%lld", (long long)v);
	digest_field(h, buf, (size_t)n);
}

void digest_field_digest(struct digester *h, const struct digest *d)
{
	digest_field(h, d->b, sizeof(d->b));
}

void digest_put_field(struct sb *b, struct str s)
{
	uint8_t len[8];
	length(len, s.n);
	sb_add(b, len, sizeof(len));
	sb_add_str(b, s);
}
