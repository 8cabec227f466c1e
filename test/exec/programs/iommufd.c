/* A program that uses /dev/iommu as its headers say; prints what it found, or what failed. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Those of linux/iommufd.h that this needs: not every Debian has the header. */
#define IOMMU(nr) _IO(';', nr)
struct ioas_alloc { uint32_t size, flags, out_ioas_id; };
struct ioas_map { uint32_t size, flags, ioas_id, reserved; uint64_t user_va, length, iova; };
struct ioas_unmap { uint32_t size, ioas_id; uint64_t iova, length; };

struct bind { uint32_t argsz, flags; int32_t iommufd; uint32_t out_devid; };
struct attach { uint32_t argsz, flags, pt_id; };
struct device_info { uint32_t argsz, flags, num_regions, num_irqs, cap_offset, pad; };

static int fail(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	return 1;
}

/* A descriptor is of the character device that the path names, whichever way it is asked. */
static int is_node(int fd, const char *path)
{
	struct stat by_path, by_number, by_fstat;
	struct statx extended;
	if (stat(path, &by_path) < 0 || !S_ISCHR(by_path.st_mode) || by_path.st_rdev == 0)
		return 0;
	if (fstatat(fd, "", &by_number, AT_EMPTY_PATH) < 0 ||
	    statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &extended) < 0 ||
	    syscall(SYS_fstat, fd, &by_fstat) < 0)
		return 0;
	return memcmp(&by_path, &by_number, sizeof(by_path)) == 0 &&
	       memcmp(&by_path, &by_fstat, sizeof(by_path)) == 0 &&
	       extended.stx_mode == by_path.st_mode &&
	       makedev(extended.stx_rdev_major, extended.stx_rdev_minor) == by_path.st_rdev;
}

/* Opens the own file of the device at a PCI address. */
static int open_device(const char *address)
{
	char path[300];
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/vfio-dev", address);
	DIR *folder = opendir(path);
	struct dirent *entry;
	if (folder == NULL)
		return -1;
	while ((entry = readdir(folder)) != NULL && strncmp(entry->d_name, "vfio", 4) != 0)
		;
	snprintf(path, sizeof(path), "/dev/vfio/devices/%s", entry ? entry->d_name : "none");
	closedir(folder);
	int fd = open(path, O_RDWR);
	int copy = fd < 0 ? -1 : dup(fd);
	int knows = copy >= 0 && is_node(copy, path);
	close(copy);
	return knows ? fd : -1;
}

/* edu copies 16 bytes from one IOVA to another, by its buffer; registers are at region 0. */
static void copy(int device, uint64_t from, uint64_t to)
{
	uint64_t in[4] = { from, 0x40000, 16, 1 }, out[4] = { 0x40000, to, 16, 3 };
	uint16_t command = 6;
	pwrite(device, &command, 2, (7ull << 40) + 4);
	for (int i = 0; i < 4; i++)
		pwrite(device, &in[i], 8, 0x80 + 8 * i);
	for (int i = 0; i < 4; i++)
		pwrite(device, &out[i], 8, 0x80 + 8 * i);
}

/* A device's own file: bound, attached, used, detached, closed. */
static int device(int fd, const char *address, char *memory)
{
	int device = open_device(address);
	if (device < 0)
		return fail("open of the device");
	struct device_info info = { .argsz = sizeof(info) };
	if (ioctl(device, IOMMU(107), &info) == 0 || errno != EINVAL)
		return fail("GET_INFO before BIND");
	struct bind bind = { .argsz = sizeof(bind), .iommufd = fd };
	if (ioctl(device, IOMMU(118), &bind) < 0)
		return fail("BIND");
	if (ioctl(device, IOMMU(107), &info) < 0)
		return fail("GET_INFO");
	struct ioas_alloc alloc = { .size = sizeof(alloc) };
	if (ioctl(fd, IOMMU(0x81), &alloc) < 0)
		return fail("IOAS_ALLOC");
	struct ioas_map map = { .size = sizeof(map), .flags = 7, .ioas_id = alloc.out_ioas_id,
				.user_va = (uintptr_t)memory, .length = 1 << 20, .iova = 0x100000 };
	struct attach attach = { .argsz = sizeof(attach), .pt_id = alloc.out_ioas_id };
	if (ioctl(fd, IOMMU(0x85), &map) < 0 || ioctl(device, IOMMU(119), &attach) < 0)
		return fail("IOAS_MAP, ATTACH");
	strcpy(memory, "sixteen bytes..");
	copy(device, 0x100000, 0x180000);
	printf("device %u of %u regions, page table %u: %s\n", bind.out_devid, info.num_regions,
	       attach.pt_id, memory + 0x80000);
	uint32_t detach[2] = { sizeof(detach) };
	if (ioctl(device, IOMMU(120), detach) < 0)
		return fail("DETACH");
	copy(device, 0x100000, 0x1c0000);
	printf("detached: %d\n", memory[0xc0000]);
	close(fd);
	if (ioctl(device, IOMMU(107), &info) < 0)
		return fail("GET_INFO after close of the iommufd");
	close(device);
	return 0;
}

int main(int argc, char **argv)
{
	int fd = open("/dev/iommu", O_RDWR);
	if (fd < 0)
		return fail("open");
	if (!is_node(fd, "/dev/iommu"))
		return fail("stat");
	char *memory = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct ioas_alloc alloc = { .size = sizeof(alloc) };
	if (ioctl(fd, IOMMU(0x81), &alloc) < 0)
		return fail("IOAS_ALLOC");
	struct ioas_map map = { .size = sizeof(map), .flags = 6, .ioas_id = alloc.out_ioas_id,
				.user_va = (uintptr_t)memory, .length = 1 << 20 };
	if (ioctl(fd, IOMMU(0x85), &map) < 0)
		return fail("IOAS_MAP");
	map.flags |= 1;
	if (ioctl(fd, IOMMU(0x85), &map) == 0 || errno != EEXIST)
		return fail("IOAS_MAP of what is mapped");
	struct ioas_unmap unmap = { .size = sizeof(unmap), .ioas_id = alloc.out_ioas_id, .iova = map.iova,
				    .length = map.length };
	if (ioctl(fd, IOMMU(0x86), &unmap) < 0)
		return fail("IOAS_UNMAP");
	printf("ioas %u, mapped at a page: %d, unmapped %llu bytes\n", alloc.out_ioas_id,
	       map.iova != 0 && map.iova % 4096 == 0, (unsigned long long)unmap.length);
	if (argc > 1)
		return device(fd, argv[1], memory);
	close(fd);
	return 0;
}
