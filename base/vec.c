#include "base/vec.h"

void vec_grow(void **v, size_t *cap, size_t size)
{
	*cap = *cap ? *cap * 2 : 8;
	*v = xreallocarray(*v, *cap, size);
}
