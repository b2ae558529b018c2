/* context: opening a local folder as build context, with the ignore file that belongs to it. */
#include "solver/internal.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/io.h"
#include "parser/ignore.h"

enum { IGNORE_MAX = 16 * 1024 * 1024 };

/* The text of an ignore file, if there is one: 1, 0 or -1. */
static int read_ignore(int dirfd, const char *path, struct sb *text, struct err **err)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	if (io_read_file(dirfd, path, text, &e) == 0)
		return 1;
	if (e->code == ERR_NOT_FOUND)
		return 0;
	return err_move(err, STEAL(e));
}

/* <Dockerfile>.dockerignore wins, also when empty; else .dockerignore of the root. Named contexts have the latter only. */
static int open_ignore(struct build *b, int root, bool main_context, struct glob_set **ret,
		       struct err **err)
{
	_cleanup_(sb_releasep) struct sb text = { .max = IGNORE_MAX };
	int got = 0;
	if (main_context && b->o->dockerfile_path) {
		_cleanup_free_ char *own = xasprintf("%s.dockerignore", b->o->dockerfile_path);
		got = read_ignore(AT_FDCWD, own, &text, err);
	}
	if (!got)
		got = read_ignore(root, ".dockerignore", &text, err);
	if (got <= 0)
		return got;
	*ret = df_ignore_parse(sb_str(&text), err);
	return *ret ? 0 : -1;
}

static const char *folder_of(struct build *b, struct str name)
{
	if (!name.n)
		return b->o->context;
	for (size_t i = 0; i < b->o->plan.n_contexts; i++)
		if (str_eq(b->o->plan.contexts[i].name, name))
			return arena_cstr(b->arena, b->o->plan.contexts[i].value);
	BUG("no context '%.*s'", STR_ARG(name));
}

int context_open(struct build *b, struct str name, struct context **ret, struct err **err)
{
	for (struct context *c = b->contexts; c; c = c->next) {
		if (str_eq(c->name, name)) {
			*ret = c;
			return 0;
		}
	}
	const char *path = folder_of(b, name);
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		err_sys(err, "open build context '%s'", path);
		return err_status(err, 3);
	}
	struct context *c = arena_new_of(b->arena, struct context);
	c->name = name;
	if (open_ignore(b, fd, !name.n, &c->ignore, err) < 0) {
		close(fd);
		return err_status(err, 3);
	}
	c->tree = cache_tree_open(fd, c->ignore, true, b->env->store, err);
	if (!c->tree) {
		glob_set_free(c->ignore);
		return -1;
	}
	c->next = b->contexts;
	b->contexts = c;
	*ret = c;
	return 0;
}

void context_free_all(struct build *b)
{
	for (struct context *c = b->contexts; c; c = c->next) {
		cache_tree_free(c->tree);
		glob_set_free(c->ignore);
	}
	b->contexts = NULL;
}
