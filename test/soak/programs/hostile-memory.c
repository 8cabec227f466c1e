/* Attacks on memory: it comes and goes under DMA, or is brought by the program itself. */
#include "hostile.h"
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/syscall.h>

#define TAKEN_PAGES 64
#define TAKEN_IOVA 0x2000000UL
/* Far below all else: no other mmap of the program gets a hole here. */
#define TAKEN_AT ((char *)0x100000000000)

/* Takes pages away in every way while the device copies to and from them. */
void *attack_memory(void *argument)
{
	unsigned seed = (uintptr_t)argument;
	char *memory = TAKEN_AT;

	MUST((long)mmap(memory, TAKEN_PAGES * PAGE, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0));
	MUST(map_dma(edu.container, memory, TAKEN_IOVA, TAKEN_PAGES * PAGE,
		     VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE));
	while (!over) {
		uint32_t count = 1 + below(&seed, 4), first = below(&seed, TAKEN_PAGES - count);
		char *page = memory + first * PAGE;
		size_t size = count * PAGE;

		switch (below(&seed, 7)) {
		case 0:
			MUST(madvise(page, size, MADV_DONTNEED));
			break;
		case 1:
			MUST(mprotect(page, size, below(&seed, 2) ? PROT_READ : PROT_NONE));
			edu_copy(TAKEN_IOVA + first * PAGE, TAKEN_IOVA + first * PAGE);
			MUST(mprotect(page, size, PROT_READ | PROT_WRITE));
			break;
		case 2:
			MUST(munmap(page, size));
			edu_copy(TAKEN_IOVA + first * PAGE, TAKEN_IOVA + below(&seed, TAKEN_PAGES) * PAGE);
			/* fall through */
		case 3:
			MUST((long)mmap(page, size, PROT_READ | PROT_WRITE,
					MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
			break;
		case 4:
			MUST(madvise(page, size, MADV_FREE));
			break;
		case 5:
			memset(page, 1, size);
			break;
		default:
			edu_copy(TAKEN_IOVA + below(&seed, TAKEN_PAGES) * PAGE, TAKEN_IOVA + first * PAGE);
		}
	}
	return NULL;
}

#define BROUGHT_PAGES 16
#define BROUGHT_IOVA 0x3000000UL
static char *brought;
static int userfault;

/* Brings each missing page: all bytes of page N are N + 1. */
static void *bring(void *argument)
{
	char *source = pages(1);

	(void)argument;
	while (!over) {
		struct pollfd ready = { userfault, POLLIN, 0 };
		struct uffd_msg message;

		if (poll(&ready, 1, 20) <= 0 || read(userfault, &message, sizeof(message)) < 0)
			continue;
		uint64_t at = message.arg.pagefault.address & -PAGE;
		struct uffdio_copy copy = { at, (uintptr_t)source, PAGE, 0, 0 };

		memset(source, 1 + (at - (uintptr_t)brought) / PAGE, PAGE);
		while (ioctl(userfault, UFFDIO_COPY, &copy) && (errno == EAGAIN || errno == EINTR))
			copy.copy = 0;
	}
	/* Who still waits is let go. */
	close(userfault);
	return NULL;
}

/* The device reads pages that only another thread of the program can bring. */
void *attack_userfault(void *argument)
{
	unsigned seed = (uintptr_t)argument;
	struct uffdio_api api = { UFFD_API, 0, 0 };
	char *target = pages(1);
	sigset_t signals;
	pthread_t other;

	userfault = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (userfault < 0)
		return NULL; /* the host allows none */
	brought = pages(BROUGHT_PAGES);
	MUST(ioctl(userfault, UFFDIO_API, &api));
	struct uffdio_register area = { { (uintptr_t)brought, BROUGHT_PAGES * PAGE },
					UFFDIO_REGISTER_MODE_MISSING, 0 };
	MUST(ioctl(userfault, UFFDIO_REGISTER, &area));
	/* Who brings a page must not touch registers before (docs/limits.md), as on_signal may. */
	sigemptyset(&signals);
	sigaddset(&signals, SIGALRM);
	MUST(pthread_sigmask(SIG_BLOCK, &signals, NULL));
	begin_thread(&other, bring, NULL);
	MUST(pthread_sigmask(SIG_UNBLOCK, &signals, NULL));
	MUST(map_dma(edu.container, brought, BROUGHT_IOVA, BROUGHT_PAGES * PAGE,
		     VFIO_DMA_MAP_FLAG_READ));
	MUST(map_dma(edu.container, target, BROUGHT_IOVA + BROUGHT_PAGES * PAGE, PAGE,
		     VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE));
	for (int round = 0; !over; round++) {
		uint32_t page = below(&seed, BROUGHT_PAGES);

		if (below(&seed, 2))
			MUST(madvise(brought + page * PAGE, PAGE, MADV_DONTNEED));
		memset(target, 0, PAGE);
		edu_copy(BROUGHT_IOVA + page * PAGE, BROUGHT_IOVA + BROUGHT_PAGES * PAGE);
		for (unsigned at = 0; at < PAGE && !over; at++)
			if (target[at] != (char)(page + 1))
				wrong("wrong byte: %u of page %u by userfaultfd is %d in copy %d", at, page,
				      target[at], round);
	}
	pthread_join(other, NULL);
	return NULL;
}
