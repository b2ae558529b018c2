#include "parser/logical.h"

#include "base/utf8.h"
#include "base/vec.h"

struct piece {
	struct df_segment segment;
	size_t n;
};

/* The length of a line before its continuation, or SIZE_MAX when it has none. */
static size_t continued(struct str line, char escape)
{
	size_t n = line.n;
	while (n && (line.p[n - 1] == ' ' || line.p[n - 1] == '\t'))
		n--;
	if (!n || line.p[n - 1] != escape || (n > 1 && line.p[n - 2] == escape))
		return SIZE_MAX;
	return n - 1;
}

int df_logical_join(struct arena *a, struct str source, struct span range, char escape,
		    struct df_logical *ret, struct err **err)
{
	VEC(struct piece) pieces = { 0 };
	size_t total = 0, at = range.begin;
	unsigned line = range.line;
	bool more = true;

	*ret = (struct df_logical){ .last = line };
	for (bool first = true; at < range.end && more; first = false, line++) {
		const char *nl = memchr(source.p + at, '\n', range.end - at);
		size_t end = nl ? (size_t)(nl - source.p) : range.end;
		struct str s = str_sub(source, at, end);
		while (s.n && s.p[s.n - 1] == '\r')
			s.n--;
		ret->last = line;
		size_t from = at;
		at = end + (nl != NULL);
		if (!first) {
			struct str t = utf8_trim_left(s);
			ret->has_blank |= !t.n;
			if (!t.n || t.p[0] == '#')
				continue;
		}
		size_t n = continued(s, escape);
		more = n != SIZE_MAX;
		struct piece p = { { total, from, line }, more ? n : s.n };
		total += p.n;
		VEC_PUSH(&pieces, p);
	}
	if (at < range.end) {
		VEC_RELEASE(&pieces);
		return err_set(err, ERR_BUG, "lines %u-%u: the tree and the text disagree",
			       range.line, line);
	}
	ret->n_segments = pieces.n;
	ret->segments = arena_array_of(a, struct df_segment, pieces.n);
	char *joined = pieces.n > 1 ? arena_alloc(a, total + 1) : NULL;
	for (size_t i = 0; i < pieces.n; i++) {
		const struct piece *p = &pieces.v[i];
		ret->segments[i] = p->segment;
		if (joined)
			memcpy(joined + p->segment.at, source.p + p->segment.source, p->n);
	}
	ret->text = joined ? (struct str){ joined, total }
			   : str_sub(source, range.begin, range.begin + total);
	VEC_RELEASE(&pieces);
	return 0;
}

/* The segment that byte `at` stands in. */
static const struct df_segment *segment_of(const struct df_logical *l, size_t at)
{
	size_t low = 0, high = l->n_segments;
	while (high - low > 1) {
		size_t mid = low + (high - low) / 2;
		if (l->segments[mid].at <= at)
			low = mid;
		else
			high = mid;
	}
	return &l->segments[low];
}

struct span df_logical_span(const struct df_logical *l, size_t begin, size_t end)
{
	if (!l->n_segments)
		return (struct span){ 0 };
	const struct df_segment *first = segment_of(l, begin),
				*last = end > begin ? segment_of(l, end - 1) : first;
	return (struct span){
		.line = first->line,
		.last = last->line,
		.begin = first->source + (begin - first->at),
		.end = last->source + (end - last->at),
	};
}
