/*
 * journal: logs/<build>/events.jsonl: what explain, timing and people read later. First line: the project and what was asked; then one line
 * for each step that has ended; last the result. Written as it happens, never synced. The newest 200 builds within 1 GiB stay.
 */
#pragma once

#include "base/mem.h"

struct build;
struct build_result;
struct err;
struct step;

/* Begins the file; what fails here is no reason to fail a build. Trims older builds. */
void journal_open(struct build *b);
/* A step has ended. Loop thread. */
void journal_step(struct step *s);
/* The build has ended; `e` NULL: with an image. Closes. */
void journal_close(struct build *b, const struct build_result *result, const struct err *e);
