#include "runtime/container/name.h"

#include <stdint.h>
#include <sys/random.h>

#include "base/err.h"

enum { PLAIN_ATTEMPTS = 3, NAME_MAX_BYTES = 240 };

static const char *const adjectives[] = {
	"able",    "ample",   "amber",   "apt",      "arctic", "autumn",  "azure",   "balmy",
	"bold",    "brave",   "breezy",  "bright",   "brisk",  "bronze",  "calm",    "candid",
	"cedar",   "cheery",  "civil",   "clean",    "clear",  "clever",  "coastal", "copper",
	"coral",   "cosy",    "crisp",   "curious",  "daring", "dawning", "deep",    "deft",
	"dewy",    "early",   "earnest", "easy",     "elder",  "equal",   "even",    "fair",
	"fine",    "firm",    "fleet",   "floral",   "fond",   "free",    "fresh",   "frosty",
	"gallant", "gentle",  "genial",  "glad",     "golden", "grand",   "green",   "handy",
	"hardy",   "hearty",  "honest",  "humble",   "ideal",  "indigo",  "ivory",   "jolly",
	"jovial",  "keen",    "kind",    "lasting",  "lilac",  "limber",  "lively",  "loyal",
	"lucid",   "lunar",   "mellow",  "merry",    "mild",   "misty",   "modest",  "mossy",
	"neat",    "nimble",  "noble",   "northern", "open",   "opal",    "patient", "placid",
	"plain",   "polite",  "prime",   "proud",    "quick",  "quiet",   "rapid",   "ready",
	"robust",  "rosy",    "royal",   "rustic",   "sandy",  "serene",  "sharp",   "silent",
	"silver",  "simple",  "sincere", "snowy",    "sober",  "solar",   "solid",   "spry",
	"stable",  "stately", "steady",  "stout",    "sunny",  "supple",  "sure",    "swift",
	"tender",  "tidy",    "timely",  "tranquil", "true",   "upbeat",  "vast",    "verdant",
	"vivid",   "warm",    "wise",    "witty",
};

static const char *const nouns[] = {
	"acorn",   "alder",   "anchor",  "anvil",   "apricot",  "aspen",   "badger",  "barley",
	"basil",   "beacon",  "beaver",  "birch",   "bison",    "bobcat",  "bramble", "brook",
	"canyon",  "caribou", "cedar",   "cherry",  "chestnut", "cliff",   "clover",  "comet",
	"condor",  "cove",    "coyote",  "crane",   "creek",    "cricket", "dahlia",  "delta",
	"dolphin", "dove",    "dune",    "eagle",   "egret",    "elm",     "ember",   "falcon",
	"fern",    "fig",     "finch",   "fjord",   "forest",   "fox",     "garnet",  "gazelle",
	"geyser",  "ginger",  "glacier", "grove",   "gull",     "harbor",  "hare",    "hawk",
	"hazel",   "heron",   "hill",    "iris",    "island",   "jasmine", "jay",     "juniper",
	"kestrel", "kiwi",    "lagoon",  "lake",    "lantern",  "larch",   "lark",    "lemon",
	"linden",  "lotus",   "lynx",    "magpie",  "maple",    "marble",  "marten",  "meadow",
	"meteor",  "mill",    "mint",    "moose",   "oak",      "oasis",   "olive",   "orchard",
	"orchid",  "oriole",  "osprey",  "otter",   "owl",      "panther", "pebble",  "pelican",
	"pine",    "plover",  "pond",    "poplar",  "prairie",  "puffin",  "quail",   "quartz",
	"rapids",  "raven",   "reef",    "ridge",   "river",    "robin",   "rowan",   "sage",
	"salmon",  "seal",    "shore",   "sparrow", "spruce",   "stork",   "summit",  "swallow",
	"swan",    "thistle", "thrush",  "tiger",   "trout",    "tulip",   "valley",  "violet",
	"walnut",  "willow",  "wren",    "yew",
};
_Static_assert(ARRAY_SIZE(adjectives) >= 100 && ARRAY_SIZE(nouns) >= 100,
	       "enough names that few meet");

static void fill(void *p, size_t n)
{
	for (size_t got = 0; got < n;) {
		ssize_t r = getrandom((char *)p + got, n - got, 0);
		if (r > 0)
			got += (size_t)r;
	}
}

char *container_id_new(char buf[CONTAINER_ID])
{
	static const char hex[] = "0123456789abcdef";
	unsigned char b[(CONTAINER_ID - 1) / 2];
	bool letter = false;
	while (!letter) {
		fill(b, sizeof(b));
		for (size_t i = 0; i < sizeof(b); i++) {
			buf[2 * i] = hex[b[i] >> 4];
			buf[2 * i + 1] = hex[b[i] & 15];
		}
		for (size_t i = 0; i < CONTAINER_SHORT_ID; i++)
			letter |= buf[i] >= 'a';
	}
	buf[CONTAINER_ID - 1] = 0;
	return buf;
}

bool container_is_id_prefix(struct str text)
{
	for (size_t i = 0; i < text.n; i++)
		if (!((text.p[i] >= '0' && text.p[i] <= '9') ||
		      (text.p[i] >= 'a' && text.p[i] <= 'f')))
			return false;
	return text.n && text.n < CONTAINER_ID;
}

bool container_is_id(struct str text)
{
	return text.n == CONTAINER_ID - 1 && container_is_id_prefix(text);
}

char *container_name_new(unsigned attempt)
{
	uint32_t r[3];
	fill(r, sizeof(r));
	const char *a = adjectives[r[0] % ARRAY_SIZE(adjectives)],
		   *n = nouns[r[1] % ARRAY_SIZE(nouns)];
	return attempt < PLAIN_ATTEMPTS ? xasprintf("%s_%s", a, n)
					: xasprintf("%s_%s%u", a, n, r[2] % 10);
}

static bool is_alnum(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

int container_name_check(struct str name, struct err **err)
{
	bool good = name.n >= 2 && name.n <= NAME_MAX_BYTES && is_alnum(name.p[0]);
	for (size_t i = 1; good && i < name.n; i++)
		good = is_alnum(name.p[i]) || memchr("_.-", name.p[i], 3);
	if (good)
		return 0;
	_cleanup_(sb_releasep) struct sb shown = { 0 };
	sb_add_printable(&shown, str_sub(name, 0, 80));
	return err_set(err, ERR_INVALID,
		       "Invalid container name (%s), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
		       sb_c(&shown));
}
