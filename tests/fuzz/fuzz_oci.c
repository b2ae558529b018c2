/* Manifests and image configs from outside: no crash, and what was taken prints as something that is taken again. */
#include <stdint.h>
#include <stdlib.h>

#include "base/err.h"
#include "cache/oci.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_manifest(struct arena *a, struct str text)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	_cleanup_(sb_releasep) struct sb b = { 0 };
	struct oci_manifest m, again;
	if (oci_manifest_parse(a, text, STR(""), &m, &e) < 0)
		return;
	oci_manifest_print(&m, &b);
	/* Escapes may make it longer than what may be read. */
	if (b.n > 4 * 1024 * 1024)
		return;
	if (oci_manifest_parse(a, sb_str(&b), m.media_type, &again, &e) < 0 ||
	    m.n_entries != again.n_entries || m.is_index != again.is_index)
		abort();
	for (size_t i = 0; i < m.n_entries; i++)
		if (!digest_eq(&m.entries[i].digest, &again.entries[i].digest) ||
		    m.entries[i].size != again.entries[i].size)
			abort();
}

static void check_image(struct arena *a, struct str text)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	_cleanup_(sb_releasep) struct sb once = { 0 }, twice = { 0 };
	struct oci_image i, again;
	if (oci_image_parse(a, text, &i, &e) < 0)
		return;
	if (oci_image_print(&i, &once, &e) < 0)
		abort();
	if (once.n > 4 * 1024 * 1024)
		return;
	if (oci_image_parse(a, sb_str(&once), &again, &e) < 0 ||
	    oci_image_print(&again, &twice, &e) < 0 || !str_eq(sb_str(&once), sb_str(&twice)))
		abort();
	if (i.n_diff_ids)
		oci_chain_id(i.diff_ids, i.n_diff_ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(arena_freep) struct arena *a = arena_new();
	struct str text = { (const char *)data, size };
	check_manifest(a, text);
	check_image(a, text);
	return 0;
}
