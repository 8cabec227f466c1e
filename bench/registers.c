/*
 * What a load and a store of a mapped register cost, beside pread and a call that does nothing.
 * Prints `NAME MICROSECONDS`, the median of COUNT each.
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

static int compare(const void *a, const void *b)
{
	double one = *(const double *)a, other = *(const double *)b;
	return (one > other) - (one < other);
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
	int container = open("/dev/vfio/vfio", O_RDWR), group = open(path, O_RDWR);
	ioctl(group, VFIO_GROUP_SET_CONTAINER, &container);
	ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU);
	int device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, words[1]);
	struct vfio_region_info info = {.argsz = sizeof info, .index = BAR};
	if (ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info))
		return 1;
	uint8_t *bar = mmap(NULL, info.size, PROT_READ | PROT_WRITE, MAP_SHARED, device, info.offset);
	if (bar == MAP_FAILED)
		return 1;
	static const char *const names[] = {"ioctl", "pread", "load", "store", "open-store"};
	double *took = malloc(times * sizeof *took);
	for (unsigned which = 0; which < sizeof names / sizeof *names; which++) {
		for (int i = 0; i < times; i++) {
			uint16_t value;
			double began = now();
			if (which == 0)
				ioctl(container, VFIO_GET_API_VERSION);
			else if (which == 1) {
				if (pread(device, &value, 2, info.offset + NUM_QUEUES) != 2)
					return 1;
			} else if (which == 2)
				(void)*(volatile uint16_t *)(bar + NUM_QUEUES);
			else if (which == 3)
				*(volatile uint32_t *)(bar + FEATURE_SELECT) = 1;
			else
				*(volatile uint16_t *)(bar + NOTIFY) = 1;
			took[i] = now() - began;
		}
		qsort(took, times, sizeof *took, compare);
		printf("%s %.3f\n", names[which], took[times / 2]);
	}
	return 0;
}
