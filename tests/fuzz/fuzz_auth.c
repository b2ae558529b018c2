/* WWW-Authenticate values, the scopes in them, and the URLs that a registry's answers name: none may break out of its bounds. */
#include <stdint.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/err.h"
#include "registry/base64.h"
#include "registry/challenge.h"
#include "registry/scope.h"
#include "registry/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new();
	struct challenge v[CHALLENGE_MAX];
	size_t n = 0;
	struct str all = { (const char *)data, size }, line = all;
	while (str_cut(all, '\n', &line, &all))
		challenge_parse(a, line, v, &n);
	challenge_parse(a, all, v, &n);
	check(n <= CHALLENGE_MAX);
	const struct challenge *c = challenge_choose(v, n);
	check(!c || c->scheme != CHALLENGE_OTHER);
	if (c && c->scope.n < 2000) {
		struct str merged = scope_merge(a, STR("repository:a/b:pull"), c->scope);
		check(scope_covers(merged, STR("repository:a/b:pull")));
		check(scope_covers(merged, c->scope));
	}
	struct sb out = { 0 };
	struct err *e = NULL;
	struct url u;
	if (!url_join(STR("https://reg.io/v2/a/blobs/uploads/"),
		      (struct str){ (const char *)data, size }, &out, &e))
		check(!url_parse(sb_str(&out), &u, &e));
	err_drop(&e);
	sb_reset(&out);
	if (base64_decode((struct str){ (const char *)data, size }, &out, &e) < 0)
		err_drop(&e);
	sb_release(&out);
	arena_free(a);
	return 0;
}
