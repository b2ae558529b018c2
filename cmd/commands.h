/*
 * commands: every command of the table in main.c, one a file.
 */
#pragma once

struct command;

extern const struct command cmd_build, cmd_images, cmd_pull, cmd_tag, cmd_rmi, cmd_import, cmd_version, cmd_debug_fsck,
	cmd_debug_dockerfile, cmd_debug_image, cmd_internal_tail;
