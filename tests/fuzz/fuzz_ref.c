/* References, ids and platforms: whatever is taken can be written and read again as the same. */
#include <stdint.h>
#include <stdlib.h>

#include "base/err.h"
#include "cache/oci.h"
#include "cache/ref.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void same(struct str a, struct str b)
{
	if (!str_eq(a, b))
		abort();
}

static void check_reference(struct arena *a, struct str text)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	struct ref r, again;
	if (ref_parse(a, text, &r, &e) < 0) {
		if (e->code != ERR_INVALID)
			abort();
		return;
	}
	if (ref_is_id(text, 64) || !r.domain.n || !r.path.n)
		abort();
	if (ref_parse(a, ref_familiar(a, &r), &again, &e) < 0)
		abort();
	same(r.domain, again.domain);
	same(r.path, again.path);
	same(r.tag, again.tag);
	if (ref_parse(a, ref_full(a, &r), &again, &e) < 0)
		abort();
	same(r.domain, again.domain);
	same(r.path, again.path);
	same(ref_full(a, &r), ref_full(a, &again));
}

static void check_platform(struct arena *a, struct str text)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	struct oci_platform host = oci_platform_host(), p, again;
	if (oci_platform_parse(a, text, &host, &p, &e) < 0)
		return;
	if (oci_platform_rank(&p, &p) != 0)
		abort();
	oci_platform_rank(&host, &p);
	oci_platform_rank(&p, &host);
	if (oci_platform_parse(a, oci_platform_text(a, &p), &host, &again, &e) < 0)
		abort();
	same(p.arch, again.arch);
	same(p.variant, again.variant);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(arena_freep) struct arena *a = arena_new();
	struct str text = { (const char *)data, size };
	check_reference(a, text);
	check_platform(a, text);
	return 0;
}
