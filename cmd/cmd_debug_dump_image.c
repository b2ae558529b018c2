#include "cmd/debug_dump_image.h"

#include <fcntl.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/io.h"
#include "base/json.h"
#include "parser/parse.h"
#include "solver/check.h"

enum { MAX_BYTES = 16 << 20 };

static json_t *image_of(struct arena *a, struct str text)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	struct df_file *file, *directives;
	return df_parse(a, text, &file, &directives, &e) < 0 ? json_null()
							     : solver_image_dump(a, file);
}

static void print(const char *path, struct str text)
{
	_cleanup_(sb_releasep) struct sb line = { 0 };
	_cleanup_(arena_freep) struct arena *a = arena_new();
	_cleanup_(json_unrefp) json_t *j = json_object();
	json_put_str(j, "path", str_c(path));
	json_put(j, "image", image_of(a, text));
	json_print(j, &line);
	printf("%s\n", sb_c(&line));
}

int cmd_debug_dump_image_config(int argc, char **argv)
{
	int status = 0;
	for (int i = 0; i < argc; i++) {
		_cleanup_(sb_releasep) struct sb text;
		_cleanup_(err_dropp) struct err *e = NULL;
		sb_init(&text, MAX_BYTES);
		if (io_read_file(AT_FDCWD, argv[i], &text, &e) < 0) {
			fprintf(stderr, "%s\n", e->msg);
			status = 1;
			continue;
		}
		print(argv[i], sb_str(&text));
	}
	return status;
}
