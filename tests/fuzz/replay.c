/* The plain main of a fuzz target: gives it each file named on the command line, and an empty input. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"
#include "base/io.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int main(int argc, char **argv)
{
	LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
	for (int i = 1; i < argc; i++) {
		_cleanup_(sb_releasep) struct sb b;
		sb_init(&b, 16 * 1024 * 1024);
		struct err *e = NULL;
		if (io_read_file(AT_FDCWD, argv[i], &b, &e) < 0) {
			fprintf(stderr, "%s\n", e->msg);
			return 1;
		}
		LLVMFuzzerTestOneInput((const uint8_t *)sb_c(&b), b.n);
	}
	printf("%d inputs\n", argc);
	return 0;
}
