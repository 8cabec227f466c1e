/* A driver of the edu device by pread and pwrite, for programs of the tests. */
#ifndef EDU_H
#define EDU_H
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096UL
/** Where tests map what they try, and a page that carries bytes. */
#define IOVA 0x100000UL
#define CARRIER_IOVA 0x8000000UL
#define BUFFER 0x40000UL
#define CONFIG_COMMAND ((7ULL << 40) + 4)
#define READ_WRITE (VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE)

static int container, group, device;
static unsigned char *carrier;

__attribute__((format(printf, 1, 2))) static void fail(const char *format, ...)
{
	int error = errno;
	va_list list;

	va_start(list, format);
	vprintf(format, list);
	va_end(list);
	printf(" (errno %d %s)\n", error, strerror(error));
	fflush(stdout);
	_exit(1);
}

/** Ends the program: what it tries cannot be tried here. */
__attribute__((unused)) static void skip(const char *why)
{
	printf("skip: %s: %s\n", why, strerror(errno));
	fflush(stdout);
	_exit(77);
}

#define MUST(what) ({ \
	long result_ = (long)(what); \
	if (result_ == -1) \
		fail("%s:%d: %s", __func__, __LINE__, #what); \
	result_; \
})
#define REFUSED(what, number) do { \
	errno = 0; \
	long got_ = (long)(what); \
	if (got_ != -1 || errno != (number)) \
		fail("%s:%d: %s is %ld, not errno %d", __func__, __LINE__, #what, got_, number); \
} while (0)
#define EQUAL(what, wanted) do { \
	long got_ = (long)(what), wanted_ = (long)(wanted); \
	if (got_ != wanted_) \
		fail("%s:%d: %s is %#lx, not %#lx", __func__, __LINE__, #what, got_, wanted_); \
} while (0)

static void *anonymous(unsigned long bytes)
{
	return (void *)MUST(mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}

static int map(void *memory, uint64_t iova, uint64_t bytes, uint32_t flags)
{
	struct vfio_iommu_type1_dma_map map = { sizeof(map), flags, (uintptr_t)memory, iova, bytes };

	return ioctl(container, VFIO_IOMMU_MAP_DMA, &map);
}

__attribute__((unused)) static long unmap(uint64_t iova, uint64_t bytes)
{
	struct vfio_iommu_type1_dma_unmap unmap = { .argsz = sizeof(unmap), .iova = iova, .size = bytes };

	return ioctl(container, VFIO_IOMMU_UNMAP_DMA, &unmap) == -1 ? -1 : (long)unmap.size;
}

static void write32(uint64_t offset, uint32_t value)
{
	if (pwrite(device, &value, 4, offset) != 4)
		fail("write of register %#lx", (long)offset);
}

static uint32_t read32(uint64_t offset)
{
	uint32_t value = 0;

	if (pread(device, &value, 4, offset) != 4)
		fail("read of register %#lx", (long)offset);
	return value;
}

static void start_dma(uint64_t from, uint64_t to, uint32_t bytes, uint32_t command)
{
	write32(0x80, from);
	write32(0x88, to);
	write32(0x90, bytes);
	write32(0x98, command);
}

static void wait_for_dma(void)
{
	while (read32(0x98) & 1)
		;
}

/** The device reads memory into its own buffer, or writes it from there. */
static void load(uint64_t iova, uint32_t bytes)
{
	start_dma(iova, BUFFER, bytes, 1);
	wait_for_dma();
}

static void store(uint64_t iova, uint32_t bytes)
{
	start_dma(BUFFER, iova, bytes, 3);
	wait_for_dma();
}

__attribute__((unused)) static void open_edu(const char *address)
{
	char path[128], link[256];
	uint16_t command = 6;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu_group", address);
	link[MUST(readlink(path, link, sizeof(link) - 1))] = 0;
	snprintf(path, sizeof(path), "/dev/vfio/%s", strrchr(link, '/') + 1);
	container = MUST(open("/dev/vfio/vfio", O_RDWR));
	group = MUST(open(path, O_RDWR));
	MUST(ioctl(group, VFIO_GROUP_SET_CONTAINER, &container));
	MUST(ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU));
	device = MUST(ioctl(group, VFIO_GROUP_GET_DEVICE_FD, address));
	EQUAL(pwrite(device, &command, 2, CONFIG_COMMAND), 2);
}

__attribute__((unused)) static void map_carrier(void)
{
	carrier = anonymous(PAGE);
	memset(carrier, 0, PAGE);
	MUST(map(carrier, CARRIER_IOVA, PAGE, READ_WRITE));
}

/** The byte that the device finds in memory. */
__attribute__((unused)) static int device_reads(uint64_t iova)
{
	load(iova, 1);
	carrier[0] = 0xee;
	store(CARRIER_IOVA, 1);
	return carrier[0];
}

__attribute__((unused)) static void device_writes(uint64_t iova, int byte)
{
	carrier[0] = byte;
	load(CARRIER_IOVA, 1);
	store(iova, 1);
}

#endif
