/* Dockerfile in, config and history out: one line a case's `want`. Bases: docker.io/library/b has PATH, X=1, Cmd [sh]. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/solver_plan_cases.h"

static const struct plan_case cases[] = {
	{ .name = "scratch alone", .text = "FROM scratch\n", .want = "env PATH=" P "\ndir /\n" },
	{ .name = "base alone", .text = "FROM b\n", .want = "env PATH=/bin X=1\ncmd [\"sh\"]\n" },
	{ .name = "ENV sees the variables before it, ARG those beside it",
	  .text = "FROM b\nENV a=1\nENV a=2 b=$a\nARG x=1\nARG x=2 y=$x\n",
	  .want = "env PATH=/bin X=1 a=2 b=1\ncmd [\"sh\"]\n- ENV a=1\n- ENV a=2 b=1\n- ARG x=1\n- ARG x=2 y=2\n" },
	{ .name = "ARG after ENV wins in RUN, not in the image",
	  .text = "FROM b\nENV v=env\nARG v=arg\nRUN a\nENV v=env2\nRUN b\n",
	  .want = "env PATH=/bin X=1 v=env2\ncmd [\"sh\"]\n- ENV v=env\n- ARG v=arg\n* RUN |1 v=arg /bin/sh -c a # buildkit\n"
		  "- ENV v=env2\n* RUN |1 v=env2 /bin/sh -c b # buildkit\n" },
	{ .name = "unset is not empty",
	  .text = "FROM b\nARG v\nARG w=\nRUN [\"a\",\"b c\"]\nLABEL l=${v-unset}${w-unset}\n",
	  .want = "env PATH=/bin X=1\ncmd [\"sh\"]\nlabel l=unset\n- ARG v\n- ARG w=\n* RUN |2 v= w= a b c # buildkit\n- LABEL l=unset\n" },
	{ .name = "a global ARG must be declared again",
	  .text = "ARG a=1\nARG b=$a\nFROM b\nARG a=2\nARG b\nRUN x\n",
	  .want = "env PATH=/bin X=1\ncmd [\"sh\"]\n- ARG a=2\n- ARG b=1\n* RUN |2 a=2 b=1 /bin/sh -c x # buildkit\n" },
	{ .name = "build args win everywhere",
	  .text = "ARG a=1\nARG b=$a\nFROM b\nARG a=2\nARG b\n",
	  .args = "a=9",
	  .want = "env PATH=/bin X=1\ncmd [\"sh\"]\n- ARG a=9\n- ARG b=9\n" },
	{ .name = "repeated ARG: first place, last value",
	  .text = "FROM b\nARG f=1\nARG g=2\nARG f=3\nRUN x\n",
	  .want = "env PATH=/bin X=1\ncmd [\"sh\"]\n- ARG f=1\n- ARG g=2\n- ARG f=3\n* RUN |2 f=3 g=2 /bin/sh -c x # buildkit\n" },
	{ .name = "a child stage assigns config Env again over inherited ARGs",
	  .text = "FROM b AS p\nENV v=env\nARG v=arg\nFROM p\nRUN x\n",
	  .want = "env PATH=/bin X=1 v=env\ncmd [\"sh\"]\n- ENV v=env\n- ARG v=arg\n* RUN |1 v=env /bin/sh -c x # buildkit\n" },
	{ .name = "proxies are nowhere unless declared",
	  .text = "FROM b\nRUN x\n",
	  .args = "http_proxy=P",
	  .want = "env PATH=/bin X=1\ncmd [\"sh\"]\n* RUN /bin/sh -c x # buildkit\n" },
	{ .name = "platform args",
	  .text = "FROM b\nARG TARGETPLATFORM\nARG TARGETARCH=x BUILDOS TARGETVARIANT TARGETSTAGE\n",
	  .want = "env PATH=/bin X=1\ncmd [\"sh\"]\n- ARG TARGETPLATFORM=linux/amd64\n"
		  "- ARG TARGETARCH=x BUILDOS=linux TARGETVARIANT= TARGETSTAGE=default\n" },
	{ .name = "keys expand too, ARG's do not",
	  .text = "FROM b\nENV n=K\nLABEL $n=v\nARG $n=z\n",
	  .want = "env PATH=/bin X=1 n=K\ncmd [\"sh\"]\nlabel K=v\n- ENV n=K\n- LABEL K=v\n- ARG $n=z\n" },
	{ .name = "ENTRYPOINT drops an inherited CMD",
	  .text = "FROM b\nENTRYPOINT [\"e\"]\n",
	  .want = "env PATH=/bin X=1\nentrypoint [\"e\"]\n- ENTRYPOINT [\"e\"]\n" },
	{ .name = "ENTRYPOINT keeps a CMD of its stage",
	  .text = "FROM b\nCMD a\nENTRYPOINT e\n",
	  .want = "env PATH=/bin X=1\nentrypoint [\"/bin/sh\" \"-c\" \"e\"]\ncmd [\"/bin/sh\" \"-c\" \"a\"]\nargsescaped\n"
		  "- CMD [\"/bin/sh\" \"-c\" \"a\"]\n- ENTRYPOINT [\"/bin/sh\" \"-c\" \"e\"]\n" },
	{ .name = "CMD of the parent stage counts as inherited",
	  .text = "FROM scratch AS p\nCMD [\"a\"]\nFROM p\nENTRYPOINT [\"e\"]\n",
	  .want = "env PATH=" P
		  "\ndir /\nentrypoint [\"e\"]\nargsescaped\n- CMD [\"a\"]\n- ENTRYPOINT [\"e\"]\n" },
	{ .name = "empty forms",
	  .text = "FROM b\nCMD []\nCMD\nSHELL [\"/x\", \"-y\"]\nCMD\nRUN\n",
	  .want = "env PATH=/bin X=1\ncmd [\"/x\" \"-y\" \"\"]\nargsescaped\nshell [\"/x\" \"-y\"]\n- CMD []\n"
		  "- CMD [\"/bin/sh\" \"-c\" \"\"]\n- SHELL [/x -y]\n- CMD [\"/x\" \"-y\" \"\"]\n* RUN /x -y  # buildkit\n" },
	{ .name = "WORKDIR forms",
	  .text = "FROM b\nWORKDIR $unset\nWORKDIR a/../b\nWORKDIR /x//y/../z/\nWORKDIR b\nWORKDIR /\nWORKDIR //\n",
	  .want = "env PATH=/bin X=1\ndir //\ncmd [\"sh\"]\n- WORKDIR /\n* WORKDIR /b\n* WORKDIR /x//y/../z/\n* WORKDIR /x/z/b\n"
		  "- WORKDIR /\n* WORKDIR //\n" },
	{ .name = "metadata",
	  .text = "FROM b\nUSER $X:2\nVOLUME [\"/c d\"]\nVOLUME /v /w\nSTOPSIGNAL rtmax-1\nMAINTAINER M \"$X\"\nHEALTHCHECK --interval=90s CMD x $X\n"
		  "LABEL \"c d\"='e f'\nEXPOSE 90/udp 80 100-102\n",
	  .want = "author M \"$X\"\nenv PATH=/bin X=1\ncmd [\"sh\"]\nuser 1:2\nstopsignal rtmax-1\nlabel c d=e f\nvolume /c d\nvolume /v\n"
		  "volume /w\nport 100/tcp\nport 101/tcp\nport 102/tcp\nport 80/tcp\nport 90/udp\nhealth [\"CMD-SHELL\" \"x $X\"]\n"
		  "- USER 1:2\n- VOLUME [/c d]\n- VOLUME [/v /w]\n- STOPSIGNAL rtmax-1\n- MAINTAINER M \"$X\"\n"
		  "- HEALTHCHECK {Test:[CMD-SHELL x $X] Interval:1m30s Timeout:0s StartPeriod:0s StartInterval:0s Retries:0}\n"
		  "- LABEL c d=e f\n- EXPOSE [100/tcp 101/tcp 102/tcp 80/tcp 90/udp]\n" },
	{ .name = "EXPOSE sorts what is written, then expands and splits",
	  .text = "FROM b\nENV P=\"90/udp 80\"\nEXPOSE $P 100-102\nEXPOSE $none\nEXPOSE 80${u:-81} +080/ 1/UDP\n",
	  .want = "env PATH=/bin X=1 P=90/udp 80\ncmd [\"sh\"]\nport 90/udp\nport 80/tcp\nport 100/tcp\nport 101/tcp\nport 102/tcp\n"
		  "port 1/udp\nport 81/tcp\n- ENV P=90/udp 80\n- EXPOSE [90/udp 80/tcp 100/tcp 101/tcp 102/tcp]\n- EXPOSE []\n"
		  "- EXPOSE [80/tcp 1/udp 81/tcp]\n" },
	{ .name = "COPY in history",
	  .text = "FROM b AS x\nFROM b\nENV d=/t e=\nCOPY --link=false --from=x --chown=1 a b\nCOPY --chmod=u+x $d a $d/\nCOPY a $e\n"
		  "ADD --chown=$e a.tar .\nCOPY <<E f /z/\nq\nE\n",
	  .want = "env PATH=/bin X=1 d=/t e=\ncmd [\"sh\"]\n- ENV d=/t e=\n* COPY --chown=1 a b # buildkit\n"
		  "* COPY --chmod=u+x /t a /t/ # buildkit\n* COPY a  # buildkit\n* ADD a.tar . # buildkit\n* COPY f <<E /z/ # buildkit\n" },
	{ .name = "RUN heredocs in history",
	  .text = "FROM b\nRUN <<E\na $X\n\tb\nE\nRUN <<-E\n\ta\n\tE\nRUN <<E\n#!/x\ny\nE\nRUN <<-E cat > /o\n\thi\nE\n",
	  .want = "env PATH=/bin X=1\ncmd [\"sh\"]\n* RUN /bin/sh -c a $X\n\tb\n # buildkit\n* RUN /bin/sh -c a\n # buildkit\n"
		  "* RUN /bin/sh -c /dev/pipes/E # buildkit\n* RUN /bin/sh -c <<-E cat > /o\n\thi\nE # buildkit\n" },
	{ .name = "triggers of a local stage run in its children, once",
	  .text = "FROM b AS p\nONBUILD ARG z=1\nONBUILD RUN echo $z\nFROM p AS c\nFROM c\n",
	  .want = "env PATH=/bin X=1\ncmd [\"sh\"]\n- ARG z=1\n* RUN |1 z=1 /bin/sh -c echo $z # buildkit\n" },
	{ .name = "ONBUILD is recorded",
	  .text = "FROM b\nONBUILD RUN x\nONBUILD FOO y\n",
	  .want = "env PATH=/bin X=1\ncmd [\"sh\"]\nonbuild [\"RUN x\" \"FOO y\"]\n" },
	{ .name = "triggers of an image are replayed and gone",
	  .text = "FROM triggers\nENTRYPOINT [\"e\"]\n",
	  .want = "env PATH=/bin\nentrypoint [\"e\"]\ncmd [\"t\"]\nargsescaped\n- CMD [\"t\"]\n* COPY a /b # buildkit\n"
		  "- ENTRYPOINT [\"e\"]\n" },
	{ .name = "a relative WorkingDir of a base is joined with itself, PATH is made sure of",
	  .text = "FROM odd\nRUN x\n",
	  .want = "env Y=2 PATH=" P "\ndir /app/app\nuser u\n* RUN /bin/sh -c x # buildkit\n" },
	{ .name = "labels of the command line win and leave no history",
	  .text = "FROM b\nLABEL l=1\n",
	  .labels = "l=2",
	  .want = "env PATH=/bin X=1\ncmd [\"sh\"]\nlabel l=2\n- LABEL l=1\n" },
	{ .name = "scanner settings are no variables",
	  .text = "FROM b\nARG BUILDKIT_SBOM_SCAN_STAGE=true\nRUN x\nLABEL l=$BUILDKIT_SBOM_SCAN_STAGE\n",
	  .want = "env PATH=/bin X=1\ncmd [\"sh\"]\nlabel l=\n- ARG BUILDKIT_SBOM_SCAN_STAGE=true\n"
		  "* RUN |1 BUILDKIT_SBOM_SCAN_STAGE=true /bin/sh -c x # buildkit\n- LABEL l=\n" },
	{ .name = "--target",
	  .text = "FROM b AS One\nUSER 1\nFROM b\nUSER 2\n",
	  .target = "oNE",
	  .want = "env PATH=/bin X=1\ncmd [\"sh\"]\nuser 1\n- USER 1\n" },
};

static void images(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		check_case(&cases[i], describe_image);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(images) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
