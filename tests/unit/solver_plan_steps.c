/* Dockerfile in, steps and errors out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/solver_plan_cases.h"

static void describe_run(struct arena *a, const struct plan_step *s, struct sb *out)
{
	struct str argv = config_text_quoted(a, s->argv, s->n_argv);
	sb_printf(out, "   %.*s cwd=%.*s user=%.*s net=%d host=%.*s\n   env", STR_ARG(argv),
		  STR_ARG(s->cwd), STR_ARG(s->user), s->network, STR_ARG(s->hostname));
	for (size_t i = 0; i < s->n_env; i++)
		sb_printf(out, " %.*s=%.*s", STR_ARG(s->env[i].name), STR_ARG(s->env[i].value));
	for (size_t i = 0; i < s->n_proxies; i++)
		sb_printf(out, " (%.*s=%.*s)", STR_ARG(s->proxies[i].name),
			  STR_ARG(s->proxies[i].value));
	sb_add_ch(out, '\n');
	for (size_t i = 0; i < s->n_files; i++)
		sb_printf(out, "   file %.*s: %.*s\n", STR_ARG(s->files[i].name),
			  STR_ARG(s->files[i].content));
}

static void describe_copy(const struct plan_step *s, struct sb *out)
{
	for (size_t i = 0; i < s->n_sources; i++)
		sb_printf(out, "   %u:%.*s\n", s->sources[i].from->index,
			  STR_ARG(s->sources[i].path));
	for (size_t i = 0; i < s->n_inline_files; i++)
		sb_printf(out, "   file %.*s: %.*s\n", STR_ARG(s->inline_files[i].name),
			  STR_ARG(s->inline_files[i].content));
	sb_printf(out, "   to %.*s", STR_ARG(s->dest));
	if (s->chown.p)
		sb_printf(out, " chown=%.*s", STR_ARG(s->chown));
	if (s->chmod.p)
		sb_printf(out, " chmod=%.*s", STR_ARG(s->chmod));
	sb_printf(out, " unpack=%d\n", s->unpack);
}

static void describe_steps(struct arena *a, const struct plan *p, const struct df_lint *lint,
			   struct sb *out)
{
	(void)lint;
	for (size_t i = 0; i < p->n_steps; i++) {
		const struct plan_step *s = p->steps[i];
		assert_int_equal(s->index, i);
		sb_printf(out, "%u", s->index);
		if (s->parent)
			sb_printf(out, "<%u", s->parent->index);
		sb_printf(out, " %.*s\n", STR_ARG(s->display));
		if (s->kind == PLAN_RUN)
			describe_run(a, s, out);
		else if (s->kind == PLAN_COPY)
			describe_copy(s, out);
		else if (s->kind == PLAN_WORKDIR)
			sb_printf(out, "   %.*s owner=%.*s\n", STR_ARG(s->path), STR_ARG(s->owner));
	}
	sb_printf(out, "= %u\n", p->target->index);
}

static const struct plan_case cases[] = {
	{ .name = "RUN",
	  .text = "FROM b\nWORKDIR w//x\nUSER u\nENV A=1\nARG C=3\nENV B=2 A=4\nrun  echo $A '$Q'\n",
	  .args = "Http_Proxy=p no_proxy=",
	  .want = "0 [1/3] FROM docker.io/library/b:latest\n1<0 [2/3] WORKDIR w//x\n   /w/x owner=\n2<1 [3/3] RUN  echo 4 '$Q'\n"
		  "   [\"/bin/sh\" \"-c\" \"echo $A '$Q'\"] cwd=/w/x user=u net=0 host=buildkitsandbox\n"
		  "   env PATH=/bin X=1 C=3 B=2 A=4 (HTTP_PROXY=p) (http_proxy=p)\n= 2\n" },
	{ .name = "RUN scripts",
	  .text = "FROM scratch\nRUN <<-S\n\t#!/x\n\ty\n\tS\n",
	  .args = "BUILDKIT_SANDBOX_HOSTNAME=h",
	  .want = "0 \n1<0 [1/1] RUN <<-S (#!/x...)\n   [\"/bin/sh\" \"-c\" \"/dev/pipes/S\"] cwd=/ user= net=0 host=h\n   env PATH=" P
		  "\n   file S: #!/x\ny\n\n= 1\n" },
	{ .name = "RUN --network",
	  .text = "FROM scratch\nRUN --network=none a\nRUN --network=host b\nRUN c\n",
	  .network = PLAN_NET_HOST,
	  .want = "0 \n1<0 [1/3] RUN --network=none a\n   [\"/bin/sh\" \"-c\" \"a\"] cwd=/ user= net=1 host=buildkitsandbox\n   env PATH=" P
		  "\n"
		  "2<1 [2/3] RUN --network=host b\n   [\"/bin/sh\" \"-c\" \"b\"] cwd=/ user= net=2 host=buildkitsandbox\n   env PATH=" P
		  "\n"
		  "3<2 [3/3] RUN c\n   [\"/bin/sh\" \"-c\" \"c\"] cwd=/ user= net=2 host=buildkitsandbox\n   env PATH=" P
		  "\n= 3\n" },
	{ .name = "COPY",
	  .text = "FROM b AS x\nFROM b\nWORKDIR /w\nENV e=\nCOPY --from=X ../a /b c/\nCOPY --chown=$X --chmod=64$X a $e\nCOPY d .\nADD --unpack=false $e /q/.\n"
		  "COPY --from=img f g\nCOPY <<E <<'F' /h\n$X \\$X\nE\n$X\nF\n",
	  .want = "0 FROM docker.io/library/img:latest\n1 [x 1/1] FROM docker.io/library/b:latest\n2<1 [stage-1 2/8] WORKDIR /w\n   /w owner=\n"
		  "3<2 [stage-1 3/8] COPY --from=X ../a /b c/\n   1:/a\n   1:/b\n   to /w/c/ unpack=0\n4 [internal] load build context\n"
		  "5<3 [stage-1 4/8] COPY --chown=1 --chmod=641 a \n   4:/a\n   to /w/ chown=1 chmod=641 unpack=0\n"
		  "6<5 [stage-1 5/8] COPY d .\n   4:/d\n   to /w/ unpack=0\n7<6 [stage-1 6/8] ADD --unpack=false  /q/.\n   4:/\n   to /q/. unpack=0\n"
		  "8<7 [stage-1 7/8] COPY --from=img f g\n   0:/f\n   to /w/g unpack=0\n"
		  "9<8 [stage-1 8/8] COPY <<E <<F /h\n   file E: 1 $X\n\n   file F: $X\n\n   to /h unpack=0\n= 9\n" },
	{ .name = "only what the target needs",
	  .text = "FROM b AS dead\nRUN x\nFROM b AS side\nRUN y\nFROM scratch\nCOPY --from=side /a /\nRUN z\n"
		  "FROM dead\n",
	  .target = "side",
	  .want = "0 [side 1/2] FROM docker.io/library/b:latest\n1<0 [side 2/2] RUN y\n"
		  "   [\"/bin/sh\" \"-c\" \"y\"] cwd=/ user= net=0 host=buildkitsandbox\n   env PATH=/bin X=1\n= 1\n" },
	{ .name = "unreached stages may hold what fails",
	  .text = "FROM b AS a\nFROM b AS dead\nSTOPSIGNAL zork\nRUN --mount=type=tmp false\nCOPY http://x /\n",
	  .target = "a",
	  .want = "0 [a 1/1] FROM docker.io/library/b:latest\n= 0\n" },
	{ .name = "index and name",
	  .text = "FROM scratch AS s\nWORKDIR /s\nFROM scratch\nCOPY --from=0 a a\nCOPY --from=+00 b b\n",
	  .want = "0 \n1<0 [s 1/1] WORKDIR /s\n   /s owner=\n2<0 [stage-1 1/2] COPY --from=0 a a\n   1:/a\n   to /a unpack=0\n"
		  "3<2 [stage-1 2/2] COPY --from=+00 b b\n   1:/b\n   to /b unpack=0\n= 3\n" },
	{ .name = "FROM means the nearest above, COPY the last of the file",
	  .text = "FROM b AS d\nWORKDIR /1\nFROM b AS d\nWORKDIR /2\nFROM d\nCOPY --from=d x y\n",
	  .want = "0 [d 1/2] FROM docker.io/library/b:latest\n1<0 [d 2/2] WORKDIR /2\n   /2 owner=\n2<1 [stage-2 1/1] COPY --from=d x y\n"
		  "   1:/x\n   to /2/y unpack=0\n= 2\n" },
	{ .name = "a stage called scratch",
	  .text = "FROM b AS scratch\nWORKDIR /s\nFROM scratch\n",
	  .want = "0 [scratch 1/2] FROM docker.io/library/b:latest\n1<0 [scratch 2/2] WORKDIR /s\n   /s owner=\n= 1\n" },
	{ .name = "triggers in progress names",
	  .text = "FROM triggers\n",
	  .want = "0 FROM docker.io/library/from:latest\n1 [1/3] FROM docker.io/library/triggers:latest\n"
		  "2<1 [2/3] ONBUILD COPY --from=from a /b\n   0:/a\n   to /b unpack=0\n= 2\n" },
	{ .name = "named contexts: a folder, an image, a stage's place",
	  .text = "FROM alpine AS gen\nRUN x\nFROM b\nCOPY --from=gen f /f\nCOPY --from=dir g /g\n",
	  .contexts = "gen=/folder b=docker-image://arm:latest docker.io/library/dir=/other",
	  .want = "0 [context docker.io/library/dir] load from client\n1 [context gen] load from client\n"
		  "2 [stage-1 1/3] FROM docker.io/library/arm:latest\n3<2 [stage-1 2/3] COPY --from=gen f /f\n   1:/f\n   to /f unpack=0\n"
		  "4<3 [stage-1 3/3] COPY --from=dir g /g\n   0:/g\n   to /g unpack=0\n= 4\n" },
	{ .name = "a context for another platform is not taken",
	  .text = "FROM b\n",
	  .contexts = "b::linux/arm64=docker-image://arm",
	  .want = "0 [1/1] FROM docker.io/library/b:latest\n= 0\n" },

	{ .name = "no stage",
	  .text = "ARG a\n",
	  .want = "! 0-0 dockerfile contains no stages to build\n" },
	{ .name = "global ARG",
	  .text = "ARG a=${b:?need}\nFROM b\n",
	  .want = "! 1-1 failed to process \"${b:?need}\": b: need\n" },
	{ .name = "an unused default does not fail",
	  .text = "ARG a=${b:?need}\nFROM b\n",
	  .args = "a=1",
	  .want = "0 [1/1] FROM docker.io/library/b:latest\n= 0\n" },
	{ .name = "blank base",
	  .text = "FROM b\nFROM ${x}\n",
	  .want = "! 2-2 base name (${x}) should not be blank\n" },
	{ .name = "upper case",
	  .text = "FROM b AS Build\nFROM Build\n",
	  .want = "! 2-2 failed to parse stage name \"Build\": invalid reference format: repository name (library/Build) must be lowercase\n" },
	{ .name = "stage name as context",
	  .text = "FROM b AS build-\n",
	  .want = "! 1-1 invalid context name build-: invalid reference format\n" },
	{ .name = "platform",
	  .text = "FROM --platform=$BUILDPLATFRM b\n",
	  .want = "! 1-1 empty platform value from expression $BUILDPLATFRM (did you mean BUILDPLATFORM?)\n" },
	{ .name = "target",
	  .text = "FROM b AS build\n",
	  .target = "bulid",
	  .want = "! 0-0 target stage \"bulid\" could not be found (did you mean build?)\n" },
	{ .name = "no numeric target",
	  .text = "FROM b AS build\n",
	  .target = "0",
	  .want = "! 0-0 target stage \"0\" could not be found\n" },
	{ .name = "--from is not expanded",
	  .text = "FROM b\nFROM b\nCOPY --from=$x a b\n",
	  .want = "! 0-0 variable expansion is not supported for --from, define a new stage with FROM using ARG from global scope as a "
		  "workaround\n" },
	{ .name = "index",
	  .text = "FROM b\nCOPY --from=7 a b\n",
	  .want = "! 0-0 invalid stage index 7\n" },
	{ .name = "negative index",
	  .text = "FROM b\nCOPY --from=-1 a b\n",
	  .want = "! 0-0 invalid stage index -1\n" },
	{ .name = "cycle",
	  .text = "FROM b AS x\nCOPY --from=z f /\nFROM b AS y\nCOPY --from=x f /\nFROM b AS z\nCOPY --from=y f /\n",
	  .want = "! 2-6 circular dependency detected on stage: x\n" },
	{ .name = "own stage, not reached",
	  .text = "FROM b\nFROM b AS dead\nRUN --mount=from=dead x\n",
	  .target = "",
	  .want = "! 3-3 circular dependency detected on stage: dead\n" },
	{ .name = "later stage",
	  .text = "FROM b AS x\nCOPY --from=y f /\nFROM b AS y\n",
	  .target = "x",
	  .want = "! 2-2 cannot copy from stage \"y\", it needs to be defined before current stage \"x\"\n" },
	{ .name = "later stage of an unnamed one",
	  .text = "FROM b\nRUN --mount=from=y,target=/m x\nFROM b AS y\nFROM b\nCOPY --from=0 . .\n",
	  .want = "! 2-2 cannot mount from stage \"y\" to \"/m\", stage needs to be defined before current command\n" },
	{ .name = "references in file order, wherever they are",
	  .text = "FROM b AS dead\nCOPY --from=BAD a b\nFROM Bad2\nFROM b\n",
	  .want = "! 2-2 failed to parse stage name \"BAD\": invalid reference format: repository name (library/BAD) must be lowercase\n" },
	{ .name = "URL",
	  .text = "FROM b\nCOPY https://x/y /\n",
	  .want = "! 2-2 source can't be a URL for COPY\n" },
	{ .name = "git",
	  .text = "FROM b\nCOPY x@y:z /\n",
	  .want = "! 2-2 source can't be a git ref for COPY\n" },
	{ .name = "chmod",
	  .text = "FROM b\nCOPY --chmod=64a x /\n",
	  .want = "! 2-2 invalid chmod parameter: '64a'. it should be octal string and between 0 and 07777\n" },
	{ .name = "octal chmod too great",
	  .text = "FROM b\nCOPY --chmod=10000 x /\n",
	  .want = "! 2-2 invalid chmod parameter: '10000'. it should be octal string and between 0 and 07777\n" },
	{ .name = "symbolic chmod",
	  .text = "FROM b\nCOPY --chmod=u+q x /\n",
	  .want = "! 2-2 invalid syntax\n" },
	{ .name = "checksum",
	  .text = "FROM b\nADD --checksum=sha256:0 x /\n",
	  .want = "! 2-2 checksum requires HTTP(S) or Git sources\n" },
	{ .name = "signal",
	  .text = "FROM b\nSTOPSIGNAL sigfoo\n",
	  .want = "! 2-2 invalid signal: sigfoo\n" },
	{ .name = "volume",
	  .text = "FROM b\nVOLUME $x\n",
	  .want = "! 2-2 VOLUME specified can not be an empty string\n" },
	{ .name = "proto",
	  .text = "FROM b\nEXPOSE 80/foo\n",
	  .want = "! 2-2 invalid port: \"80/foo\": invalid proto: foo\n" },
	{ .name = "no port",
	  .text = "FROM b\nEXPOSE /tcp\n",
	  .want = "! 2-2 invalid port: \"/tcp\": no port specified\n" },
	{ .name = "host port",
	  .text = "FROM b\nEXPOSE foo:80\n",
	  .want = "! 2-2 invalid hostPort: foo\n" },
	{ .name = "container port",
	  .text = "FROM b\nEXPOSE 65536\n",
	  .want = "! 2-2 invalid containerPort: 65536\n" },
	{ .name = "ip",
	  .text = "FROM b\nEXPOSE x:1:80\n",
	  .want = "! 2-2 invalid IP address: x\n" },
	{ .name = "ranges",
	  .text = "FROM b\nEXPOSE 1-2:80-82\n",
	  .want = "! 2-2 invalid ranges specified for container and host Ports: 80-82 and 1-2\n" },
	{ .name = "trigger",
	  .text = "FROM b\nFROM broken AS x\n",
	  .want = "! 2-2 unknown instruction: FOO (did you mean FROM?)\n" },
	{ .name = "RUN []",
	  .text = "FROM b\nRUN []\n",
	  .want = "! 0-0 failed to marshal LLB definition: arguments are required\n" },
	{ .name = "RUN [] elsewhere",
	  .text = "FROM b AS x\nRUN []\nFROM b\n",
	  .want = "0 [stage-1 1/1] FROM docker.io/library/b:latest\n= 0\n" },
	{ .name = "host network",
	  .text = "FROM b\nRUN --network=host x\n",
	  .want = "! 2-2 network.host is not allowed\n" },
	{ .name = "epoch",
	  .text = "ARG SOURCE_DATE_EPOCH=soon\nFROM b\n",
	  .want = "! 0-0 invalid SOURCE_DATE_EPOCH: soon\n" },
	{ .name = "epoch that is no name either",
	  .text = "ARG SOURCE_DATE_EPOCH=SO!ON\nFROM b\n",
	  .want = "! 0-0 invalid SOURCE_DATE_EPOCH: SO!ON\n" },
	{ .name = "epoch of a stage",
	  .text = "ARG SOURCE_DATE_EPOCH=Src\nFROM scratch AS src\nADD a /\n",
	  .want = "! 2-2 SOURCE_DATE_EPOCH stage source must be a single HTTP(S) or Git ADD\n" },
	{ .name = "not yet: mounts",
	  .text = "FROM b\nRUN a\nRUN --mount=type=tmpfs,target=/t x\n",
	  .want = "! 3-3 not supported yet: RUN --mount=type=tmpfs\n" },
	{ .name = "not yet, and not needed",
	  .text = "FROM b AS x\nRUN --mount=type=cache,target=/t x\nFROM b\n",
	  .want = "0 [stage-1 1/1] FROM docker.io/library/b:latest\n= 0\n" },
	{ .name = "not yet: URL",
	  .text = "FROM b\nADD https://h/x /\n",
	  .want = "! 2-2 not supported yet: ADD of a URL\n" },
	{ .name = "another front end",
	  .text = "#syntax=devthefuture/dockerfile-x:1 x\nINCLUDE y\n",
	  .want = "! 1-1 the front end 'devthefuture/dockerfile-x:1' of \"# syntax=\" cannot be used: "
		  "docker/dockerfile is built in\n" },
	{ .name = "ours from a mirror",
	  .text = "# syntax=mirror.example/docker/dockerfile:1.9-labs\nFROM scratch\n",
	  .want = "0 \n= 0\n" },
	{ .name = "front end of a build arg",
	  .text = "FROM scratch\n",
	  .args = "BUILDKIT_SYNTAX=x/y",
	  .want = "! 0-0 the front end 'x/y' of \"# syntax=\" cannot be used: docker/dockerfile is built in\n" },
	{ .name = "lint as error",
	  .text = "# check=error=true\nFROM b\nCMD x\nENV a b\n",
	  .want = "! 0-0 lint violation found for rules: JSONArgsRecommended, LegacyKeyValueFormat\n" },
	{ .name = "check options come before what does not parse",
	  .text = "# check=foo\nFRM b\n",
	  .want = "! 0-0 failed to parse check options: invalid check option \"foo\"\n" },
};

static void steps(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		check_case(&cases[i], describe_steps);
}

/* A plan's memory is bounded: values that double would fill any machine. */
static void growth_is_bounded(void **state)
{
	(void)state;
	_cleanup_(sb_releasep) struct sb text = { 0 };
	_cleanup_(arena_freep) struct arena *a = arena_new();
	_cleanup_(err_dropp) struct err *e = NULL;
	struct df_lint lint = { .a = a };
	struct plan *p;
	sb_add_c(&text, "FROM scratch\nENV a=0123456789abcdef\n");
	for (int i = 0; i < 60; i++)
		sb_add_c(&text, "ENV a=$a$a\n");
	struct plan_case c = { .text = sb_c(&text) };
	assert_int_equal(plan_of(a, &c, &lint, &p, &e), -1);
	assert_int_equal(e->code, ERR_LIMIT);
}

/* The kernel would take another path or argument than the one that was written. */
static void nul_bytes_are_refused(void **state)
{
	(void)state;
	static const struct str texts[] = {
		STR("FROM scratch\nRUN a\0b\n"),          STR("FROM scratch\nCOPY a\0b /\n"),
		STR("FROM scratch\nCOPY a b\0c/\n"),      STR("FROM scratch\nWORKDIR /a\0b\n"),
		STR("FROM scratch\nENV a=x\0y\nRUN z\n"),
	};
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		_cleanup_(arena_freep) struct arena *a = arena_new();
		_cleanup_(err_dropp) struct err *e = NULL;
		struct df_lint lint = { .a = a };
		struct plan_options o = solver_dump_options();
		struct df_file *file;
		struct plan *plan;
		o.check_only = false;
		assert_int_equal(solver_parse(a, texts[i], &o, &lint, &file, &e), 0);
		assert_int_equal(solver_plan_assumed(a, file, &o, &plan, &e), -1);
		assert_string_equal(e->msg, "an argument, a variable or a path holds a NUL byte");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(steps),
					    cmocka_unit_test(growth_is_bounded),
					    cmocka_unit_test(nul_bytes_are_refused) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
