/*
 * banned: calls that are compile errors in cbuild. Included by base/mem.h, so by everything. Exceptions: base/proc.c and
 * runtime/helper/ may fork and chdir; they define CBUILD_MAY_FORK before the first include.
 */
#pragma once

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BANNED_CALL(name) cbuild_banned_##name##_is_not_used_here
#undef strcpy
#define strcpy(d, s) BANNED_CALL(strcpy)
#undef strcat
#define strcat(d, s) BANNED_CALL(strcat)
#undef sprintf
#define sprintf(...) BANNED_CALL(sprintf)
#undef vsprintf
#define vsprintf(...) BANNED_CALL(vsprintf)
#undef strtok
#define strtok(a, b) BANNED_CALL(strtok)
#undef gets
#define gets(s) BANNED_CALL(gets)
#undef alloca
#define alloca(n) BANNED_CALL(alloca)
#undef system
#define system(s) BANNED_CALL(system)
#undef popen
#define popen(a, b) BANNED_CALL(popen)
#ifndef CBUILD_MAY_FORK
#undef fork
#define fork() BANNED_CALL(fork)
#undef vfork
#define vfork() BANNED_CALL(vfork)
#undef chdir
#define chdir(p) BANNED_CALL(chdir)
#undef fchdir
#define fchdir(f) BANNED_CALL(fchdir)
#undef umask
#define umask(m) BANNED_CALL(umask)
#endif
