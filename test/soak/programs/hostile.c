/*
 * A VFIO program that attacks what serves it, while a device copies its memory and each byte is
 * checked. Usage: hostile SEED MILLISECONDS [ATTACK…]. Prints "ok" and exits with 7, or says what
 * is wrong and exits with 1.
 */
#include "hostile.h"
#include <stdarg.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

volatile int over;
int plant_leak;
volatile uint32_t *_Atomic handler_register;
struct vfio edu;
static pthread_mutex_t edu_lock = PTHREAD_MUTEX_INITIALIZER;
static int plant_wrong_byte, ends_early;
static unsigned first_seed;
static long milliseconds;

void wrong(const char *format, ...)
{
	int number = errno;
	char text[512];
	va_list list;

	va_start(list, format);
	int length = vsnprintf(text, sizeof(text) - 64, format, list);
	va_end(list);
	length += snprintf(text + length, 64, " (errno %d %s)\n", number, strerror(number));
	if (write(1, text, length) < 0)
		_exit(3);
	_exit(1);
}

void begin_thread(pthread_t *thread, void *(*run)(void *), void *argument)
{
	errno = pthread_create(thread, NULL, run, argument);
	if (errno != 0)
		wrong("pthread_create");
}

struct vfio open_vfio(const char *address)
{
	struct vfio vfio;
	char path[128], link[256];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu_group", address);
	link[MUST(readlink(path, link, sizeof(link) - 1))] = 0;
	snprintf(path, sizeof(path), "/dev/vfio/%s", strrchr(link, '/') + 1);
	vfio.container = MUST(open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC));
	vfio.group = MUST(open(path, O_RDWR | O_CLOEXEC));
	MUST(ioctl(vfio.group, VFIO_GROUP_SET_CONTAINER, &vfio.container));
	MUST(ioctl(vfio.container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU));
	vfio.device = MUST(ioctl(vfio.group, VFIO_GROUP_GET_DEVICE_FD, address));
	uint16_t command = 6;
	MUST(pwrite(vfio.device, &command, 2, REGION(CONFIG) + 4));
	return vfio;
}

int map_dma(int container, void *memory, uint64_t iova, size_t size, uint32_t flags)
{
	struct vfio_iommu_type1_dma_map map = { sizeof(map), flags, (uintptr_t)memory, iova, size };

	return ioctl(container, VFIO_IOMMU_MAP_DMA, &map);
}

void *pages(size_t count)
{
	void *memory = mmap(NULL, count * PAGE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		wrong("mmap");
	return memory;
}

static void edu_step(uint64_t from, uint64_t to, uint32_t command)
{
	uint64_t count = PAGE;

	MUST(pwrite(edu.device, &from, 8, REGION(0) + 0x80));
	MUST(pwrite(edu.device, &to, 8, REGION(0) + 0x88));
	MUST(pwrite(edu.device, &count, 8, REGION(0) + 0x90));
	MUST(pwrite(edu.device, &command, 4, REGION(0) + 0x98));
	/* A page that the program itself brings takes its time. */
	do
		MUST(pread(edu.device, &command, 4, REGION(0) + 0x98));
	while (command & 1);
}

void edu_copy(uint64_t from, uint64_t to)
{
	pthread_mutex_lock(&edu_lock);
	edu_step(from, 0x40000, 1);
	edu_step(0x40000, to, 3);
	pthread_mutex_unlock(&edu_lock);
}

static void on_signal(int number)
{
	volatile uint32_t *at = handler_register;

	(void)number;
	if (at == NULL)
		return;
	*at = 0x5a5a5a5a;
	if (*at != 0x5a5a5a5a)
		wrong("a register loads 0x%x in a signal handler", *at);
}

/* 10,000 signals a second, to whichever thread. */
static void *attack_signals(void *argument)
{
	struct itimerval timer = { { 0, 100 }, { 0, 100 } };

	(void)argument;
	MUST(setitimer(ITIMER_REAL, &timer, NULL));
	return NULL;
}

/* Ends the program in one of its ways, in the middle of everything. */
static void *attack_end(void *argument)
{
	unsigned seed = (uintptr_t)argument;
	char *nothing[] = { "sh", "-c", "exit 9", NULL };

	usleep(1000 * below(&seed, milliseconds + 1));
	switch (below(&seed, 5)) {
	case 0:
		kill(getpid(), SIGKILL);
		break;
	case 1:
		raise(SIGABRT);
		break;
	case 2:
		syscall(SYS_exit_group, 9);
		break;
	case 3:
		munmap((void *)((uintptr_t)&seed & -PAGE), PAGE);
		break;
	default:
		/* The timer of attack_signals outlives an exec, its handler does not. */
		signal(SIGALRM, SIG_IGN);
		execv("/bin/sh", nothing);
	}
	return NULL;
}

#define KEPT_PAGES 32
#define KEPT_IOVA 0x1000000UL

/* The device copies pages; what arrives is what was sent. */
static void *keep(void *argument)
{
	unsigned seed = (uintptr_t)argument;
	char *memory = pages(KEPT_PAGES);
	struct timespec now;
	long end, rounds = 0;

	MUST(map_dma(edu.container, memory, KEPT_IOVA, KEPT_PAGES * PAGE,
		     VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE));
	clock_gettime(CLOCK_MONOTONIC, &now);
	end = now.tv_sec * 1000 + now.tv_nsec / 1000000 + milliseconds;
	do {
		uint32_t from = below(&seed, KEPT_PAGES), to = below(&seed, KEPT_PAGES);
		char value = below(&seed, 256);

		memset(memory + from * PAGE, value, PAGE);
		if (below(&seed, 4) == 0)
			MUST(madvise(memory + to * PAGE, PAGE, to == from ? MADV_NORMAL : MADV_DONTNEED));
		edu_copy(KEPT_IOVA + from * PAGE, KEPT_IOVA + to * PAGE);
		if (plant_wrong_byte && rounds == 3)
			memory[to * PAGE + 1234] ^= 1;
		for (unsigned at = 0; at < PAGE; at++)
			if (memory[to * PAGE + at] != value)
				wrong("wrong byte: %u of page %u is %d, not %d, in copy %ld", at, to,
				      memory[to * PAGE + at], value, rounds);
		rounds++;
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (now.tv_sec * 1000 + now.tv_nsec / 1000000 < end || rounds < 5);
	return NULL;
}

static const struct {
	const char *name;
	void *(*run)(void *seed);
} attacks[] = {
	{ "ioctls", attack_ioctls },	       { "nvme", attack_nvme },
	{ "memory", attack_memory },	       { "forks", attack_forks },
	{ "descriptors", attack_descriptors }, { "registers", attack_registers },
	{ "userfault", attack_userfault },     { "signals", attack_signals },
	{ "end", attack_end },
};
#define ATTACKS (sizeof(attacks) / sizeof(*attacks))

static pthread_t running[64];
static unsigned started;

/* All but the attacks: in the main thread, or in another one after the main thread's end. */
static void *work(void *argument)
{
	(void)argument;
	keep((void *)(uintptr_t)first_seed);
	over = 1;
	struct itimerval none = { 0 };
	MUST(setitimer(ITIMER_REAL, &none, NULL));
	for (unsigned index = 0; index < started; index++)
		pthread_join(running[index], NULL);
	if (ends_early) {
		/* The end may come late, and is then not ours to wait for. */
		_exit(9);
	}
	MUST(write(1, "ok\n", 3));
	_exit(7);
}

int main(int argc, char **argv)
{
	int leader_ends = 0, restart = 1;
	pthread_t worker;

	if (argc < 3)
		return 2;
	first_seed = strtoul(argv[1], NULL, 0);
	milliseconds = atol(argv[2]);
	for (int at = 3; at < argc; at++) {
		leader_ends |= !strcmp(argv[at], "leader");
		restart &= !!strcmp(argv[at], "interrupt");
		plant_wrong_byte |= !strcmp(argv[at], "canary-byte");
		plant_leak |= !strcmp(argv[at], "canary-descriptors");
		ends_early |= !strcmp(argv[at], "end");
		if (!strcmp(argv[at], "canary-hang"))
			for (;;)
				pause();
	}
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = restart ? SA_RESTART : 0 };
	sigaction(SIGALRM, &action, NULL);
	edu = open_vfio(EDU);
	for (int at = 3; at < argc; at++)
		for (unsigned index = 0; index < ATTACKS; index++)
			if (!strcmp(argv[at], attacks[index].name) && started < 64)
				begin_thread(&running[started++], attacks[index].run,
					     (void *)(uintptr_t)(first_seed + at));
	if (!leader_ends)
		work(NULL);
	begin_thread(&worker, work, NULL);
	pthread_exit(NULL);
}
