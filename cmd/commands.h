/*
 * commands: every command of the table in main.c, one a file.
 */
#pragma once

struct command;

extern const struct command cmd_build, cmd_images, cmd_pull, cmd_tag, cmd_rmi, cmd_import,
	cmd_version, cmd_debug_fsck, cmd_debug_dockerfile, cmd_debug_image, cmd_internal_tail,
	cmd_internal_reap, cmd_run, cmd_create, cmd_start, cmd_exec, cmd_attach, cmd_ps, cmd_logs,
	cmd_stop, cmd_kill, cmd_rm, cmd_wait, cmd_inspect, cmd_rename;
