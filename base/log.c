#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"

static bool on, as_json;

void log_init(const char *spec)
{
	on = spec && !strncmp(spec, "debug", 5) && (!spec[5] || spec[5] == ',');
	as_json = on && strstr(spec, ",json");
}

bool log_on(void)
{
	return on;
}

void log_debug(const char *fmt, ...)
{
	if (!on)
		return;
	char text[1024], time[CLOCK_TEXT];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	clock_text(clock_real_ns(), time);
	long tid = syscall(SYS_gettid);
	if (!as_json) {
		fprintf(stderr, "%s %ld %s\n", time, tid, text);
		return;
	}
	_cleanup_(json_unrefp) json_t *j = json_object();
	_cleanup_(sb_releasep) struct sb b = { 0 };
	json_put_str(j, "time", str_c(time));
	json_put_int(j, "thread", tid);
	json_put_str(j, "msg", str_c(text));
	json_print(j, &b);
	fprintf(stderr, "%s\n", sb_c(&b));
}
