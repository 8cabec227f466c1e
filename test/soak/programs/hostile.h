/* What the parts of the hostile program share. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096UL
#define REGION(index) ((off_t)(index) << 40)
#define CONFIG 7
#define EDU "0000:00:04.0"
#define NVME "0000:02:00.0"
#define RECORDED "0000:05:00.0"

/* One device, alone in its container. */
struct vfio {
	int container, group, device;
};

/* An attack is a thread that goes on until `over`. Its argument is its seed. */
extern volatile int over;
/* Each round of attack_descriptors keeps one: it must be found. */
extern int plant_leak;
/* A register of RECORDED that the signal handler stores to and loads from, or NULL. */
extern volatile uint32_t *_Atomic handler_register;
/* Says what is wrong and ends the program. */
extern void wrong(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

#define MUST(what) ({ \
	long result_ = (long)(what); \
	if (result_ == -1) \
		wrong("%s:%d: %s", __func__, __LINE__, #what); \
	result_; })

void begin_thread(pthread_t *thread, void *(*run)(void *), void *argument);
struct vfio open_vfio(const char *address);
int map_dma(int container, void *memory, uint64_t iova, size_t size, uint32_t flags);
void *pages(size_t count);
/* The device EDU copies a page from one IOVA to another, through its own memory. */
void edu_copy(uint64_t from, uint64_t to);
extern struct vfio edu;

static inline uint32_t below(unsigned *seed, uint32_t bound)
{
	*seed = *seed * 1664525u + 1013904223u;
	return (uint32_t)(((uint64_t)*seed * bound) >> 32);
}

static inline uint64_t any(unsigned *seed)
{
	uint64_t high = below(seed, ~0u), low = below(seed, ~0u);

	return (high << 32 | low) >> below(seed, 64);
}

void *attack_ioctls(void *seed);
void *attack_nvme(void *seed);
void *attack_memory(void *seed);
void *attack_forks(void *seed);
void *attack_descriptors(void *seed);
void *attack_registers(void *seed);
void *attack_userfault(void *seed);
