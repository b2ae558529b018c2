#include "parser/words.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "parser/heredoc.h"

/* name=value, terminated by NULL. */
static const char *const vars[] = {
	"PWD=/home",      "SHELL=bash",
	"NULL=",          "KOREAN=\xed\x95\x9c\xea\xb5\xad\xec\x96\xb4",
	"v=abcabc",       "d=abcabc",
	"one=1",          "1x=no",
	"x=x y",          "space=abc  def",
	"leading=  ab c", "trailing=ab c   ",
	"star=a*b",       "q=a?b",
	"dot=a.b",        "br=[x]",
	"nl=a\nb",        "dollar=$1",
	"zero=<$0$$>",    "group=${0}${1}$x",
	"back=a\\b",      "\xc3\xa9t\xc3\xa9=summer",
	"@=at",           NULL,
};

static bool get(const struct df_env *env, struct str name, struct str *ret)
{
	(void)env;
	for (size_t i = 0; vars[i]; i++) {
		struct str k, v;
		assert_true(str_cut(str_c(vars[i]), '=', &k, &v));
		if (str_eq(k, name)) {
			*ret = v;
			return true;
		}
	}
	return false;
}

static const struct df_env env = { get };

struct row {
	const char *in, *want; /* want "!…": an error with that text */
};

static void check_rows(const struct row *rows, size_t n, char escape, bool plain, bool keep)
{
	for (size_t i = 0; i < n; i++) {
		_cleanup_(arena_freep) struct arena *a = arena_new();
		_cleanup_(err_dropp) struct err *e = NULL;
		_cleanup_(sb_releasep) struct sb quoted = { 0 };
		struct df_expansion x = { .escape = escape,
					  .plain_quotes = plain,
					  .keep_quotes = keep,
					  .keep_unset = keep };
		struct str got;
		int r = df_expand(a, str_c(rows[i].in), &env, &x, &got, &e);
		VEC_RELEASE(&x.unmatched);
		if (rows[i].want[0] == '!') {
			if (r == 0)
				fail_msg("%s gives %.*s", rows[i].in, STR_ARG(got));
			sb_add_c(&quoted, "failed to process ");
			sb_add_goquote(&quoted, str_c(rows[i].in));
			sb_printf(&quoted, ": %s", rows[i].want + 1);
			assert_string_equal(e->msg, sb_c(&quoted));
		} else if (r < 0 || !str_eq_c(got, rows[i].want)) {
			fail_msg("%s: %s", rows[i].in, r < 0 ? e->msg : str_dup(got));
		}
	}
}

#define CHECK(rows, ...) check_rows(rows, ARRAY_SIZE(rows), __VA_ARGS__)
#define DOUBLE "unexpected end of statement while looking for matching double-quote"
#define SINGLE "unexpected end of statement while looking for matching single-quote"
#define BRACE "syntax error: missing '}'"

static void test_word(void **state)
{
	static const struct row rows[] = {
		{ "", "" },
		{ "hello", "hello" },
		{ "he'll'o", "hello" },
		{ "he'llo", "!" SINGLE },
		{ "he\\'llo", "he'llo" },
		{ "he\\\\'llo", "!" SINGLE },
		{ "abc\\tdef", "abctdef" },
		{ "\"abc\\tdef\"", "abc\\tdef" },
		{ "\"abc\\\\tdef\"", "abc\\tdef" },
		{ "'abc\\tdef'", "abc\\tdef" },
		{ "hello\\", "hello" },
		{ "hello\\\\", "hello\\" },
		{ "\"hello", "!" DOUBLE },
		{ "\"hello\\\"", "!" DOUBLE },
		{ "\"hel'lo\"", "hel'lo" },
		{ "'hello", "!" SINGLE },
		{ "'hello\\'", "hello\\" },
		{ "''", "" },
		{ "$.", "$." },
		{ "he$1x", "hex" },
		{ "he$.x", "he$.x" },
		{ "he$pwd.", "he." },
		{ "he$PWD", "he/home" },
		{ "he\\$PWD", "he$PWD" },
		{ "he\\\\$PWD", "he\\/home" },
		{ "\"he\\$PWD\"", "he$PWD" },
		{ "'he$PWD'", "he$PWD" },
		{ "\\${}", "${}" },
		{ "\\${}aaa", "${}aaa" },
		{ "he${}xx", "!syntax error: bad substitution" },
		{ "${:x}", "!syntax error: bad substitution" },
		{ "${{x}", "!syntax error: bad substitution" },
		{ "${", "!" BRACE },
		{ "he${hi}", "he" },
		{ "he${hi}xx", "hexx" },
		{ "he${PWD}", "he/home" },
		{ "he${.}", "!unsupported modifier (.) in substitution" },
		{ "he${XXX:-000}xx", "he000xx" },
		{ "he${PWD:-000}xx", "he/homexx" },
		{ "he${XXX:-$PWD}xx", "he/homexx" },
		{ "he${XXX:-${PWD:-yyy}}xx", "he/homexx" },
		{ "he${XXX:-${YYY:-yyy}}xx", "heyyyxx" },
		{ "he${XXX:YYY}", "!unsupported modifier (:Y) in substitution" },
		{ "he${XXX?}", "!XXX: is not allowed to be unset" },
		{ "he${XXX:?}", "!XXX: is not allowed to be unset" },
		{ "he${NULL?}", "he" },
		{ "he${NULL:?}", "!NULL: is not allowed to be empty" },
		{ "he${NULL:?msg}", "!NULL: msg" },
		{ "he${XXX?no $PWD}", "!XXX: no /home" },
		{ "he${PWD?x}", "he/home" },
		{ "he${XXX:+${PWD}}xx", "hexx" },
		{ "he${PWD:+${XXX}}xx", "hexx" },
		{ "he${PWD:+${SHELL}}xx", "hebashxx" },
		{ "he${NULL+set}", "heset" },
		{ "he${NULL:+set}", "he" },
		{ "he${NULL-x}", "he" },
		{ "he${NULL:-x}", "hex" },
		{ "he${XXX:-\\$PWD:}xx", "he$PWD:xx" },
		{ "he${XXX:-\\${PWD}z}xx", "he${PWDz}xx" },
		{ "${aaa}}", "}" },
		{ "${aaa:-bbb ${foo}", "!" BRACE },
		{ "${aaa:-bbb {foo}", "bbb {foo" },
		{ "$KOREAN", "\xed\x95\x9c\xea\xb5\xad\xec\x96\xb4" },
		{ "$@@@", "at@@" },
		{ "$$", "" },
		{ "$$x", "x" },
		{ "$999aaa", "aaa" },
		{ "$999", "" },
		{ "${1:-bbb}", "bbb" },
		{ "${1}", "" },
		{ "$*$#$?$-$!", "" },
		{ "${@}", "at" },
		{ "$(id)", "$(id)" },
		{ "$", "$" },
		{ "a$", "a$" },
		{ "\"$\"", "$" },
		{ "${\xc3\xa9t\xc3\xa9}", "summer" },
		{ "$\xc3\xa9t\xc3\xa9.", "summer." },
		{ "${v:=w}", "!unsupported modifier (:=) in substitution" },
		{ "${v:#w}", "!unsupported modifier (:#) in substitution" },
		{ "${v:%w}", "!unsupported modifier (:%) in substitution" },
		{ "${v^}", "!unsupported modifier (^) in substitution" },
		{ "${#v}", "!unsupported modifier (v) in substitution" },
		{ "${!v}", "!unsupported modifier (v) in substitution" },
		{ "${a", "!unsupported modifier (\xef\xbf\xbd) in substitution" },
		{ "${a:", "!" BRACE },
		{ "${a:-", "!" BRACE },
		{ "${x@Q}", "!unsupported modifier (@) in substitution" },
		{ "${v:0:3}", "!unsupported modifier (:0) in substitution" },
		{ "${no:0:3}", "!unsupported modifier (:0) in substitution" },
		{ "${a\xc3\xa9!}", "!unsupported modifier (!) in substitution" },
		{ "\"${v:-'x'}\"", "abcabc" },
		{ "\"${no:-'x'}\"", "x" },
		{ "\"${no:-\"x\"}\"", "x" },
		{ "${no:-\\t}", "t" },
		{ "${no:-a\\}b}", "a}b" },
		{ "a\xff"
		  "b",
		  "a\xef\xbf\xbd"
		  "b" },
		{ "'\xff'", "\xef\xbf\xbd" },
		{ "\xef\xbb\xbf"
		  "x",
		  "x" },
		{ "x\xef\xbb\xbf", "x\xef\xbb\xbf" },
		{ "${no:-${no2:?x}", "!" BRACE },
		{ "${no:-${no2:?x}}", "!no2: x" },
		{ "${PWD:-\"}", "!" BRACE },
		{ "\xc3\xa9", "\xc3\xa9" },
		{ "<<  x", "<<  x" },
		{ "<", "<" },
	};
	(void)state;
	CHECK(rows, '\\', false, false);
}

static void test_patterns(void **state)
{
	static const struct row rows[] = {
		{ "${v//a/b}", "bbcbbc" },
		{ "${v/b*/X}", "aX" },
		{ "${v#a*b}", "cabc" },
		{ "${v##a*b}", "c" },
		{ "${v%b*}", "abca" },
		{ "${v%%b*}", "a" },
		{ "${v//a/$1}", "bcbc" },
		{ "${v//b/\\/}", "a\\/ca\\/c" },
		{ "${v//a}", "!syntax error: missing '/' in ${}" },
		{ "${v/b}", "!syntax error: missing '/' in ${}" },
		{ "${v/a/b", "!" BRACE },
		{ "${v/a/x}", "xbcabc" },
		{ "${v/z/x}", "abcabc" },
		{ "${v//[/x}", "abcabc" },
		{ "${br//[/<}", "<x]" },
		{ "${br#[x]}", "" },
		{ "${v///x}", "xaxbxcxaxbxcx" },
		{ "${v//?/x}", "xxxxxx" },
		{ "${v/?/x}", "xbcabc" },
		{ "${v/*/x}", "x" },
		{ "${v//*/x}", "x" },
		{ "${v#*}", "abcabc" },
		{ "${v##*}", "" },
		{ "${v%*}", "abcabc" },
		{ "${v%%*}", "" },
		{ "${star#a\\*}", "b" },
		{ "${star%\\*b}", "a" },
		{ "${q#a\\?}", "b" },
		{ "${dot/./-}", "a-b" },
		{ "${back/\\\\/-}", "a-b" },
		{ "${v#\\a}", "!invalid pattern (\\a) in substitution: invalid escape '\\a'" },
		{ "${v%\\a}", "!invalid pattern (\\a) in substitution: invalid escape '\\a'" },
		{ "${v/\\a/x}", "!invalid pattern (\\a) in substitution: invalid escape '\\a'" },
		{ "${PWD/\\//x}", "xhome" },
		{ "${nl#*b}", "a\nb" },
		{ "${nl//?/x}", "x\nx" },
		{ "${v#abc}", "abc" },
		{ "${v%abc}", "abc" },
		{ "${v##a}", "bcabc" },
		{ "${v//b/$0$0}", "acac" },
		{ "${v//b/$zero}", "a<b$>ca<b$>c" },
		{ "${v//b/$group}", "abcabc" },
		{ "${v//b/$$x}", "axcaxc" },
		{ "${v//b/${dollar}}", "acac" },
		{ "${v/b/${dollar}}", "a$1cabc" },
		{ "${v//b/\"${dollar}\"}", "acac" },
		{ "${no#x}", "" },
		{ "${NULL//x/y}", "" },
		{ "${NULL///y}", "y" },
		{ "${v#*c*c}", "" },
		{ "${v%c*c}", "ab" },
		{ "${v%%c*c}", "ab" },
		{ "${v//bc/}", "aa" },
		{ "${v//a*b/x}", "xc" },
		{ "${KOREAN#?}", "\xea\xb5\xad\xec\x96\xb4" },
		{ "${KOREAN%?}", "\xed\x95\x9c\xea\xb5\xad" },
		{ "${v#a${no:-b}}", "cabc" },
	};
	static const struct row backtick[] = {
		{ "${star#a\\*}", "b" },
		{ "${star#a`*}", "a*b" },
		{ "a`$b", "a$b" },
		{ "a\\b", "a\\b" },
		{ "\"a`\"b\"", "a\"b" },
		{ "'`'", "`" },
		{ "${v%a\\}", "!invalid pattern (\\a) in substitution: invalid escape '\\a'" },
	};
	(void)state;
	CHECK(rows, '\\', false, false);
	CHECK(backtick, '`', false, false);
}

static void test_bodies(void **state)
{
	static const struct row rows[] = {
		{ "a` \\$c \\\nd\n", "a` $c \nd\n" },
		{ "it's $PWD \"$SHELL\"", "it's /home \"bash\"" },
		{ "\\\\ \\x", "\\ x" },
		{ "$unset.", "." },
	};
	(void)state;
	CHECK(rows, '\\', true, false);
}

static void test_keep(void **state)
{
	static const struct row rows[] = {
		{ "a 'b' \"c\" \\d", "a 'b' \"c\" \\d" },
		{ "$no ${no} ${no:-x} $PWD", "$no ${no} ${no:-x} /home" },
		{ "${no:-'x' \\y $PWD}", "${no:-'x' y /home}" },
		{ "${no//a/b}", "${no/a/b}" },
		{ "${no#\\x}", "${no#\\x}" },
		{ "${no:=x}", "${no:=x}" },
		{ "\"a\\\"b\"", "\"a\\\"b\"" },
		{ "\"a\\tb\"", "\"a\\\\tb\"" },
	};
	(void)state;
	CHECK(rows, '\\', false, true);
}

/* Words joined by |. */
static void check_words(const char *in, const char *want)
{
	_cleanup_(arena_freep) struct arena *a = arena_new();
	_cleanup_(sb_releasep) struct sb got = { 0 };
	struct df_expansion x = { .escape = '\\' };
	struct err *e = NULL;
	struct str *v;
	size_t n;
	assert_int_equal(df_expand_words(a, str_c(in), &env, &x, &v, &n, &e), 0);
	for (size_t i = 0; i < n; i++)
		sb_printf(&got, "%s%.*s", i ? "|" : "", STR_ARG(v[i]));
	VEC_RELEASE(&x.unmatched);
	assert_string_equal(sb_c(&got), want);
}

static void test_words(void **state)
{
	(void)state;
	check_words("hello", "hello");
	check_words("hello${hi}bye", "hellobye");
	check_words("hello${hi} bye", "hello|bye");
	check_words("hello${space}bye", "helloabc|defbye");
	check_words("hello\"${space}\"bye", "helloabc  defbye");
	check_words("hello \"${space} bye\"", "hello|abc  def bye");
	check_words("hello${leading}def", "hello|ab|cdef");
	check_words("hello ${leading}", "hello|ab|c");
	check_words("hello${trailing}d", "helloab|c|d");
	check_words("a b'\t'c \\ d \"\"", "a|b\tc| d");
	check_words("  x\xc2\xa0y  ", "x|y");
	check_words("", "");
	check_words("80${no:-81}", "81");
	check_words("8${one}", "81");
	check_words("6\"a${x:+q}\"5", "aq5");
	check_words("$no", "");
	check_words("a'' b", "a|b");
	check_words("x<< y z", "x<< y|z");
}

static void test_unmatched(void **state)
{
	_cleanup_(arena_freep) struct arena *a = arena_new();
	struct df_expansion x = { .escape = '\\' };
	struct err *e = NULL;
	struct str got;
	(void)state;
	assert_int_equal(df_expand(a, STR("$b $PWD ${a:-$c} '$q' \\$r $b $1"), &env, &x, &got, &e),
			 0);
	assert_int_equal(x.unmatched.n, 4);
	assert_true(str_eq_c(x.unmatched.v[0], "b"));
	assert_true(str_eq_c(x.unmatched.v[1], "c"));
	assert_true(str_eq_c(x.unmatched.v[2], "a"));
	assert_true(str_eq_c(x.unmatched.v[3], "1"));
	assert_int_equal(df_expand(a, STR("$c$d"), NULL, &x, &got, &e), 0);
	assert_int_equal(x.unmatched.n, 5);
	VEC_RELEASE(&x.unmatched);
}

static void test_depth(void **state)
{
	_cleanup_(arena_freep) struct arena *a = arena_new();
	_cleanup_(sb_releasep) struct sb deep = { 0 };
	_cleanup_(err_dropp) struct err *e = NULL;
	struct df_expansion x = { .escape = '\\' };
	struct str got;
	(void)state;
	for (int i = 0; i < 100; i++)
		sb_add_c(&deep, "${a:-");
	sb_add_c(&deep, "x");
	for (int i = 0; i < 100; i++)
		sb_add_ch(&deep, '}');
	assert_int_equal(df_expand(a, sb_str(&deep), &env, &x, &got, &e), 0);
	assert_true(str_eq_c(got, "x"));
	sb_reset(&deep);
	for (int i = 0; i < 100000; i++)
		sb_add_c(&deep, "${a:-");
	assert_int_equal(df_expand(a, sb_str(&deep), &env, &x, &got, &e), -1);
	assert_int_equal(e->code, ERR_LIMIT);
	VEC_RELEASE(&x.unmatched);
}

static void check_marker(const char *word, const char *name, int fd, bool expand, bool strip)
{
	_cleanup_(arena_freep) struct arena *a = arena_new();
	struct df_marker m;
	bool is = df_marker_parse(a, str_c(word), &m);
	if (is != (name != NULL))
		fail_msg("%s", word);
	if (!is)
		return;
	assert_true(str_eq_c(m.name, name));
	assert_int_equal(m.fd, fd);
	assert_int_equal(m.expand, expand);
	assert_int_equal(m.strip_tabs, strip);
}

static void test_marker(void **state)
{
	(void)state;
	check_marker("<<EOF", "EOF", 0, true, false);
	check_marker("3<<-EOF", "EOF", 3, true, true);
	check_marker("<<'EOF'", "EOF", 0, false, false);
	check_marker("<<\"EOF\"", "EOF", 0, false, false);
	check_marker("<<E\"O\"F", "EOF", 0, false, false);
	check_marker("<<\\EOF", "EOF", 0, true, false);
	check_marker("<< EOF", "EOF", 0, true, false);
	check_marker("<<EOF;", "EOF;", 0, true, false);
	check_marker("<<EOF>/f", "EOF>/f", 0, true, false);
	check_marker("<<$EOF", "$EOF", 0, true, false);
	check_marker("<<${E}", "${E}", 0, true, false);
	check_marker("<<'A B'", "A B", 0, false, false);
	check_marker("<<<x", NULL, 0, false, false);
	check_marker("<<-", NULL, 0, false, false);
	check_marker("<<", NULL, 0, false, false);
	check_marker("<<''", NULL, 0, false, false);
	check_marker("cmd<<EOF", NULL, 0, false, false);
	check_marker("\"<<EOF\"", NULL, 0, false, false);
	check_marker("$((1<<3))", NULL, 0, false, false);
	check_marker("99999999999999999999<<E", "E", INT32_MAX, true, false);
	check_marker("<<a<b", NULL, 0, false, false);
}

/* The names of a line's markers, joined by |. */
static void check_line(const char *line, const char *want)
{
	_cleanup_(arena_freep) struct arena *a = arena_new();
	_cleanup_(sb_releasep) struct sb got = { 0 };
	struct err *e = NULL;
	struct df_marker *v;
	size_t n;
	assert_int_equal(df_markers_find(a, str_c(line), &v, &n, &e), 0);
	for (size_t i = 0; i < n; i++) {
		sb_printf(&got, "%s%.*s", i ? "|" : "", STR_ARG(v[i].name));
		assert_true(v[i].begin < v[i].end && v[i].end <= strlen(line));
	}
	if (strcmp(sb_c(&got), want) != 0)
		fail_msg("%s: %s", line, sb_c(&got));
}

static void test_line(void **state)
{
	(void)state;
	check_line("RUN cat <<A 3<<B > /x", "A|B");
	check_line("RUN << EOF", "EOF");
	check_line("RUN <<\t EOF x", "EOF");
	check_line("RUN <<- E", "");
	check_line("RUN echo 'don <<EOF", "");
	check_line("RUN echo ${x@Q} <<EOF", "");
	check_line("RUN echo ${v:0:3} <<EOF", "EOF");
	check_line("RUN echo ${v:=x} <<EOF", "EOF");
	check_line("RUN echo ${} <<EOF", "");
	check_line("RUN echo $((1<<3)) <<<x", "");
	check_line("RUN <<${E:-x}", "");
	check_line("RUN <<$E <<${F}", "$E|${F}");
	check_line("RUN echo \"<<E\" \\<<E cmd<<E", "");
	check_line("RUN ${x:-a <<E}", "E}");
	check_line("RUN echo `x` # <<E", "E");
	check_line("RUN '<<A' \"a b\" <<'B C' x", "B C");
	check_line("RUN \xff\xff <<E", "E");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_word),   cmocka_unit_test(test_patterns),
		cmocka_unit_test(test_bodies), cmocka_unit_test(test_keep),
		cmocka_unit_test(test_words),  cmocka_unit_test(test_unmatched),
		cmocka_unit_test(test_depth),  cmocka_unit_test(test_marker),
		cmocka_unit_test(test_line),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
