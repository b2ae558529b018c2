/* The helper's bytes, from runtime_helper_start to runtime_helper_end. */
	.section .rodata
	.balign 16
	.global runtime_helper_start
	.global runtime_helper_end
	.hidden runtime_helper_start
	.hidden runtime_helper_end
runtime_helper_start:
	.incbin HELPER
runtime_helper_end:
	.byte 0
	.section .note.GNU-stack, "", %progbits
