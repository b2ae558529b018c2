/*
 * debug_dump: `cbuild debug dump-dockerfile`: how Dockerfiles are read.
 */
#pragma once

/* Prints one JSON object a line for each of the files named, with its path; one that does not parse is an answer too. 0, or 1 when
 * one could not be read: that costs only itself. */
int cmd_debug_dump_dockerfile(int argc, char **argv);
