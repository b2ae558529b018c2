/* Table `source`: which repository has a blob, for mounts. */
#include "cache/internal.h"

#include "base/err.h"

int cache_source_get(struct cache *c, const struct digest *d, struct str host, struct str not_repo,
		     struct sb *ret, struct err **err)
{
	_cleanup_(db_donep) struct stmt *s = db_prepare(
		c, DB_GUESS,
		"SELECT repo FROM source WHERE digest = ? AND host = ? AND repo <> ? ORDER BY used DESC LIMIT 1",
		err);
	if (!s)
		return -1;
	db_bind_digest(s, d);
	db_bind_text(s, host);
	db_bind_text(s, not_repo);
	int r = db_step(s, err);
	if (r < 0)
		return -1;
	if (r)
		sb_add_str(ret, db_text(s, 0));
	return 0;
}
