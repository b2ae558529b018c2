/*
 * --chmod's modes: octal, or BSD's symbolic lists (setmode(3), which BuildKit follows) with a umask
 * of 0.
 */
#include "solver/copy.h"
#include "solver/copy_internal.h"

enum { U = 04700, G = 02070, O = 0007, ALL = U | G | O, STICKY = 01000 };

/* Octal digits of a number up to 07777: 1; 0 where it is no such number. */
static int octal(struct str s, uint32_t *ret)
{
	uint32_t v = 0;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '7' || v > 07777)
			return 0;
		v = v * 8 + (uint32_t)(s.p[i] - '0');
	}
	*ret = v;
	return s.n && v <= 07777;
}

static uint32_t spread(uint32_t rwx)
{
	return rwx << 6 | rwx << 3 | rwx;
}

/* Bits that the letters behind an operator stand for; `mode` as it is by now, `before` as it
 * was. */
static uint32_t permissions(struct str s, size_t *i, uint32_t who, uint32_t mode, bool executable)
{
	uint32_t bits = 0;
	/* Set-id and sticky mean nothing for "others" alone. */
	bool special = !who || (who & ~(uint32_t)O);
	for (; *i < s.n; (*i)++) {
		switch (s.p[*i]) {
		case 'r':
			bits |= spread(4);
			break;
		case 'w':
			bits |= spread(2);
			break;
		case 'x':
			bits |= spread(1);
			break;
		case 'X':
			bits |= executable ? spread(1) : 0;
			break;
		case 's':
			bits |= special ? 06000 : 0;
			break;
		case 't':
			bits |= special ? STICKY : 0;
			break;
		case 'u':
			bits |= spread(mode >> 6 & 7);
			break;
		case 'g':
			bits |= spread(mode >> 3 & 7);
			break;
		case 'o':
			bits |= spread(mode & 7);
			break;
		default:
			return bits;
		}
	}
	return bits;
}

/* Applies a list; false where it is malformed. */
static bool apply(struct str s, uint32_t *mode, bool is_dir)
{
	bool executable = is_dir || (*mode & 0111);
	size_t i = 0;
	do {
		uint32_t who = 0;
		for (; i < s.n && s.p[i] != '+' && s.p[i] != '-' && s.p[i] != '='; i++) {
			switch (s.p[i]) {
			case 'u':
				who |= U;
				break;
			case 'g':
				who |= G;
				break;
			case 'o':
				who |= O;
				break;
			case 'a':
				who |= ALL;
				break;
			default:
				return false;
			}
		}
		if (i == s.n)
			return false;
		while (i < s.n && (s.p[i] == '+' || s.p[i] == '-' || s.p[i] == '=')) {
			char op = s.p[i++];
			uint32_t bits = permissions(s, &i, who, *mode, executable);
			uint32_t scope = (who ? who : ALL) | (bits & STICKY);
			if (op == '=')
				*mode = (*mode & ~scope) | (bits & scope);
			else if (op == '+')
				*mode |= bits & scope;
			else
				*mode &= ~(bits & scope);
		}
		if (i < s.n && s.p[i] != ',')
			return false;
	} while (i++ < s.n);
	return true;
}

int solver_copy_mode(struct str text, uint32_t *ret_mode)
{
	uint32_t mode = 0;
	if (octal(text, ret_mode))
		return 1;
	return text.n && apply(text, &mode, false) ? 0 : -1;
}

uint32_t copy_mode_apply(struct str text, uint32_t mode, bool is_dir)
{
	apply(text, &mode, is_dir);
	return mode & 07777;
}

uint32_t copy_mode_of(const struct copy *cp, const struct entry *e)
{
	if (cp->mode_kind > 0)
		return cp->mode;
	return cp->mode_kind == 0 ? copy_mode_apply(cp->chmod, e->mode, e->kind == 'd') : e->mode;
}

void copy_owner_of(const struct copy *cp, const struct entry *e, uid_t *uid, gid_t *gid)
{
	*uid = cp->has_owner ? cp->uid : e->uid;
	*gid = cp->has_owner ? cp->gid : e->gid;
}
