#include "runtime/spec.h"

void runtime_spec_init(struct runtime_spec *s)
{
	*s = (struct runtime_spec){
		.root_fd = -1,
		.cwd = "/",
		.caps = runtime_caps_default(0),
		.seccomp = true,
		.mask_paths = true,
		.net = RUNTIME_NET_HOST,
		.stdio = { -1, -1, -1 },
	};
}
