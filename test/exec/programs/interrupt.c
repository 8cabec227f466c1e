/*
 * Signals whose handlers lack SA_RESTART, and the calls that they come into. Usage: interrupt MODE
 * ADDRESS. Prints "ok", or says what is wrong. The engine is stopped while a call waits for it, so
 * that the signal comes before the call is received; the handler lets it go on.
 */
#define _GNU_SOURCE
#include "edu.h"
#include <dirent.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>

static volatile int ran, again;
static int waker, engine;

static void on_signal(int number, siginfo_t *info, void *context)
{
	unsigned char *next = (void *)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];

	if (number != SIGALRM || info->si_signo != SIGALRM)
		fail("signal %d, siginfo of %d", number, info->si_signo);
	ran++;
	/* The call is about to be made again. */
	again = next[0] == 0x0f && next[1] == 0x05;
	if (waker > 0 && write(waker, "", 1) != 1)
		fail("write to the waker");
}

static void alarm_ms(int ms)
{
	struct itimerval timer = { .it_value = { 0, 1000 * ms } };

	MUST(setitimer(ITIMER_REAL, &timer, NULL));
}

static void catch(int flags)
{
	struct sigaction action = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | flags };

	MUST(sigaction(SIGALRM, &action, NULL));
}

/* The state of each of the engine's threads (proc(5)). */
static int threads[64], thread_count;

static void find_threads(void)
{
	char path[300];
	struct dirent *entry;

	snprintf(path, sizeof(path), "/proc/%d/task", engine);
	DIR *folder = opendir(path);
	while (folder && (entry = readdir(folder)) && thread_count < 64) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%s/stat", engine, entry->d_name);
		threads[thread_count++] = MUST(open(path, O_RDONLY));
	}
	closedir(folder);
}

/*
 * Lets the engine, our parent, go on at each byte, and after a while unasked: what is between the
 * program and its handler may have to call it first. Makes no call that the engine has to answer.
 */
static void start_waker(void)
{
	int ends[2];

	MUST(pipe(ends));
	if (MUST(fork()) == 0) {
		struct pollfd asked = { ends[0], POLLIN, 0 };
		char byte;

		close(ends[1]);
		while (poll(&asked, 1, 50) == 0 || read(ends[0], &byte, 1) == 1)
			kill(engine, SIGCONT);
		_exit(0);
	}
	close(ends[0]);
	waker = ends[1];
	find_threads();
}

/* A call that it had received before would be answered first, and no signal can come into it. */
static void stop_engine(void)
{
	again = 0;
	for (int index = 0; index < thread_count; index++) {
		char text[300] = "";

		while (strstr(text, ") T") == NULL && pread(threads[index], text, 299, 0) >= 0) {
			MUST(kill(engine, SIGSTOP));
			usleep(100);
		}
	}
	alarm_ms(5);
}

/* Makes the call until a signal has come into it, which must not make it fail. */
#define UNSEEN(what) ({ \
	long made_; \
	do { \
		stop_engine(); \
		made_ = (long)(what); \
		if (made_ == -1 && errno == EINTR) \
			fail("%s:%d: %s", __func__, __LINE__, #what); \
		if (!again) \
			go_on(); \
	} while (!again); \
	made_; \
})

/* The call was answered before the engine stopped. */
static void go_on(void)
{
	alarm_ms(0);
	MUST(kill(engine, SIGCONT));
}

static int fork_child(void)
{
	pid_t child = fork();

	if (child == 0)
		_exit(0);
	return child;
}

static void *nothing(void *argument)
{
	return argument;
}

static void *forever(void *argument)
{
	sigset_t signals;

	sigfillset(&signals);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	for (;;)
		pause();
	return argument;
}

/* Calls that a kernel never interrupts. */
static void watched(const char *address)
{
	char folder[] = "/tmp/test-interrupt-XXXXXX", name[64];
	struct vfio_device_info info = { .argsz = sizeof(info) };
	struct stat stats;
	pthread_t thread;
	uint32_t value;

	open_edu(address);
	if (mkdtemp(folder) == NULL)
		fail("mkdtemp");
	snprintf(name, sizeof(name), "%s/file", folder);
	catch(0);
	start_waker();
	EQUAL(UNSEEN(stat("/etc/passwd", &stats)), 0);
	EQUAL(UNSEEN(access("/etc/passwd", R_OK)), 0);
	MUST(UNSEEN(open(name, O_RDWR | O_CREAT, 0600)));
	REFUSED(UNSEEN(open("/nonexistent", O_RDONLY)), ENOENT);
	char *memory = anonymous(4 * PAGE);
	EQUAL(UNSEEN(mprotect(memory, PAGE, PROT_READ)), 0);
	EQUAL(UNSEEN(madvise(memory, PAGE, MADV_DONTNEED)), 0);
	EQUAL(UNSEEN(mmap(memory, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0)),
	      memory);
	EQUAL(UNSEEN(munmap(memory, PAGE)), 0);
	EQUAL(UNSEEN(pread(device, &value, 4, 0)), 4);
	EQUAL(value, read32(0));
	EQUAL(UNSEEN(ioctl(device, VFIO_DEVICE_GET_INFO, &info)), 0);
	MUST(UNSEEN(dup(container)));
	EQUAL(UNSEEN(dup2(container, 3)), 3);
	/* By a number that is VFIO's for its request only. */
	EQUAL(UNSEEN(ioctl(3, VFIO_GET_API_VERSION)), VFIO_API_VERSION);
	EQUAL(UNSEEN(pthread_create(&thread, NULL, nothing, NULL)), 0);
	MUST(waitpid(UNSEEN(fork_child()), NULL, 0));
	/* An exit ends all threads, or none. */
	pid_t child = MUST(fork());
	if (child == 0) {
		pthread_create(&thread, NULL, forever, NULL);
		stop_engine();
		_exit(5);
	}
	int status;
	MUST(waitpid(child, &status, 0));
	EQUAL(WEXITSTATUS(status), 5);
	int spare[32], count = 0;
	for (int index = 0; index < 32; index++)
		spare[index] = MUST(dup(container));
	EQUAL(UNSEEN(close(spare[count++])), 0);
	REFUSED(fcntl(spare[0], F_GETFD), EBADF);
	unlink(name);
	rmdir(folder);
}

/* The same at 10,000 signals a second, and in the middle of calls that are made of several. */
static void often(const char *address)
{
	struct itimerval timer = { { 0, 100 }, { 0, 100 } };

	open_edu(address);
	catch(0);
	MUST(setitimer(ITIMER_REAL, &timer, NULL));
	while (ran < 3000) {
		uint32_t *registers = (void *)MUST(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, device, 0));

		EQUAL(registers[0], 0x010000ed);
		MUST(mprotect(registers, PAGE, PROT_READ | PROT_WRITE));
		MUST(munmap(registers, PAGE));
		catch(0);
		MUST(close(MUST(dup(device))));
		int child = MUST(fork_child());
		while (waitpid(child, NULL, 0) == -1)
			EQUAL(errno, EINTR);
	}
	alarm_ms(0);
}

/* Calls that wait are interrupted: by the time they wait the engine has let them go. */
static void waiting(void)
{
	char folder[] = "/tmp/test-interrupt-XXXXXX", name[64], byte;
	int ends[2];
	pid_t child;

	catch(0);
	MUST(pipe(ends));
	alarm_ms(20);
	REFUSED(read(ends[0], &byte, 1), EINTR);
	EQUAL(ran, 1);
	child = MUST(fork());
	if (child == 0) {
		pause();
		_exit(0);
	}
	alarm_ms(20);
	REFUSED(waitpid(child, NULL, 0), EINTR);
	kill(child, SIGKILL);
	MUST(waitpid(child, NULL, 0));
	if (mkdtemp(folder) == NULL)
		fail("mkdtemp");
	snprintf(name, sizeof(name), "%s/fifo", folder);
	MUST(mkfifo(name, 0600));
	alarm_ms(200);
	REFUSED(open(name, O_RDONLY), EINTR);
	EQUAL(ran, 3);
	/* SA_RESTART is the program's to choose. */
	catch(SA_RESTART);
	child = MUST(fork());
	if (child == 0) {
		usleep(100000);
		MUST(write(ends[1], "x", 1));
		_exit(0);
	}
	alarm_ms(20);
	EQUAL(read(ends[0], &byte, 1), 1);
	EQUAL(ran, 4);
	unlink(name);
	rmdir(folder);
}

/* What a program reads back are its own handlers and flags. */
static void actions(void)
{
	struct sigaction action = { .sa_flags = SA_NODEFER }, old;
	char *fake = (char *)0x10000;

	sigfillset(&action.sa_mask);
	for (int index = 0; index < 100; index++) {
		action.sa_handler = (void *)(fake + index);
		MUST(sigaction(SIGUSR1, &action, index % 2 ? &old : NULL));
		if (index % 2 && index > 1)
			EQUAL(old.sa_handler, fake + index - 1);
		MUST(sigaction(SIGUSR1, NULL, &old));
		EQUAL(old.sa_handler, fake + index);
		EQUAL(old.sa_flags & ~0x04000000, SA_NODEFER);
	}
	EQUAL(signal(SIGUSR1, SIG_IGN), fake + 99);
	EQUAL(signal(SIGUSR1, SIG_DFL), SIG_IGN);
	catch(SA_RESETHAND);
	MUST(sigaction(SIGALRM, NULL, &old));
	EQUAL(old.sa_sigaction, on_signal);
	MUST(raise(SIGALRM));
	EQUAL(ran, 1);
	EQUAL(signal(SIGALRM, SIG_IGN), SIG_DFL);
	/* A child inherits them; a program of its own does not. */
	catch(0);
	EQUAL(system("kill -ALRM $$; exit 3"), SIGALRM);
	if (fork() == 0) {
		MUST(raise(SIGALRM));
		_exit(ran);
	}
	int status;
	MUST(wait(&status));
	EQUAL(WEXITSTATUS(status), 2);
}

int main(int count, char **words)
{
	(void)count;
	engine = getppid();
	setvbuf(stdout, NULL, _IONBF, 0);
	if (!strcmp(words[1], "watched"))
		watched(words[2]);
	else if (!strcmp(words[1], "often"))
		often(words[2]);
	else if (!strcmp(words[1], "waiting"))
		waiting();
	else
		actions();
	printf("ok\n");
	_exit(0);
}
