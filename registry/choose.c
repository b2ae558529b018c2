#include "registry/choose.h"

struct str choose_annotation(const struct oci_descriptor *d, const char *name)
{
	for (size_t i = 0; i < d->n_annotations; i++)
		if (str_eq_c(d->annotations[i].name, name))
			return d->annotations[i].value;
	return (struct str){ 0 };
}

bool choose_is_attestation(const struct oci_descriptor *d)
{
	return choose_annotation(d, "vnd.docker.reference.type").p ||
		str_eq(d->platform.os, STR("unknown"));
}

const struct oci_descriptor *choose_entry(const struct oci_manifest *index,
					  const struct oci_platform *wanted)
{
	const struct oci_descriptor *best = NULL;
	int best_rank = -1;
	for (size_t i = 0; i < index->n_entries; i++) {
		const struct oci_descriptor *d = &index->entries[i];
		if (choose_is_attestation(d))
			continue;
		int rank = d->platform.os.n     ? oci_platform_rank(wanted, &d->platform)
			: index->n_entries == 1 ? 0
						: -1;
		if (rank >= 0 && (!best || rank < best_rank)) {
			best = d;
			best_rank = rank;
		}
	}
	return best;
}

bool choose_is_foreign(const struct oci_descriptor *layer)
{
	return str_find_str(layer->media_type, STR("nondistributable"), 0) != SIZE_MAX ||
		str_find_str(layer->media_type, STR("rootfs.foreign"), 0) != SIZE_MAX;
}
