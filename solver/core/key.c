#include "solver/core/key.h"

#include <string.h>

struct digest key_scratch(void)
{
	struct digester h;
	digest_fields(&h, "cbuild.scratch.1");
	return digest_end(&h);
}

struct digest key_result(const struct digest *parent, const struct digest *m, const uint8_t *nonce)
{
	struct digester h;
	digest_fields(&h, "cbuild.result.1");
	digest_field_digest(&h, parent);
	digest_field_digest(&h, m);
	digest_field(&h, nonce, nonce ? 16 : 0);
	return digest_end(&h);
}

void key_begin(struct digester *h, const struct digest *op)
{
	digest_fields(h, "cbuild.key.1");
	digest_field_digest(h, op);
}

void key_deep_begin(struct digester *h, const struct digest *op)
{
	digest_fields(h, "cbuild.deep.1");
	digest_field_digest(h, op);
}

void key_input(struct digester *h, char tag, const struct digest *d)
{
	uint8_t field[1 + sizeof(d->b)];
	field[0] = (uint8_t)tag;
	memcpy(field + 1, d->b, sizeof(d->b));
	digest_field(h, field, sizeof(field));
}

struct digest key_deep_selection(const struct digest *deep, const struct digest *sel)
{
	struct digester h;
	digest_fields(&h, "cbuild.deepsel.1");
	digest_field_digest(&h, deep);
	digest_field_digest(&h, sel);
	return digest_end(&h);
}
