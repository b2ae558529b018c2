/*
 * pipe: sinks that let two threads share the work on one stream, and a sink that hashes.
 */
#pragma once

#include "base/digest.h"
#include "base/io.h"

/* A sink that hands what it gets, in blocks, to `to` (which it owns) on a thread of its own: the
 * caller reads the next block while the last one is hashed, compressed or written. Blocks: at most
 * 1 MiB wait. An error of `to` shows at a later write or the end. */
struct sink *pipe_sink(struct sink *to);

/* A sink that hashes what passes on to `to` (owned; NULL: to nowhere); *ret is set when it is
 * finished. */
struct sink *pipe_digest(struct sink *to, struct digest *ret);

/* A source that hashes what is read of `from` (owned), on a thread of its own. pipe_source_end()
 * ends it: the digest of what was read in *ret. Close it with io_source_close() in every case. */
struct source *pipe_source(struct source *from);
/* See pipe_source(). */
void pipe_source_end(struct source *s, struct digest *ret);

/* A source that counts what is read of `from` (owned) into *count. */
struct source *pipe_count(struct source *from, uint64_t *count);
