#include "registry/retry.h"

#include <sys/random.h>
#include <time.h>

#include "base/err.h"

enum {
	FIRST_MS = 500,
	LAST_MS = 8000,
	TRIES = 5,
	REQUESTS = 100,
	ENOUGH = 64 * 1024,
	PATIENCE_S = 60
};

bool retry_status(int status)
{
	return status == 408 || status == 429 || status == 500 || (status >= 502 && status <= 504);
}

bool retry_error(const struct err *e)
{
	return e->status ? retry_status(e->status)
			 : e->code == ERR_NETWORK || e->code == ERR_TIMEOUT;
}

int retry_sleep(const atomic_bool *cancel, int64_t ms, struct err **err)
{
	for (int64_t left = ms; left > 0; left -= 50) {
		if (cancel && atomic_load_explicit(cancel, memory_order_relaxed))
			return err_set(err, ERR_CANCELED, "canceled");
		struct timespec t = { .tv_nsec = (left < 50 ? left : 50) * 1000000 };
		nanosleep(&t, NULL);
	}
	return 0;
}

static int64_t jitter(int64_t ms)
{
	uint32_t r = 0;
	if (getrandom(&r, sizeof(r), 0) != sizeof(r))
		return ms;
	return (int64_t)r % (ms + 1);
}

int retry_pause(struct retry *r, uint64_t bytes, int64_t retry_after_s, struct err **err)
{
	r->requests++;
	r->fresh += bytes;
	if (r->fresh >= ENOUGH)
		r->fresh = r->fruitless = 0;
	if (!bytes)
		r->fruitless++;
	if (r->fruitless >= (r->tries ? r->tries : TRIES) || r->requests >= REQUESTS ||
	    retry_after_s > PATIENCE_S)
		return 0;
	int64_t unit = r->unit_ms ? r->unit_ms : FIRST_MS;
	int64_t pause = unit << (r->fruitless > 1 ? r->fruitless - 1 : 0);
	if (pause > unit * (LAST_MS / FIRST_MS))
		pause = unit * (LAST_MS / FIRST_MS);
	if (retry_sleep(r->cancel, retry_after_s >= 0 ? retry_after_s * 1000 : jitter(pause), err) <
	    0)
		return -1;
	return 1;
}
