/* Requests with authentication and repetition, against a fake that misbehaves. */
#include <pthread.h>

#include "tests/unit/registry_fake.h"
#include "cache/oci.h"
#include "registry/auth.h"
#include "registry/client.h"
#include "registry/session.h"

static struct fake fake;
static struct registry *session;
static struct http *http;
static struct host *host;
static struct client_manifest m;
static struct err *e;
static atomic_bool cancel;

static void begin(const char *config)
{
	fake = fake_start(config);
	session = registry_new_with(&(struct registry_options){ .cancel = &cancel },
				    &(struct hosts_options){ .config = "/nonexistent" }, 1, 20);
	if (registry_http_take(session, &http, &e) < 0) {
		printf("skipped: %s\n", e->msg);
		exit(77);
	}
	assert_int_equal(hosts_get(session->hosts, str_c(fake.host), &host, &e), 0);
}

static void end(void)
{
	client_manifest_release(&m);
	memset(&m, 0, sizeof(m));
	err_drop(&e);
	registry_http_give(session, http);
	registry_free(session);
	fake_stop(&fake);
}

/* GET of a/b:1; 0 or the error's code. */
static int get(void)
{
	err_drop(&e);
	client_manifest_release(&m);
	memset(&m, 0, sizeof(m));
	return client_manifest_get(session, http, host, STR("a/b"), STR("1"), NULL, &m, &e) < 0
		? (int)e->code
		: 0;
}

#define IMAGE "'images':[{'name':'a/b','tag':'1'}]"

static void test_plain(void **state)
{
	(void)state;
	begin(IMAGE);
	assert_int_equal(get(), 0);
	assert_true(str_eq_c(sb_str(&m.media_type), OCI_MANIFEST));
	struct digest d;
	bool known;
	assert_int_equal(
		client_manifest_head(session, http, host, STR("a/b"), STR("1"), &known, &d, &e), 0);
	assert_true(known && digest_eq(&d, &m.digest));
	assert_int_equal(
		client_manifest_get(session, http, host, STR("a/b"), STR("2"), NULL, &m, &e), -1);
	assert_int_equal(e->code, ERR_NOT_FOUND);
	assert_int_equal(e->status, 404);
	assert_non_null(strstr(e->msg, "MANIFEST_UNKNOWN"));
	end();
}

static void test_wrong_digest(void **state)
{
	(void)state;
	begin(IMAGE
	      ",'rules':[{'on':'GET','corrupt':true,'times':1},{'on':'GET','encoding':'gzip','times':1},"
	      "{'on':'GET','digest':'sha512:00','times':1},{'on':'GET','content_type':'application/json; charset=utf-8'}]");
	assert_int_equal(get(), ERR_INTEGRITY);
	assert_non_null(strstr(e->msg, "sha256:"));
	assert_int_equal(get(), ERR_INVALID); /* an encoding that was not asked for */
	assert_int_equal(get(), 0);           /* a digest of another algorithm says nothing */
	assert_int_equal(get(), 0);
	assert_int_equal(m.media_type.n, 0);
	struct digest other = digest_of("x", 1);
	client_manifest_release(&m);
	assert_int_equal(
		client_manifest_get(session, http, host, STR("a/b"), STR("1"), &other, &m, &e), -1);
	assert_int_equal(e->code, ERR_INTEGRITY);
	memset(&m, 0, sizeof(m));
	end();
}

static void test_limits(void **state)
{
	(void)state;
	begin(IMAGE
	      ",'rules':[{'on':'GET','extra':50000000,'times':1},{'on':'GET','redirect':'/v2/a/b/manifests/1','times':20}]");
	assert_int_equal(get(), ERR_LIMIT);
	assert_int_equal(get(), ERR_LIMIT);
	end();
}

static void test_repetition(void **state)
{
	(void)state;
	begin(IMAGE
	      ",'rules':[{'on':'GET','status':500,'times':1},{'on':'GET','close':true,'times':1},"
	      "{'on':'GET','status':429,'headers':{'Retry-After':'0'},'times':1},{'on':'GET','status':503,'times':1}]");
	assert_int_equal(get(), 0);
	assert_int_equal(fake_count(&fake, "GET", "manifests"), 5);
	end();
	begin(IMAGE ",'rules':[{'on':'GET','status':503,'times':100}]");
	assert_int_equal(get(), ERR_NETWORK);
	assert_int_equal(e->status, 503);
	assert_non_null(
		strstr(e->msg,
		       "told \\x1b[31mso")); /* no control character of theirs reaches a terminal */
	assert_int_equal(fake_count(&fake, "GET", "manifests"), 5);
	end();
	begin(IMAGE
	      ",'rules':[{'on':'GET','status':429,'headers':{'Retry-After':'86400','RateLimit-Limit':'100;w=21600'}}]");
	assert_int_equal(get(), ERR_LIMIT);
	assert_int_equal(fake_count(&fake, "GET", "manifests"), 1);
	assert_non_null(strstr(e->hint, "100;w=21600"));
	end();
	begin(IMAGE ",'rules':[{'on':'GET','status':403}]");
	assert_int_equal(get(), ERR_DENIED);
	assert_int_equal(fake_count(&fake, "GET", "manifests"), 1);
	end();
}

static void test_nobody_there(void **state)
{
	(void)state;
	begin(IMAGE);
	fake_stop(&fake);
	assert_int_equal(get(), ERR_NETWORK);
	assert_non_null(strstr(e->msg, "127.0.0.1"));
	fake = fake_start("");
	end();
}

/* Our settings and the user's must not meet. */
static void no_credentials(void)
{
	setenv("DOCKER_CONFIG", "/nonexistent", 1);
	setenv("XDG_RUNTIME_DIR", "/nonexistent", 1);
	setenv("XDG_CONFIG_HOME", "/nonexistent", 1);
	unsetenv("REGISTRY_AUTH_FILE");
	unsetenv("DOCKER_AUTH_CONFIG");
}

static void credentials(const char *user_pass_base64, const char *more)
{
	_cleanup_free_ char *json = xasprintf("{\"auths\":{\"%s\":{\"auth\":\"%s\"%s}}}", fake.host,
					      user_pass_base64, more);
	setenv("DOCKER_AUTH_CONFIG", json, 1);
}

static void test_bearer(void **state)
{
	(void)state;
	static const char *const forms[] = { "'bearer':true",
					     "'bearer':true,'access_token':true",
					     "'bearer':true,'extra_challenge':true",
					     "'bearer':true,'no_challenge':true",
					     "'bearer':true,'token_status':[500,429]",
					     "'bearer':true,'expires_in':3600" };
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		_cleanup_free_ char *config = xasprintf(IMAGE ",'auth':{%s}", forms[i]);
		begin(config);
		assert_int_equal(get(), 0);
		assert_int_equal(get(), 0);
		assert_int_equal(auth_fetches(session->auth), 1);
		/* bare, token, with the token; then with the token at once */
		size_t n;
		_cleanup_free_ struct seen *v = fake_seen(&fake, &n);
		assert_string_equal(v[0].authorization, "");
		assert_true(str_starts(str_c(v[n - 1].authorization), STR("Bearer token")));
		assert_true(str_starts(str_c(v[n - 2].authorization), STR("Bearer token")));
		for (size_t k = 0; k < n; k++)
			if (strstr(v[k].path, "/token"))
				assert_string_equal(
					v[k].path,
					"/token?own=1&service=fake&scope=repository:a/b:pull");
		end();
	}
}

static void test_token_expires(void **state)
{
	(void)state;
	begin(IMAGE ",'auth':{'bearer':true,'uses':2}");
	for (int i = 0; i < 7; i++)
		assert_int_equal(get(), 0);
	assert_int_equal(auth_fetches(session->auth), 4);
	end();
	/* A token that nothing was ever accepted with is not fetched again. */
	begin(IMAGE ",'auth':{'bearer':true,'refuse':true}");
	assert_int_equal(get(), ERR_AUTH);
	assert_non_null(strstr(e->msg, "authentication required or access denied"));
	assert_int_equal(auth_fetches(session->auth), 1);
	end();
}

static void test_credentials(void **state)
{
	(void)state;
	begin(IMAGE ",'auth':{'bearer':true,'user':'u:p'}");
	assert_int_equal(get(), ERR_AUTH);
	assert_non_null(strstr(e->hint, "login"));
	end();
	begin(IMAGE ",'auth':{'bearer':true,'user':'u:p'}");
	credentials("dTpw", "");
	assert_int_equal(get(), 0);
	end();
	begin(IMAGE ",'auth':{'bearer':true,'user':'u:p'}");
	credentials("dTp4", "");
	assert_int_equal(get(), ERR_AUTH);
	assert_non_null(
		strstr(e->msg, "$DOCKER_AUTH_CONFIG")); /* where the refused ones came from */
	assert_null(strstr(e->msg, "u:x"));
	end();
	/* An identity token goes by POST; a server without that form gets it as a password. */
	begin(IMAGE ",'auth':{'bearer':true,'identity':'ID'}");
	credentials("", ",\"identitytoken\":\"ID\"");
	assert_int_equal(get(), 0);
	assert_int_equal(fake_count(&fake, "POST", "/token"), 1);
	end();
	begin(IMAGE ",'auth':{'bearer':true,'user':'00000000-0000-0000-0000-000000000000:ID'}");
	credentials("", ",\"identitytoken\":\"ID\"");
	assert_int_equal(get(), 0);
	assert_int_equal(fake_count(&fake, "POST", "/token"), 1);
	assert_int_equal(fake_count(&fake, "GET", "/token"), 1);
	end();
	no_credentials();
}

static void test_basic(void **state)
{
	(void)state;
	begin(IMAGE ",'auth':{'basic':'u:p'}");
	assert_int_equal(get(), ERR_AUTH);
	assert_int_equal(fake_count(&fake, "GET", "manifests"), 1);
	end();
	begin(IMAGE ",'auth':{'basic':'u:p'}");
	credentials("dTpw", "");
	assert_int_equal(get(), 0);
	assert_int_equal(get(), 0);
	assert_int_equal(fake_count(&fake, "GET", "manifests"), 3);
	end();
	begin(IMAGE ",'auth':{'basic':'u:q'}");
	credentials("dTpw", "");
	assert_int_equal(get(), ERR_AUTH);
	assert_int_equal(fake_count(&fake, "GET", "manifests"), 2);
	end();
	no_credentials();
}

static void test_realm_is_checked(void **state)
{
	(void)state;
	begin(IMAGE ",'auth':{'bearer':true,'realm':'file:///etc/passwd'}");
	assert_int_equal(get(), ERR_INVALID);
	end();
	/* Credentials do not go over plain http to another machine. */
	begin(IMAGE ",'auth':{'bearer':true,'realm':'http://192.0.2.1/token'}");
	credentials("dTpw", "");
	assert_int_equal(get(), ERR_DENIED);
	end();
	no_credentials();
}

static void test_redirect_keeps_token_home(void **state)
{
	(void)state;
	begin(IMAGE
	      ",'auth':{'bearer':true},'rules':[{'on':'GET /v2/a/b/manifests/1','skip':1,'redirect':'http://{storage}/v2/a/b/manifests/x'},"
	      "{'on':'manifests/x','status':401,'headers':{'WWW-Authenticate':'Bearer realm=\\\"http://{storage}/steal\\\"'}}]");
	assert_int_equal(get(), ERR_AUTH);
	size_t n;
	unsigned at_storage = 0;
	_cleanup_free_ struct seen *v = fake_seen(&fake, &n);
	for (size_t i = 0; i < n; i++) {
		at_storage += v[i].storage;
		assert_true(!v[i].storage || !*v[i].authorization);
	}
	/* Asked once more from the registry's URL; the storage's realm is nobody's business. */
	assert_int_equal(at_storage, 2);
	assert_int_equal(fake_count(&fake, "", "/steal"), 0);
	end();
}

/* ---- single flight */

static void *get_from_thread(void *arg)
{
	struct http *h = NULL;
	struct err *error = NULL;
	struct client_manifest got = { 0 };
	bool ok = !registry_http_take(session, &h, &error) &&
		!client_manifest_get(session, h, host, STR("a/b"), STR("1"), NULL, &got, &error);
	registry_http_give(session, h);
	client_manifest_release(&got);
	err_drop(&error);
	return ok ? arg : NULL;
}

static void test_single_flight(void **state)
{
	(void)state;
	begin(IMAGE ",'auth':{'bearer':true,'token_sleep':0.2}");
	pthread_t t[12];
	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		pthread_create(&t[i], NULL, get_from_thread, session);
	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		void *ok;
		pthread_join(t[i], &ok);
		assert_ptr_equal(ok, session);
	}
	assert_int_equal(auth_fetches(session->auth), 1);
	assert_int_equal(fake_count(&fake, "", "/token"), 1);
	end();
	/* All learn of one failure. */
	begin(IMAGE ",'auth':{'bearer':true,'token_sleep':0.2,'user':'u:p'}");
	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		pthread_create(&t[i], NULL, get_from_thread, session);
	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		void *ok;
		pthread_join(t[i], &ok);
		assert_null(ok);
	}
	end();
}

/* ---- TLS on loopback */

static void test_tls(void **state)
{
	(void)state;
	_cleanup_free_ char *prefix = xasprintf("/tmp/registry_client.%d", getpid()),
			    *settings = xasprintf("%s.json", prefix);
	if (!fake_certificate(prefix))
		return;
	_cleanup_free_ char *config =
		xasprintf(IMAGE ",'tls':'%s.pem','auth':{'bearer':true}", prefix);
	begin(config);
	/* Plain http is tried on loopback, then TLS, whose certificate nobody knows. */
	assert_int_equal(get(), ERR_DENIED);
	assert_non_null(strstr(e->hint, "certs.d"));
	registry_free(session);
	http_free(http);
	err_drop(&e);
	fake_settings(prefix, fake.host);
	session = registry_new_with(&(struct registry_options){ 0 },
				    &(struct hosts_options){ .config = settings }, 1, 20);
	assert_int_equal(registry_http_take(session, &http, &e), 0);
	assert_int_equal(hosts_get(session->hosts, str_c(fake.host), &host, &e), 0);
	/* The certificate is good; but the token server of a TLS registry must not be one of plain http. */
	assert_int_equal(get(), ERR_DENIED);
	assert_non_null(strstr(e->msg, "plain http is not accepted"));
	end();
	fake_certificate_remove(prefix);
}

static void test_offline(void **state)
{
	(void)state;
	struct registry *r =
		registry_new_with(&(struct registry_options){ .offline = true }, NULL, 1, 1);
	struct http *h = NULL;
	struct err *error = NULL;
	assert_int_equal(registry_http_take(r, &h, &error), -1);
	assert_non_null(strstr(error->msg, "offline"));
	err_drop(&error);
	registry_free(r);
}

int main(void)
{
	fake_needs("python3");
	no_credentials();
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_wrong_digest),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_repetition),
		cmocka_unit_test(test_nobody_there),
		cmocka_unit_test(test_bearer),
		cmocka_unit_test(test_token_expires),
		cmocka_unit_test(test_credentials),
		cmocka_unit_test(test_basic),
		cmocka_unit_test(test_realm_is_checked),
		cmocka_unit_test(test_redirect_keeps_token_home),
		cmocka_unit_test(test_single_flight),
		cmocka_unit_test(test_tls),
		cmocka_unit_test(test_offline),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
