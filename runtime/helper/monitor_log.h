/*
 * monitor_log: what a container prints as lines of log.json, in the form of Docker's json-file driver:
 *
 *     {"log":"text\n","stream":"stdout","time":"2006-01-02T15:04:05.999999999Z"}
 *
 * A line longer than 16 KiB is split, a line without its end waits for it. Bytes that are no UTF-8 become U+FFFD. The time is when the
 * bytes were read. A write that fails is given up (the container goes on); a torn line is ended before the next one.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MONITOR_LOG_LINE = 16 * 1024, MONITOR_LOG_BUFFER = 128 * 1024 };

struct monitor_log {
	int fd; /* -1: nothing is written */
	bool torn;
	struct {
		char *p; /* malloc; the beginning of a line, where one was cut */
		size_t n;
	} part[2];
	size_t n;
	char *out; /* MONITOR_LOG_BUFFER bytes, made with the first write */
};

/* Writes bytes of stream 1 or 2, read at `now_ns`. */
void monitor_log_write(struct monitor_log *l, int stream, const char *p, size_t n, int64_t now_ns);

/* Writes what still waits for the end of its line. */
void monitor_log_flush(struct monitor_log *l, int64_t now_ns);

/* Frees and closes. */
void monitor_log_release(struct monitor_log *l);
