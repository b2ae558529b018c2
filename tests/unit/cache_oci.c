#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "cache/oci.h"

#define HEX_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define HEX_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define CONFIG                                                                                     \
	"\"config\":{\"mediaType\":\"" OCI_CONFIG "\",\"digest\":\"sha256:" HEX_A "\",\"size\":7}"
#define LAYER "{\"mediaType\":\"" OCI_LAYER_GZIP "\",\"digest\":\"sha256:" HEX_B "\",\"size\":9}"

static struct arena *arena;

static int setup(void **state)
{
	(void)state;
	arena = arena_new();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	arena_free(arena);
	return 0;
}

static struct oci_platform platform(const char *text)
{
	struct err *err = NULL;
	struct oci_platform p,
		host = { .os = STR("linux"),
			 .arch = STR("amd64"),
			 .variant = STR(""),
			 .os_version = STR("") };
	if (oci_platform_parse(arena, str_c(text), &host, &p, &err) < 0)
		fail_msg("%s: %s", text, err->msg);
	return p;
}

static void platforms_are_normalised(void **state)
{
	(void)state;
	static const char *const table[][2] = {
		{ "linux/amd64", "linux/amd64" },
		{ "linux/x86_64", "linux/amd64" },
		{ "x86-64", "linux/amd64" },
		{ "aarch64", "linux/arm64" },
		{ "linux/arm64/v8", "linux/arm64" },
		{ "linux/arm64/8", "linux/arm64" },
		{ "i386", "linux/386" },
		{ "linux/i586", "linux/386" },
		{ "i686", "linux/386" },
		{ "linux/x86", "linux/386" },
		{ "armhf", "linux/arm/v7" },
		{ "armel", "linux/arm/v6" },
		{ "arm", "linux/arm/v7" },
		{ "linux/arm", "linux/arm/v7" },
		{ "linux/arm/8", "linux/arm/v8" },
		{ "linux/arm/v6", "linux/arm/v6" },
		{ "linux/amd64/v1", "linux/amd64" },
		{ "linux/amd64/v3", "linux/amd64/v3" },
		{ "linux", "linux/amd64" },
		{ "macos/arm64", "darwin/arm64" },
		{ "Linux/ARM64", "linux/arm64" },
		{ "windows(10.0.17763)/amd64", "windows/amd64" },
		{ "s390x", "linux/s390x" },
		{ "linux/made-up", "linux/made-up" },
		{ "arm64/v8.1", "arm64/v8.1" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct oci_platform p = platform(table[i][0]);
		assert_string_equal(oci_platform_text(arena, &p).p, table[i][1]);
	}
	struct oci_platform w = platform("windows(10.0.17763)/amd64");
	assert_string_equal(w.os_version.p, "10.0.17763");
}

static void bad_platforms(void **state)
{
	(void)state;
	static const char *const texts[][2] = {
		{ "", "invalid component" },
		{ "linux/", "invalid component" },
		{ "/amd64", "invalid component" },
		{ "a/b/c/d", "cannot parse" },
		{ "lin ux/amd64", "invalid component" },
		{ "*", "cannot parse" },
		{ "foobar", "\"foobar\": unknown operating system or architecture" },
		{ "linux/amd64\n", "invalid component" },
		{ "windows(1;2)/amd64", "invalid component" },
		{ "windows(/amd64", "invalid component" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		_cleanup_(err_dropp) struct err *err = NULL;
		struct oci_platform p, host = oci_platform_host();
		assert_int_equal(oci_platform_parse(arena, str_c(texts[i][0]), &host, &p, &err),
				 -1);
		assert_int_equal(err->code, ERR_INVALID);
		if (!strstr(err->msg, texts[i][1]))
			fail_msg("%s: %s", texts[i][0], err->msg);
	}
}

static int rank(const char *want, const char *have)
{
	struct oci_platform w = platform(want), h = platform(have);
	return oci_platform_rank(&w, &h);
}

/* Each list in its order of preference: ranks rise, and what is not in it has none. */
static void preferences(const char *want, const char *const *list)
{
	for (int i = 0; list[i]; i++)
		if (rank(want, list[i]) != i)
			fail_msg("%s wants %s at %d, not %d", want, list[i], i,
				 rank(want, list[i]));
}

static void platform_ranks(void **state)
{
	(void)state;
	preferences("linux/amd64", (const char *[]){ "linux/amd64", "linux/386", NULL });
	preferences("linux/amd64/v3",
		    (const char *[]){ "linux/amd64/v3", "linux/amd64/v2", "linux/amd64",
				      "linux/386", NULL });
	preferences("linux/arm/v7",
		    (const char *[]){ "linux/arm/v7", "linux/arm/v6", "linux/arm/v5", NULL });
	preferences("linux/arm64",
		    (const char *[]){ "linux/arm64", "linux/arm/v8", "linux/arm/v7", "linux/arm/v6",
				      "linux/arm/v5", NULL });
	preferences("linux/arm64/v8.1",
		    (const char *[]){ "linux/arm64/v8.1", "linux/arm64", "linux/arm/v8", NULL });
	preferences("linux/arm64/v9.1",
		    (const char *[]){ "linux/arm64/v9.1", "linux/arm64/v9", "linux/arm64/v8.6",
				      "linux/arm64/v8.5", "linux/arm64/v8.4", "linux/arm64/v8.3",
				      "linux/arm64/v8.2", "linux/arm64/v8.1", "linux/arm64",
				      "linux/arm/v8", NULL });
	assert_int_equal(rank("linux/amd64", "linux/amd64/v2"), -1);
	assert_int_equal(rank("linux/amd64", "linux/arm64"), -1);
	assert_int_equal(rank("linux/amd64", "windows/amd64"), -1);
	assert_int_equal(rank("linux/arm/v6", "linux/arm/v7"), -1);
	assert_int_equal(rank("linux/386", "linux/amd64"), -1);
	assert_int_equal(rank("linux/s390x", "linux/s390x"), 0);
	assert_int_equal(rank("linux/arm64", "linux/arm64/v9"), -1);
	assert_int_equal(rank("linux/arm/v7", "linux/arm64"), -1);
	assert_int_equal(rank("windows(10.0.17763)/amd64", "windows(10.0.17763.99)/amd64"), 0);
	assert_int_equal(rank("windows(10.0.17763)/amd64", "windows(10.0.20348)/amd64"), -1);
	/* Attestations in an index are unknown/unknown. */
	assert_int_equal(rank("linux/amd64", "unknown/unknown"), -1);
	struct oci_platform host = oci_platform_host();
	assert_int_equal(oci_platform_rank(&host, &host), 0);
}

static void manifest_and_index(void **state)
{
	(void)state;
	struct err *err = NULL;
	struct oci_manifest m;
	struct str text = STR("{\"schemaVersion\":2,\"mediaType\":\"" OCI_MANIFEST "\"," CONFIG
			      ",\"layers\":[" LAYER "," LAYER "],"
			      "\"annotations\":{\"b\":\"2\",\"a\":\"1\"}}");
	assert_int_equal(
		oci_manifest_parse(arena, text, STR(OCI_MANIFEST "; charset=utf-8"), &m, &err), 0);
	assert_false(m.is_index);
	assert_string_equal(m.media_type.p, OCI_MANIFEST);
	assert_int_equal(m.n_entries, 2);
	assert_int_equal(m.config.size, 7);
	assert_int_equal(m.entries[1].size, 9);
	assert_int_equal(m.entries[1].digest.b[0], 0xbb);
	_cleanup_(sb_releasep) struct sb b = { 0 };
	oci_manifest_print(&m, &b);
	assert_string_equal(sb_c(&b),
			    "{\"schemaVersion\":2,\"mediaType\":\"" OCI_MANIFEST "\"," CONFIG
			    ",\"layers\":[" LAYER "," LAYER "],"
			    "\"annotations\":{\"a\":\"1\",\"b\":\"2\"}}");

	text = STR(
		"{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"" OCI_MANIFEST
		"\",\"digest\":\"sha256:" HEX_A "\",\"size\":1,"
		"\"annotations\":null,\"platform\":{\"architecture\":\"arm\",\"os\":\"linux\",\"variant\":\"v7\",\"os.features\":null}}]}");
	assert_int_equal(oci_manifest_parse(arena, text, STR("application/json"), &m, &err), 0);
	assert_true(m.is_index);
	assert_string_equal(m.media_type.p, OCI_INDEX);
	assert_string_equal(m.entries[0].platform.variant.p, "v7");
	sb_reset(&b);
	oci_manifest_print(&m, &b);
	assert_string_equal(sb_c(&b),
			    "{\"schemaVersion\":2,\"mediaType\":\"" OCI_INDEX
			    "\",\"manifests\":[{\"mediaType\":\"" OCI_MANIFEST
			    "\",\"digest\":\"sha256:" HEX_A
			    "\",\"size\":1,\"platform\":{\"architecture\":\"arm\",\"os\":\"linux\","
			    "\"variant\":\"v7\"}}]}");
	/* Without mediaType the Content-Type says which it is. */
	text = STR("{\"schemaVersion\":2," CONFIG ",\"layers\":[]}");
	assert_int_equal(oci_manifest_parse(arena, text, STR(DOCKER_MANIFEST), &m, &err), 0);
	assert_string_equal(m.media_type.p, DOCKER_MANIFEST);
}

static void refused_manifests(void **state)
{
	(void)state;
	static const struct {
		const char *json, *type, *says;
		enum err_code code;
	} table[] = {
		{ "{", "", "not valid JSON", ERR_INVALID },
		{ "[]", "", "not a JSON object", ERR_INVALID },
		{ "{\"schemaVersion\":1,\"fsLayers\":[]}", "", "schema 1", ERR_UNSUPPORTED },
		{ "{\"schemaVersion\":2," CONFIG ",\"layers\":[]}",
		  "application/vnd.docker.distribution.manifest.v1+prettyjws", "schema 1",
		  ERR_UNSUPPORTED },
		{ "{\"schemaVersion\":2," CONFIG ",\"layers\":[]}",
		  "application/vnd.docker.distribution.manifest.v1+json", "schema 1",
		  ERR_UNSUPPORTED },
		{ "{\"schemaVersion\":2,\"fsLayers\":[],\"manifests\":[]}", "", "schema 1",
		  ERR_UNSUPPORTED },
		{ "{\"schemaVersion\":2,\"manifests\":[],\"layers\":[]}", "", "both", ERR_INVALID },
		{ "{\"schemaVersion\":2,\"manifests\":[]," CONFIG "}", "", "both", ERR_INVALID },
		{ "{\"schemaVersion\":2}", "", "neither", ERR_INVALID },
		{ "{" CONFIG ",\"layers\":[]}", "", "schemaVersion", ERR_INVALID },
		{ "{\"schemaVersion\":2,\"mediaType\":\"" OCI_INDEX "\"," CONFIG ",\"layers\":[]}",
		  "", "does not fit", ERR_INVALID },
		{ "{\"schemaVersion\":2,\"mediaType\":\"" OCI_MANIFEST "\"," CONFIG
		  ",\"layers\":[]}",
		  DOCKER_MANIFEST, "but says", ERR_INVALID },
		{ "{\"schemaVersion\":2,\"manifests\":[]}", OCI_MANIFEST, "does not fit",
		  ERR_INVALID },
		{ "{\"schemaVersion\":2,\"mediaType\":\"x/y\",\"manifests\":[]}", "", "media type",
		  ERR_UNSUPPORTED },
		{ "{\"schemaVersion\":2,\"layers\":[]}", "", "config", ERR_INVALID },
		{ "{\"schemaVersion\":2," CONFIG ",\"layers\":{}}", "", "layers", ERR_INVALID },
		{ "{\"schemaVersion\":2," CONFIG ",\"layers\":[1]}", "", "layers", ERR_INVALID },
		{ "{\"schemaVersion\":2," CONFIG
		  ",\"layers\":[{\"mediaType\":\"a\",\"digest\":\"sha256:" HEX_A
		  "\",\"size\":-1}]}",
		  "", "size", ERR_INVALID },
		{ "{\"schemaVersion\":2," CONFIG
		  ",\"layers\":[{\"mediaType\":\"a\",\"digest\":\"sha256:../../x\",\"size\":1}]}",
		  "", "sha256", ERR_INVALID },
		{ "{\"schemaVersion\":2," CONFIG ",\"layers\":[],\"layers\":[]}", "",
		  "not valid JSON", ERR_INVALID },
	};
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		_cleanup_(err_dropp) struct err *err = NULL;
		struct oci_manifest m;
		if (oci_manifest_parse(arena, str_c(table[i].json), str_c(table[i].type), &m,
				       &err) == 0)
			fail_msg("taken: %s", table[i].json);
		if (err->code != table[i].code || !strstr(err->msg, table[i].says))
			fail_msg("%s: %d %s", table[i].json, err->code, err->msg);
	}
}

static void manifest_limits(void **state)
{
	(void)state;
	_cleanup_(err_dropp) struct err *err = NULL;
	_cleanup_(sb_releasep) struct sb b = { 0 };
	struct oci_manifest m;
	sb_add_c(&b, "{\"schemaVersion\":2,\"manifests\":[");
	for (int i = 0; i < 4097; i++)
		sb_printf(&b, "%s" LAYER, i ? "," : "");
	sb_add_c(&b, "]}");
	assert_int_equal(oci_manifest_parse(arena, sb_str(&b), STR(""), &m, &err), -1);
	assert_int_equal(err->code, ERR_LIMIT);
	err_drop(&err);
	sb_reset(&b);
	sb_add_c(&b, "{\"schemaVersion\":2,\"manifests\":[],\"x\":\"");
	while (b.n <= 4 * 1024 * 1024)
		sb_add_c(&b, "xxxxxxxxxxxxxxxx");
	sb_add_c(&b, "\"}");
	assert_int_equal(oci_manifest_parse(arena, sb_str(&b), STR(""), &m, &err), -1);
	assert_int_equal(err->code, ERR_LIMIT);
}

static const char whole[] =
	"{\"created\":\"2024-05-01T10:20:30.5Z\",\"author\":\"me\",\"architecture\":\"arm64\",\"variant\":\"v8\",\"os\":\"linux\",\"config\":{"
	"\"User\":\"1:2\",\"ExposedPorts\":{\"443/tcp\":{},\"80/tcp\":{}},\"Env\":[\"PATH=/bin\",\"A=b=c\"],\"Entrypoint\":[\"/e\"],"
	"\"Cmd\":[\"a\",\"b\"],\"Volumes\":{\"/v\":{}},\"WorkingDir\":\"/w\",\"Labels\":{\"a\":\"1\",\"b\":\"\"},\"StopSignal\":\"SIGINT\","
	"\"ArgsEscaped\":true,\"OnBuild\":[\"RUN x\"],\"Shell\":[\"/bin/bash\",\"-c\"],\"Healthcheck\":{\"Test\":[\"CMD\",\"t\"],"
	"\"Interval\":1000000000,\"Timeout\":2,\"StartPeriod\":3,\"StartInterval\":4,\"Retries\":5},\"Hostname\":\"h\"},"
	"\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:" HEX_A "\",\"sha256:" HEX_B
	"\"]},\"history\":["
	"{\"created\":\"2024-05-01T10:20:30Z\",\"created_by\":\"ADD x\",\"author\":\"you\",\"comment\":\"c\"},"
	"{\"created_by\":\"CMD\",\"empty_layer\":true}],\"x.new\":{\"z\":1,\"a\":[null]}}";

static void image_round_trip(void **state)
{
	(void)state;
	struct err *err = NULL;
	struct oci_image i;
	assert_int_equal(oci_image_parse(arena, str_c(whole), &i, &err), 0);
	assert_int_equal(i.n_diff_ids, 2);
	assert_int_equal(i.n_history, 2);
	assert_int_equal(i.created_ns, INT64_C(1714558830500000000));
	assert_int_equal(i.history[1].created_ns, INT64_MIN);
	assert_true(i.history[1].empty_layer);
	assert_string_equal(i.config.env.v[1].p, "A=b=c");
	assert_int_equal(i.config.healthcheck->interval_ns, 1000000000);
	assert_string_equal(i.config.exposed_ports.v[1].p, "80/tcp");
	_cleanup_(sb_releasep) struct sb b = { 0 };
	assert_int_equal(oci_image_print(&i, &b, &err), 0);
	assert_string_equal(sb_c(&b), whole);
}

static void image_nulls_and_old_forms(void **state)
{
	(void)state;
	struct err *err = NULL;
	struct oci_image i;
	struct str text = STR(
		"{\"architecture\":\"amd64\",\"os\":\"linux\",\"created\":null,\"author\":null,\"config\":{\"User\":null,"
		"\"Env\":null,\"Cmd\":\"one\",\"Entrypoint\":null,\"ExposedPorts\":null,\"Labels\":null,\"Healthcheck\":null,"
		"\"Image\":\"sha256:x\"},\"rootfs\":null,\"history\":null,\"container_config\":{\"Cmd\":[\"old\"]},"
		"\"moby.buildkit.cache.v0\":\"AAAA\",\"docker_version\":\"20\"}");
	assert_int_equal(oci_image_parse(arena, text, &i, &err), 0);
	assert_int_equal(i.created_ns, INT64_MIN);
	assert_false(i.config.env.set);
	assert_int_equal(i.config.cmd.n, 1);
	assert_string_equal(i.config.cmd.v[0].p, "one");
	_cleanup_(sb_releasep) struct sb b = { 0 };
	assert_int_equal(oci_image_print(&i, &b, &err), 0);
	assert_string_equal(
		sb_c(&b),
		"{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"Cmd\":[\"one\"]},"
		"\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[]},\"docker_version\":\"20\"}");
	/* An empty list is known to be there, but not printed, as Go's omitempty. */
	text = STR("{\"config\":{\"Entrypoint\":[]},\"created\":\"0001-01-01T00:00:00Z\"}");
	assert_int_equal(oci_image_parse(arena, text, &i, &err), 0);
	assert_true(i.config.entrypoint.set);
	assert_int_equal(i.config.entrypoint.n, 0);
	assert_int_equal(i.created_ns, INT64_MIN);
}

static void image_printed_sorted_and_clean(void **state)
{
	(void)state;
	struct err *err = NULL;
	struct oci_annotation labels[] = { { STR("z"), STR("1") },
					   { STR("a\xff"), STR("\xfe") },
					   { STR("z"), STR("2") } };
	struct str ports[] = { STR("80/tcp"), STR("443/tcp") };
	struct oci_image i = { .platform = oci_platform_host(), .created_ns = 0 };
	i.config.labels = labels;
	i.config.n_labels = 3;
	i.config.exposed_ports = (struct oci_list){ .v = ports, .n = 2, .set = true };
	_cleanup_(sb_releasep) struct sb b = { 0 };
	assert_int_equal(oci_image_print(&i, &b, &err), 0);
	assert_non_null(strstr(sb_c(&b), "{\"created\":\"1970-01-01T00:00:00Z\""));
	assert_non_null(strstr(sb_c(&b), "\"ExposedPorts\":{\"443/tcp\":{},\"80/tcp\":{}}"));
	assert_non_null(
		strstr(sb_c(&b), "\"Labels\":{\"a\xef\xbf\xbd\":\"\xef\xbf\xbd\",\"z\":\"2\"}"));
}

static void refused_images(void **state)
{
	(void)state;
	static const char *const table[][2] = {
		{ "[]", "not a JSON object" },
		{ "{\"config\":[]}", "config" },
		{ "{\"config\":{\"Env\":\"A=b\"}}", "Env" },
		{ "{\"config\":{\"Env\":[1]}}", "Env" },
		{ "{\"config\":{\"Env\":[\"A=b\\u0000c\"]}}", "NUL" },
		{ "{\"config\":{\"User\":\"a\\u0000b\"}}", "NUL" },
		{ "{\"config\":{\"User\":1}}", "User" },
		{ "{\"config\":{\"Labels\":{\"a\":1}}}", "Labels" },
		{ "{\"config\":{\"Volumes\":[\"/v\"]}}", "Volumes" },
		{ "{\"config\":{\"Healthcheck\":{\"Interval\":\"3s\"}}}", "Interval" },
		{ "{\"rootfs\":{\"type\":\"other\"}}", "rootfs" },
		{ "{\"rootfs\":{\"diff_ids\":[\"sha256:zz\"]}}", "diff_ids" },
		{ "{\"history\":[1]}", "history" },
		{ "{\"history\":[{\"created\":\"yesterday\"}]}", "RFC 3339" },
		{ "{\"created\":7}", "created" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		_cleanup_(err_dropp) struct err *err = NULL;
		struct oci_image image;
		if (oci_image_parse(arena, str_c(table[i][0]), &image, &err) == 0)
			fail_msg("taken: %s", table[i][0]);
		if (!strstr(err->msg, table[i][1]))
			fail_msg("%s: %s", table[i][0], err->msg);
	}
}

static void chain_ids(void **state)
{
	(void)state;
	struct err *err = NULL;
	struct digest d[3], want;
	for (size_t i = 0; i < 3; i++)
		memset(d[i].b, (int)(0xaa + 0x11 * i), 32);
	struct digest one = oci_chain_id(d, 1), three = oci_chain_id(d, 3);
	assert_true(digest_eq(&one, &d[0]));
	char text[200];
	want = digest_of("sha256:" HEX_A " sha256:" HEX_B, 143);
	char hex[DIGEST_TEXT];
	int n = snprintf(
		text, sizeof(text),
		"%s sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc",
		digest_text(&want, hex));
	want = digest_of(text, (size_t)n);
	assert_true(digest_eq(&three, &want));
	assert_null(err);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(platforms_are_normalised),
		cmocka_unit_test(bad_platforms),
		cmocka_unit_test(platform_ranks),
		cmocka_unit_test(manifest_and_index),
		cmocka_unit_test(refused_manifests),
		cmocka_unit_test(manifest_limits),
		cmocka_unit_test(image_round_trip),
		cmocka_unit_test(image_nulls_and_old_forms),
		cmocka_unit_test(image_printed_sorted_and_clean),
		cmocka_unit_test(refused_images),
		cmocka_unit_test(chain_ids),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
