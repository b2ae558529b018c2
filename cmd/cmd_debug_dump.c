#include "cmd/debug_dump.h"

#include <fcntl.h>
#include <stdio.h>

#include "base/io.h"
#include "parser/dump.h"
#include "parser/parse.h"
#include "solver/check.h"

enum { MAX_FILE = 64 * 1024 * 1024 };

static json_t *dump(struct arena *a, struct str text)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	struct df_file *f, *directives = NULL;
	if (df_parse(a, text, &f, &directives, &e) < 0)
		return df_dump_error(directives, e);
	json_t *o = df_dump(a, f);
	json_put(o, "check", solver_check_dump(a, f));
	return o;
}

static json_t *dump_file(struct arena *a, const char *path, bool *ret_read)
{
	_cleanup_(sb_releasep) struct sb text;
	_cleanup_(err_dropp) struct err *e = NULL;
	sb_init(&text, MAX_FILE);
	*ret_read = io_read_file(AT_FDCWD, path, &text, &e) == 0;
	return *ret_read ? dump(a, sb_str(&text)) : df_dump_error(NULL, e);
}

int cmd_debug_dump_dockerfile(int argc, char **argv)
{
	int status = 0;
	for (int i = 0; i < argc; i++) {
		_cleanup_(arena_freep) struct arena *a = arena_new();
		_cleanup_(sb_releasep) struct sb line = { 0 };
		bool read;
		_cleanup_(json_unrefp) json_t *o = dump_file(a, argv[i], &read);
		json_put_str(o, "path", str_c(argv[i]));
		json_print(o, &line);
		sb_add_ch(&line, '\n');
		fwrite(line.p, 1, line.n, stdout);
		if (!read)
			status = 1;
	}
	return status;
}
