/*
 * What a load and a store of a mapped register cost, beside pread and a call that does nothing.
 * Prints `NAME MICROSECONDS CPU`: the median of COUNT each, and what one takes of processors, in
 * this process and in iopf's, on average. They take turns, so that a busy machine is so to all.
 *
 *   registers ADDRESS COUNT      (virtio-net: registers in BAR 4, plain memory in its last page)
 */
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { BAR = 4, FEATURE_SELECT = 0, NUM_QUEUES = 0x12, NOTIFY = 0x3000 };

static double now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1e6 + time.tv_nsec / 1e3;
}

/* Microseconds of a processor that this process and its parent have had. */
static double processor_time(void)
{
	static clockid_t parent;
	struct timespec own = {0}, other = {0};
	if (parent == 0)
		clock_getcpuclockid(getppid(), &parent);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &own);
	clock_gettime(parent, &other);
	return (own.tv_sec + other.tv_sec) * 1e6 + (own.tv_nsec + other.tv_nsec) / 1e3;
}

static int compare(const void *a, const void *b)
{
	double one = *(const double *)a, other = *(const double *)b;
	return (one > other) - (one < other);
}

static int container, device;
static uint8_t *bar;
static off_t bar_offset;

static void touch(int which)
{
	uint16_t value;
	if (which == 0)
		ioctl(container, VFIO_GET_API_VERSION);
	else if (which == 1) {
		if (pread(device, &value, 2, bar_offset + NUM_QUEUES) != 2)
			exit(1);
	} else if (which == 2)
		(void)*(volatile uint16_t *)(bar + NUM_QUEUES);
	else if (which == 3)
		*(volatile uint32_t *)(bar + FEATURE_SELECT) = 1;
	else
		*(volatile uint16_t *)(bar + NOTIFY) = 1;
}

int main(int count, char **words)
{
	char path[256], link[256];
	if (count < 3)
		return 2;
	int times = atoi(words[2]);
	snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/iommu_group", words[1]);
	ssize_t length = readlink(path, link, sizeof link - 1);
	if (length < 0)
		return 1;
	link[length] = 0;
	snprintf(path, sizeof path, "/dev/vfio/%s", strrchr(link, '/') + 1);
	int group = open(path, O_RDWR);
	container = open("/dev/vfio/vfio", O_RDWR);
	ioctl(group, VFIO_GROUP_SET_CONTAINER, &container);
	ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU);
	device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, words[1]);
	struct vfio_region_info info = {.argsz = sizeof info, .index = BAR};
	if (ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info))
		return 1;
	bar_offset = info.offset;
	bar = mmap(NULL, info.size, PROT_READ | PROT_WRITE, MAP_SHARED, device, info.offset);
	if (bar == MAP_FAILED)
		return 1;
	static const char *const names[] = {"ioctl", "pread", "load", "store", "open-store"};
	enum { KINDS = sizeof names / sizeof *names, TURNS = 20 };
	int each = times / TURNS;
	double *took[KINDS], spent[KINDS] = {0};
	for (int which = 0; which < KINDS; which++)
		took[which] = malloc(TURNS * each * sizeof **took);
	for (int turn = 0; turn < TURNS; turn++)
		for (int which = 0; which < KINDS; which++) {
			double before = processor_time();
			for (int i = 0; i < each; i++) {
				double began = now();
				touch(which);
				took[which][turn * each + i] = now() - began;
			}
			spent[which] += processor_time() - before;
		}
	for (int which = 0; which < KINDS; which++) {
		qsort(took[which], TURNS * each, sizeof **took, compare);
		printf("%s %.3f %.3f\n", names[which], took[which][TURNS * each / 2], spent[which] / (TURNS * each));
	}
	return 0;
}
