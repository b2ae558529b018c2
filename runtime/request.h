/*
 * request: a spec as the message that the helper understands, with the descriptors that go along.
 * For RUN (spawner), and for the first and every further process of a container (monitor).
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "runtime/helper/proto.h"

struct err;
struct runtime_spec;
struct sock_filter;

/* A zeroed one is empty. */
struct runtime_request {
	struct proto_run run;
	int fds[PROTO_MAX_FDS];
	uint32_t n_fds;
	int own[PROTO_MAX_FDS]; /* to be closed after the request was sent */
	size_t n_own;
	struct sock_filter *filter;
	size_t n_filter;
};

/* Adds a descriptor (the caller's); its index, or PROTO_NO_FD for -1. */
uint32_t runtime_request_fd(struct runtime_request *q, int fd);
/* Gives a descriptor to the request, to be closed with it; returns it. */
int runtime_request_own(struct runtime_request *q, int fd);

/* Fills in everything of a spec but cgroup and record, which are the caller's to add. The spec
 * must outlive the request. Who makes many requests may set run.cap_last and filter (for the
 * spec's bounding set) before. */
NODISCARD int runtime_request_fill(struct runtime_request *q, const struct runtime_spec *spec,
				   struct err **err);

/* Sends it as a message of this kind. */
NODISCARD int runtime_request_send(struct runtime_request *q, int sock, enum proto_kind kind,
				   struct err **err);

/* Closes and frees what it holds. */
void runtime_request_release(struct runtime_request *q);
