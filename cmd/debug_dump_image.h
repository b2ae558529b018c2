/*
 * debug_dump_image: `cbuild debug dump-image-config`: the image config and history that Dockerfiles give, without building them.
 */
#pragma once

/* Prints {"path", "image"} for each of the files named, one object a line; 0, or 1 when one could not be read. */
int cmd_debug_dump_image_config(int argc, char **argv);
