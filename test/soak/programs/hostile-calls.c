/* Attacks by system calls: random ioctls, descriptors that wander, registers, forks. */
#include "hostile.h"
#include <dirent.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

/* Calls with numbers and structs that make little sense. No device of this container does DMA. */
void *attack_ioctls(void *argument)
{
	unsigned seed = (uintptr_t)argument;
	struct vfio own = open_vfio(RECORDED);
	int files[] = { own.container, own.group, own.device, edu.group,
			(int)MUST(open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC)) };
	int event = MUST(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
	char *scratch = pages(4);

	MUST(mprotect(scratch + PAGE, PAGE, PROT_NONE));
	MUST(mprotect(scratch + 3 * PAGE, PAGE, PROT_READ));
	while (!over) {
		char *places[] = { scratch, scratch, scratch, scratch + PAGE - 8 * below(&seed, 8),
				   scratch + PAGE, scratch + 2 * PAGE, scratch + 3 * PAGE, NULL,
				   (char *)-4096L, (char *)0x7fffffffe000, (char *)0xffff888000000000 };
		uint32_t words[32];
		char *place = places[below(&seed, 11)];

		for (int at = 0; at < 32; at++)
			switch (below(&seed, 6)) {
			case 0: words[at] = below(&seed, ~0u); break;
			case 1: words[at] = below(&seed, 64); break;
			case 2: words[at] = (uintptr_t)scratch; break;
			case 3: words[at] = (uintptr_t)scratch >> 32; break;
			case 4: words[at] = event; break;
			default: words[at] = below(&seed, 2) ? PAGE : 0;
			}
		if (below(&seed, 4))
			words[0] = below(&seed, 129);
		memcpy(scratch, words, sizeof(words));
		memcpy(scratch + 2 * PAGE, words, sizeof(words));
		int file = files[below(&seed, 5)];
		unsigned long request = _IO(VFIO_TYPE, VFIO_BASE + below(&seed, 32));
		if (file == edu.group && request != VFIO_GROUP_GET_STATUS)
			continue; /* the copying device stays as it is */
		switch (below(&seed, 12)) {
		case 0:
			ioctl(file, any(&seed), place);
			break;
		case 1:
			if (pread(own.device, place, below(&seed, 64), any(&seed)))
				break;
			break;
		case 2:
			if (pwrite(own.device, scratch, below(&seed, 64),
				   REGION(below(&seed, 9)) + below(&seed, 0x400)))
				break;
			break;
		default:
			ioctl(file, request, place);
		}
	}
	/* What came of it must not be in the way of the next. */
	for (unsigned index = 0; index < 3; index++)
		close(files[index]);
	close(files[4]);
	close(event);
	munmap(scratch, 4 * PAGE);
	return NULL;
}

static int engine_files(void)
{
	char path[64];
	int count = 0;

	snprintf(path, sizeof(path), "/proc/%d/fd", getppid());
	DIR *folder = opendir(path);
	if (folder == NULL)
		return 0;
	while (readdir(folder))
		count++;
	closedir(folder);
	return count;
}

/* Sends a descriptor to itself and returns what arrived. */
static int send_round(int sockets[2], int file)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	char byte = 0;
	struct iovec vector = { &byte, 1 };
	struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control.bytes,
				  .msg_controllen = sizeof(control.bytes) };
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	int arrived;

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &file, sizeof(int));
	MUST(sendmsg(sockets[0], &message, 0));
	MUST(recvmsg(sockets[1], &message, 0));
	memcpy(&arrived, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(int));
	return arrived;
}

/* Containers are opened, duplicated, sent and closed in any order; the engine keeps none. */
void *attack_descriptors(void *argument)
{
	unsigned seed = (uintptr_t)argument;
	int sockets[2], low[2] = { 1 << 20, 1 << 20 };

	MUST(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, sockets));
	for (int round = 0; !over; round++) {
		int files[4], count = 0;

		files[count++] = MUST(open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC));
		if (below(&seed, 2))
			files[count++] = MUST(dup(files[0]));
		if (below(&seed, 2))
			files[count++] = MUST(fcntl(files[0], F_DUPFD_CLOEXEC, 3));
		if (below(&seed, 2))
			files[count++] = send_round(sockets, files[0]);
		for (int index = 0; index < count; index++)
			if (MUST(ioctl(files[index], VFIO_GET_API_VERSION)) != VFIO_API_VERSION)
				wrong("API version of descriptor %d", files[index]);
		/* A canary: every fourth is kept, a leak as seen from the engine. */
		if (plant_leak && round % 4 == 0)
			files[0] = files[--count];
		while (count > 0) {
			int index = below(&seed, count);

			MUST(close(files[index]));
			files[index] = files[--count];
		}
		/* The fewest of the first hundred and of the last hundred rounds. */
		int now = engine_files(), *fewest = &low[round < 100 ? 0 : 1];
		if (round >= 100 && round % 100 == 0)
			low[1] = 1 << 20;
		if (now > 0 && now < *fewest)
			*fewest = now;
		if (round % 100 == 99 && round > 100 && low[1] > low[0] + 16)
			wrong("iopf had %d descriptors and has %d after %d rounds", low[0], low[1], round);
	}
	close(sockets[0]);
	close(sockets[1]);
	return NULL;
}

/* Each of two threads has registers of its own, in a mapping that comes and goes. */
static struct vfio recorded;

static void *loads_and_stores(void *argument)
{
	unsigned seed = (uintptr_t)argument, own = 0x20 / 4 + 2 * (seed & 1);

	while (!over) {
		volatile uint32_t *bar = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED,
					      recorded.device, REGION(0));

		if (bar == MAP_FAILED)
			wrong("mmap of registers");
		for (int round = 0; round < 64; round++) {
			uint32_t value = any(&seed);

			bar[own] = value;
			uint32_t found = bar[own];
			if (found != value)
				wrong("wrong byte: a register loads 0x%x, not 0x%x", found, value);
			((volatile uint8_t *)bar)[4 * own + 4] = (uint8_t)value;
			if (bar[0] != 0x10f1de51)
				wrong("wrong byte: a constant register loads 0x%x", bar[0]);
		}
		MUST(munmap((void *)bar, 2 * PAGE));
	}
	return NULL;
}

void *attack_registers(void *argument)
{
	unsigned seed = (uintptr_t)argument & ~1u;
	pthread_t other;

	recorded = open_vfio(RECORDED);
	volatile uint32_t *bar = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED,
				      recorded.device, REGION(0));
	if (bar == MAP_FAILED)
		wrong("mmap of registers");
	handler_register = bar + 0x3c / 4;
	begin_thread(&other, loads_and_stores, (void *)(uintptr_t)(seed + 1));
	loads_and_stores((void *)(uintptr_t)seed);
	pthread_join(other, NULL);
	handler_register = NULL;
	return NULL;
}

/* Children that end at once, exec, close everything, or are killed while they use VFIO. */
void *attack_forks(void *argument)
{
	unsigned seed = (uintptr_t)argument;
	char *nothing[] = { "true", NULL };
	pid_t parent = getpid();

	while (!over) {
		uint32_t way = below(&seed, 5);
		int status;
		pid_t child = MUST(fork());

		if (child == 0) {
			switch (way) {
			case 0:
				break;
			case 1:
				execv("/bin/true", nothing);
				break;
			case 2:
				for (int fd = 3; fd < 1100; fd++)
					close(fd);
				break;
			default:
				/* One that is to be killed also ends where its parent was. */
				for (int round = 0; way == 3 ? getppid() == parent : round < 50; round++) {
					int file = open("/dev/vfio/vfio", O_RDWR);
					ioctl(file, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU);
					close(file);
				}
			}
			_exit(0);
		}
		if (way == 3) {
			usleep(below(&seed, 5000));
			kill(child, SIGKILL);
		}
		while (waitpid(child, &status, 0) < 0)
			if (errno != EINTR)
				wrong("waitpid");
	}
	return NULL;
}
