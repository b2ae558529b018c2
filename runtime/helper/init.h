/*
 * init: the role of pid 1 with --init: it starts the program, passes signals on, reaps, and ends as the program ended.
 */
#pragma once

struct proto_run;

/* Called as the last act before the final privileges are taken. Returns in a child, which becomes the program; the caller's process takes
 * its own final privileges, closes `answer_fd` and never returns. */
void init_fork(const struct proto_run *r, int answer_fd);
