#include "cmd/cmd.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int cmd_usage(struct err **err, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	char *msg = NULL;
	if (vasprintf(&msg, fmt, ap) < 0)
		mem_fail();
	va_end(ap);
	err_set(err, ERR_INVALID, "%s", msg);
	free(msg);
	return err_status(err, 2);
}

static const struct option_row *find(const struct command *c, const char *name, size_t n,
				     char letter)
{
	for (const struct option_row *o = c->options; o && o->name; o++)
		if (name ? strlen(o->name) == n && !memcmp(o->name, name, n)
			 : o->letter && o->letter == letter)
			return o;
	return NULL;
}

static bool takes_value(const struct option_row *o)
{
	return o->kind == OPT_STR || o->kind == OPT_LIST || o->kind == OPT_INT;
}

static int parse_bool(const struct option_row *o, const char *text, bool *ret, struct err **err)
{
	static const char *const yes[] = { "1", "t", "T", "true", "TRUE", "True" },
				 *const no[] = { "0", "f", "F", "false", "FALSE", "False" };
	for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
		if (!strcmp(text, yes[i]) || !strcmp(text, no[i])) {
			*ret = !strcmp(text, yes[i]);
			return 0;
		}
	}
	return cmd_usage(err,
			 "invalid argument \"%s\" for \"--%s\" flag: it is neither true nor false",
			 text, o->name);
}

static int store(const struct option_row *o, const char *value, void *opts, struct err **err)
{
	char *at = (char *)opts + o->offset;
	switch (o->kind) {
	case OPT_FLAG:
		if (value)
			return parse_bool(o, value, (bool *)at, err);
		*(bool *)at = true;
		return 0;
	case OPT_NOT:
		*(bool *)at = true;
		if (value && parse_bool(o, value, (bool *)at, err) < 0)
			return -1;
		*(bool *)at = !*(bool *)at;
		return 0;
	case OPT_STR:
		*(const char **)at = value;
		return 0;
	case OPT_LIST: {
		struct opt_list *l = (struct opt_list *)at;
		*VEC_ADD(l) = value;
		return 0;
	}
	case OPT_INT: {
		char *end;
		errno = 0;
		*(int64_t *)at = strtoll(value, &end, 10);
		if (errno || end == value || *end)
			return cmd_usage(
				err, "invalid argument \"%s\" for \"--%s\" flag: it is no number",
				value, o->name);
		return 0;
	}
	default:
		return 0;
	}
}

/* --name, --name=value, --name value. */
static int parse_long(const struct command *c, char **argv, int *i, int argc, void *opts,
		      struct err **err)
{
	const char *name = argv[*i] + 2, *eq = strchr(name, '=');
	size_t n = eq ? (size_t)(eq - name) : strlen(name);
	const struct option_row *o = find(c, name, n, 0);
	if (!o)
		return cmd_usage(err, "unknown flag: --%.*s", (int)n, name);
	if (o->kind == OPT_REFUSED)
		return cmd_usage(err, "not supported yet: --%s", o->name);
	const char *value = eq ? eq + 1 : NULL;
	if (takes_value(o) && !value) {
		if (*i + 1 >= argc)
			return cmd_usage(err, "flag needs an argument: --%s", o->name);
		value = argv[++*i];
	}
	return store(o, value, opts, err);
}

/* -a, -ab, -ovalue, -o value, -o=value. */
static int parse_short(const struct command *c, char **argv, int *i, int argc, void *opts,
		       struct err **err)
{
	const char *bundle = argv[*i] + 1;
	for (const char *p = bundle; *p; p++) {
		const struct option_row *o = find(c, NULL, 0, *p);
		if (!o)
			return cmd_usage(err, "unknown shorthand flag: '%c' in -%s", *p, bundle);
		if (o->kind == OPT_REFUSED)
			return cmd_usage(err, "not supported yet: -%c, --%s", *p, o->name);
		if (!takes_value(o)) {
			if (p[1] == '=')
				return store(o, p + 2, opts, err);
			if (store(o, NULL, opts, err) < 0)
				return -1;
			continue;
		}
		const char *value = p[1] == '=' ? p + 2 : p[1] ? p + 1 : NULL;
		if (!value) {
			if (*i + 1 >= argc)
				return cmd_usage(err, "flag needs an argument: '%c' in -%s", *p,
						 bundle);
			value = argv[++*i];
		}
		return store(o, value, opts, err);
	}
	return 0;
}

int opt_parse(const struct command *c, int argc, char **argv, void *opts, struct args *ret_args,
	      bool *ret_help, struct err **err)
{
	const char **words = xcalloc((size_t)argc + 1, sizeof(*words));
	size_t n = 0;
	*ret_help = false;
	for (int i = 0; i < argc; i++) {
		const char *a = argv[i];
		int r = 0;
		if (!strcmp(a, "--")) {
			for (i++; i < argc; i++)
				words[n++] = argv[i];
			break;
		}
		if (!strcmp(a, "--help") || (!strcmp(a, "-h") && !find(c, NULL, 0, 'h')))
			*ret_help = true;
		else if (a[0] == '-' && a[1] == '-')
			r = parse_long(c, argv, &i, argc, opts, err);
		else if (a[0] == '-' && a[1])
			r = parse_short(c, argv, &i, argc, opts, err);
		else
			words[n++] = a;
		if (r < 0) {
			*ret_args = (struct args){ words, 0 };
			opt_release(c, opts, ret_args);
			return -1;
		}
		if (n && c->stop_at_first) {
			for (i++; i < argc; i++)
				words[n++] = argv[i];
			break;
		}
	}
	ret_args->v = words;
	ret_args->n = n;
	return 0;
}

void opt_release(const struct command *c, void *opts, struct args *args)
{
	for (const struct option_row *o = c->options; o && o->name; o++)
		if (o->kind == OPT_LIST)
			VEC_RELEASE((struct opt_list *)((char *)opts + o->offset));
	free((void *)(uintptr_t)args->v);
	args->v = NULL;
}

void opt_help(const struct command *c)
{
	printf("Usage:  cbuild %s %s\n\n%s\n", c->name, c->usage, c->summary);
	if (c->alias)
		printf("\nAliases:\n  cbuild %s, cbuild %s\n", c->name, c->alias);
	if (c->options && c->options->name) {
		size_t wide = 0;
		for (const struct option_row *o = c->options; o->name; o++) {
			size_t w = strlen(o->name) + (o->arg ? strlen(o->arg) + 1 : 0);
			wide = w > wide ? w : wide;
		}
		printf("\nOptions:\n");
		for (const struct option_row *o = c->options; o->name; o++) {
			char left[96];
			if (o->kind == OPT_REFUSED)
				continue;
			snprintf(left, sizeof(left), "%s%s%s", o->name, o->arg ? " " : "",
				 o->arg ? o->arg : "");
			if (o->letter)
				printf("  -%c, --%-*s   %s\n", o->letter, (int)wide, left, o->help);
			else
				printf("      --%-*s   %s\n", (int)wide, left, o->help);
		}
	}
	if (c->more)
		printf("\n%s", c->more);
}
