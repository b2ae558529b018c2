/*
 * log: trace lines for debugging, off unless CBUILD_LOG=debug[,json] is set. The only writer to stderr besides cmd/.
 */
#pragma once

#include <stdbool.h>

/* Reads CBUILD_LOG; called once by main before any thread. */
void log_init(const char *spec);

/* Whether debug lines are printed: guards work that only a line needs. */
bool log_on(void);

/* One line, with time and thread. Any thread. */
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
