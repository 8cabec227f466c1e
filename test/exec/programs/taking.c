/*
 * Takes memory away under live DMA mappings. Usage: taking BDF EVENT... For each event memory is
 * mapped at an IOVA of its own, the device reads it, the event takes it away, and the device reads
 * again. What cannot be tried here is said in a line.
 */
#define _GNU_SOURCE
#include "edu.h"
#include <linux/sched.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <signal.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

/** Bytes from one event's IOVA to the next one's. */
#define STEP 0x10000UL

static const char *event;
static char *memory;
static unsigned long pages = 1;
static int file = -1;

static int is(const char *name)
{
	return !strcmp(event, name);
}

static int begins(const char *name)
{
	return !strncmp(event, name, strlen(name));
}

static void *segment(int *id)
{
	*id = MUST(shmget(IPC_PRIVATE, PAGE, 0600));
	void *at = (void *)MUST(shmat(*id, NULL, 0));
	return at;
}

static void prepare(void)
{
	int id;

	if (begins("brk")) {
		unsigned long end = MUST(syscall(SYS_brk, 0));
		memory = (char *)((end + PAGE - 1) & -PAGE);
		EQUAL(syscall(SYS_brk, memory + PAGE), memory + PAGE);
	} else if (is("shmdt")) {
		memory = segment(&id);
		MUST(shmctl(id, IPC_RMID, NULL));
	} else if (is("ftruncate") || is("fallocate")) {
		file = MUST(memfd_create("taking", 0));
		MUST(ftruncate(file, 4 * PAGE));
		memory = (void *)MUST(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 2 * PAGE));
	} else if (is("madvise 9"))
		memory = (void *)MUST(mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
					   MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	else {
		pages = begins("mremap") ? 2 : 1;
		memory = anonymous((pages + 1) * PAGE);
		/* Nothing can grow where it is. */
		MUST(mprotect(memory + pages * PAGE, PAGE, PROT_NONE));
	}
	memset(memory, 0xaa, pages * PAGE);
}

static void end_child(int child)
{
	if (child == 0)
		_exit(0);
	MUST(waitpid(child, NULL, 0));
}

static int unmapping_child(void *unused)
{
	(void)unused;
	syscall(SYS_munmap, memory, PAGE);
	syscall(SYS_exit, 0);
	return 0;
}

static int userfaultfd(unsigned long long features)
{
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | 1);
	struct uffdio_api api = { .api = UFFD_API, .features = features };

	return fd < 0 || ioctl(fd, UFFDIO_API, &api) != 0 ? -1 : fd;
}

static int advise_self(int advice)
{
	struct iovec range = { memory, PAGE };
	int self = MUST(syscall(SYS_pidfd_open, getpid(), 0));

	return syscall(SYS_process_madvise, self, &range, 1, advice, 0) < 0;
}

/** 0: done; 1: it cannot be tried here. */
static int take(void)
{
	int id;

	if (is("none"))
		return 0;
	if (is("munmap"))
		MUST(munmap(memory, PAGE));
	else if (is("mmap fixed"))
		MUST(mmap(memory, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	else if (is("mprotect"))
		MUST(mprotect(memory, PAGE, PROT_READ));
	else if (is("pkey_mprotect"))
		MUST(syscall(SYS_pkey_mprotect, memory, PAGE, PROT_READ, -1));
	else if (is("brk"))
		EQUAL(syscall(SYS_brk, memory), memory);
	else if (is("brk grows"))
		EQUAL(syscall(SYS_brk, memory + 2 * PAGE), memory + 2 * PAGE);
	else if (is("shmdt"))
		MUST(shmdt(memory));
	else if (is("shmat")) {
		id = MUST(shmget(IPC_PRIVATE, PAGE, 0600));
		MUST(shmat(id, memory, SHM_REMAP));
		MUST(shmctl(id, IPC_RMID, NULL));
	} else if (is("fork"))
		end_child(MUST(fork()));
	else if (is("clone"))
		end_child(MUST(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0)));
	else if (is("clone3")) {
		struct clone_args args = { .exit_signal = SIGCHLD };
		int child = syscall(SYS_clone3, &args, sizeof(args));
		if (child == -1)
			return 1;
		end_child(child);
	} else if (is("vfork"))
		end_child(MUST(clone(unmapping_child, carrier + PAGE, CLONE_VM | CLONE_VFORK | SIGCHLD, NULL)));
	else if (is("mremap shrinks"))
		MUST(mremap(memory, 2 * PAGE, PAGE, 0));
	else if (is("mremap moves"))
		MUST(mremap(memory, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, anonymous(2 * PAGE)));
	else if (is("mremap leaves"))
		MUST(mremap(memory, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL));
	else if (is("mremap grows"))
		MUST(mremap(memory, 2 * PAGE, 4 * PAGE, MREMAP_MAYMOVE));
	else if (is("mremap over"))
		MUST(mremap(anonymous(2 * PAGE), 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, memory));
	else if (is("ftruncate"))
		MUST(ftruncate(file, PAGE));
	else if (is("fallocate"))
		MUST(fallocate(file, 3, 2 * PAGE, PAGE));
	else if (is("process_madvise"))
		return advise_self(21);
	else if (begins("madvise ")) {
		/* Of these two the host's memory would suffer: an address that is not of a page is enough. */
		int advice = atoi(event + 8), shift = advice == 100 || advice == 101;
		if (madvise(memory + shift, PAGE, advice) != 0 && errno != EINVAL && errno != EAGAIN)
			return 1;
	} else if (is("UFFDIO_MOVE")) {
		char *to = anonymous(PAGE);
		int fd = userfaultfd(1ULL << 16);
		struct uffdio_register area = { .range = { (uintptr_t)to, PAGE },
						.mode = UFFDIO_REGISTER_MODE_MISSING };
		/* struct uffdio_move, which older headers lack. */
		uint64_t move[5] = { (uintptr_t)to, (uintptr_t)memory, PAGE };
		if (fd < 0 || ioctl(fd, UFFDIO_REGISTER, &area) != 0)
			return 1;
		return ioctl(fd, _IOWR(0xAA, 5, move), move) != 0;
	} else if (is("UFFDIO_WRITEPROTECT")) {
		int fd = userfaultfd(UFFD_FEATURE_PAGEFAULT_FLAG_WP);
		struct uffdio_register area = { .range = { (uintptr_t)memory, PAGE },
						.mode = UFFDIO_REGISTER_MODE_WP };
		struct uffdio_writeprotect protect = { .range = { (uintptr_t)memory, PAGE },
						       .mode = UFFDIO_WRITEPROTECT_MODE_WP };
		if (fd < 0 || ioctl(fd, UFFDIO_REGISTER, &area) != 0)
			return 1;
		MUST(ioctl(fd, UFFDIO_WRITEPROTECT, &protect));
	} else
		fail("no such event: %s", event);
	return 0;
}

int main(int count, char **words)
{
	open_edu(words[1]);
	/* A stack for a child that shares the memory. */
	carrier = anonymous(PAGE);
	for (int word = 2; word < count; word++) {
		uint64_t iova = IOVA + (word - 2) * STEP;

		event = words[word];
		pages = 1;
		prepare();
		MUST(map(memory, iova, pages * PAGE, READ_WRITE));
		for (unsigned long page = 0; page < pages; page++)
			load(iova + page * PAGE, PAGE);
		if (take())
			printf("skip %s: %s\n", event, strerror(errno));
		/* What shrinks keeps its first page. */
		load(iova + (pages - 1) * PAGE, PAGE);
	}
	printf("ok\n");
	fflush(stdout);
	_exit(0);
}
