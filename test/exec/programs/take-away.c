/*
 * Preloaded into dpdk-testpmd: takes its packet memory away again and again, as a balloon would.
 * The memory is a memfd that is mapped shared, so its contents stay.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PIECE = 1 << 20, PAUSE_US = 1000 };

static void *take_away(void *nothing)
{
	for (;;) {
		char line[256];
		FILE *maps = fopen("/proc/self/maps", "r");
		while (maps != NULL && fgets(line, sizeof line, maps) != NULL) {
			uintptr_t start, end;
			if (strstr(line, "memfd:nohuge") == NULL || sscanf(line, "%lx-%lx", &start, &end) != 2)
				continue;
			for (; start < end; start += PIECE) {
				uintptr_t bytes = end - start < PIECE ? end - start : PIECE;
				madvise((void *)start, bytes, MADV_DONTNEED);
				usleep(PAUSE_US);
			}
		}
		if (maps != NULL)
			fclose(maps);
		usleep(PAUSE_US);
	}
	return nothing;
}

__attribute__((constructor)) static void start(void)
{
	pthread_t thread;
	if (strcmp(program_invocation_short_name, "dpdk-testpmd") == 0)
		pthread_create(&thread, NULL, take_away, NULL);
}
