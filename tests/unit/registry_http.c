/* One exchange: bounds, redirects, failures, cancelling. Against a fake that misbehaves. */
#include <pthread.h>

#include "tests/unit/registry_fake.h"
#include "base/clock.h"
#include "registry/http.h"
#include "registry/retry.h"

static struct http *handle(const atomic_bool *cancel, unsigned stall_s)
{
	struct err *e = NULL;
	struct http *h =
		http_new(&(struct http_options){ .cancel = cancel, .stall_s = stall_s }, &e);
	if (!h) {
		printf("skipped: %s\n", e->msg);
		exit(77);
	}
	return h;
}

/* A GET with redirects; 0 or the error's code. */
static int get(struct http *h, const struct fake *f, const char *path, struct http_response *r,
	       struct err **e)
{
	_cleanup_free_ char *url = xasprintf("http://127.0.0.1:%d%s", f->port, path);
	struct http_request q = { .method = "GET",
				  .url = str_c(url),
				  .follow = true,
				  .max_body = 1000,
				  .authorization = "Secret S" };
	err_drop(e);
	return http_send(h, &q, r, e) < 0 ? (int)(*e)->code : 0;
}

static void test_answers(void **state)
{
	(void)state;
	struct fake f = fake_start(
		"'rules':[{'on':'/ok','status':200,'body':'hello','headers':{'X-A':'1'}},"
		"{'on':'/limit','status':200,'body':'"
		"0123456789012345678901234567890123456789"
		"'},"
		"{'on':'/later','status':429,'headers':{'Retry-After':'7'}},{'on':'/giant','status':200,'giant_header':1}]");
	struct http *h = handle(NULL, 0);
	struct http_response r = { 0 };
	struct err *e = NULL;
	assert_int_equal(get(h, &f, "/ok", &r, &e), 0);
	assert_int_equal(r.status, 200);
	assert_string_equal(sb_c(&r.body), "hello");
	assert_true(str_eq(http_header(&r, "x-a", 0), STR("1")));
	assert_null(http_header(&r, "x-a", 1).p);
	assert_int_equal(r.retry_after_s, -1);
	http_response_release(&r);
	assert_int_equal(get(h, &f, "/later", &r, &e), 0);
	assert_int_equal(r.status, 429);
	assert_int_equal(r.retry_after_s, 7);
	http_response_release(&r);
	/* One connection serves all of them. */
	assert_int_equal(http_connections(h), 1);
	_cleanup_free_ char *url = xasprintf("http://127.0.0.1:%d/limit", f.port);
	struct http_request q = { .method = "GET", .url = str_c(url), .max_body = 39 };
	assert_int_equal(http_send(h, &q, &r, &e), -1);
	assert_int_equal(e->code, ERR_LIMIT);
	err_drop(&e);
	q.max_body = 40;
	assert_int_equal(http_send(h, &q, &r, &e), 0);
	http_response_release(&r);
	http_free(h);
	fake_stop(&f);
}

static void test_giant_head(void **state)
{
	(void)state;
	struct fake f = fake_start(
		"'images':[{'name':'a'}],'rules':[{'on':'/v2/a/manifests','giant_header':60000,'times':1},"
		"{'on':'/v2/a/manifests','giant_header':80000}]");
	struct http *h = handle(NULL, 0);
	struct http_response r = { 0 };
	struct err *e = NULL;
	assert_int_equal(get(h, &f, "/v2/a/manifests/latest", &r, &e), 0);
	http_response_release(&r);
	assert_int_equal(get(h, &f, "/v2/a/manifests/latest", &r, &e), ERR_LIMIT);
	err_drop(&e);
	http_free(h);
	fake_stop(&f);
}

static void test_long_error_text(void **state)
{
	(void)state;
	_cleanup_free_ char *text = xcalloc(1, 90001);
	memset(text, 'x', 90000);
	_cleanup_free_ char *config =
		xasprintf("'rules':[{'on':'/long','status':500,'body':'%s'}]", text);
	struct fake f = fake_start(config);
	struct http *h = handle(NULL, 0);
	struct http_response r = { 0 };
	struct err *e = NULL;
	/* What is only shown is cut, not refused. */
	assert_int_equal(get(h, &f, "/long", &r, &e), 0);
	assert_int_equal(r.status, 500);
	assert_int_equal(r.body.n, 64 * 1024);
	http_response_release(&r);
	http_free(h);
	fake_stop(&f);
}

static void test_redirects(void **state)
{
	(void)state;
	struct fake f = fake_start(
		"'rules':[{'on':'/one','redirect':'/two'},{'on':'/two','redirect':'http://{storage}/three'},"
		"{'on':'/three','redirect':'http://{self}/end'},{'on':'/end','status':200,'body':'x'},"
		"{'on':'/loop','redirect':'/loop'},{'on':'/file','redirect':'file:///etc/passwd'},"
		"{'on':'/user','redirect':'http://u:p@127.0.0.1/'},{'on':'/none','status':302}]");
	struct http *h = handle(NULL, 0);
	struct http_response r = { 0 };
	struct err *e = NULL;
	assert_int_equal(get(h, &f, "/one", &r, &e), 0);
	assert_int_equal(r.status, 200);
	assert_true(r.foreign);
	http_response_release(&r);
	size_t n;
	_cleanup_free_ struct seen *v = fake_seen(&f, &n);
	assert_int_equal(n, 4);
	assert_string_equal(v[0].authorization, "Secret S");
	assert_string_equal(v[1].authorization, "Secret S");
	/* Another port is another origin; coming back does not bring it back. */
	assert_true(v[2].storage);
	assert_string_equal(v[2].authorization, "");
	assert_string_equal(v[3].authorization, "");
	assert_int_equal(get(h, &f, "/loop", &r, &e), ERR_LIMIT);
	assert_int_equal(fake_count(&f, "GET", "/loop"), 11);
	assert_int_equal(get(h, &f, "/file", &r, &e), ERR_INVALID);
	assert_int_equal(get(h, &f, "/user", &r, &e), ERR_INVALID);
	assert_int_equal(get(h, &f, "/none", &r, &e), ERR_INVALID);
	err_drop(&e);
	http_free(h);
	fake_stop(&f);
}

static int count_bytes(void *arg, const void *p, size_t n, struct err **err)
{
	(void)p, (void)err;
	*(size_t *)arg += n;
	return 0;
}

static void test_failures(void **state)
{
	(void)state;
	struct fake f = fake_start(
		"'images':[{'name':'a','layers':[300000]}],'rules':[{'on':'/close','close':true},"
		"{'on':'/cut','redirect':'/v2/a/manifests/latest'},{'on':'GET /v2/a/manifests','cut':20,'times':1},"
		"{'on':'GET /v2/a/manifests','stall':20}]");
	struct http *h = handle(NULL, 1);
	struct http_response r = { 0 };
	struct err *e = NULL;
	assert_int_equal(get(h, &f, "/close", &r, &e), ERR_NETWORK);
	assert_true(retry_error(e));
	assert_int_equal(http_failure(h), HTTP_FAIL_GARBLED);
	_cleanup_free_ char *url = xasprintf("http://127.0.0.1:%d/v2/a/manifests/latest", f.port);
	size_t got = 0;
	struct http_request q = {
		.method = "GET", .url = str_c(url), .data = count_bytes, .arg = &got
	};
	err_drop(&e);
	assert_int_equal(http_send(h, &q, &r, &e), -1);
	assert_int_equal(e->code, ERR_NETWORK);
	assert_int_equal(got, 20);
	err_drop(&e);
	int64_t before = clock_mono_ns();
	assert_int_equal(http_send(h, &q, &r, &e), -1);
	assert_int_equal(e->code, ERR_TIMEOUT);
	assert_true(clock_mono_ns() - before < INT64_C(10000000000));
	err_drop(&e);
	/* Nobody listens on the port of a fake that has gone. */
	fake_stop(&f);
	assert_int_equal(get(h, &f, "/", &r, &e), ERR_NETWORK);
	assert_int_equal(http_failure(h), HTTP_FAIL_REFUSED);
	assert_non_null(strstr(e->msg, "127.0.0.1"));
	err_drop(&e);
	http_free(h);
}

static atomic_bool cancel;

static void *cancel_soon(void *arg)
{
	usleep(200 * 1000);
	atomic_store(&cancel, true);
	return arg;
}

static void test_cancel(void **state)
{
	(void)state;
	struct fake f =
		fake_start("'images':[{'name':'a'}],'rules':[{'on':'manifests','stall':20}]");
	struct http *h = handle(&cancel, 0);
	struct http_response r = { 0 };
	struct err *e = NULL;
	pthread_t t;
	pthread_create(&t, NULL, cancel_soon, NULL);
	int64_t before = clock_mono_ns();
	assert_int_equal(get(h, &f, "/v2/a/manifests/latest", &r, &e), ERR_CANCELED);
	assert_true(clock_mono_ns() - before < INT64_C(9000000000));
	assert_int_equal(get(h, &f, "/", &r, &e), ERR_CANCELED);
	pthread_join(t, NULL);
	err_drop(&e);
	http_free(h);
	fake_stop(&f);
	atomic_store(&cancel, false);
}

static void test_private_addresses(void **state)
{
	(void)state;
	struct fake f = fake_start("'rules':[{'on':'/','status':200}]");
	struct http *h = handle(NULL, 0);
	struct http_response r = { 0 };
	struct err *e = NULL;
	_cleanup_free_ char *url = xasprintf("http://127.0.0.1:%d/", f.port);
	struct http_request q = { .method = "GET", .url = str_c(url), .public_only = true };
	assert_int_equal(http_send(h, &q, &r, &e), -1);
	assert_int_equal(e->code, ERR_DENIED);
	assert_non_null(strstr(e->msg, "private"));
	err_drop(&e);
	assert_int_equal(fake_count(&f, "", ""), 0);
	http_free(h);
	fake_stop(&f);
}

static void test_upload(void **state)
{
	(void)state;
	struct fake f = fake_start(
		"'rules':[{'on':'/put','status':201},{'on':'/early','status':413,'early':true,'headers':{'Connection':'close'}}]");
	struct http *h = handle(NULL, 0);
	struct http_response r = { 0 };
	struct err *e = NULL;
	_cleanup_free_ char *url = xasprintf("http://127.0.0.1:%d/put", f.port),
			    *early = xasprintf("http://127.0.0.1:%d/early", f.port);
	_cleanup_free_ char *data = xcalloc(1, 3 * 1024 * 1024);
	struct http_request q = {
		.method = "PUT", .url = str_c(url), .has_body = true, .body = { data, 2000 }
	};
	assert_int_equal(http_send(h, &q, &r, &e), 0);
	assert_int_equal(r.status, 201);
	http_response_release(&r);
	/* Above 1 MiB the peer is asked first, so what it says before the body is heard. */
	q.url = str_c(early);
	q.body.n = 3 * 1024 * 1024;
	assert_int_equal(http_send(h, &q, &r, &e), 0);
	assert_int_equal(r.status, 413);
	http_response_release(&r);
	http_free(h);
	fake_stop(&f);
}

static void test_retry(void **state)
{
	(void)state;
	struct err *e = NULL;
	struct retry r = { .unit_ms = 1 };
	for (int i = 0; i < 4; i++)
		assert_int_equal(retry_pause(&r, 0, -1, &e), 1);
	assert_int_equal(retry_pause(&r, 0, -1, &e), 0);
	/* New bytes do not count as a try, and enough of them set the count back. */
	r = (struct retry){ .unit_ms = 1 };
	for (int i = 0; i < 99; i++)
		assert_int_equal(retry_pause(&r, i % 4 ? 0 : 70000, -1, &e), 1);
	assert_int_equal(retry_pause(&r, 70000, -1, &e), 0); /* the hundredth request */
	r = (struct retry){ .unit_ms = 1 };
	assert_int_equal(retry_pause(&r, 0, 61, &e), 0);
	assert_int_equal(retry_pause(&r, 0, 0, &e), 1);
	atomic_store(&cancel, true);
	r = (struct retry){ .cancel = &cancel };
	assert_int_equal(retry_pause(&r, 0, 60, &e), -1);
	assert_int_equal(e->code, ERR_CANCELED);
	err_drop(&e);
	atomic_store(&cancel, false);
	assert_true(retry_status(429) && retry_status(503) && !retry_status(501) &&
		    !retry_status(404));
}

int main(void)
{
	fake_needs("python3");
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_giant_head),
		cmocka_unit_test(test_long_error_text),
		cmocka_unit_test(test_redirects),
		cmocka_unit_test(test_failures),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_private_addresses),
		cmocka_unit_test(test_upload),
		cmocka_unit_test(test_retry),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
