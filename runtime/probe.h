/*
 * probe: what this kernel can do. The environment variable CBUILD_TEST_KERNEL=6.1 makes newer
 * features count as missing, so that the ways of older kernels are tested on a new one.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Whether a feature that came with Linux major.minor must not be used because CBUILD_TEST_KERNEL
 * names an older one. */
bool runtime_kernel_hides(unsigned major, unsigned minor);

/* The highest capability number of this kernel. */
uint32_t runtime_cap_last(void);
