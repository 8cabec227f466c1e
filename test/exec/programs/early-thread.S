/* The first code of a program: a second thread, which sleeps, before the C library's own start. */
.globl early_thread
early_thread:
	mov $56, %eax		/* clone */
	mov $0x10f00, %edi	/* CLONE_VM, FS, FILES, SIGHAND, THREAD */
	lea stack_end(%rip), %rsi
	xor %edx, %edx
	xor %r10d, %r10d
	xor %r8d, %r8d
	syscall
	test %eax, %eax
	jz sleep
	xor %edx, %edx		/* no function for the exit */
	jmp _start
sleep:
	mov $34, %eax		/* pause */
	syscall
	jmp sleep

.bss
.balign 16
.space 4096
stack_end:
.section .note.GNU-stack, "", @progbits
