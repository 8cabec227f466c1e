/*
 * Loads and stores of mapped registers, checked one by one: what a driver may do with a BAR.
 *
 *   cc -O1 -pthread -o registers registers.c
 *   iopf exec --device recorded@05:00.0,file=registers.yaml -- ./registers 0000:05:00.0
 *
 * After the address come the parts to run; all but `unknown` and `long` where none is named. `@N`
 * for an address is an open descriptor of the device. It says nothing of what is right, and ends
 * with the number of things that were wrong, 100 at most.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

enum {
	ID = 0x00, SCRATCH = 0x04, READ_TO_CLEAR = 0x08, WRITE_ONE_TO_CLEAR = 0x0c,
	WRITE_ONLY = 0x10, SCRIPT = 0x14, WRITES = 0x18, READS = 0x1c, BLOCK = 0x20,
	SECOND_PAGE = 0x1000, SECOND_WRITES = 0x1004, BAR_BYTES = 0x2000,
};

static uint8_t *bar;
static int device, wrong;
static const char *address;
static char **arguments;

#define R8(o) (*(volatile uint8_t *)(bar + (o)))
#define R16(o) (*(volatile uint16_t *)(bar + (o)))
#define R32(o) (*(volatile uint32_t *)(bar + (o)))
#define R64(o) (*(volatile uint64_t *)(bar + (o)))
#define CHECK(what, is, should)                                                         \
	do {                                                                            \
		unsigned long long is_ = (is), should_ = (should);                      \
		if (is_ != should_) {                                                   \
			wrong++;                                                        \
			printf("line %d: %s: %#llx, not %#llx\n", __LINE__, what, is_, should_); \
		}                                                                       \
	} while (0)
/* Register o, a register that counts writes, was written so many times by `statement`. */
#define WRITTEN(what, times, statement)                                                 \
	do {                                                                            \
		uint32_t before_ = R32(WRITES);                                         \
		statement;                                                              \
		CHECK(what, R32(WRITES) - before_, times);                              \
	} while (0)

static void fail(const char *what)
{
	perror(what);
	exit(101);
}

static void open_device(void)
{
	if (*address == '@') {
		device = atoi(address + 1);
		return;
	}
	char path[256], link[256];
	snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/iommu_group", address);
	ssize_t length = readlink(path, link, sizeof link - 1);
	if (length < 0)
		fail(path);
	link[length] = 0;
	snprintf(path, sizeof path, "/dev/vfio/%s", strrchr(link, '/') + 1);
	int container = open("/dev/vfio/vfio", O_RDWR), group = open(path, O_RDWR);
	if (container < 0 || group < 0 || ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) ||
	    ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU))
		fail("VFIO");
	device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, address);
	if (device < 0)
		fail("VFIO_GROUP_GET_DEVICE_FD");
}

static void *map(void *at, size_t bytes, int protection, int flags, off_t offset)
{
	void *made = mmap(at, bytes, protection, MAP_SHARED | flags, device, offset);
	if (made == MAP_FAILED)
		fail("mmap");
	return made;
}

/* ---- what each kind of register does, at each width ---- */

static void part_kinds(void)
{
	ioctl(device, VFIO_DEVICE_RESET);
	CHECK("identification", R32(ID), 0x10f1de51);
	R32(ID) = 7;
	CHECK("a register that can only be read", R32(ID), 0x10f1de51);
	CHECK("its bytes", R8(ID + 1) << 8 | R8(ID), 0xde51);
	CHECK("its upper half", R16(ID + 2), 0x10f1);
	R32(SCRATCH) = 0x01020304;
	R8(SCRATCH + 1) = 0xff;
	R16(SCRATCH + 2) = 0xabcd;
	CHECK("a register that was written in parts", R32(SCRATCH), 0xabcdff04);
	CHECK("sign extension", (uint64_t)(int64_t) * (volatile int32_t *)(bar + SCRATCH), 0xffffffffabcdff04);
	CHECK("sign extension of a byte", (uint32_t) * (volatile int8_t *)(bar + SCRATCH + 1), 0xffffffff);
	CHECK("read to clear", R32(READ_TO_CLEAR), 0xdeadbeef);
	CHECK("what was cleared", R32(READ_TO_CLEAR), 0);
	CHECK("write one to clear", R32(WRITE_ONE_TO_CLEAR), 0xffffffff);
	R32(WRITE_ONE_TO_CLEAR) = 0x0f;
	R8(WRITE_ONE_TO_CLEAR + 3) = 0x80;
	CHECK("bits that were cleared", R32(WRITE_ONE_TO_CLEAR), 0x7ffffff0);
	R32(WRITE_ONE_TO_CLEAR) |= 0x1; /* writes back all that it reads */
	CHECK("all bits cleared", R32(WRITE_ONE_TO_CLEAR), 0);
	CHECK("write only", R32(WRITE_ONLY), 0);
	for (uint32_t step = 1; step <= 4; step++)
		CHECK("the script", R32(SCRIPT), step);
	CHECK("the script's end", R32(SCRIPT), 4);
	WRITTEN("the same value, ten times", 10, for (int i = 0; i < 10; i++) R32(WRITES) = 7);
	WRITTEN("stores of 1, 2, 4 and 8 bytes", 4, (R8(WRITES) = 0, R16(WRITES) = 0, R32(WRITES) = 0, R64(WRITES) = 0));
	uint32_t reads = R32(READS);
	(void)R8(READS), (void)R16(READS), (void)R32(READS);
	CHECK("loads of 1, 2 and 4 bytes", R32(READS) - reads, 4);
	R64(BLOCK) = 0x1122334455667788;
	CHECK("the halves of 8 bytes", (uint64_t)R32(BLOCK + 4) << 32 | R32(BLOCK), 0x1122334455667788);
	CHECK("8 bytes", R64(BLOCK), 0x1122334455667788);
	uint32_t value = 0;
	if (pread(device, &value, 4, ID) != 4)
		wrong++;
	CHECK("pread beside", value, 0x10f1de51);
}

/* ---- forms of instructions ---- */

#if defined(__x86_64__)
#define FLAG(condition, instruction, ...)                                               \
	({                                                                              \
		uint8_t flag_;                                                          \
		__asm__ volatile(instruction "; set" condition " %0" : "=q"(flag_) : __VA_ARGS__ : "cc", "memory"); \
		flag_;                                                                  \
	})
#define M32(o) "m"(R32(o))

static void part_forms(void)
{
	uint64_t r;
	uint32_t x, y;
	R32(SCRATCH) = 0x80000010;
	__asm__ volatile("mov $-1, %0; mov %1, %k0" : "=&r"(r) : M32(SCRATCH));
	CHECK("32 bits clear the upper half", r, 0x80000010);
	__asm__ volatile("mov $-1, %0; mov %1, %w0" : "=&r"(r) : M32(SCRATCH));
	CHECK("16 bits keep the rest", r, 0xffffffffffff0010);
	__asm__ volatile("mov $-1, %0; mov %1, %%ah" : "=&a"(r) : M32(SCRATCH));
	CHECK("a high byte", r, 0xffffffffffff10ff);
	__asm__ volatile("movslq %1, %0" : "=r"(r) : M32(SCRATCH));
	CHECK("movslq", r, 0xffffffff80000010);
	__asm__ volatile("movb %%bh, %0" : : M32(SCRATCH), "b"(0x1234) : "memory");
	CHECK("a store of a high byte", R32(SCRATCH), 0x80000012);
	__asm__ volatile("movq $-2, %0" : : "m"(R64(BLOCK)) : "memory");
	CHECK("a number of 32 bits, extended", R64(BLOCK), 0xfffffffffffffffe);
	CHECK("test", FLAG("nz", "testl $0x80000000, %1", M32(SCRATCH)), 1);
	CHECK("cmp", FLAG("e", "cmpl $0x80000012, %1", M32(SCRATCH)), 1);
	CHECK("cmp, below", FLAG("b", "cmpl $0x80000013, %1", M32(SCRATCH)), 1);
	CHECK("cmp, less", FLAG("l", "cmpl $0, %1", M32(SCRATCH)), 1);
	CHECK("cmp of a register", FLAG("a", "cmpl %1, %2", M32(SCRATCH), "r"(0x90000000)), 1);
	CHECK("bt", FLAG("c", "btl $4, %1", M32(SCRATCH)), 1);
	R32(SCRATCH) = 5;
	__asm__ volatile("addl $3, %0" : : M32(SCRATCH) : "cc", "memory");
	__asm__ volatile("lock; addl %1, %0" : : M32(SCRATCH), "r"(10) : "cc", "memory");
	__asm__ volatile("subl $2, %0" : : M32(SCRATCH) : "cc", "memory");
	CHECK("add, lock add, sub", R32(SCRATCH), 16);
	__asm__ volatile("stc; adcl $1, %0; stc; sbbl $0, %0" : : M32(SCRATCH) : "cc", "memory");
	CHECK("adc, sbb", R32(SCRATCH), 17);
	__asm__ volatile("orl $0xf0, %0; andl $0xfe, %0; xorl $0xff, %0" : : M32(SCRATCH) : "cc", "memory");
	CHECK("or, and, xor", R32(SCRATCH), 0x0f);
	__asm__ volatile("incl %0; notl %0; negl %0; decl %0" : : M32(SCRATCH) : "cc", "memory");
	CHECK("inc, not, neg, dec", R32(SCRATCH), 0x10);
	CHECK("inc keeps the carry", FLAG("c", "stc; incl %1", M32(SCRATCH)), 1);
	CHECK("an overflow", FLAG("o", "movl $0x7fffffff, %1; addl $1, %1", M32(SCRATCH)), 1);
	__asm__ volatile("btsl $1, %0; btrl $31, %0; btcl $2, %0" : : M32(SCRATCH) : "cc", "memory");
	CHECK("bts, btr, btc", R32(SCRATCH), 6);
	x = 42;
	__asm__ volatile("xchg %0, %1" : "+r"(x) : M32(SCRATCH) : "memory");
	CHECK("xchg gives", x, 6);
	CHECK("xchg leaves", R32(SCRATCH), 42);
	x = 8;
	__asm__ volatile("lock; xadd %0, %1" : "+r"(x) : M32(SCRATCH) : "cc", "memory");
	CHECK("xadd gives", x, 42);
	CHECK("xadd leaves", R32(SCRATCH), 50);
	x = 50;
	CHECK("cmpxchg, equal", FLAG("e", "lock; cmpxchg %2, %1", M32(SCRATCH), "r"(9), "a"(x)), 1);
	CHECK("cmpxchg leaves", R32(SCRATCH), 9);
	__asm__ volatile("lock; cmpxchg %2, %1" : "+a"(x) : M32(SCRATCH), "r"(1) : "cc", "memory");
	CHECK("cmpxchg, different", x, 9);
	__asm__ volatile("mov $7, %0; add %1, %0" : "=&r"(x) : M32(SCRATCH) : "cc");
	CHECK("add to a register", x, 16);
	__asm__ volatile("mov $-1, %0; cmp %%eax, %%eax; cmovne %1, %k0" : "=&r"(r) : M32(SCRATCH) : "cc");
	CHECK("cmov that does not move", r, 0xffffffff);
	__asm__ volatile("cmp %%eax, %%eax; cmove %1, %0" : "=r"(x) : M32(SCRATCH) : "cc");
	CHECK("cmov that moves", x, 9);
	__asm__ volatile("cmp %%eax, %%eax; sete %0" : : "m"(R8(SCRATCH)) : "cc", "memory");
	CHECK("sete", R32(SCRATCH), 1);
	__asm__ volatile("movnti %1, %0" : : M32(SCRATCH), "r"(0x01020304) : "memory");
	CHECK("movnti", R32(SCRATCH), 0x01020304);
	unsigned a, b, c = 0, d;
	if (__get_cpuid(1, &a, &b, &c, &d) && (c & bit_MOVBE)) {
		__asm__ volatile("movbe %1, %0" : "=r"(y) : M32(SCRATCH));
		CHECK("movbe", y, 0x04030201);
		__asm__ volatile("movbe %1, %0" : : M32(SCRATCH), "r"(0x0a0b0c0d) : "memory");
		CHECK("movbe, stored", R32(SCRATCH), 0x0d0c0b0a);
		R32(SCRATCH) = 0x01020304;
	}
	WRITTEN("read and written once", 1, __asm__ volatile("orl $1, %0" : : M32(WRITES) : "cc", "memory"));
	uint32_t reads = R32(READS);
	__asm__ volatile("addl $1, %0" : : M32(READS) : "cc", "memory");
	CHECK("read once", R32(READS) - reads, 2);
	/* base, index, scale, displacement */
	volatile uint8_t *base = bar - 0x1000;
	__asm__ volatile("mov 0x1000(%1,%2,4), %0" : "=r"(x) : "r"(base), "r"((uint64_t)SCRATCH / 4));
	CHECK("base + index × 4 + displacement", x, 0x01020304);
	__asm__ volatile("mov (%1,%2,8), %0" : "=r"(x) : "r"(bar + SCRATCH + 8), "r"(-1l));
	CHECK("a negative index", x, 0x01020304);
}

static void part_vectors(void)
{
	uint32_t words[8], back[8];
	for (int i = 0; i < 8; i++)
		R32(BLOCK + 4 * i) = words[i] = 0x01010101 * (i + 1);
	__asm__ volatile("movdqu (%0), %%xmm1; movdqu %%xmm1, (%1)" : : "r"(bar + BLOCK), "r"(back) : "xmm1", "memory");
	CHECK("16 bytes", memcmp(back, words, 16), 0);
	__asm__ volatile("movups (%0), %%xmm9; movups %%xmm9, (%1)" : : "r"(words + 4), "r"(bar + BLOCK) : "xmm9", "memory");
	CHECK("16 bytes, stored", R32(BLOCK + 12), words[7]);
	__asm__ volatile("pcmpeqd %%xmm2, %%xmm2; movd (%1), %%xmm2; movdqu %%xmm2, (%0)" : : "r"(back), "r"(bar + BLOCK + 4) : "xmm2", "memory");
	CHECK("movd", back[0], words[5]);
	CHECK("movd clears the rest", back[1] | back[2] | back[3], 0);
	__asm__ volatile("pcmpeqd %%xmm2, %%xmm2; movhps (%1), %%xmm2; movdqu %%xmm2, (%0)" : : "r"(back), "r"(bar + BLOCK) : "xmm2", "memory");
	CHECK("movhps keeps the lower half", back[0], 0xffffffff);
	CHECK("movhps", back[2], words[4]);
	__asm__ volatile("movq %%xmm2, %0; movss %%xmm2, %1" : : "m"(R64(BLOCK + 16)), "m"(R32(SCRATCH)) : "memory");
	CHECK("movq and movss, stored", R32(BLOCK + 20) & R32(SCRATCH), 0xffffffff);
	if (__builtin_cpu_supports("avx")) {
		memset(back, 0, sizeof back);
		for (int i = 0; i < 8; i++)
			R32(BLOCK + 4 * i) = words[i];
		__asm__ volatile("vmovdqu (%0), %%ymm3; vmovdqu %%ymm3, (%1); vzeroupper" : : "r"(bar + BLOCK), "r"(back) : "xmm3", "memory");
		CHECK("32 bytes", memcmp(back, words, 32), 0);
		__asm__ volatile("vpcmpeqd %%xmm3, %%xmm3, %%xmm3; vinsertf128 $1, %%xmm3, %%ymm3, %%ymm3; vmovdqu (%0), %%xmm3; vmovdqu %%ymm3, (%1); vzeroupper" : : "r"(bar + BLOCK), "r"(back) : "xmm3", "memory");
		CHECK("VEX clears the upper half", back[4] | back[7], 0);
		__asm__ volatile("vmovdqu (%0), %%ymm12; vmovdqu %%ymm12, (%1); vzeroupper" : : "r"(words), "r"(bar + BLOCK) : "xmm12", "memory");
		CHECK("32 bytes, stored", R32(BLOCK + 28), words[7]);
	}
	if (__builtin_cpu_supports("avx512vl")) {
		memset(back, 0, sizeof back);
		__asm__ volatile("vmovdqu64 (%0), %%ymm17; vmovdqu64 %%ymm17, (%1); vzeroupper" : : "r"(bar + BLOCK), "r"(back) : "memory");
		CHECK("EVEX, register 17", memcmp(back, words, 32), 0);
	}
	memset(back, 0, sizeof back);
	memcpy(back, (void *)(bar + BLOCK), sizeof back);
	CHECK("memcpy from registers", memcmp(back, words, 32), 0);
	for (int i = 0; i < 8; i++)
		words[i] = ~words[i];
	memcpy((void *)(bar + BLOCK), words, sizeof words);
	for (int i = 0; i < 8; i++)
		CHECK("memcpy to registers", R32(BLOCK + 4 * i), words[i]);
}

static void part_strings(void)
{
	uint32_t words[8], back[8] = {0};
	for (int i = 0; i < 8; i++)
		words[i] = 0x11111111 * (i + 1);
	void *to = bar + BLOCK, *from = words;
	uint64_t count = 8;
	__asm__ volatile("rep movsl" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
	CHECK("rep movs to registers", R32(BLOCK + 28), words[7]);
	CHECK("what it leaves", count + ((uint8_t *)to - bar) + ((uint8_t *)from - (uint8_t *)words), BLOCK + 32 + 32);
	to = back, from = bar + BLOCK, count = 32;
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
	CHECK("rep movs from registers", memcmp(back, words, 32), 0);
	to = bar + BLOCK, count = 8;
	WRITTEN("rep stos writes once a step", 3, ({ void *at = bar + WRITES; uint64_t n = 1; for (int i = 0; i < 3; i++, at = bar + WRITES, n = 1) __asm__ volatile("rep stosl" : "+D"(at), "+c"(n) : "a"(1) : "memory"); }));
	__asm__ volatile("rep stosl" : "+D"(to), "+c"(count) : "a"(0x5a5a5a5a) : "memory");
	CHECK("rep stos", R32(BLOCK + 28), 0x5a5a5a5a);
	uint32_t x = 0;
	from = bar + BLOCK + 4;
	__asm__ volatile("std; lodsl; cld" : "=a"(x), "+S"(from) : : "memory");
	CHECK("lods", x, 0x5a5a5a5a);
	CHECK("lods goes down", (uint8_t *)from - bar, BLOCK);
	R32(BLOCK + 8) = 1;
	to = bar + BLOCK, count = 8;
	__asm__ volatile("repe scasl" : "+D"(to), "+c"(count) : "a"(0x5a5a5a5a) : "cc", "memory");
	CHECK("repe scas stops behind", (uint8_t *)to - bar, BLOCK + 12);
	for (int i = 0; i < 8; i++)
		words[i] = 0x5a5a5a5a;
	to = words, from = bar + BLOCK, count = 8;
	__asm__ volatile("repe cmpsl" : "+D"(to), "+S"(from), "+c"(count) : : "cc", "memory");
	CHECK("repe cmps stops behind", count, 5);
}
#endif

/* ---- threads, handlers, processes ---- */

enum { THREADS = 4, ROUNDS = 500 };

static void *writer(void *nothing)
{
	for (int i = 0; i < ROUNDS; i++)
		R32(WRITES) = 7, (void)R32(ID);
	return nothing;
}

static void part_threads(void)
{
	pthread_t threads[THREADS];
	WRITTEN("writes by threads", THREADS * ROUNDS, ({
		for (int i = 0; i < THREADS; i++)
			pthread_create(&threads[i], NULL, writer, NULL);
		for (int i = 0; i < THREADS; i++)
			pthread_join(threads[i], NULL);
	}));
}

static volatile int handled;

static void on_signal(int signal)
{
	(void)signal;
	R32(WRITES) = 7;
	handled++;
}

static void part_handlers(void)
{
	struct sigaction action = {.sa_handler = on_signal}, old;
	sigfillset(&action.sa_mask);
	sigaction(SIGUSR1, &action, NULL);
	WRITTEN("a handler that blocks all signals", 1, raise(SIGUSR1));
	sigaction(SIGUSR1, NULL, &old);
	CHECK("its mask", sigismember(&old.sa_mask, SIGSEGV), 1);
	struct sigaction other = action;
	sigemptyset(&other.sa_mask);
	sigaction(SIGUSR1, &other, &old);
	CHECK("its mask, replaced", sigismember(&old.sa_mask, SIGSEGV), 1);
	sigaction(SIGUSR1, &action, &old);
	CHECK("a mask without it", sigismember(&old.sa_mask, SIGSEGV), 0);
	sigset_t all, before;
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &before);
	WRITTEN("all signals blocked", 1, R32(WRITES) = 7);
	raise(SIGUSR1);
	CHECK("the signal that is blocked", handled, 1);
	sigset_t now;
	sigprocmask(SIG_SETMASK, &before, &now);
	CHECK("it comes when it is let through", handled, 2);
	CHECK("what the program reads back", sigismember(&now, SIGUSR1) + sigismember(&before, SIGUSR1), 1);
	sigaction(SIGSEGV, NULL, &old);
	CHECK("the action of SIGSEGV", (uint64_t)old.sa_handler, (uint64_t)SIG_DFL);
}

static void child_status(const char *what, pid_t child, int should)
{
	int status;
	if (waitpid(child, &status, 0) != child)
		fail("waitpid");
	CHECK(what, status, should);
}

static void part_processes(void)
{
	WRITTEN("a child", 2, ({
		fflush(stdout);
		pid_t child = fork();
		if (child == 0) {
			R32(WRITES) = 7;
			pid_t grandchild = fork();
			if (grandchild == 0) {
				R32(WRITES) = 7;
				_exit(0);
			}
			child_status("a grandchild", grandchild, 0);
			_exit(wrong != 0);
		}
		child_status("a child", child, 0);
	}));
	WRITTEN("vfork", 1, ({
		pid_t child = vfork();
		if (child == 0) {
			R32(WRITES) = 7;
			_exit(0);
		}
		child_status("a child of vfork", child, 0);
	}));
	/* A child that unmaps, and a parent that goes on. */
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		munmap(bar, BAR_BYTES);
		*(volatile uint32_t *)(bar + ID);
		_exit(0);
	}
	child_status("the child has unmapped it", child, SIGSEGV);
	CHECK("the parent has it still", R32(ID), 0x10f1de51);
	/* The same program anew: it maps the BAR on its own. */
	char inherited[16];
	snprintf(inherited, sizeof inherited, "@%d", dup(device));
	char *again[] = {arguments[0], inherited, "kinds", NULL};
	if (posix_spawn(&child, arguments[0], NULL, NULL, again, NULL) != 0)
		fail("posix_spawn");
	child_status("after exec", child, 0);
}

/* ---- the program's own mappings ---- */

static sigjmp_buf back;
static volatile int faults;
static void *volatile fault_address;
static volatile int fault_code;

static void on_fault(int signal, siginfo_t *info, void *context)
{
	(void)signal, (void)context;
	faults++;
	fault_address = info->si_addr;
	fault_code = info->si_code;
	siglongjmp(back, 1);
}

/* Whether a statement faults, at an address. */
#define FAULTS(at, statement)                                                           \
	({                                                                              \
		int before_ = faults;                                                   \
		if (sigsetjmp(back, 1) == 0) {                                          \
			statement;                                                      \
		}                                                                       \
		faults == before_ + 1 && fault_address == (void *)(at);                 \
	})

static void catch_faults(int flags)
{
	struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | flags};
	sigemptyset(&action.sa_mask);
	sigaddset(&action.sa_mask, SIGUSR2);
	sigaction(SIGSEGV, &action, NULL);
}

static void part_mappings(void)
{
	catch_faults(0);
	uint8_t *all = bar;
	mprotect(bar, 0x1000, PROT_READ);
	CHECK("a read of what can be read", R32(ID), 0x10f1de51);
	CHECK("a write to it", FAULTS(bar + SCRATCH, R32(SCRATCH) = 1), 1);
	R32(SECOND_PAGE) = 5;
	CHECK("the other page", R32(SECOND_PAGE), 5);
	mprotect(bar, BAR_BYTES, PROT_NONE);
	CHECK("a read of what cannot be read", FAULTS(bar + ID, (void)R32(ID)), 1);
	CHECK("its code", fault_code, SEGV_ACCERR);
	mprotect(bar, BAR_BYTES, PROT_READ | PROT_WRITE);
	R32(SCRATCH) = 9;
	CHECK("what can be written again", R32(SCRATCH), 9);
	/* Another mapping, of the second page alone, over something of its own. */
	uint8_t *room = mmap(NULL, 0x8000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint8_t *second = map(room + 0x2000, 0x1000, PROT_READ | PROT_WRITE, MAP_FIXED, 0x1000);
	CHECK("where it was put", (uint64_t)second, (uint64_t)room + 0x2000);
	CHECK("the second page alone", *(volatile uint32_t *)second, 5);
	CHECK("memory beside it", room[0x3000], 0);
	/* mprotect over memory and registers together. */
	mprotect(room, 0x8000, PROT_READ);
	CHECK("registers in the middle", FAULTS(second, *(volatile uint32_t *)second = 1), 1);
	CHECK("memory around them", FAULTS(room, *room = 1), 1);
	mprotect(room, 0x8000, PROT_READ | PROT_WRITE);
	*(volatile uint32_t *)second = 6, *room = 1;
	CHECK("written again", R32(SECOND_PAGE), 6);
	/* mremap */
	CHECK("growing", mremap(bar, BAR_BYTES, 2 * BAR_BYTES, MREMAP_MAYMOVE) == MAP_FAILED ? errno : 0, EFAULT);
	bar = mremap(bar, BAR_BYTES, BAR_BYTES, MREMAP_MAYMOVE | MREMAP_FIXED, room + 0x4000);
	CHECK("moved", (uint64_t)bar, (uint64_t)room + 0x4000);
	CHECK("registers at the new place", R32(SCRATCH) + R32(SECOND_PAGE), 15);
	CHECK("the old place", FAULTS(all, *(volatile uint32_t *)all), 1);
	CHECK("its code", fault_code, SEGV_MAPERR);
	CHECK("shrunk", (uint64_t)mremap(bar, BAR_BYTES, 0x1000, 0), (uint64_t)bar);
	CHECK("what is left", R32(SCRATCH), 9);
	CHECK("what is gone", FAULTS(bar + 0x1000, (void)R32(SECOND_PAGE)), 1);
	/* Something else over it, and away. */
	mmap(bar, 0x1000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	R32(ID) = 3;
	CHECK("memory in its place", R32(ID), 3);
	munmap(room, 0x8000);
	CHECK("nothing there", FAULTS(second, *(volatile uint32_t *)second), 1);
	bar = map(NULL, BAR_BYTES, PROT_READ | PROT_WRITE, 0, 0);
	/* The kernel's own access finds nothing there. */
	CHECK("write(2) from registers", write(open("/dev/null", O_WRONLY), bar, 4) + 1, 5);
	int pipes[2];
	if (pipe(pipes) == 0)
		CHECK("a pipe from registers", write(pipes[1], bar, 4) < 0 ? errno : 0, EFAULT);
	signal(SIGSEGV, SIG_DFL);
}

static void part_faults(void)
{
	struct sigaction old;
	catch_faults(0);
	sigaction(SIGSEGV, NULL, &old);
	CHECK("the handler that the program reads back", (uint64_t)old.sa_sigaction, (uint64_t)on_fault);
	CHECK("its mask", sigismember(&old.sa_mask, SIGUSR2), 1);
	CHECK("a null pointer", FAULTS(16, *(volatile int *)16), 1);
	CHECK("its code", fault_code, SEGV_MAPERR);
	int before = faults;
	WRITTEN("registers raise nothing", 2, (R32(WRITES) = 1, R32(WRITES) = 1));
	CHECK("the handler was not called", faults - before, 0);
	CHECK("a signal that was sent", FAULTS((uint64_t)getpid() | (uint64_t)getuid() << 32, raise(SIGSEGV)), 1);
	stack_t stack = {.ss_sp = malloc(1 << 16), .ss_size = 1 << 16};
	sigaltstack(&stack, NULL);
	catch_faults(SA_ONSTACK | SA_RESETHAND);
	CHECK("on another stack", FAULTS(32, *(volatile int *)32), 1);
	sigaction(SIGSEGV, NULL, &old);
	CHECK("SA_RESETHAND", (uint64_t)old.sa_handler, (uint64_t)SIG_DFL);
	WRITTEN("and registers after it", 1, R32(WRITES) = 1);
	signal(SIGSEGV, SIG_IGN);
	raise(SIGSEGV);
	signal(SIGSEGV, SIG_DFL);
	/* posix_spawn takes the parent's handlers from the child, which shares its memory till then. */
	catch_faults(0);
	pid_t child;
	char *nothing[] = {"true", NULL};
	if (posix_spawnp(&child, "true", NULL, NULL, nothing, NULL) == 0)
		child_status("true", child, 0);
	CHECK("the parent's handler is there still", FAULTS(48, *(volatile int *)48), 1);
	signal(SIGSEGV, SIG_DFL);
}

static void part_crashes(void)
{
	struct { const char *what; int signal; } kinds[] = {{"null", SIGSEGV}, {"sent", SIGSEGV}, {"ignored", SIGSEGV}, {"abort", SIGABRT}, {"off", SIGBUS}};
	for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		fflush(stdout);
		pid_t child = fork();
		if (child == 0) {
			R32(WRITES) = 1;
			if (i == 0)
				*(volatile int *)8 = 1;
			else if (i == 1)
				kill(getpid(), SIGSEGV);
			else if (i == 2)
				signal(SIGSEGV, SIG_IGN), *(volatile int *)8 = 1;
			else if (i == 3)
				abort();
			else {
				uint16_t off = 0;
				if (pwrite(device, &off, 2, ((off_t)VFIO_PCI_CONFIG_REGION_INDEX << 40) + 4) == 2)
					(void)R32(ID);
			}
			_exit(0);
		}
		int status;
		waitpid(child, &status, 0);
		CHECK(kinds[i].what, WIFSIGNALED(status) ? WTERMSIG(status) : 0, kinds[i].signal);
	}
	uint16_t on = 2;
	if (pwrite(device, &on, 2, ((off_t)VFIO_PCI_CONFIG_REGION_INDEX << 40) + 4) != 2)
		fail("pwrite");
	CHECK("memory on again", R32(ID), 0x10f1de51);
}

#if defined(__x86_64__)
/* An instruction that nobody uses for registers: the program ends at it. */
static void part_unknown(void)
{
	__asm__ volatile("cvtsi2sdl %0, %%xmm0" : : M32(ID) : "xmm0");
}
#endif

/* Writes until its standard input ends: a debugger may come and go meanwhile. */
static void part_long(void)
{
	struct pollfd input = {.fd = 0, .events = POLLIN};
	unsigned count = 0;
	printf("%d\n", getpid());
	WRITTEN("writes", count, while (poll(&input, 1, 1) == 0) (R32(WRITES) = 7, count++));
}

static const struct {
	const char *name;
	void (*run)(void);
	int only_named;
} parts[] = {
	{"kinds", part_kinds},
#if defined(__x86_64__)
	{"forms", part_forms}, {"vectors", part_vectors}, {"strings", part_strings},
	{"unknown", part_unknown, 1},
#endif
	{"threads", part_threads}, {"handlers", part_handlers}, {"processes", part_processes},
	{"mappings", part_mappings}, {"faults", part_faults}, {"crashes", part_crashes},
	{"long", part_long, 1},
};

int main(int count, char **words)
{
	if (count < 2) {
		fprintf(stderr, "usage: %s ADDRESS [PART…]\n", words[0]);
		return 101;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	arguments = words;
	address = words[1];
	open_device();
	bar = map(NULL, BAR_BYTES, PROT_READ | PROT_WRITE, 0, 0);
	for (unsigned i = 0; i < sizeof parts / sizeof *parts; i++) {
		int wanted = count == 2 && !parts[i].only_named;
		for (int word = 2; word < count; word++)
			wanted |= strcmp(words[word], parts[i].name) == 0;
		if (wanted)
			parts[i].run();
	}
	return wrong < 100 ? wrong : 100;
}
