/*
 * Programs whose memory is not as usual. Usage: memory MODE BDF auto|off; prints "ok" and exits 0,
 * or says what is wrong; 77: it cannot be tried here.
 */
#define _GNU_SOURCE
#include "edu.h"
#include <linux/capability.h>
#include <linux/fuse.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static const char *address;
static int off;

static int locked_kilobytes(void)
{
	char line[256];
	int value = -1;
	FILE *status = fopen("/proc/self/status", "r");

	while (fgets(line, sizeof(line), status) && sscanf(line, "VmLck: %d", &value) != 1)
		;
	fclose(status);
	return value;
}

static void ok(void)
{
	printf("ok\n");
	fflush(stdout);
	_exit(0);
}

static void start(void *(*thread)(void *), void *argument)
{
	pthread_t id;

	if (pthread_create(&id, NULL, thread, argument) != 0)
		fail("pthread_create");
}

/* The main thread ends, and others go on. */

static int opens_late;

static void *second_worker(void *first)
{
	char *memory = anonymous(2 * PAGE);
	int counter, copy;

	pthread_join(*(pthread_t *)first, NULL);
	memset(memory, 0x31, 2 * PAGE);
	MUST(map(memory, IOVA + PAGE, 2 * PAGE, READ_WRITE));
	EQUAL(device_reads(IOVA), 0x21);
	EQUAL(device_reads(IOVA + PAGE), 0x31);
	device_writes(IOVA + 2 * PAGE, 0x32);
	EQUAL(memory[PAGE], 0x32);
	EQUAL(unmap(IOVA + PAGE, 2 * PAGE), 2 * PAGE);
	if (off)
		EQUAL(locked_kilobytes(), 8);
	/* Descriptors are found too. */
	struct {
		struct vfio_irq_set set;
		int fd;
	} irq = { .set = { .argsz = sizeof(irq), .index = VFIO_PCI_MSI_IRQ_INDEX, .count = 1 } };
	irq.set.flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER;
	counter = irq.fd = MUST(eventfd(0, 0));
	MUST(ioctl(device, VFIO_DEVICE_SET_IRQS, &irq));
	copy = MUST(dup(device));
	EQUAL(pread(copy, &counter, 4, 0), 4);
	ok();
	return NULL;
}

static void *first_worker(void *leader)
{
	static pthread_t self;
	char *memory;

	pthread_join(*(pthread_t *)leader, NULL);
	if (opens_late) {
		open_edu(address);
		map_carrier();
	}
	memory = anonymous(PAGE);
	memset(memory, 0x21, PAGE);
	MUST(map(memory, IOVA, PAGE, READ_WRITE));
	self = pthread_self();
	start(second_worker, &self);
	return NULL;
}

static void end_leader(int late)
{
	static pthread_t self;

	opens_late = late;
	if (!late) {
		open_edu(address);
		map_carrier();
	}
	self = pthread_self();
	start(first_worker, &self);
	pthread_exit(NULL);
}

/* A process that shares the memory, and is no thread. */

static char *shared;

static int mapping_child(void *unused)
{
	(void)unused;
	if (device == 0)
		open_edu(address);
	MUST(map(shared, IOVA, 2 * PAGE, READ_WRITE));
	syscall(SYS_exit, 0);
	return 0;
}

static void share_memory(int child_opens)
{
	char *stack = anonymous(1 << 18);
	int child;

	shared = anonymous(2 * PAGE);
	memset(shared, 0x41, 2 * PAGE);
	if (!child_opens)
		open_edu(address);
	child = MUST(clone(mapping_child, stack + (1 << 18),
			   CLONE_VM | CLONE_FILES | CLONE_VFORK | SIGCHLD, NULL));
	if (child_opens)
		map_carrier();
	MUST(waitpid(child, NULL, 0));
	if (!child_opens)
		map_carrier();
	usleep(100000);
	EQUAL(device_reads(IOVA), 0x41);
	device_writes(IOVA + PAGE, 0x42);
	EQUAL(shared[PAGE], 0x42);
	if (off)
		EQUAL(locked_kilobytes(), 12);
	EQUAL(unmap(IOVA, 2 * PAGE), 2 * PAGE);
	ok();
}

/* Pages that only the program can bring. */

static int faults;
static char *page;
static volatile int served;

/* A page of the program's own that faults, which its handler opens, as collectors of garbage do. */
static char *guarded;

static void open_guarded(int signal, siginfo_t *info, void *context)
{
	(void)signal, (void)context;
	if (info->si_addr != guarded)
		_exit(1);
	mprotect(guarded, PAGE, PROT_READ | PROT_WRITE);
}

static void have_own_fault(void)
{
	struct sigaction action = { .sa_sigaction = open_guarded, .sa_flags = SA_SIGINFO }, before;
	sigset_t mask, old;

	sigfillset(&action.sa_mask);
	MUST(sigaction(SIGSEGV, &action, NULL));
	MUST(sigaction(SIGUSR1, &action, NULL));
	MUST(sigaction(SIGUSR1, NULL, &before));
	EQUAL(sigismember(&before.sa_mask, SIGSEGV), 1);
	sigemptyset(&mask);
	sigaddset(&mask, SIGSEGV);
	EQUAL(pthread_sigmask(SIG_BLOCK, &mask, &old), 0);
	EQUAL(pthread_sigmask(SIG_SETMASK, &old, NULL), 0);
	guarded = anonymous(PAGE);
	MUST(mprotect(guarded, PAGE, PROT_NONE));
	*guarded = 0x55;
	EQUAL(*guarded, 0x55);
}

static void serve(int calls)
{
	struct pollfd ready = { faults, POLLIN, 0 };
	struct uffd_msg message;
	struct stat stats;

	if (poll(&ready, 1, -1) <= 0 || read(faults, &message, sizeof(message)) != sizeof(message))
		return;
	if (calls) {
		int file = MUST(open("/dev/null", O_RDONLY));
		MUST(stat("/dev/vfio/vfio", &stats));
		MUST(munmap(anonymous(PAGE), PAGE));
		close(file);
		have_own_fault();
	}
	struct uffdio_copy copy = { .src = (uintptr_t)page, .len = PAGE };
	copy.dst = message.arg.pagefault.address & -PAGE;
	ioctl(faults, UFFDIO_COPY, &copy);
	served++;
}

static void *handler(void *unused)
{
	(void)unused;
	for (;;)
		serve(1);
	return NULL;
}

static char *handled_memory(unsigned long pages)
{
	char *memory = anonymous(pages * PAGE);
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register area = { .range = { (uintptr_t)memory, pages * PAGE },
					.mode = UFFDIO_REGISTER_MODE_MISSING };

	faults = syscall(SYS_userfaultfd, O_CLOEXEC);
	if (faults < 0)
		skip("userfaultfd");
	MUST(ioctl(faults, UFFDIO_API, &api));
	MUST(ioctl(faults, UFFDIO_REGISTER, &area));
	page = anonymous(PAGE);
	memset(page, 0x66, PAGE);
	return memory;
}

static void handle_faults(void)
{
	char *memory = handled_memory(8);

	open_edu(address);
	map_carrier();
	start(handler, NULL);
	if (off) {
		/* No handler is asked by a pin; what is there is pinned. */
		REFUSED(map(memory, IOVA, 8 * PAGE, READ_WRITE), EFAULT);
		memset(memory, 1, 2 * PAGE);
		REFUSED(map(memory, IOVA, 3 * PAGE, READ_WRITE), EFAULT);
		EQUAL(served, 2);
		MUST(map(memory, IOVA, 2 * PAGE, READ_WRITE));
		EQUAL(device_reads(IOVA), 1);
		EQUAL(locked_kilobytes(), 12);
	} else {
		MUST(map(memory, IOVA, 6 * PAGE, READ_WRITE));
		EQUAL(served, 0);
		EQUAL(device_reads(IOVA), 0x66);
		/* Pages beside it are not waited for (R4.1). */
		EQUAL(served, 1);
		device_writes(IOVA + PAGE, 0x44);
		EQUAL(memory[PAGE], 0x44);
		EQUAL(memory[PAGE + 1], 0x66);
	}
	/* A path, a call's struct, and what it answers. */
	memset(page, 0, PAGE);
	strcpy(page, "/dev/vfio/vfio");
	close(MUST(open(memory + 6 * PAGE, O_RDWR)));
	struct vfio_device_info *info = (void *)(memory + 7 * PAGE);
	memset(page, 0, PAGE);
	((struct vfio_device_info *)page)->argsz = sizeof(*info);
	MUST(ioctl(device, VFIO_DEVICE_GET_INFO, info));
	EQUAL(info->num_regions, VFIO_PCI_NUM_REGIONS);
	EQUAL(pread(device, memory + 5 * PAGE, 4, 0), 4);
	EQUAL(*(uint32_t *)(memory + 5 * PAGE), read32(0));
	ok();
}

/* One thread rings the doorbell and serves the fault itself. */
static void handle_own_fault(void)
{
	char *memory = handled_memory(1);

	open_edu(address);
	map_carrier();
	MUST(map(memory, IOVA, PAGE, READ_WRITE));
	start_dma(IOVA, BUFFER, 1, 1);
	serve(1);
	wait_for_dma();
	EQUAL(served, 1);
	store(CARRIER_IOVA, 1);
	EQUAL(carrier[0], 0x66);
	ok();
}

/* A child with a copy of the descriptor serves the fault, between calls on its own container. */
static void handle_in_child(void)
{
	char *memory = handled_memory(1);
	struct pollfd asked = { faults, POLLIN, 0 };
	pid_t child;

	open_edu(address);
	map_carrier();
	MUST(map(memory, IOVA, PAGE, READ_WRITE));
	child = MUST(fork());
	if (child == 0) {
		MUST(poll(&asked, 1, -1));
		int own = MUST(open("/dev/vfio/vfio", O_RDWR)), again = MUST(dup(own));
		EQUAL(ioctl(again, VFIO_GET_API_VERSION), VFIO_API_VERSION);
		EQUAL(ioctl(own, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU), 1);
		REFUSED(ioctl(own, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU), EINVAL);
		REFUSED(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, own, 0), ENODEV);
		close(own);
		close(again);
		serve(0);
		_exit(served);
	}
	close(faults);
	start_dma(IOVA, BUFFER, 1, 1);
	wait_for_dma();
	store(CARRIER_IOVA, 1);
	EQUAL(carrier[0], 0x66);
	int status;
	MUST(waitpid(child, &status, 0));
	EQUAL(WEXITSTATUS(status), 1);
	ok();
}

/* More calls than the engine waits for; the kernel itself waits for the others' pages. */

enum { MANY = 20, WAITING_MOST = 16 };
static int opened;
static pthread_barrier_t all;

static void *open_path(void *path)
{
	pthread_barrier_wait(&all);
	close(MUST(open(path, O_RDONLY)));
	__atomic_add_fetch(&opened, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

static int threads_of_engine(void)
{
	char path[64];
	struct stat stats;

	snprintf(path, sizeof(path), "/proc/%d/task", getppid());
	MUST(stat(path, &stats));
	return stats.st_nlink;
}

static void wait_often(void)
{
	char *memory = handled_memory(MANY);
	struct uffd_msg messages[MANY];
	struct pollfd ready = { faults, POLLIN, 0 };
	int before = threads_of_engine();

	strcpy(page, "/dev/null");
	EQUAL(pthread_barrier_init(&all, NULL, MANY + 1), 0);
	for (int index = 0; index < MANY; index++)
		start(open_path, memory + index * PAGE);
	pthread_barrier_wait(&all);
	for (int index = 0; index < MANY; index++)
		while (read(faults, &messages[index], sizeof(*messages)) != sizeof(*messages))
			MUST(poll(&ready, 1, -1));
	/* All wait. The engine had the first of its threads before. */
	EQUAL(threads_of_engine(), before + WAITING_MOST - 1);
	EQUAL(opened, 0);
	for (int index = 0; index < MANY; index++) {
		struct uffdio_copy copy = { .src = (uintptr_t)page, .len = PAGE };
		copy.dst = messages[index].arg.pagefault.address & -PAGE;
		MUST(ioctl(faults, UFFDIO_COPY, &copy));
	}
	while (__atomic_load_n(&opened, __ATOMIC_SEQ_CST) < MANY)
		usleep(1000);
	ok();
}

/* Killed while a page is waited for that never comes. */
static void never_handle(void)
{
	char *memory = handled_memory(1);

	open_edu(address);
	MUST(map(memory, IOVA, PAGE, READ_WRITE));
	start_dma(IOVA, BUFFER, 1, 1);
	kill(getpid(), SIGKILL);
}

/* A file system in user space, which this run serves. Each answer takes calls that are trapped. */

static void answer_fuse(int fuse, uint64_t unique, int error, const void *data, unsigned bytes)
{
	char out[2 * PAGE];
	struct fuse_out_header header = { sizeof(header) + bytes, error, unique };

	memcpy(out, &header, sizeof(header));
	memcpy(out + sizeof(header), data, bytes);
	/* A request that was given up wants none. */
	if (write(fuse, out, header.len) != header.len && errno != ENOENT)
		fail("answer of FUSE");
}

static struct fuse_attr attributes(uint64_t node)
{
	if (node == 1)
		return (struct fuse_attr){ .ino = 1, .mode = S_IFDIR | 0755, .nlink = 1 };
	return (struct fuse_attr){ .ino = 2, .size = 4 * PAGE, .mode = S_IFREG | 0600, .nlink = 1 };
}

static void serve_fuse(int fuse)
{
	static char in[1 << 18];

	while (read(fuse, in, sizeof(in)) > 0) {
		struct fuse_in_header *header = (void *)in;
		void *body = in + sizeof(*header);
		struct stat stats;

		stat("/dev/vfio/vfio", &stats);
		close(open("/dev/null", O_RDONLY));
		if (header->opcode == FUSE_INIT) {
			struct fuse_init_out init = { .major = 7, .minor = 31, .max_readahead = 0, .max_write = PAGE };
			answer_fuse(fuse, header->unique, 0, &init, sizeof(init));
		} else if (header->opcode == FUSE_LOOKUP) {
			struct fuse_entry_out entry = { .nodeid = 2, .attr = attributes(2) };
			answer_fuse(fuse, header->unique, 0, &entry, sizeof(entry));
		} else if (header->opcode == FUSE_GETATTR) {
			struct fuse_attr_out attr = { .attr_valid = 60, .attr = attributes(header->nodeid) };
			answer_fuse(fuse, header->unique, 0, &attr, sizeof(attr));
		} else if (header->opcode == FUSE_OPEN) {
			struct fuse_open_out opened = { .fh = 1 };
			answer_fuse(fuse, header->unique, 0, &opened, sizeof(opened));
		} else if (header->opcode == FUSE_READ) {
			char bytes[PAGE];
			unsigned length = ((struct fuse_read_in *)body)->size;
			memset(bytes, 0x71, PAGE);
			answer_fuse(fuse, header->unique, 0, bytes, length < PAGE ? length : PAGE);
		} else if (header->opcode != FUSE_FORGET && header->opcode != FUSE_BATCH_FORGET)
			answer_fuse(fuse, header->unique, -ENOSYS, NULL, 0);
	}
}

static void map_own_file_system(void)
{
	char folder[] = "/tmp/test-fuse-XXXXXX", path[64], options[128];
	int fuse = open("/dev/fuse", O_RDWR), file, server;
	char *memory;

	if (fuse < 0 || unshare(CLONE_NEWNS) != 0 ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
		skip("FUSE");
	MUST(mkdtemp(folder) == NULL ? -1 : 0);
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=%d,group_id=%d", fuse,
		 getuid(), getgid());
	if (mount("test", folder, "fuse", MS_NODEV | MS_NOSUID, options) != 0) {
		rmdir(folder);
		skip("mount of FUSE");
	}
	server = MUST(fork());
	if (server == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		serve_fuse(fuse);
		_exit(0);
	}
	close(fuse);
	snprintf(path, sizeof(path), "%s/file", folder);
	file = MUST(open(path, O_RDWR));
	open_edu(address);
	map_carrier();
	memory = (void *)MUST(mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0));
	MUST(map(memory, IOVA, 2 * PAGE, READ_WRITE));
	EQUAL(device_reads(IOVA + PAGE), 0x71);
	/* A call's argument in it. */
	memory = (void *)MUST(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, file, 2 * PAGE));
	REFUSED(ioctl(container, VFIO_IOMMU_GET_INFO, memory), EFAULT);
	EQUAL(memory[0], 0x71);
	umount2(folder, MNT_DETACH);
	rmdir(folder);
	ok();
}

/* What is pinned counts in all that locks. */
static void lock(void)
{
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct sets[2];
	struct rlimit limit = { 64 * PAGE, 64 * PAGE };
	char *memory, *more;
	int secret;

	MUST(syscall(SYS_capget, &header, sets));
	sets[0].effective &= ~(1u << CAP_IPC_LOCK);
	sets[0].permitted &= ~(1u << CAP_IPC_LOCK);
	MUST(syscall(SYS_capset, &header, sets));
	MUST(setrlimit(RLIMIT_MEMLOCK, &limit));
	open_edu(address);
	memory = anonymous(48 * PAGE);
	MUST(map(memory, IOVA, 48 * PAGE, READ_WRITE));
	EQUAL(locked_kilobytes(), 192);
	REFUSED(mmap(NULL, 17 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0), EAGAIN);
	MUST(mmap(NULL, 4 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0));
	EQUAL(locked_kilobytes(), 208);
	more = anonymous(16 * PAGE);
	REFUSED(mlock(more, 13 * PAGE), ENOMEM);
	REFUSED(syscall(SYS_mlock2, more, 13 * PAGE, 1), ENOMEM);
	MUST(mlock(more, 4 * PAGE));
	REFUSED(mremap(more, 4 * PAGE, 13 * PAGE, MREMAP_MAYMOVE), EAGAIN);
	MUST(mremap(more + 8 * PAGE, 4 * PAGE, 20 * PAGE, MREMAP_MAYMOVE));
	MUST(mremap(more, 4 * PAGE, 8 * PAGE, MREMAP_MAYMOVE));
	EQUAL(locked_kilobytes(), 240);
	REFUSED(map(anonymous(5 * PAGE), IOVA + (1 << 20), 5 * PAGE, READ_WRITE), ENOMEM);
	secret = syscall(447, O_CLOEXEC);
	if (secret >= 0) {
		EQUAL(fcntl(secret, F_GETFD), FD_CLOEXEC);
		MUST(ftruncate(secret, 8 * PAGE));
		REFUSED(mmap(NULL, 5 * PAGE, PROT_READ, MAP_SHARED, secret, 0), EAGAIN);
		MUST(mmap(NULL, 4 * PAGE, PROT_READ, MAP_SHARED, secret, 0));
		EQUAL(locked_kilobytes(), 256);
	}
	ok();
}

/* CAP_IPC_LOCK of a user namespace is not the initial one's. */
static void lock_in_namespace(void)
{
	struct rlimit limit = { 8 * PAGE, 8 * PAGE };

	if (unshare(CLONE_NEWUSER) != 0)
		skip("a user namespace");
	MUST(setrlimit(RLIMIT_MEMLOCK, &limit));
	open_edu(address);
	REFUSED(map(anonymous(9 * PAGE), IOVA, 9 * PAGE, READ_WRITE), ENOMEM);
	MUST(map(anonymous(8 * PAGE), IOVA, 8 * PAGE, READ_WRITE));
	ok();
}

/* The limit is that of a program which is another user by now. */
static void lock_as_other_user(void)
{
	struct rlimit limit = { 8 * PAGE, 8 * PAGE };

	open_edu(address);
	MUST(setrlimit(RLIMIT_MEMLOCK, &limit));
	if (setresgid(65534, 65534, 65534) != 0 || setresuid(65534, 65534, 65534) != 0)
		skip("another user");
	MUST(prctl(PR_SET_DUMPABLE, 1));
	REFUSED(map(anonymous(9 * PAGE), IOVA, 9 * PAGE, READ_WRITE), ENOMEM);
	MUST(map(anonymous(8 * PAGE), IOVA, 8 * PAGE, READ_WRITE));
	ok();
}

/* Pins of files for writing: `pins` says whether the kernel makes them. */
static void pin_files(int pins)
{
	char path[] = "/var/tmp/test-pins-XXXXXX";
	int file = mkstemp(path), shm = MUST(memfd_create("pins", 0));
	char *memory = anonymous(8 * PAGE);
	int before;

	if (file == -1)
		skip(path);
	unlink(path);
	MUST(ftruncate(file, 4 * PAGE));
	MUST(ftruncate(shm, 4 * PAGE));
	open_edu(address);
	MUST(mmap(memory + 4 * PAGE, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0));
	before = locked_kilobytes();
	if (pins) {
		MUST(map(memory, IOVA, 8 * PAGE, READ_WRITE));
		EQUAL(unmap(IOVA, 8 * PAGE), 8 * PAGE);
	} else {
		REFUSED(map(memory + 4 * PAGE, IOVA, PAGE, READ_WRITE), EFAULT);
		REFUSED(map(memory, IOVA, 8 * PAGE, READ_WRITE), EFAULT);
		/* One file behind another, and other memory between them. */
		char *mixed = anonymous(3 * PAGE);
		for (int at = 0; at < 3; at += 2)
			MUST(mmap(mixed + at * PAGE, PAGE, PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_FIXED, file, at * PAGE));
		REFUSED(map(mixed, IOVA, 3 * PAGE, READ_WRITE), EFAULT);
		/* VFIO_DMA_MAP_FLAG_PINNED */
		if (!off)
			REFUSED(map(memory, IOVA, 8 * PAGE, READ_WRITE | 8), EFAULT);
	}
	EQUAL(locked_kilobytes(), before);
	MUST(map(memory + 4 * PAGE, IOVA, PAGE, VFIO_DMA_MAP_FLAG_READ));
	MUST(map(memory, IOVA + PAGE, 4 * PAGE, READ_WRITE));
	memory = (void *)MUST(mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0));
	MUST(map(memory, IOVA + 8 * PAGE, 4 * PAGE, READ_WRITE));
	memory = (void *)MUST(mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, shm, 0));
	MUST(map(memory, IOVA + 16 * PAGE, 4 * PAGE, READ_WRITE));
	ok();
}

int main(int count, char **words)
{
	const char *mode = words[1];
#define IS(name) (!strcmp(mode, name))

	(void)count;
	address = words[2];
	off = !strcmp(words[3], "off");
	setvbuf(stdout, NULL, _IONBF, 0);
	if (IS("leader ends"))
		end_leader(0);
	if (IS("leader ends first"))
		end_leader(1);
	if (IS("child maps"))
		share_memory(0);
	if (IS("child opens"))
		share_memory(1);
	if (IS("handler"))
		handle_faults();
	if (IS("own handler"))
		handle_own_fault();
	if (IS("handler in child"))
		handle_in_child();
	if (IS("many wait"))
		wait_often();
	if (IS("no handler"))
		never_handle();
	if (IS("file system"))
		map_own_file_system();
	if (IS("lock"))
		lock();
	if (IS("lock in namespace"))
		lock_in_namespace();
	if (IS("lock as other user"))
		lock_as_other_user();
	if (IS("pins files"))
		pin_files(1);
	if (IS("refuses files"))
		pin_files(0);
	fail("no such mode: %s", mode);
}
