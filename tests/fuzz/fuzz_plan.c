/* Any text: parsed, planned for every stage and for the last, with its checks printed in all forms. */
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "solver/call.h"
#include "solver/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look(struct str text, bool all)
{
	_cleanup_(arena_freep) struct arena *a = arena_new();
	_cleanup_(sb_releasep) struct sb out = { 0 };
	_cleanup_(err_dropp) struct err *e = NULL;
	struct df_lint lint = { .a = a };
	struct plan_options o = solver_dump_options();
	struct df_file *file;
	struct plan *plan;
	o.lint = &lint;
	o.all_stages = all;
	o.no_client = o.check_only = all;
	if (solver_parse(a, text, &o, &lint, &file, &e) == 0 &&
	    solver_plan_assumed(a, file, &o, &plan, &e) == 0)
		for (size_t i = 0; i < plan->n_steps; i++)
			if (plan->steps[i]->index != i ||
			    (plan->steps[i]->parent && plan->steps[i]->parent->index >= i))
				__builtin_trap();
	call_check_text(&lint, STR("Dockerfile"), text, &out);
	json_decref(call_check_json(&lint, e, STR("Dockerfile"), text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = { (const char *)data, size };
	look(text, true);
	look(text, false);
	return 0;
}
