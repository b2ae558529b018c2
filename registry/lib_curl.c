#define CURL_DISABLE_TYPECHECK
#include "registry/lib_curl.h"

#include <curl/curl.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>

#include "base/err.h"

#undef curl_easy_setopt
#undef curl_easy_getinfo

static struct {
	CURLcode (*global_init)(long);
	CURL *(*easy_init)(void);
	void (*easy_cleanup)(CURL *);
	void (*easy_reset)(CURL *);
	CURLcode (*easy_setopt)(CURL *, CURLoption, ...);
	CURLcode (*easy_getinfo)(CURL *, CURLINFO, ...);
	CURLcode (*easy_perform)(CURL *);
	const char *(*easy_strerror)(CURLcode);
	struct curl_slist *(*slist_append)(struct curl_slist *, const char *);
	void (*slist_free_all)(struct curl_slist *);
} f;

static const struct {
	const char *name;
	void *to;
} functions[] = {
	{ "curl_global_init", &f.global_init },   { "curl_easy_init", &f.easy_init },
	{ "curl_easy_cleanup", &f.easy_cleanup }, { "curl_easy_reset", &f.easy_reset },
	{ "curl_easy_setopt", &f.easy_setopt },   { "curl_easy_getinfo", &f.easy_getinfo },
	{ "curl_easy_perform", &f.easy_perform }, { "curl_easy_strerror", &f.easy_strerror },
	{ "curl_slist_append", &f.slist_append }, { "curl_slist_free_all", &f.slist_free_all },
};

static struct {
	pthread_once_t once;
	char *error; /* why it could not be opened; kept for the process */
} state = { .once = PTHREAD_ONCE_INIT };

static void load(void)
{
	void *lib = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);
	if (!lib) {
		state.error = xasprintf("open libcurl: %s", dlerror());
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(functions); i++) {
		void *at = dlsym(lib, functions[i].name);
		if (!at) {
			state.error = xasprintf("open libcurl: it is too old: no function %s",
						functions[i].name);
			return;
		}
		memcpy(functions[i].to, &at, sizeof(at));
	}
	if (f.global_init(CURL_GLOBAL_ALL) != CURLE_OK)
		state.error = xstrdup("open libcurl: it cannot start");
}

int registry_curl_load(struct err **err)
{
	pthread_once(&state.once, load);
	if (!state.error)
		return 0;
	err_set(err, ERR_UNSUPPORTED, "%s", state.error);
	return err_hint(err, "registries need the package libcurl4");
}

CURL *curl_easy_init(void)
{
	return f.easy_init();
}

void curl_easy_cleanup(CURL *h)
{
	f.easy_cleanup(h);
}

void curl_easy_reset(CURL *h)
{
	f.easy_reset(h);
}

/* The kind of an option's argument is in its number: the library reads it with va_arg the same way. */
CURLcode curl_easy_setopt(CURL *h, CURLoption option, ...)
{
	va_list ap;
	va_start(ap, option);
	CURLcode r;
	if (option < CURLOPTTYPE_OBJECTPOINT)
		r = f.easy_setopt(h, option, va_arg(ap, long));
	else if (option >= CURLOPTTYPE_OFF_T && option < CURLOPTTYPE_BLOB)
		r = f.easy_setopt(h, option, va_arg(ap, curl_off_t));
	else
		r = f.easy_setopt(h, option, va_arg(ap, void *));
	va_end(ap);
	return r;
}

CURLcode curl_easy_getinfo(CURL *h, CURLINFO info, ...)
{
	va_list ap;
	va_start(ap, info);
	CURLcode r = f.easy_getinfo(h, info, va_arg(ap, void *));
	va_end(ap);
	return r;
}

CURLcode curl_easy_perform(CURL *h)
{
	return f.easy_perform(h);
}

const char *curl_easy_strerror(CURLcode code)
{
	return f.easy_strerror(code);
}

struct curl_slist *curl_slist_append(struct curl_slist *list, const char *text)
{
	return f.slist_append(list, text);
}

void curl_slist_free_all(struct curl_slist *list)
{
	f.slist_free_all(list);
}
