/*
 * Measures intercepted ioctls as the calling program sees them: one without a buffer, and two with
 * 24 bytes in and out.
 *
 *   intercept client BDF COUNT   on VFIO: under `iopf exec`, or on a real device
 *   intercept loop COUNT         the least that a supervisor can do, in C: receive, read 24 bytes,
 *                                write them, answer
 *
 * Prints a line each: name, median and 99th percentile in microseconds.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/vfio.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1e6 + time.tv_nsec / 1e3;
}

static const char *const names[] = { "GET_API_VERSION", "IOMMU_GET_INFO", "IOMMU_UNMAP_DMA" };

static int call(int fd, int which)
{
	struct vfio_iommu_type1_info info = { .argsz = 24 };
	struct vfio_iommu_type1_dma_unmap unmap = { .argsz = 24, .iova = 0x1000000, .size = 0x1000 };

	if (which == 0)
		return ioctl(fd, VFIO_GET_API_VERSION);
	if (which == 1)
		return ioctl(fd, VFIO_IOMMU_GET_INFO, &info);
	return ioctl(fd, VFIO_IOMMU_UNMAP_DMA, &unmap);
}

static void measure(int fd, int count)
{
	double *took = malloc(count * sizeof(*took));

	for (int which = 0; which < 3; which++) {
		for (int i = 0; i < count; i++) {
			double begin = now();
			if (call(fd, which) != 0) {
				perror(names[which]);
				exit(1);
			}
			took[i] = now() - begin;
		}
		qsort(took, count, sizeof(*took), compare);
		printf("%s %.3f %.3f\n", names[which], took[count / 2], took[(int)(count * 0.99)]);
	}
}

static int client(const char *address, int count)
{
	char path[128], link[256];
	int container = open("/dev/vfio/vfio", O_RDWR);
	ssize_t length;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu_group", address);
	length = readlink(path, link, sizeof(link) - 1);
	if (container < 0 || length < 0) {
		perror(path);
		return 1;
	}
	link[length] = 0;
	snprintf(path, sizeof(path), "/dev/vfio/%s", strrchr(link, '/') + 1);
	int group = open(path, O_RDWR);
	if (group < 0 || ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) ||
	    ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU)) {
		perror(path);
		return 1;
	}
	measure(container, count);
	return 0;
}

static int install(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_ioctl, 0, 4),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xff00),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, VFIO_TYPE << 8, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(code) / sizeof(*code), code };

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	return syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
}

static void serve(int listener, pid_t program)
{
	struct seccomp_notif request;
	struct seccomp_notif_resp answer;
	char bytes[24];

	ioctl(listener, _IOW('!', 4, unsigned long), 1UL); /* SECCOMP_IOCTL_NOTIF_SET_FLAGS, SYNC_WAKE_UP */
	for (;;) {
		struct pollfd waits = { listener, POLLIN, 0 };

		if (poll(&waits, 1, -1) < 0 || !(waits.revents & POLLIN))
			return;
		memset(&request, 0, sizeof(request));
		if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &request))
			continue;
		struct iovec here = { bytes, sizeof(bytes) };
		struct iovec there = { (void *)request.data.args[2], sizeof(bytes) };
		if (request.data.args[1] != VFIO_GET_API_VERSION) {
			process_vm_readv(program, &here, 1, &there, 1, 0);
			process_vm_writev(program, &here, 1, &there, 1, 0);
		}
		memset(&answer, 0, sizeof(answer));
		answer.id = request.id;
		ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
	}
}

static int loop(int count)
{
	int ready[2];

	if (pipe(ready))
		return 1;
	pid_t program = fork();
	if (program == 0) {
		int listener = install();
		int null = open("/dev/null", O_RDWR);

		if (write(ready[1], &listener, sizeof(listener)) < 0)
			_exit(1);
		measure(null, count);
		fflush(stdout);
		_exit(0);
	}
	int listener, status;
	if (read(ready[0], &listener, sizeof(listener)) != sizeof(listener) || listener < 0)
		return 1;
	int pidfd = syscall(__NR_pidfd_open, program, 0);
	serve(syscall(__NR_pidfd_getfd, pidfd, listener, 0), program);
	waitpid(program, &status, 0);
	return WEXITSTATUS(status);
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "client"))
		return client(argv[2], atoi(argv[3]));
	if (argc == 3 && !strcmp(argv[1], "loop"))
		return loop(atoi(argv[2]));
	fprintf(stderr, "usage: intercept client BDF COUNT | intercept loop COUNT\n");
	return 2;
}
