/*
 * container: what a container holds of the store. Its pins (lease "c/<id>") keep image and layers as long as its folder is there: they are
 * made after the folder and swept when that is gone. Its writable layer is containers/<id>/rw/{fs,work}.
 */
#pragma once

#include <stdbool.h>

#include "base/digest.h"
#include "base/mem.h"

struct cache;
struct chain;
struct err;

/* Pins an image and its layers for a container whose folder is there. ERR_NOT_FOUND where the image is not complete. */
NODISCARD int cache_container_pin(struct cache *c, const char *id, const struct digest *image,
				  struct err **err);

/* Gives the pins back; the folder is gone or about to go. */
NODISCARD int cache_container_unpin(struct cache *c, const char *id, struct err **err);

/* Whether a container holds an image: its id in ret_id (64 hex digits and NUL). */
NODISCARD int cache_container_of_image(struct cache *c, const struct digest *image, bool *ret_found,
				       char ret_id[65], struct err **err);

/* The detached overlay of a container: its chain below, its own rw/fs (made when missing) above, written through as on any disk: without
 * `volatile`. Nothing of it may be mounted elsewhere. */
NODISCARD int cache_container_mount(struct cache *c, const char *id, const struct chain *chain,
				    int *ret_fd, struct err **err);
