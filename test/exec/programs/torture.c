/*
 * A VFIO program that does what programs do. Usage: torture MODE BDF; prints "ok" and exits 7, or
 * says what is wrong.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096UL
#define REGION(index) ((off_t)(index) << 40)
#define CONFIG 7
#ifndef MAPPINGS
#define MAPPINGS 2000 /* fewer where a guest is slow */
#endif

static int container, group, device;

static void fail(const char *format, ...)
{
	va_list list;

	va_start(list, format);
	vprintf(format, list);
	va_end(list);
	printf(" (errno %d %s)\n", errno, strerror(errno));
	fflush(stdout);
	_exit(1);
}

#define MUST(what) ({ long result_ = (long)(what); if (result_ == -1) fail("%s:%d: %s", __func__, __LINE__, #what); result_; })
#define REFUSED(what, number) do { errno = 0; if ((long)(what) != -1 || errno != (number)) fail("%s:%d: %s should fail with %d", __func__, __LINE__, #what, number); } while (0)

static int open_group(const char *address)
{
	char path[128], link[256];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu_group", address);
	link[MUST(readlink(path, link, sizeof(link) - 1))] = 0;
	snprintf(path, sizeof(path), "/dev/vfio/%s", strrchr(link, '/') + 1);
	return open(path, O_RDWR | O_CLOEXEC);
}

static void set_up(const char *address)
{
	container = MUST(open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC));
	group = MUST(open_group(address));
	MUST(ioctl(group, VFIO_GROUP_SET_CONTAINER, &container));
	MUST(ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU));
	device = MUST(ioctl(group, VFIO_GROUP_GET_DEVICE_FD, address));
}

static int map(void *memory, uint64_t iova, size_t size)
{
	struct vfio_iommu_type1_dma_map map = { sizeof(map),
						VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
						(uintptr_t)memory, iova, size };

	return ioctl(container, VFIO_IOMMU_MAP_DMA, &map);
}

static int unmap(uint64_t iova, size_t size)
{
	struct vfio_iommu_type1_dma_unmap unmap = { sizeof(unmap), 0, iova, size };

	return ioctl(container, VFIO_IOMMU_UNMAP_DMA, &unmap) ? -1 : (int)(unmap.size / PAGE);
}

static void *pages(size_t count)
{
	void *memory = mmap(NULL, count * PAGE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		fail("mmap");
	return memory;
}

#define STRESS_PAGES 256
#define STRESS_IOVA 0x1000000UL
static volatile int stressed;
static char *stress_memory;

static void dma(uint64_t from, uint64_t to, uint32_t command)
{
	uint64_t count = PAGE;

	MUST(pwrite(device, &from, 8, REGION(0) + 0x80));
	MUST(pwrite(device, &to, 8, REGION(0) + 0x88));
	MUST(pwrite(device, &count, 8, REGION(0) + 0x90));
	MUST(pwrite(device, &command, 4, REGION(0) + 0x98));
}

static volatile int ticks;

static void tick(int number)
{
	(void)number;
	ticks++;
}

/*
 * Under a 1 kHz timer with SA_RESTART each call happens exactly once: a second MAP would be EEXIST,
 * a second UNMAP 0 pages.
 */
static void signals(const char *address)
{
	struct sigaction action = { .sa_handler = tick, .sa_flags = SA_RESTART };
	struct itimerval timer = { { 0, 1000 }, { 0, 1000 } };

	set_up(address);
	char *memory = pages(1);
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
	for (int round = 0; round < 10 * MAPPINGS; round++) {
		if (map(memory, round * PAGE, PAGE))
			fail("map %d", round);
		if (unmap(round * PAGE, PAGE) != 1)
			fail("unmap %d", round);
	}
	if (ticks == 0)
		fail("no signal came");
}

static void *mapper(void *argument)
{
	uintptr_t index = (uintptr_t)argument;
	uint64_t base = (index + 1) << 30;

	for (int round = 0; round < MAPPINGS; round++) {
		char *memory = pages(2);
		if (map(memory, base, 2 * PAGE))
			fail("thread %lu: map", index);
		if (round % 3 == 0)
			munmap(memory, 2 * PAGE);
		if (unmap(base, 2 * PAGE) != 2)
			fail("thread %lu: unmap", index);
		if (round % 3 != 0)
			munmap(memory, 2 * PAGE);
		int other = open("/dev/vfio/vfio", O_RDWR);
		if (other < 0 || ioctl(other, VFIO_GET_API_VERSION) != VFIO_API_VERSION)
			fail("thread %lu: second container", index);
		close(other);
	}
	return NULL;
}

/* Several threads map, unmap and open at once. */
static void threads(const char *address)
{
	pthread_t all[4];

	set_up(address);
	for (uintptr_t index = 0; index < 4; index++)
		pthread_create(&all[index], NULL, mapper, (void *)index);
	for (int index = 0; index < 4; index++)
		pthread_join(all[index], NULL);
}

/* A child uses the inherited descriptors and holds the group when the parent has closed them. */
static void forks(const char *address)
{
	int go[2], status;

	set_up(address);
	MUST(pipe(go));
	pid_t child = fork();
	if (child == 0) {
		char *memory = pages(1);
		char byte;

		MUST(map(memory, 0, PAGE));
		MUST(read(go[0], &byte, 1));
		if (unmap(0, PAGE) != 1)
			fail("unmap in the child");
		_exit(5);
	}
	close(device);
	close(container);
	close(group);
	REFUSED(open_group(address), EBUSY);
	MUST(write(go[1], "x", 1));
	MUST(waitpid(child, &status, 0));
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 5)
		fail("child ended with 0x%x", status);
	MUST(open_group(address));
}

/*
 * Close-on-exec closes VFIO's descriptors like any others, a failed execve closes nothing, and a
 * new program may take the device.
 */
static void execs(const char *address)
{
	char *none[] = { "none", NULL };

	set_up(address);
	char *memory = pages(1);
	MUST(map(memory, 0, PAGE));
	REFUSED(execv("/nonexistent/program", none), ENOENT);
	if (unmap(0, PAGE) != 1)
		fail("the mapping is gone after a failed execve");
	char *again[] = { "torture", "basic", (char *)address, NULL };
	execv("/proc/self/exe", again);
	fail("execv");
}

/* "Close everything" closes ours too, in whatever way; afterwards the group is free. */
static void close_all(const char *address)
{
	set_up(address);
	for (int fd = 3; fd < 1024; fd++)
		close(fd);
	REFUSED(ioctl(container, VFIO_GET_API_VERSION), EBADF);
	set_up(address);
	MUST(syscall(__NR_close_range, 3, ~0U, 0));
	REFUSED(ioctl(container, VFIO_GET_API_VERSION), EBADF);
	set_up(address);
	if (unmap(0, PAGE) != 0)
		fail("unmap");
}

/* Duplicates are the same file; the last one closes it. */
static void duplicates(const char *address)
{
	uint16_t vendor = 0;

	set_up(address);
	int copies[] = { MUST(dup(device)), MUST(fcntl(device, F_DUPFD_CLOEXEC, 3)),
			 MUST(dup2(device, 200)) };
	close(device);
	for (unsigned index = 0; index < 3; index++) {
		struct vfio_device_info info = { .argsz = sizeof(info) };

		MUST(ioctl(copies[index], VFIO_DEVICE_GET_INFO, &info));
		if (info.num_regions != VFIO_PCI_NUM_REGIONS)
			fail("%u regions", info.num_regions);
	}
	if (MUST(pread(copies[0], &vendor, 2, REGION(CONFIG))) != 2 || vendor != 0x1234)
		fail("vendor 0x%x", vendor);
	close(copies[0]);
	close(copies[1]);
	close(group);
	close(container);
	REFUSED(open_group(address), EBUSY);
	close(copies[2]);
	MUST(open_group(address));
}

/* A mapped BAR keeps its device, and so the group, open. */
static void mapped_bar(const char *address)
{
	set_up(address);
	volatile uint32_t *bar = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, device, REGION(0));
	if (bar == MAP_FAILED)
		fail("mmap of BAR 0");
	REFUSED(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, device, REGION(CONFIG)), EINVAL);
	REFUSED(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, device, REGION(0)), EINVAL);
	close(device);
	close(container);
	close(group);
	REFUSED(open_group(address), EBUSY);
	if ((bar[0] & 0xffff) != 0x00ed)
		fail("identification 0x%x", bar[0]);
	munmap((void *)bar, PAGE);
	MUST(open_group(address));
}

/* Pointers that lead nowhere are EFAULT, and leave things as they were. */
static void bad_pointers(const char *address)
{
	void *const bad[] = { (void *)8, (void *)0x7fffffffe000, (void *)-4096L,
			      (void *)0xffff888000000000 };

	set_up(address);
	for (unsigned index = 0; index < 4; index++) {
		REFUSED(ioctl(container, VFIO_IOMMU_MAP_DMA, bad[index]), EFAULT);
		REFUSED(ioctl(container, VFIO_IOMMU_UNMAP_DMA, bad[index]), EFAULT);
		REFUSED(ioctl(container, VFIO_IOMMU_GET_INFO, bad[index]), EFAULT);
		REFUSED(ioctl(group, VFIO_GROUP_SET_CONTAINER, bad[index]), EFAULT);
		REFUSED(ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bad[index]), EFAULT);
		REFUSED(ioctl(device, VFIO_DEVICE_GET_INFO, bad[index]), EFAULT);
		REFUSED(ioctl(device, VFIO_DEVICE_SET_IRQS, bad[index]), EFAULT);
		REFUSED(pread(device, bad[index], 4, REGION(CONFIG)), EFAULT);
		REFUSED(pwrite(device, bad[index], 2, REGION(CONFIG) + 4), EFAULT);
		REFUSED(open(bad[index], O_RDWR), EFAULT);
	}
	/* An argument that ends at the end of its memory is read no further. */
	char *edge = pages(2);
	MUST(mprotect(edge + PAGE, PAGE, PROT_NONE));
	struct vfio_group_status *status = (void *)(edge + PAGE - sizeof(*status));
	status->argsz = sizeof(*status);
	MUST(ioctl(group, VFIO_GROUP_GET_STATUS, status));
	REFUSED(ioctl(group, VFIO_GROUP_GET_STATUS, edge + PAGE - 4), EFAULT);
}

/* Names that lead through the shadow's directories to the host, or are too long, work as ever. */
static void paths(const char *address)
{
	char name[4200] = "/dev/vfio/../vfio/";
	struct stat status;
	char link[64];

	(void)address;
	memset(name + strlen(name), 'a', 4070);
	if (stat(name, &status) != -1)
		fail("a name that is too long");
	strcpy(name, "/dev/vfio/../");
	memset(name + strlen(name), 0xff, 3000);
	name[13 + 3000] = 0;
	REFUSED(stat(name, &status), ENAMETOOLONG);
	MUST(stat("/dev/vfio/../null", &status));
	if (!S_ISCHR(status.st_mode))
		fail("/dev/null is 0%o", status.st_mode);
	REFUSED(stat("/dev/vfio/../no-such-file", &status), ENOENT);
	REFUSED(stat("/dev/vfio/no-such-file", &status), ENOENT);
	REFUSED(open("/dev/vfio/no-such-file", O_RDONLY), ENOENT);
	REFUSED(readlink("/dev/vfio/vfio", link, sizeof(link)), EINVAL);
	REFUSED(open("/sys/bus/pci/drivers/vfio-pci/bind", O_WRONLY), EACCES);
	MUST(open("/dev/vfio/../../etc/passwd", O_RDONLY));
	MUST(open("/dev/vfio/..", O_RDONLY | O_DIRECTORY));
	/* Of this process: others may try the same. */
	snprintf(name, sizeof(name), "/dev/vfio/../../tmp/torture-fifo-%d", getpid());
	const char *plain = strstr(name, "/tmp/");
	MUST(mkfifo(plain, 0600));
	int fifo = open(name, O_RDONLY | O_NONBLOCK);
	unlink(plain);
	if (fifo < 0 && errno != EACCES)
		fail("a fifo of the host");
}

/*
 * Asking for the status of a child that is gone is the kernel's to answer, also where the child had
 * memory accounted.
 */
static void child_status(const char *address)
{
	char path[64];
	int done[2], status;

	set_up(address);
	for (int round = 0; round < 50; round++) {
		MUST(pipe(done));
		pid_t child = fork();
		if (child == 0) {
			char *memory = pages(1);

			MUST(map(memory, round * PAGE, PAGE));
			MUST(write(done[1], "x", 1));
			pause();
		}
		MUST(read(done[0], path, 1));
		kill(child, SIGKILL);
		MUST(waitpid(child, &status, 0));
		snprintf(path, sizeof(path), "/proc/%d/status", child);
		REFUSED(open(path, O_RDONLY), ENOENT);
		close(done[0]);
		close(done[1]);
	}
}

/* Vectors, positions and numbers as the VFS has them. */
/* A number that is used again means what it was given last. */
static void numbers(const char *address)
{
	struct vfio_device_info info = { .argsz = sizeof(info) };
	uint32_t word = 0;
	int null = MUST(open("/dev/null", O_RDWR));

	set_up(address);
	int low = MUST(fcntl(null, F_DUPFD, 3)), high = MUST(dup(device));
	MUST(dup2(device, low));
	for (int index = 0; index < 2; index++) {
		int number = index == 0 ? low : high;

		MUST(ioctl(number, VFIO_DEVICE_GET_INFO, &info));
		MUST(close(number));
		REFUSED(ioctl(number, VFIO_DEVICE_GET_INFO, &info), EBADF);
		MUST(dup2(null, number));
		REFUSED(ioctl(number, VFIO_DEVICE_GET_INFO, &info), ENOTTY);
		MUST(dup2(device, number));
		MUST(ioctl(number, VFIO_DEVICE_GET_INFO, &info));
		MUST(close(number));
	}
	int kept = MUST(fcntl(device, F_DUPFD, 3)), lost = MUST(fcntl(device, F_DUPFD_CLOEXEC, 3));
	if (fcntl(kept, F_GETFD) != 0 || fcntl(lost, F_GETFD) != FD_CLOEXEC)
		fail("FD_CLOEXEC of duplicates");
	close(kept);
	close(lost);
	/* A read with an offset, which may be 0, leaves the position. */
	MUST(pread(device, &word, 4, 0));
	MUST(read(device, &word, 4));
	if (word != 0x010000ed)
		fail("read behind pread: %x", word);
	/* The device is released by the time of the next call. */
	close(device);
	MUST(ioctl(group, VFIO_GROUP_UNSET_CONTAINER));
}

static void vectors(const char *address)
{
	uint32_t first = 0, second = 0;
	struct iovec two[] = { { &first, 2 }, { &second, 2 } },
		     bad[] = { { &first, 2 }, { (void *)8, 2 } },
		     huge[] = { { &first, (size_t)1 << 63 } };

	set_up(address);
	if (MUST(preadv(device, two, 2, REGION(CONFIG))) != 4 || first != 0x1234 || second != 0x11e8)
		fail("preadv: %x %x", first, second);
	first = second = 0;
	if (MUST(preadv2(device, two, 2, REGION(CONFIG), 0)) != 4 || first != 0x1234)
		fail("preadv2: %x", first);
	if (MUST(preadv(device, bad, 2, REGION(CONFIG))) != 2)
		fail("preadv with a bad second vector");
	REFUSED(preadv(device, huge, 1, REGION(CONFIG)), EINVAL);
	REFUSED(pread(device, &first, 4, -1), EINVAL);
	/* read(2) goes on where it stopped: BAR 0's identification, then its liveness register. */
	MUST(read(device, &first, 4));
	MUST(read(device, &second, 4));
	if (first != 0x010000ed || second == first)
		fail("read: %x %x", first, second);
	REFUSED(fcntl(device, F_DUPFD, -1), EINVAL);
	REFUSED(lseek(device, 0, SEEK_SET), ESPIPE);
}

static void *idle(void *argument)
{
	return argument;
}

/* Threads come and go, and nothing is taken away. */
static void idle_threads(const char *address)
{
	uint16_t command = 6;
	pthread_t thread;

	set_up(address);
	MUST(pwrite(device, &command, 2, REGION(CONFIG) + 4));
	stress_memory = pages(1);
	memset(stress_memory, 1, PAGE);
	MUST(map(stress_memory, 0x1000000, PAGE));
	for (int index = 0; index < 20; index++) {
		dma(0x1000000, 0x40000, 1);
		pthread_create(&thread, NULL, idle, NULL);
		pthread_join(thread, NULL);
	}
}

/* A descriptor limit that leaves no room above our numbers is EMFILE, not a crash. */
static void low_limit(const char *address)
{
	struct rlimit limit = { 64, 64 };

	(void)address;
	MUST(setrlimit(RLIMIT_NOFILE, &limit));
	REFUSED(open("/dev/vfio/vfio", O_RDWR), EMFILE);
}

static int set_msi(int eventfd)
{
	struct {
		struct vfio_irq_set set;
		int32_t fd;
	} irq = { { sizeof(irq), VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
		    VFIO_PCI_MSI_IRQ_INDEX, 0, 1 }, eventfd };

	return ioctl(device, VFIO_DEVICE_SET_IRQS, &irq);
}

/* The device raises its MSI, and it arrives at the eventfd. */
static void await_msi(int eventfd)
{
	uint32_t raise = 1;
	uint64_t count = 0;

	MUST(pwrite(device, &raise, 4, REGION(0) + 0x60));
	MUST(read(eventfd, &count, 8));
	if (count != 1)
		fail("count %lu", count);
}

/* MSI arrives at an eventfd. */
static void interrupt(const char *address)
{
	int fd;

	set_up(address);
	fd = MUST(eventfd(0, 0));
	MUST(set_msi(fd));
	await_msi(fd);
}

/* One that the parent made, and one that was made before thousands of others. */
static void old_eventfds(const char *address)
{
	int status, first = MUST(eventfd(0, 0));

	for (int count = 0; count < 3000; count++)
		MUST(close(MUST(eventfd(0, 0))));
	if (MUST(fork()) == 0) {
		set_up(address);
		MUST(set_msi(first));
		await_msi(first);
		exit(0);
	}
	MUST(wait(&status));
	if (status)
		fail("the child ended with %x", status);
}

/* An eventfd that comes over the socket 9, from outside of the run. */
static void given_eventfd(const char *address)
{
	char byte, control[CMSG_SPACE(sizeof(int))];
	struct iovec vector = { &byte, 1 };
	struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control,
				  .msg_controllen = sizeof(control) };
	int fd;

	MUST(recvmsg(9, &message, 0));
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
	set_up(address);
	if (set_msi(fd) == 0)
		await_msi(fd);
	else
		printf("%s\n", strerrorname_np(errno));
}

/* What the host says to calls that containers are denied, with arguments that mean nothing. */
static void rights(const char *address)
{
	(void)address;
	for (int call = 0; call < 3; call++) {
		const int numbers[] = { SYS_pidfd_getfd, SYS_process_madvise, SYS_unshare };

		syscall(numbers[call], -1, 0, 0, 0, 0);
		printf("%s\n", strerrorname_np(errno));
	}
}

/*
 * INTx is level: it fires once and masks itself until its resample eventfd is signalled, or the
 * device is quiet.
 */
static void resample(const char *address)
{
	struct {
		struct vfio_irq_set set;
		int32_t fd;
	} trigger = { { sizeof(trigger), VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
			VFIO_PCI_INTX_IRQ_INDEX, 0, 1 }, 0 },
	  unmask = { { sizeof(unmask), VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_UNMASK,
		       VFIO_PCI_INTX_IRQ_INDEX, 0, 1 }, 0 };
	uint32_t raise = 1;
	uint64_t count = 0, one = 1;

	set_up(address);
	trigger.fd = MUST(eventfd(0, EFD_NONBLOCK));
	unmask.fd = MUST(eventfd(0, 0));
	MUST(ioctl(device, VFIO_DEVICE_SET_IRQS, &trigger));
	MUST(ioctl(device, VFIO_DEVICE_SET_IRQS, &unmask));
	MUST(pwrite(device, &raise, 4, REGION(0) + 0x60));
	MUST(read(trigger.fd, &count, 8));
	if (count != 1)
		fail("count %lu", count);
	REFUSED(read(trigger.fd, &count, 8), EAGAIN);
	MUST(write(unmask.fd, &one, 8));
	for (int tries = 0; read(trigger.fd, &count, 8) != 8; tries++) {
		if (tries == 1000)
			fail("the level was not sampled again");
		usleep(1000);
	}
	MUST(pwrite(device, &raise, 4, REGION(0) + 0x64));
	MUST(write(unmask.fd, &one, 8));
	usleep(20000);
	REFUSED(read(trigger.fd, &count, 8), EAGAIN);
}

/* Takes odd pages away in every way, all the time; each of two threads has every other one. */
static void *taker(void *argument)
{
	unsigned who = (uintptr_t)argument, seed = who;

	while (!stressed) {
		char *page = stress_memory + (rand_r(&seed) % (STRESS_PAGES / 4) * 4 + 1 + 2 * who) * PAGE;

		switch (rand_r(&seed) % 5) {
		case 0:
			MUST(madvise(page, PAGE, MADV_DONTNEED));
			break;
		case 1:
			MUST(mprotect(page, PAGE, PROT_READ));
			MUST(mprotect(page, PAGE, PROT_READ | PROT_WRITE));
			break;
		case 2:
			if (mmap(page, PAGE, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != page)
				fail("mmap fixed");
			break;
		case 3:
			MUST(munmap(page, PAGE));
			if (mmap(page, PAGE, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != page)
				fail("mmap into the hole");
			break;
		default:
			page[0] = 1;
		}
	}
	return NULL;
}

static void *forker(void *argument)
{
	(void)argument;
	while (!stressed) {
		pid_t child = fork();
		int status;

		if (child == 0)
			_exit(0);
		MUST(waitpid(child, &status, 0));
		usleep(1000);
	}
	return NULL;
}

/*
 * The device copies between even pages, byte by byte right, while odd pages of the same mapping
 * come and go and children fork. STRESS_SECONDS in the environment makes it go on for so long.
 */
static void stress(const char *address)
{
	pthread_t all[3];
	uint16_t command = 6;
	unsigned seed = 1;

	set_up(address);
	MUST(pwrite(device, &command, 2, REGION(CONFIG) + 4));
	stress_memory = pages(STRESS_PAGES);
	MUST(map(stress_memory, STRESS_IOVA, STRESS_PAGES * PAGE));
	pthread_create(&all[0], NULL, taker, (void *)0);
	pthread_create(&all[1], NULL, taker, (void *)1);
	pthread_create(&all[2], NULL, forker, NULL);
	const char *seconds = getenv("STRESS_SECONDS");
	time_t end = time(NULL) + (seconds ? atoi(seconds) : 0);
	for (int round = 0; round < MAPPINGS || time(NULL) < end; round++) {
		unsigned from = rand_r(&seed) % (STRESS_PAGES / 2) * 2;
		unsigned to = rand_r(&seed) % (STRESS_PAGES / 2) * 2;

		memset(stress_memory + from * PAGE, round, PAGE);
		dma(STRESS_IOVA + from * PAGE, 0x40000, 1);
		dma(0x40000, STRESS_IOVA + to * PAGE, 3);
		for (unsigned at = 0; at < PAGE; at++)
			if (stress_memory[to * PAGE + at] != (char)round)
				fail("round %d: byte %u is %d", round, at, stress_memory[to * PAGE + at]);
		/* And onto pages that come and go, where nothing can be said but that we survive. */
		dma(0x40000, STRESS_IOVA + (to + 1) * PAGE, 3);
	}
	stressed = 1;
	for (int index = 0; index < 3; index++)
		pthread_join(all[index], NULL);
	if (unmap(STRESS_IOVA, STRESS_PAGES * PAGE) != STRESS_PAGES)
		fail("unmap");
	/* What is unmapped is reached no more, odd page or even. */
	stress_memory[0] = 42;
	dma(0x40000, STRESS_IOVA, 3);
	if (stress_memory[0] != 42)
		fail("DMA after UNMAP_DMA");
}

/* Leaves a grandchild behind that goes on for a while. */
static void orphan(const char *address)
{
	set_up(address);
	if (fork() == 0) {
		usleep(300000);
		int other = open("/dev/vfio/vfio", O_RDWR);
		if (other < 0 || ioctl(other, VFIO_GET_API_VERSION) != VFIO_API_VERSION)
			fail("orphan");
		printf("orphan ok\n");
		fflush(stdout);
		_exit(0);
	}
}

static const struct {
	const char *name;
	void (*run)(const char *address);
} modes[] = {
	{ "basic", set_up },		{ "signals", signals },	      { "threads", threads },
	{ "forks", forks },		{ "execs", execs },	      { "close-all", close_all },
	{ "duplicates", duplicates },	{ "mapped-bar", mapped_bar }, { "bad-pointers", bad_pointers },
	{ "low-limit", low_limit },	{ "interrupt", interrupt },   { "orphan", orphan },
	{ "stress", stress },		{ "paths", paths },
	{ "child-status", child_status }, { "vectors", vectors }, { "numbers", numbers },
	{ "idle-threads", idle_threads },		{ "resample", resample },
	{ "old-eventfds", old_eventfds },		{ "given-eventfd", given_eventfd },
	{ "rights", rights },
};

int main(int argc, char **argv)
{
	for (unsigned index = 0; argc == 3 && index < sizeof(modes) / sizeof(*modes); index++) {
		if (strcmp(argv[1], modes[index].name))
			continue;
		modes[index].run(argv[2]);
		printf("ok\n");
		return 7;
	}
	fprintf(stderr, "usage: torture MODE BDF\n");
	return 2;
}
