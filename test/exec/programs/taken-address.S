/*
 * A program whose own data lies where the trap page would be: linked with
 * --section-start=.taken=0x6ffff0000000.
 */
	.section .taken, "aw", @progbits
	.skip 4096
	.section .note.GNU-stack, "", @progbits
