/* Templates of --format: what they print, and what is refused. Each expectation is what Go's text/template prints with Docker's functions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/json.h"
#include "cmd/template.h"

#define DATA                                                                                                                           \
	"{\"Name\":\"/web\",\"Names\":[\"a\",\"b\",\"c\"],\"State\":{\"Running\":true,\"ExitCode\":0,\"Error\":\"\",\"Health\":null}," \
	"\"Config\":{\"Labels\":{\"com.x\":\"1\",\"b\":\"2\"},\"Env\":[\"A=1\",\"B=x y\"],\"Cmd\":null,\"Empty\":[]},"                 \
	"\"NetworkSettings\":{\"Ports\":{\"22/tcp\":[{\"HostPort\":\"49154\"}]}},\"Size\":1234,\"Ratio\":1.5,\"Off\":false}"

static const char *const maps[] = { "Labels", "Ports", NULL };

/* What it prints; the caller frees it. An error gives "ERR: message". */
static char *render(const char *text)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	_cleanup_(json_unrefp) json_t *data = json_parse(str_c(DATA), "data", &e);
	_cleanup_(sb_releasep) struct sb out = { 0 };
	assert_non_null(data);
	_cleanup_(template_freep) struct template *t = template_parse(str_c(text), &e);
	if (!t || template_run(t, data, maps, &out, &e) < 0)
		return xasprintf("ERR: %s", e->msg);
	return xstrdup(sb_c(&out));
}

static void prints(void **state)
{
	(void)state;
	static const char *const cases[][2] = {
		{ "plain", "plain" },
		{ "{{.Name}}", "/web" },
		{ "{{ .State.Running }} {{.Size}} {{.Ratio}} {{.Off}}", "true 1234 1.5 false" },
		{ "{{.Names}} {{.Config.Cmd}} {{.Config.Labels}}",
		  "[a b c] <nil> map[com.x:1 b:2]" },
		{ "{{json .Config.Env}} {{json .State.Health}} {{json .Name}}",
		  "[\"A=1\",\"B=x y\"] null \"/web\"" },
		{ "{{json .}}", DATA },
		{ "{{range .Names}}<{{.}}>{{end}}", "<a><b><c>" },
		{ "{{range $i, $n := .Names}}{{if $i}}, {{end}}{{$i}}={{$n}}{{end}}",
		  "0=a, 1=b, 2=c" },
		{ "{{range $k, $v := .Config.Labels}}{{$k}}:{{$v}};{{end}}", "b:2;com.x:1;" },
		{ "{{range .Config.Empty}}x{{else}}none{{end}}{{range .Config.Cmd}}x{{else}}nil{{end}}",
		  "nonenil" },
		{ "{{if .State.Running}}up{{else}}down{{end}}", "up" },
		{ "{{if .State.Error}}e{{else if .State.ExitCode}}c{{else}}fine{{end}}", "fine" },
		{ "{{if .Off}}a{{else if .State.Running}}b{{else}}c{{end}}{{if .Off}}x{{end}}",
		  "b" },
		{ "{{with .Config}}{{len .Env}}{{end}}{{with .State.Health}}h{{else}}no health{{end}}",
		  "2no health" },
		{ "{{with $x := .Size}}{{$x}}{{end}}{{$y := 3}}{{$y}} {{$.Name}}", "12343 /web" },
		{ "{{index .Names 1}} {{index .Config.Labels \"com.x\"}}", "b 1" },
		{ "{{(index (index .NetworkSettings.Ports \"22/tcp\") 0).HostPort}}", "49154" },
		{ "{{len .Names}} {{len .Name}} {{len .Config.Labels}}", "3 4 2" },
		{ "{{join .Names \",\"}} {{split \"a:b:c\" \":\"}} {{upper .Name}} {{lower \"ÀB\"}} {{title \"ab cd\"}}",
		  "a,b,c [a b c] /WEB Àb Ab Cd" },
		{ "{{truncate .Name 2}}|{{pad \"x\" 1 2}}|{{pad \"\" 1 2}}", "/w| x  |" },
		{ "{{slice .Name 1}} {{slice .Names 1 2}}", "web [b]" },
		{ "{{print 1 2 \"a\" \"b\" 3}} {{println \"x\"}}", "1 2ab3 x\n" },
		{ "{{printf \"%s-%d-%v-%q-%5s|%-5s|%05d\" .Name .Size .Off \"a\\\"b\" \"x\" \"y\" 42}}",
		  "/web-1234-false-\"a\\\"b\"-    x|y    |00042" },
		{ "{{printf \"%.2f %% %s\" .Ratio}}", "1.50 % %!s(MISSING)" },
		{ "{{eq .Name \"/web\"}} {{eq .Size 1 1234}} {{ne .Off true}} {{eq .State.Health nil}}",
		  "true true true true" },
		{ "{{lt 1 2}}{{le 2 2}}{{gt \"b\" \"a\"}}{{ge 1 2}}", "truetruetruefalse" },
		{ "{{and .State.Running .Name}} {{or .Off \"z\"}} {{not .Off}}", "/web z true" },
		{ "{{.Names | json}} {{.Name | upper | printf \"%s!\"}}",
		  "[\"a\",\"b\",\"c\"] /WEB!" },
		{ "{{if and (eq .Size 1234) (not .Off)}}yes{{end}}", "yes" },
		{ "a  {{- .Name -}}  b {{- /* no */ -}} c{{/* x }} y */}}d", "a/webbcd" },
		{ "{{`raw \\n`}} {{\"tab\\t.\"}}", "raw \\n tab\t." },
		{ "{{.Name}}\\t{{.Size}}\\n", "/web\t1234\n" },
		{ "{{.Config.Labels.nope}}", "<no value>" },
		{ "{{range .Config.Env}}{{if eq . \"A=1\"}}found{{end}}{{end}}", "found" },
		{ "{{.NetworkSettings.Ports}}", "map[22/tcp:[map[HostPort:49154]]]" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *got = render(cases[i][0]);
		if (strcmp(got, cases[i][1]))
			fail_msg("%s\n   gives %s\n   not   %s", cases[i][0], got, cases[i][1]);
	}
}

static void refuses(void **state)
{
	(void)state;
	static const char *const cases[][2] = {
		{ "{{.Nope}}", "map has no entry for key \"Nope\"" },
		{ "{{.Config.Labels.nope.deeper}}", "no entry" },
		{ "{{.Name.Deeper}}", "can't evaluate field" },
		{ "{{.State.Health.Status}}", "nil pointer" },
		{ "{{", "unclosed action" },
		{ "{{.Name", "unclosed action" },
		{ "{{if .Name}}x", "unexpected EOF" },
		{ "{{end}}", "unexpected {{end}}" },
		{ "{{else}}", "unexpected {{else}}" },
		{ "{{if .Name}}{{else}}{{else}}{{end}}", "expected end" },
		{ "{{nope .Name}}", "function \"nope\" not defined" },
		{ "{{\"open}}", "unclosed action" },
		{ "{{(.Name}}", "unclosed left paren" },
		{ "{{.Name | }}", "missing value" },
		{ "{{index .Names 9}}", "out of range" },
		{ "{{index .Size 1}}", "can't index" },
		{ "{{range .Size}}{{end}}", "can't iterate" },
		{ "{{len .Size}}", "error calling len" },
		{ "{{$nope}}", "undefined variable" },
		{ "{{template \"x\"}}", "not supported" },
		{ "{{define \"x\"}}{{end}}", "not supported" },
		{ "{{len}}", "wrong number of args" },
		{ "{{lt .Name 1}}", "incompatible types" },
		{ "{{/* open }}", "unclosed action" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *got = render(cases[i][0]);
		if (strncmp(got, "ERR: ", 5) || !strstr(got, cases[i][1]))
			fail_msg("%s\n   gives %s\n   not an error with %s", cases[i][0], got,
				 cases[i][1]);
	}
}

/* Depth and sizes are bounded whatever is written. */
static void bounds(void **state)
{
	(void)state;
	_cleanup_(sb_releasep) struct sb b = { 0 };
	for (int i = 0; i < 5000; i++)
		sb_add_c(&b, "{{if .Name}}");
	_cleanup_free_ char *deep = render(sb_c(&b));
	assert_non_null(strstr(deep, "too deeply nested"));
	sb_reset(&b);
	sb_add_c(&b, "{{");
	for (int i = 0; i < 5000; i++)
		sb_add_ch(&b, '(');
	sb_add_c(&b, "}}");
	_cleanup_free_ char *parens = render(sb_c(&b));
	assert_non_null(strstr(parens, "too deeply nested"));
	sb_reset(&b);
	sb_add_c(&b, "{{print");
	for (int i = 0; i < 100; i++)
		sb_add_c(&b, " 1");
	sb_add_c(&b, "}}");
	_cleanup_free_ char *many = render(sb_c(&b));
	assert_non_null(strstr(many, "too many arguments"));
}

static void tables(void **state)
{
	(void)state;
	struct str rest;
	assert_true(template_is_table(STR("table {{.ID}}"), &rest));
	assert_true(str_eq_c(rest, "{{.ID}}"));
	assert_true(template_is_table(STR("table\\t{{.ID}}"), &rest));
	assert_true(str_eq_c(rest, "{{.ID}}"));
	assert_true(template_is_table(STR("table"), &rest));
	assert_int_equal(rest.n, 0);
	assert_false(template_is_table(STR("tables {{.ID}}"), &rest));
	assert_false(template_is_table(STR("{{.ID}}"), &rest));
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(prints), cmocka_unit_test(refuses),
					    cmocka_unit_test(bounds), cmocka_unit_test(tables) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
