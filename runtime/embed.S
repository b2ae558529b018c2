/* The helper's bytes, from runtime_helper_bytes to runtime_helper_bytes_end. */
	.section .rodata
	.balign 16
	.global runtime_helper_bytes
	.global runtime_helper_bytes_end
	.hidden runtime_helper_bytes
	.hidden runtime_helper_bytes_end
runtime_helper_bytes:
	.incbin HELPER
runtime_helper_bytes_end:
	.byte 0
	.section .note.GNU-stack, "", %progbits
