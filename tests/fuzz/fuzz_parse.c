/* df_parse over anything: the tree and the lowering never disagree, and every span lies in the text. */
#include <stdint.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/utf8.h"
#include "parser/diag.h"
#include "parser/dump.h"
#include "parser/parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_span(struct str text, struct span at)
{
	if (at.line > at.last || at.begin > at.end || at.end > text.n)
		abort();
}

static void check_list(struct str text, const struct df_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		check_span(text, l->v[i].at);
}

static void check_instruction(struct str text, const struct df_instruction *i)
{
	check_span(text, i->at);
	check_list(text, &i->flags);
	check_list(text, &i->words);
	check_list(text, &i->command.words);
	check_list(text, &i->health_test);
	check_list(text, &i->comments);
	for (size_t k = 0; k < i->n_pairs; k++)
		check_span(text, i->pairs[k].at);
	for (size_t k = 0; k < i->n_mounts; k++)
		check_span(text, i->mounts[k].at);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(arena_freep) struct arena *a = arena_new();
	_cleanup_(err_dropp) struct err *e = NULL;
	_cleanup_(err_dropp) struct err *e2 = NULL;
	_cleanup_(sb_releasep) struct sb out = { 0 };
	struct str text = { (const char *)data, size };
	struct df_file *f, *directives;
	struct df_instruction *trigger;

	if (df_parse(a, text, &f, &directives, &e) < 0) {
		if (e->code == ERR_BUG || (e->code == ERR_UNSUPPORTED && utf8_valid(text)))
			abort();
		df_excerpt(&out, STR("Dockerfile"), text, e->at);
		json_decref(df_dump_error(directives, e));
	} else {
		for (size_t s = 0; s < f->n_stages; s++) {
			check_instruction(text, f->stages[s].from);
			for (size_t k = 0; k < f->stages[s].n_instructions; k++)
				check_instruction(text, f->stages[s].instructions[k]);
		}
		json_decref(df_dump(a, f));
	}
	if (df_parse_trigger(a, text, &trigger, &e2) == 0)
		check_instruction(text, trigger);
	return 0;
}
