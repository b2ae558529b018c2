/* Option lists of RUN --mount, and durations. */
#include <stdint.h>
#include <stdlib.h>

#include "base/err.h"
#include "parser/duration.h"
#include "parser/mount.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(arena_freep) struct arena *a = arena_new();
	_cleanup_(err_dropp) struct err *e = NULL;
	_cleanup_(err_dropp) struct err *e2 = NULL;
	_cleanup_(err_dropp) struct err *e3 = NULL;
	struct str text = { (const char *)data, size };
	struct df_mount_flag flag = { .text = text };
	struct df_mount m;
	int64_t ns;

	bool checked = df_mount_check(a, &flag, &e) == 0;
	/* What is refused as CSV at parse is refused later too. */
	if (df_mount_parse(a, text, NULL, NULL, &m, &e2) == 0 && !checked &&
	    str_find(text, '$', 0) == SIZE_MAX)
		abort();
	if (df_duration_parse(text, &ns, &e3) < 0 && e3->code != ERR_SYNTAX)
		abort();
	return 0;
}
