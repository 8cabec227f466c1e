/* A program that uses /dev/iommu as its headers say; prints what it found, or what failed. */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Those of linux/iommufd.h that this needs: not every Debian has the header. */
#define IOMMU(nr) _IO(';', nr)
struct ioas_alloc { uint32_t size, flags, out_ioas_id; };
struct ioas_map { uint32_t size, flags, ioas_id, reserved; uint64_t user_va, length, iova; };
struct ioas_unmap { uint32_t size, ioas_id; uint64_t iova, length; };

static int fail(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	return 1;
}

int main(void)
{
	struct stat st;
	int fd = open("/dev/iommu", O_RDWR);
	if (fd < 0)
		return fail("open");
	if (stat("/dev/iommu", &st) < 0 || !S_ISCHR(st.st_mode))
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
	close(fd);
	return 0;
}
