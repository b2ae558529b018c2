#include "parser/words.h"

#include "base/map.h"
#include "base/utf8.h"
#include "parser/letter.h"
#include "parser/pattern.h"

enum {
	MAX_DEPTH = 400,
	MAX_MARKERS = 1000,
	MAX_SHOWN = 64 * 1024, /* of a word in a message */
	MAX_RESULT = 64 * 1024 * 1024,
};

struct lexer {
	struct arena *a;
	struct str in;
	size_t i;
	const struct df_env *env;
	struct df_expansion *x;
	bool raw_quotes, raw_escapes;
	bool dead; /* the error is final: it is not replaced on the way out */
	unsigned depth;
	struct sb out;
	struct map seen; /* names in x->unmatched */
	/* words mode */
	bool split;
	bool markers; /* only words that hold `<<` are kept, and not too many of them */
	struct sb word;
	size_t word_begin;
	VEC(struct df_shell_word) words;
};

static int dollar(struct lexer *l, struct err **err);

static void lexer_release(struct lexer *l)
{
	sb_release(&l->out);
	sb_release(&l->word);
	map_release(&l->seen);
	VEC_RELEASE(&l->words);
}

static int syntax(struct err **err, const char *msg)
{
	return err_set(err, ERR_SYNTAX, "%s", msg);
}

/* Copies the character at l->i as the lexer sees it: a bad byte is U+FFFD. */
static void take(struct lexer *l)
{
	uint32_t c;
	size_t n = utf8_next(l->in, l->i, &c);
	if (c == UTF8_BAD)
		utf8_add(&l->out, 0xfffd);
	else
		sb_add(&l->out, l->in.p + l->i, n);
	l->i += n;
}

/* Adds s to the word of words mode, unsplit; `from`: where in the input it came from. */
static void add_raw(struct lexer *l, struct str s, size_t from)
{
	if (!l->word.n)
		l->word_begin = from;
	utf8_add_clean(&l->word, s);
}

static void end_word(struct lexer *l, size_t end)
{
	if (!l->word.n)
		return;
	if (l->markers && (!memchr(l->word.p, '<', l->word.n) || l->words.n > MAX_MARKERS)) {
		sb_reset(&l->word);
		return;
	}
	struct df_shell_word w = { arena_str(l->a, sb_str(&l->word)), l->word_begin, end };
	VEC_PUSH(&l->words, w);
	sb_reset(&l->word);
}

/* Adds text that is split at spaces. Its place in the input is [from, l->i); `whole`: each word came from all of that. */
static void add_split(struct lexer *l, struct str s, size_t from, bool whole)
{
	size_t start = 0, i = 0;
	while (i < s.n) {
		uint32_t c;
		size_t n = utf8_next(s, i, &c);
		if (utf8_is_space(c)) {
			if (i > start)
				add_raw(l, str_sub(s, start, i), whole ? from : from + start);
			end_word(l, whole ? l->i : from + i);
			start = i + n;
		}
		i += n;
	}
	if (i > start)
		add_raw(l, str_sub(s, start, i), whole ? from : from + start);
}

static int single_quote(struct lexer *l, struct err **err)
{
	size_t end = str_find(l->in, '\'', l->i + 1);
	size_t stop = end == SIZE_MAX ? l->in.n : end;
	if (l->raw_quotes)
		sb_add_ch(&l->out, '\'');
	l->i++;
	while (l->i < stop)
		take(l);
	if (end == SIZE_MAX)
		return syntax(
			err, "unexpected end of statement while looking for matching single-quote");
	if (l->raw_quotes)
		sb_add_ch(&l->out, '\'');
	l->i++;
	return 0;
}

static int double_quote(struct lexer *l, struct err **err)
{
	char escape = l->x->escape;

	if (l->raw_quotes)
		sb_add_ch(&l->out, '"');
	l->i++;
	while (l->i < l->in.n) {
		char c = l->in.p[l->i];
		size_t from = l->i;
		while (l->i < l->in.n && (unsigned char)c < 0x80 && c != '"' && c != '$' &&
		       c != escape)
			c = ++l->i < l->in.n ? l->in.p[l->i] : '\0';
		if (l->i > from) {
			sb_add(&l->out, l->in.p + from, l->i - from);
			continue;
		}
		if (c == '"') {
			if (l->raw_quotes)
				sb_add_ch(&l->out, '"');
			l->i++;
			return 0;
		}
		if (c == '$') {
			if (dollar(l, err) < 0)
				return -1;
			continue;
		}
		if (c == escape) {
			/* With raw escapes BuildKit doubles the escape before an ordinary character; kept. */
			if (l->raw_escapes)
				sb_add_ch(&l->out, c);
			char next = l->i + 1 < l->in.n ? l->in.p[l->i + 1] : '\0';
			if (l->i + 1 == l->in.n) {
				l->i++;
				break;
			}
			if (next == '"' || next == '$' || next == escape)
				l->i++;
		}
		take(l);
	}
	return syntax(err, "unexpected end of statement while looking for matching double-quote");
}

/* `<<` and the blanks behind it belong to one word in words mode. */
static void angle(struct lexer *l)
{
	size_t from = l->i++;
	if (l->i < l->in.n && l->in.p[l->i] == '<') {
		l->i++;
		while (l->i < l->in.n &&
		       (l->in.p[l->i] == ' ' || l->in.p[l->i] == '\t' || l->in.p[l->i] == '\r'))
			l->i++;
	}
	sb_add(&l->out, l->in.p + from, l->i - from);
}

static bool is_special(const struct lexer *l, char c, int stop)
{
	return c == '$' || c == '<' || c == l->x->escape || (stop && c == stop) ||
		(!l->x->plain_quotes && (c == '\'' || c == '"'));
}

/* A run of ordinary characters. */
static void ordinary(struct lexer *l, int stop)
{
	while (l->i < l->in.n && !is_special(l, l->in.p[l->i], stop)) {
		size_t from = l->i;
		while (l->i < l->in.n && (unsigned char)l->in.p[l->i] < 0x80 &&
		       !is_special(l, l->in.p[l->i], stop))
			l->i++;
		if (l->i > from)
			sb_add(&l->out, l->in.p + from, l->i - from);
		else
			take(l);
	}
}

/* One element of a text: an expansion, a quoted part, an escape, or a run of ordinary characters. */
static int element(struct lexer *l, int stop, bool words, struct err **err)
{
	size_t from = l->i, at = l->out.n;
	char c = l->in.p[from];
	bool raw = true;

	if (c == '$') {
		if (dollar(l, err) < 0)
			return -1;
		raw = false;
	} else if (c == '\'' && !l->x->plain_quotes) {
		if (single_quote(l, err) < 0)
			return -1;
	} else if (c == '"' && !l->x->plain_quotes) {
		if (double_quote(l, err) < 0)
			return -1;
	} else if (c == '<') {
		angle(l);
	} else if (c == l->x->escape) {
		l->i++;
		if (l->raw_escapes)
			sb_add_ch(&l->out, c);
		if (l->i < l->in.n)
			take(l);
	} else {
		ordinary(l, stop);
		raw = false;
	}
	if (!words || at == l->out.n)
		return 0;
	struct str s = { l->out.p + at, l->out.n - at };
	if (raw)
		add_raw(l, s, from);
	else if (c == '$')
		add_split(l, s, from, true);
	else
		add_split(l, str_sub(l->in, from, l->i), from, false);
	return 0;
}

/* Lexes to the end (stop 0) or through the character `stop`. */
static int text_until(struct lexer *l, int stop, bool raw_escapes, struct err **err)
{
	bool saved = l->raw_escapes, words = l->split && !l->depth;

	if (++l->depth > MAX_DEPTH) {
		l->dead = true;
		return err_set(err, ERR_LIMIT, "${...} is nested deeper than %d", MAX_DEPTH);
	}
	/* A quirk of BuildKit's words mode, kept: text inside ${…} forgets the part of the word before it. */
	sb_reset(&l->word);
	l->raw_escapes = raw_escapes;
	int r = 0;
	while (l->i < l->in.n) {
		if (stop && l->in.p[l->i] == stop) {
			l->i++;
			break;
		}
		r = element(l, stop, words, err);
		if (r < 0)
			break;
		if (l->i == l->in.n && stop)
			r = -2;
	}
	l->raw_escapes = saved;
	l->depth--;
	return r;
}

/* A part of ${…} up to `stop`; BuildKit reports any error at the end of the text as the missing character. */
static int part(struct lexer *l, int stop, bool raw_escapes, const char *missing, struct err **err)
{
	bool empty = l->i == l->in.n;
	int r = empty ? -2 : text_until(l, stop, raw_escapes, err);
	if (r >= 0)
		return 0;
	if (r == -1 && (l->dead || l->i < l->in.n))
		return -1;
	if (r == -1)
		err_drop(err);
	return syntax(err, missing);
}

static bool is_set(const struct lexer *l, struct str name, struct str *ret)
{
	*ret = (struct str){ "", 0 };
	return l->env && l->env->get(l->env, name, ret);
}

static void note_unmatched(struct lexer *l, struct str name)
{
	if (!l->seen.n)
		for (size_t i = 0; i < l->x->unmatched.n; i++)
			map_put(&l->seen, l->x->unmatched.v[i], l);
	if (map_put(&l->seen, name, l))
		return;
	VEC_PUSH(&l->x->unmatched, name);
}

/* The name at l->i; empty when there is none. */
static struct str name_at(struct lexer *l)
{
	size_t from = l->i;
	uint32_t c;
	bool digits = false;

	for (bool first = true; l->i < l->in.n; first = false) {
		size_t n = utf8_next(l->in, l->i, &c);
		if (first)
			digits = df_is_digit(c);
		if (first && c && c < 0x80 && strchr("@*#?-$!", (int)c)) {
			l->i++;
			break;
		}
		if (!df_is_digit(c) && (digits || (!df_is_letter(c) && c != '_')))
			break;
		l->i += n;
	}
	return str_sub(l->in, from, l->i);
}

/* Adds what comes in place of a plain variable; `before` and `after`: how it is written. */
static void add_variable(struct lexer *l, struct str name, const char *before, const char *after)
{
	struct str value;
	bool set = is_set(l, name, &value);
	if (!set)
		note_unmatched(l, name);
	if (set || !l->x->keep_unset) {
		sb_add_str(&l->out, value);
		return;
	}
	sb_add_c(&l->out, before);
	sb_add_str(&l->out, name);
	sb_add_c(&l->out, after);
}

static int unsupported(struct str modifier, struct err **err)
{
	return err_set(err, ERR_SYNTAX, "unsupported modifier (%.*s) in substitution",
		       STR_ARG(modifier));
}

/* The modifier that is being read, as text: one character or `:` and one; U+FFFD where there is none or it is bad. */
static struct str modifier_at(struct lexer *l, char *buf)
{
	size_t n = 0;
	if (l->i < l->in.n && l->in.p[l->i] == ':') {
		buf[n++] = ':';
		l->i++;
	}
	uint32_t c = UTF8_BAD;
	size_t k = l->i < l->in.n ? utf8_next(l->in, l->i, &c) : 0;
	if (c == UTF8_BAD)
		memcpy(buf + n, "\xef\xbf\xbd", 3);
	else
		memcpy(buf + n, l->in.p + l->i, k);
	n += c == UTF8_BAD ? 3 : k;
	l->i += k;
	return (struct str){ buf, n };
}

/* ${name/p/r} and ${name//p/r}, behind the first slash. */
static int substitute(struct lexer *l, struct str name, struct err **err)
{
	struct str value;
	size_t at = l->out.n;
	bool set = is_set(l, name, &value), keep = !set && l->x->keep_unset;
	bool all = l->i < l->in.n && l->in.p[l->i] == '/';

	if (all)
		l->i++;
	sb_add_c(&l->out, "${");
	sb_add_str(&l->out, name);
	sb_add_ch(&l->out, '/');
	size_t p = l->out.n;
	if (part(l, '/', true, "syntax error: missing '/' in ${}", err) < 0)
		return -1;
	sb_add_ch(&l->out, '/');
	size_t r = l->out.n;
	if (part(l, '}', true, "syntax error: missing '}'", err) < 0)
		return -1;
	if (!set)
		note_unmatched(l, name);
	if (keep) {
		sb_add_ch(&l->out, '}');
		return 0;
	}
	struct str pattern = arena_str(l->a, (struct str){ l->out.p + p, r - 1 - p });
	struct str with = arena_str(l->a, (struct str){ l->out.p + r, l->out.n - r });
	sb_trunc(&l->out, at);
	return df_pattern_replace(pattern, with, value, all, &l->out, err);
}

/* The operators that take one word, behind the operator. `mod`: the operator as written; out[at…]: the expanded word. */
static int operate(struct lexer *l, struct str name, struct str mod, size_t at, struct err **err)
{
	struct str value;
	bool set = is_set(l, name, &value), colon = mod.n > 1;
	bool given = set && (!colon || value.n);
	char op = mod.p[mod.n - 1];
	struct str word = { l->out.p + at, l->out.n - at };

	switch (op) {
	case '-':
		if (!given)
			return 0;
		break;
	case '+':
		if (given)
			return 0;
		value = STR("");
		break;
	case '?':
		if (given)
			break;
		if (word.n)
			return err_set(err, ERR_SYNTAX, "%.*s: %.*s", STR_ARG(name), STR_ARG(word));
		return err_set(err, ERR_SYNTAX, "%.*s: is not allowed to be %s", STR_ARG(name),
			       set ? "empty" : "unset");
	case '#':
	case '%': {
		bool greedy = word.n && word.p[0] == op;
		if (df_pattern_trim(str_sub(word, greedy, word.n), value, op == '%', greedy, &value,
				    err) < 0)
			return -1;
		break;
	}
	default:
		return unsupported(mod, err);
	}
	sb_trunc(&l->out, at);
	sb_add_str(&l->out, value);
	return 0;
}

/* An expansion in braces, behind `${`. */
static int braces(struct lexer *l, struct err **err)
{
	char buf[8];

	if (l->i == l->in.n)
		return syntax(err, "syntax error: missing '}'");
	if (strchr("{}:", l->in.p[l->i]) && l->in.p[l->i])
		return syntax(err, "syntax error: bad substitution");
	struct str name = name_at(l);
	struct str mod = modifier_at(l, buf);
	if (str_eq_c(mod, "}")) {
		add_variable(l, name, "${", "}");
		return 0;
	}
	if (str_eq_c(mod, "/"))
		return substitute(l, name, err);
	bool colon = mod.p[0] == ':';
	char op = mod.p[mod.n - 1];
	bool trims = (op == '#' || op == '%') && mod.n == 1u + colon;
	if ((!colon && (mod.n > 1 || !op || !strchr("+-?#%", op))) || (colon && trims))
		return unsupported(mod, err);

	struct str value;
	bool set = is_set(l, name, &value), keep = !set && l->x->keep_unset;
	if (keep) {
		sb_add_c(&l->out, "${");
		sb_add_str(&l->out, name);
		sb_add_str(&l->out, mod);
	}
	size_t at = l->out.n;
	if (part(l, '}', trims, "syntax error: missing '}'", err) < 0)
		return -1;
	if (!set)
		note_unmatched(l, name);
	if (keep) {
		sb_add_ch(&l->out, '}');
		return 0;
	}
	return operate(l, name, mod, at, err);
}

static int dollar(struct lexer *l, struct err **err)
{
	l->i++;
	if (l->i < l->in.n && l->in.p[l->i] == '{') {
		l->i++;
		return braces(l, err);
	}
	struct str name = name_at(l);
	if (name.n)
		add_variable(l, name, "$", "");
	else
		sb_add_ch(&l->out, '$');
	return 0;
}

static int run(struct lexer *l, struct err **err)
{
	struct str word = l->in;
	sb_add_c(&l->out, ""); /* so that there is memory for slices to point into */
	if (str_starts(word, STR("\xef\xbb\xbf")))
		l->i = 3;
	int r = text_until(l, 0, l->raw_escapes, err);
	if (r >= 0)
		r = sb_check(&l->out, "result", err);
	if (r < 0) {
		_cleanup_(sb_releasep) struct sb q = { 0 };
		sb_add_goquote(&q, str_sub(word, 0, MAX_SHOWN));
		return err_wrap(err, "failed to process %s", sb_c(&q));
	}
	if (l->split)
		end_word(l, l->in.n);
	return 0;
}

/* Whether a word stays as it is. */
static bool is_plain(struct str word, const struct df_expansion *x)
{
	for (size_t i = 0; i < word.n; i++) {
		char c = word.p[i];
		if (c == '$' || c == x->escape || c == '\'' || c == '"' || (unsigned char)c >= 0x80)
			return false;
	}
	return true;
}

int df_expand(struct arena *a, struct str word, const struct df_env *env, struct df_expansion *x,
	      struct str *ret, struct err **err)
{
	if (is_plain(word, x)) {
		*ret = word.p ? word : STR("");
		return 0;
	}
	_cleanup_(lexer_release) struct lexer l = {
		.a = a,
		.in = word,
		.env = env,
		.x = x,
		.raw_quotes = x->keep_quotes,
		.raw_escapes = x->keep_quotes,
		.out.max = MAX_RESULT,
	};
	if (run(&l, err) < 0)
		return -1;
	*ret = arena_str(a, l.out.p ? sb_str(&l.out) : STR(""));
	return 0;
}

static int run_words(struct lexer *l, struct str **ret, size_t *ret_n, struct err **err)
{
	if (run(l, err) < 0)
		return -1;
	struct str *v = arena_array_of(l->a, struct str, l->words.n);
	for (size_t i = 0; i < l->words.n; i++)
		v[i] = l->words.v[i].text;
	*ret = v;
	*ret_n = l->words.n;
	return 0;
}

int df_expand_words(struct arena *a, struct str word, const struct df_env *env,
		    struct df_expansion *x, struct str **ret, size_t *ret_n, struct err **err)
{
	_cleanup_(lexer_release) struct lexer l = {
		.a = a,
		.in = word,
		.env = env,
		.x = x,
		.raw_quotes = x->keep_quotes,
		.raw_escapes = x->keep_quotes,
		.split = true,
		.out.max = MAX_RESULT,
	};
	return run_words(&l, ret, ret_n, err);
}

int df_name_words(struct arena *a, struct str text, bool keep_quotes, struct str **ret,
		  size_t *ret_n, struct err **err)
{
	struct df_expansion x = { .escape = '\\', .keep_unset = true };
	_cleanup_(lexer_release) struct lexer l = {
		.a = a, .in = text, .x = &x, .raw_quotes = keep_quotes, .split = true
	};
	int r = run_words(&l, ret, ret_n, err);
	VEC_RELEASE(&x.unmatched);
	return r;
}

int df_shell_words(struct arena *a, struct str line, struct df_shell_word **ret, size_t *ret_n,
		   struct err **err)
{
	struct df_expansion x = { .escape = '\\', .keep_quotes = true, .keep_unset = true };
	_cleanup_(lexer_release) struct lexer l = {
		.a = a,
		.in = line,
		.x = &x,
		.raw_quotes = true,
		.raw_escapes = true,
		.split = true,
		.markers = true,
	};
	int r = run(&l, err);
	VEC_RELEASE(&x.unmatched);
	if (r < 0)
		return -1;
	if (l.words.n > MAX_MARKERS)
		return err_set(err, ERR_LIMIT, "more than %d words with <<", MAX_MARKERS);
	*ret = arena_array_of(a, struct df_shell_word, l.words.n);
	if (l.words.n)
		memcpy(*ret, l.words.v, l.words.n * sizeof(**ret));
	*ret_n = l.words.n;
	return 0;
}
