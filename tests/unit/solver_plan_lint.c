/* Dockerfile in, warnings out, in the order of finding. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/solver_plan_cases.h"

static void describe_warnings(struct arena *a, const struct plan *p, const struct df_lint *lint,
			      struct sb *out)
{
	(void)a;
	assert_int_equal(p->n_warnings, lint->n);
	for (const struct df_lint_warning *w = lint->first; w; w = w->next)
		sb_printf(out, "%u %.*s: %.*s\n", w->at.line, STR_ARG(df_lint_info(w->rule)->name),
			  STR_ARG(w->message));
}

static const struct plan_case cases[] = {
	{ .name = "clean", .text = "FROM b\nENV A=1\nCMD [\"$A\"]\n", .want = "" },
	{ .name = "order of finding",
	  .text = "FROM b as Build\nRUN a \\\n\n b\nMAINTAINER x\nenv a=1\nFROM b AS build\n",
	  .all = true,
	  .want = "4 NoEmptyContinuation: Empty continuation line\n1 StageNameCasing: Stage name 'Build' should be lowercase\n"
		  "1 FromAsCasing: 'as' and 'FROM' keywords' casing do not match\n"
		  "5 MaintainerDeprecated: Maintainer instruction is deprecated in favor of using label\n"
		  "7 DuplicateStageName: Duplicate stage name \"build\", stage names should be unique\n"
		  "6 ConsistentInstructionCasing: Command 'env' should match the case of the command majority (uppercase)\n" },
	{ .name = "FROM",
	  .text = "ARG DEF=b\nFROM --platform=$TARGETPLATFORM ${NOPE:-b}\nFROM --platform=linux/amd64 $DEF AS x\nFROM --platform=linux $DEF AS linux\n",
	  .all = true,
	  .want = "2 UndefinedArgInFrom: FROM argument 'NOPE' is not declared\n"
		  "2 RedundantTargetPlatform: Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior\n"
		  "3 FromPlatformFlagConstDisallowed: FROM --platform flag should not use constant value \"linux/amd64\"\n" },
	{ .name = "defaults",
	  .text = "ARG T\nFROM b:$T\nFROM scratch\n",
	  .args = "T=1",
	  .want = "2 InvalidDefaultArgInFrom: Default value for ARG b:$T results in empty or invalid base image name\n" },
	{ .name = "reserved",
	  .text = "FROM b AS context\n",
	  .want = "1 ReservedStageName: Stage name should not use the same name as reserved stage \"context\"\n" },
	{ .name = "undefined",
	  .text = "FROM b\nENV PATH=/x:$PAHT\nARG q\nLABEL a=$q b=${n:-1}\nCOPY $x $x\nEXPOSE $y\n",
	  .want = "2 UndefinedVar: Usage of undefined variable '$PAHT' (did you mean $PATH?)\n"
		  "4 UndefinedVar: Usage of undefined variable '$n' (did you mean $X?)\n"
		  "5 UndefinedVar: Usage of undefined variable '$x' (did you mean $X?)\n"
		  "5 UndefinedVar: Usage of undefined variable '$x' (did you mean $X?)\n" },
	{ .name = "once",
	  .text = "FROM b\ncmd [\"a\"]\ncmd [\"b\"]\nFROM b\nCMD [\"a\"]\n",
	  .all = true,
	  .want = "2 ConsistentInstructionCasing: Command 'cmd' should match the case of the command majority (uppercase)\n"
		  "3 ConsistentInstructionCasing: Command 'cmd' should match the case of the command majority (uppercase)\n"
		  "2 MultipleInstructionsDisallowed: Multiple cmd instructions should not be used in the same stage because only the last one "
		  "will be used\n" },
	{ .name = "JSON",
	  .text = "FROM b\nENTRYPOINT a\nSHELL [\"/bin/sh\"]\nCMD b\n",
	  .want = "2 JSONArgsRecommended: JSON arguments recommended for ENTRYPOINT to prevent unintended behavior related to OS signals\n" },
	{ .name = "legacy",
	  .text = "FROM b\nENV a b\nLABEL c d\n",
	  .want = "2 LegacyKeyValueFormat: \"ENV key=value\" should be used instead of legacy \"ENV key value\" format\n"
		  "3 LegacyKeyValueFormat: \"LABEL key=value\" should be used instead of legacy \"LABEL key value\" format\n" },
	{ .name = "secrets",
	  .text = "ARG TOKEN\nFROM b\nARG TOKEN\nENV my_key=1 public_key=2\n",
	  .want = "3 SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ARG \"TOKEN\")\n"
		  "4 SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ENV \"my_key\")\n" },
	{ .name = "first WORKDIR",
	  .text = "FROM odd\nWORKDIR a/\nWORKDIR b\n",
	  .want = "2 WorkdirRelativePath: Relative workdir \"a/\" can have unexpected results if the base image changes\n" },
	{ .name = "WORKDIR of the parent stage",
	  .text = "FROM b AS p\nWORKDIR /a\nFROM p\nWORKDIR b\n",
	  .want = "" },
	{ .name = "EXPOSE",
	  .text = "FROM b\nEXPOSE 127.0.0.1:80:90/TcP\n",
	  .want = "2 ExposeProtoCasing: Defined protocol '127.0.0.1:80:90/TcP' in EXPOSE instruction should be lowercase\n"
		  "2 ExposeInvalidFormat: EXPOSE instruction should not define an IP address or host-port mapping, found '127.0.0.1:80:90/TcP'\n" },
	{ .name = "platform of the base",
	  .text = "FROM arm\n",
	  .want = "1 InvalidBaseImagePlatform: Base image arm was pulled with platform \"linux/arm64\", expected \"linux/amd64\" for current build\n" },
	{ .name = "settings",
	  .text = "# check=skip=JSONArgsRecommended;experimental=all\n# no key here\nARG a\nFROM b\nCMD x\n# check=skip=UndefinedVar\n"
		  "ENV b=$c\nENV d=$e\n",
	  .want = "3 InvalidDefinitionDescription: Comment for ARG should follow the format: `# a <description>`\n"
		  "8 UndefinedVar: Usage of undefined variable '$e' (did you mean $X?)\n" },
};

static void warnings(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		check_case(&cases[i], describe_warnings);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(warnings) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
