/*
 * Each call with a path, of the shadow by name and below its directories, asked of the kernel
 * itself where libc has another way. Usage: path-calls BDF; prints "ok".
 */
#define _GNU_SOURCE
#include "edu.h"
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#define VFIO_MAJOR 10
#define VFIO_MINOR 196

static const char *const node = "/dev/vfio/vfio";
static int nodes;
static int functions;

static void numbers(const struct stat *status, unsigned want_major, unsigned want_minor)
{
	if (!S_ISCHR(status->st_mode))
		fail("no character device: 0%o", status->st_mode);
	if (major(status->st_rdev) != want_major || minor(status->st_rdev) != want_minor)
		fail("device %u:%u, not %u:%u", major(status->st_rdev), minor(status->st_rdev), want_major,
		     want_minor);
}

/* stat, lstat, fstatat and statx tell the numbers of a device and the size of an attribute. */
static void look(const char *path, const char *name, unsigned want_major, unsigned want_minor)
{
	struct stat status;
	struct statx more;

	MUST(stat(path, &status));
	numbers(&status, want_major, want_minor);
	MUST(lstat(path, &status));
	numbers(&status, want_major, want_minor);
	MUST(fstatat(nodes, name, &status, 0));
	numbers(&status, want_major, want_minor);
#ifdef SYS_stat
	MUST(syscall(SYS_stat, path, &status));
	numbers(&status, want_major, want_minor);
	MUST(syscall(SYS_lstat, path, &status));
	numbers(&status, want_major, want_minor);
#endif
	MUST(statx(nodes, name, 0, STATX_BASIC_STATS, &more));
	if (more.stx_rdev_major != want_major || more.stx_rdev_minor != want_minor)
		fail("statx: %u:%u", more.stx_rdev_major, more.stx_rdev_minor);
	if (!S_ISCHR(more.stx_mode) || more.stx_size != 0 || more.stx_blocks != 0)
		fail("statx: mode 0%o, %llu bytes", more.stx_mode, (unsigned long long)more.stx_size);
}

static void group_numbers(const char *bdf)
{
	char path[128], link[256], name[160];
	unsigned group_major, group_minor;

	snprintf(path, sizeof(path), "%s/iommu_group", bdf);
	link[MUST(readlinkat(functions, path, link, sizeof(link) - 1))] = 0;
	const char *number = strrchr(link, '/') + 1;
	snprintf(name, sizeof(name), "/sys/class/vfio/%.100s/dev", number);
	FILE *file = fopen(name, "r");
	if (file == NULL || fscanf(file, "%u:%u", &group_major, &group_minor) != 2)
		fail("%s", name);
	fclose(file);
	if (group_major == VFIO_MAJOR || group_minor == group_major)
		fail("a group's numbers are %u:%u", group_major, group_minor);
	snprintf(name, sizeof(name), "/dev/vfio/%.100s", number);
	look(name, number, group_major, group_minor);
}

static long open2(int directory, const char *path, uint64_t flags)
{
	struct open_how how = { .flags = flags };

	return syscall(SYS_openat2, directory, path, &how, sizeof(how));
}

static void opens(const char *bdf)
{
	int fd = MUST(open2(AT_FDCWD, node, O_RDWR | O_CLOEXEC));

	EQUAL(ioctl(fd, VFIO_GET_API_VERSION), VFIO_API_VERSION);
	EQUAL(fcntl(fd, F_GETFD), FD_CLOEXEC);
	close(fd);
	fd = MUST(open2(nodes, "vfio", O_RDWR));
	EQUAL(ioctl(fd, VFIO_GET_API_VERSION), VFIO_API_VERSION);
	EQUAL(fcntl(fd, F_GETFD), 0);
	close(fd);
	REFUSED(open2(nodes, "vfio", O_RDWR | O_CREAT | O_EXCL), EEXIST);
	REFUSED(open2(nodes, "none", O_RDWR), ENOENT);
	REFUSED(syscall(SYS_openat2, nodes, "vfio", NULL, 24), EFAULT);

	/* Nobody may write it, root neither. */
	char vendor[128];

	snprintf(vendor, sizeof(vendor), "/sys/bus/pci/devices/%s/vendor", bdf);
	REFUSED(open(vendor, O_RDWR), EACCES);
	REFUSED(open(vendor, O_WRONLY), EACCES);
}

static void rights(const char *bdf)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/vendor", bdf);
	MUST(access(node, R_OK | W_OK));
	REFUSED(access(node, X_OK), EACCES);
	MUST(faccessat(nodes, "vfio", R_OK | W_OK, 0));
	REFUSED(faccessat(nodes, "vfio", X_OK, 0), EACCES);
	MUST(access("/dev/vfio", R_OK | W_OK | X_OK));
	MUST(faccessat(functions, path, R_OK, 0));
	REFUSED(faccessat(functions, path, W_OK, 0), EACCES);
	snprintf(path, sizeof(path), "%s/rescan", bdf);
	REFUSED(faccessat(functions, path, R_OK, 0), EACCES);
	MUST(access("/sys/bus/pci/drivers/vfio-pci/unbind", W_OK));
	REFUSED(access("/sys/bus/pci/drivers/vfio-pci/unbind", R_OK), EACCES);
	REFUSED(access("/dev/vfio/none", F_OK), ENOENT);
	MUST(access("/dev/vfio/../null", R_OK | W_OK));
	REFUSED(access("/dev/vfio/../null", X_OK), EACCES);
#ifdef SYS_access
	REFUSED(syscall(SYS_access, node, X_OK), EACCES);
	MUST(syscall(SYS_access, node, R_OK));
#endif
}

static void changes(void)
{
	REFUSED(mkdir("/dev/vfio", 0700), EEXIST);
	REFUSED(mkdirat(nodes, "vfio", 0700), EEXIST);
	REFUSED(rmdir("/dev/vfio"), EPERM);
	REFUSED(unlink(node), EPERM);
	REFUSED(unlinkat(nodes, "vfio", 0), EPERM);
	REFUSED(chmod(node, 0600), EPERM);
	REFUSED(fchmodat(nodes, "vfio", 0600, 0), EPERM);
#ifdef SYS_mkdir
	REFUSED(syscall(SYS_mkdir, "/dev/vfio", 0700), EEXIST);
	REFUSED(syscall(SYS_rmdir, "/dev/vfio"), EPERM);
	REFUSED(syscall(SYS_unlink, node), EPERM);
	REFUSED(syscall(SYS_chmod, node, 0600), EPERM);
#endif
	MUST(access(node, R_OK));
}

static void links(const char *bdf)
{
	char path[128], whole[256], cut[256] = { 0 };

	long length = MUST(readlinkat(functions, bdf, whole, sizeof(whole)));
	whole[length] = 0;
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s", bdf);
	EQUAL(readlink(path, cut, sizeof(cut)), length);
	if (strncmp(whole, cut, length) || strstr(whole, bdf) == NULL)
		fail("the link leads to %s and %s", whole, cut);
	memset(cut, 'x', sizeof(cut));
	EQUAL(readlinkat(functions, bdf, cut, 5), 5);
	if (strncmp(whole, cut, 5) || cut[5] != 'x')
		fail("what is cut is %.10s", cut);
	REFUSED(readlinkat(functions, bdf, cut, 0), EINVAL);
	REFUSED(readlinkat(nodes, "vfio", cut, sizeof(cut)), EINVAL);
	REFUSED(syscall(SYS_readlinkat, functions, bdf, NULL, 5), EFAULT);
#ifdef SYS_readlink
	EQUAL(syscall(SYS_readlink, path, cut, 5), 5);
#endif
	/* A slash behind a link is the directory that it leads to, behind a file it is wrong. */
	struct stat status;
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/", bdf);
	MUST(lstat(path, &status));
	if (!S_ISDIR(status.st_mode))
		fail("%s is 0%o", path, status.st_mode);
	REFUSED(readlink(path, cut, sizeof(cut)), EINVAL);
	REFUSED(stat("/dev/vfio/vfio/", &status), ENOTDIR);
	REFUSED(open("/dev/vfio/vfio/", O_RDWR), ENOTDIR);
	REFUSED(open("/dev/vfio/vfio/x", O_RDWR), ENOTDIR);
	REFUSED(stat("/dev/vfio/vfio/x/..", &status), ENOTDIR);
	REFUSED(open("/dev/vfio/vfio", O_RDWR | O_DIRECTORY), ENOTDIR);
	REFUSED(open("/dev/vfio/vfio", O_PATH | O_DIRECTORY), ENOTDIR);
}

static void attributes(void)
{
	char value[16];

	REFUSED(getxattr(node, "user.x", value, sizeof(value)), ENODATA);
	REFUSED(lgetxattr(node, "user.x", value, sizeof(value)), ENODATA);
	EQUAL(listxattr(node, value, sizeof(value)), 0);
	EQUAL(llistxattr(node, value, sizeof(value)), 0);
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	nodes = MUST(open("/dev/vfio", O_RDONLY | O_DIRECTORY));
	functions = MUST(open("/sys/bus/pci/devices", O_RDONLY | O_DIRECTORY));
	look(node, "vfio", VFIO_MAJOR, VFIO_MINOR);
	group_numbers(argv[1]);
	opens(argv[1]);
	rights(argv[1]);
	changes();
	links(argv[1]);
	attributes();
	printf("ok\n");
	return 0;
}
