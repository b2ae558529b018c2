/*
 * oci: the types of the OCI image specification (descriptor, manifest, index, image config) and their JSON; Docker's media types
 * are read too. Pure. Everything lives in an arena; unknown members of a config survive (kept in `raw`).
 * Bytes from outside are kept by the caller as they came: digests are over them, never over a re-serialisation.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/digest.h"
#include "base/mem.h"
#include "base/str.h"

struct err;

#define OCI_INDEX "application/vnd.oci.image.index.v1+json"
#define OCI_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define OCI_CONFIG "application/vnd.oci.image.config.v1+json"
#define OCI_LAYER "application/vnd.oci.image.layer.v1.tar"
#define OCI_LAYER_GZIP "application/vnd.oci.image.layer.v1.tar+gzip"
#define OCI_LAYER_ZSTD "application/vnd.oci.image.layer.v1.tar+zstd"
#define DOCKER_INDEX "application/vnd.docker.distribution.manifest.list.v2+json"
#define DOCKER_MANIFEST "application/vnd.docker.distribution.manifest.v2+json"
#define DOCKER_CONFIG "application/vnd.docker.container.image.v1+json"

struct oci_platform {
	struct str os, arch, variant, os_version;
};

/* "linux/arm/v7", "arm64", "linux": normalised; missing parts from `host`. ERR_INVALID with BuildKit's words. */
NODISCARD int oci_platform_parse(struct arena *a, struct str text, const struct oci_platform *host,
				 struct oci_platform *ret, struct err **err);
/* Normalised: other names of an architecture, default variants. Parts of `p` are borrowed. */
struct oci_platform oci_platform_normalize(struct arena *a, const struct oci_platform *p);
/* "linux/arm64", "linux/arm/v7". */
struct str oci_platform_text(struct arena *a, const struct oci_platform *p);
/* This machine's. Static strings. */
struct oci_platform oci_platform_host(void);
/* Rank of `have` for who wants `want`: 0 best, larger worse, -1 no match (a CPU runs its older variants too: nearest first). */
int oci_platform_rank(const struct oci_platform *want, const struct oci_platform *have);

struct oci_annotation {
	struct str name, value;
};

struct oci_descriptor {
	struct str media_type;
	struct digest digest;
	uint64_t size;
	struct oci_platform platform; /* index entries; os.n = 0: none */
	struct oci_annotation *annotations;
	size_t n_annotations;
	struct str *urls;
	size_t n_urls;
};

/* An index or an image manifest. */
struct oci_manifest {
	bool is_index;
	struct str media_type;
	struct oci_descriptor config;   /* images */
	struct oci_descriptor *entries; /* layers of an image, manifests of an index */
	size_t n_entries;
	struct oci_annotation *annotations;
	size_t n_annotations;
};

/* Parses a manifest or index of at most 4 MiB; media_type: the Content-Type ("" when not known). Schema 1, a JSON with both
 * `manifests` and `layers`, and a disagreement of media types are refused. */
NODISCARD int oci_manifest_parse(struct arena *a, struct str json, struct str media_type,
				 struct oci_manifest *ret, struct err **err);
/* Prints a manifest or index with members in the order of the specification. */
void oci_manifest_print(const struct oci_manifest *m, struct sb *b);

struct oci_history {
	int64_t created_ns; /* INT64_MIN: none */
	struct str created_by, author, comment;
	bool empty_layer;
};

struct oci_healthcheck {
	struct str *test;
	size_t n_test;
	int64_t interval_ns, timeout_ns, start_period_ns, start_interval_ns, retries;
};

struct oci_list {
	struct str *v;
	size_t n;
	bool set; /* present in the JSON, maybe empty */
};

struct oci_config {
	struct str user, working_dir, stop_signal;
	struct oci_list env, entrypoint, cmd, onbuild, shell;
	struct oci_list exposed_ports, volumes; /* keys of the maps */
	struct oci_annotation *labels;
	size_t n_labels;
	struct oci_healthcheck *healthcheck;
	bool args_escaped;
};

struct oci_image {
	struct oci_platform platform;
	int64_t created_ns; /* INT64_MIN: none */
	struct str author;
	struct oci_config config;
	struct digest *diff_ids;
	size_t n_diff_ids;
	struct oci_history *history;
	size_t n_history;
	struct str raw; /* the JSON it was parsed from, for unknown members; may be empty */
};

/* Parses a config of at most 4 MiB; any optional member may be null. */
NODISCARD int oci_image_parse(struct arena *a, struct str json, struct oci_image *ret,
			      struct err **err);
/* Prints it, as Go's encoding/json would order Docker's struct, with unknown members of `raw` kept behind. */
NODISCARD int oci_image_print(const struct oci_image *i, struct sb *b, struct err **err);

/* Chain ID of the first n diff IDs (n > 0). */
struct digest oci_chain_id(const struct digest *diff_ids, size_t n);
