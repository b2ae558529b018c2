/*
 * The time to read a Dockerfile: a file of 100 lines, and 2 MB of such files in a row, in CPU time of this process.
 *
 *     bench_parse [--json] [N]        medians of N rounds (30)
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "parser/parse.h"

/* What people write: comments, long RUNs over many lines, COPY, ENV. 20 lines. */
static const char sample[] = "# The application, in two stages\n"
			     "ARG VERSION=1.2.3\n"
			     "FROM --platform=$BUILDPLATFORM debian:12-slim AS build\n"
			     "\n"
			     "ENV PATH=/usr/local/bin:$PATH LANG=C.UTF-8\n"
			     "# what the build needs\n"
			     "RUN apt-get update && apt-get install -y --no-install-recommends \\\n"
			     "        build-essential \\\n"
			     "        ca-certificates \\\n"
			     "        # for the tests\n"
			     "        python3 \\\n"
			     "    && rm -rf /var/lib/apt/lists/*\n"
			     "WORKDIR /src\n"
			     "COPY --chown=1000:1000 package.json package-lock.json ./\n"
			     "RUN --mount=type=cache,target=/root/.npm npm ci --omit=dev\n"
			     "COPY . .\n"
			     "LABEL org.opencontainers.image.title=\"shop\" version=${VERSION}\n"
			     "\n"
			     "EXPOSE 8080\n"
			     "ENTRYPOINT [\"/usr/local/bin/shop\", \"--listen\", \":8080\"]\n";

static double cpu_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int by_value(const void *x, const void *y)
{
	double a = *(const double *)x, b = *(const double *)y;
	return a < b ? -1 : a > b;
}

static double median_ms(struct str text, unsigned rounds)
{
	_cleanup_free_ double *ms = xreallocarray(NULL, rounds, sizeof(*ms));
	for (unsigned i = 0; i < rounds; i++) {
		_cleanup_(arena_freep) struct arena *a = arena_new();
		_cleanup_(err_dropp) struct err *e = NULL;
		struct df_file *f;
		double t = cpu_ms();
		if (df_parse(a, text, &f, NULL, &e) < 0) {
			fprintf(stderr, "bench_parse: %s\n", e->msg);
			exit(1);
		}
		ms[i] = cpu_ms() - t;
	}
	qsort(ms, rounds, sizeof(*ms), by_value);
	return ms[rounds / 2];
}

int main(int argc, char **argv)
{
	bool json = argc > 1 && strcmp(argv[1], "--json") == 0;
	int rounds = argc > 1 + json ? atoi(argv[1 + json]) : 30;
	_cleanup_(sb_releasep) struct sb small = { 0 }, big = { 0 };

	for (int i = 0; i < 5; i++)
		sb_add_c(&small, sample);
	while (big.n < 2000000)
		sb_add_c(&big, sample);
	double file = median_ms(sb_str(&small), (unsigned)(rounds > 0 ? rounds : 1));
	double rate =
		(double)big.n / 1e3 / median_ms(sb_str(&big), (unsigned)(rounds > 0 ? rounds : 1));
	printf(json ? "{\"parse_100_lines_ms\":%.3f,\"parse_mb_per_s\":%.1f}\n"
		    : "100 lines  %.3f ms\n2 MB       %.1f MB/s\n",
	       file, rate);
	return 0;
}
