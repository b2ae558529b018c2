#include "runtime/probe.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/io.h"

bool runtime_kernel_hides(unsigned major, unsigned minor)
{
	const char *text = getenv("CBUILD_TEST_KERNEL");
	unsigned a, b;
	return text && sscanf(text, "%u.%u", &a, &b) == 2 &&
		(a < major || (a == major && b < minor));
}

uint32_t runtime_cap_last(void)
{
	_cleanup_close_ int fd = open("/proc/sys/kernel/cap_last_cap", O_RDONLY | O_CLOEXEC);
	char text[16] = "";
	ssize_t n = fd < 0 ? -1 : io_read_full(fd, text, sizeof(text) - 1);
	unsigned long last = n > 0 ? strtoul(text, NULL, 10) : 0;
	return last > 0 && last < 64 ? (uint32_t)last : CAP_LAST_CAP;
}
