/* Attacks by a controller: rings of commands, addresses and doorbells that mean no good. */
#include "hostile.h"

#define POOL_PAGES 128
#define FENCE_PAGES 4
#define FENCE_IOVA (POOL_PAGES * PAGE)
#define DEPTH 64
#define FENCE 0x5c

struct command {
	uint8_t opcode, flags;
	uint16_t id;
	uint32_t namespace, words2[2];
	uint64_t metadata, data[2];
	uint32_t words[6];
};

static struct vfio disk;
static char *pool;

/* Anywhere: in the pool, behind a fence, in the controller's own memory, nowhere. */
static uint64_t address(unsigned *seed)
{
	switch (below(seed, 8)) {
	case 0:
		return any(seed);
	case 1:
		return FENCE_IOVA + below(seed, (FENCE_PAGES + 4) * PAGE);
	case 2:
		return below(seed, POOL_PAGES * PAGE);
	default:
		return below(seed, POOL_PAGES) * PAGE;
	}
}

static void fill(struct command *command, unsigned *seed, int admin)
{
	static const uint8_t io[] = { 0, 1, 2, 2, 1, 4, 5, 8, 9, 0xc, 0x19 },
			     admins[] = { 0, 1, 1, 2, 4, 5, 5, 6, 8, 9, 0xa, 0xc, 0x80 };

	memset(command, 0, sizeof(*command));
	command->opcode = below(seed, 5) == 0 ? below(seed, 256)
			: admin ? admins[below(seed, sizeof(admins))] : io[below(seed, sizeof(io))];
	command->flags = below(seed, 3) == 0 ? below(seed, 256) : below(seed, 3) << 6;
	command->id = below(seed, 65536);
	command->namespace = below(seed, 4) ? 1 : any(seed);
	command->metadata = any(seed);
	command->data[0] = address(seed);
	/* The second half of an SGL descriptor: length and type. */
	command->data[1] = command->flags & 0xc0
		? (below(seed, 16 * PAGE) | (uint64_t)below(seed, 256) << 56) : address(seed);
	for (int at = 0; at < 6; at++)
		command->words[at] = below(seed, 3) ? below(seed, 16) : any(seed);
	if (admin && below(seed, 2)) {
		/* A queue that can be. */
		command->words[0] = (DEPTH - 1) << 16 | (1 + below(seed, 4));
		command->words[1] = 1 | (1 + below(seed, 4)) << 16;
	}
}

static void put(off_t at, uint32_t value)
{
	if (pwrite(disk.device, &value, 4, REGION(0) + at) < 0 && errno != EIO)
		wrong("pwrite at 0x%lx", (long)at);
}

static void enable(void)
{
	uint64_t asq = 0, acq = PAGE;

	put(0x14, 0);
	put(0x24, (DEPTH - 1) << 16 | (DEPTH - 1));
	if (pwrite(disk.device, &asq, 8, REGION(0) + 0x28) < 0 ||
	    pwrite(disk.device, &acq, 8, REGION(0) + 0x30) < 0)
		return;
	put(0x14, 0x00460001);
}

void *attack_nvme(void *argument)
{
	unsigned seed = (uintptr_t)argument, tails[5] = { 0 };
	char *fence = pages(2 * FENCE_PAGES);

	disk = open_vfio(NVME);
	pool = pages(POOL_PAGES);
	memset(fence, FENCE, 2 * FENCE_PAGES * PAGE);
	MUST(map_dma(disk.container, pool, 0, POOL_PAGES * PAGE,
		     VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE));
	/* Pages that devices may read, and behind them some that are not mapped. */
	MUST(map_dma(disk.container, fence, FENCE_IOVA, FENCE_PAGES * PAGE, VFIO_DMA_MAP_FLAG_READ));
	volatile uint32_t *bar = mmap(NULL, 0x2000, PROT_READ | PROT_WRITE, MAP_SHARED, disk.device,
				      REGION(0));
	if (bar == MAP_FAILED)
		wrong("mmap of BAR 0");
	enable();
	for (int round = 0; !over; round++) {
		unsigned queue = below(&seed, 5), count = 1 + below(&seed, 16);
		uint64_t junk[4];
		uint16_t command = 6;

		/* Half of the commands get queues that have them: an admin queue at page 0. */
		struct command *ring = (void *)(pool + 2 * queue * PAGE);
		for (; count > 0; count--) {
			fill(&ring[tails[queue] % DEPTH], &seed, queue == 0);
			tails[queue] = (tails[queue] + 1) % DEPTH;
		}
		if (queue > 0) {
			/* Create the pair, where it is not there yet. */
			struct command *admin = (void *)pool;
			for (int which = 5; which != 0; which = which == 5 ? 1 : 0) {
				struct command *create = &admin[tails[0]];
				memset(create, 0, sizeof(*create));
				create->opcode = which;
				create->data[0] = (2 * queue + (which == 5)) * PAGE;
				create->words[0] = (DEPTH - 1) << 16 | queue;
				create->words[1] = which == 5 ? 1 : queue << 16 | 1;
				tails[0] = (tails[0] + 1) % DEPTH;
			}
			put(0x1000, tails[0]);
		}
		off_t doorbell = 0x1000 + 8 * queue;
		uint32_t value = below(&seed, 20) ? tails[queue] : any(&seed);
		if (bar != MAP_FAILED && below(&seed, 2))
			bar[doorbell / 4] = value;
		else
			put(doorbell, value);
		put(doorbell + 4, below(&seed, 4) ? below(&seed, DEPTH) : any(&seed));
		switch (below(&seed, 64)) {
		case 0:
			put(0x14, any(&seed));
			break;
		case 1:
			ioctl(disk.device, VFIO_DEVICE_RESET);
			MUST(pwrite(disk.device, &command, 2, REGION(CONFIG) + 4));
			/* fall through */
		case 2:
			memset(tails, 0, sizeof(tails));
			enable();
			break;
		case 3:
			for (int at = 0; at < 4; at++)
				junk[at] = any(&seed);
			if (pwrite(disk.device, junk, sizeof(junk),
				   REGION(2) + below(&seed, 0x10000)) < 0)
				break;
			break;
		case 4:
			/* It may sleep then (D3hot), where loads would be SIGBUS: a reset wakes it. */
			if (pwrite(disk.device, &seed, 4, REGION(CONFIG) + below(&seed, 1024) * 4) < 0)
				errno = 0;
			ioctl(disk.device, VFIO_DEVICE_RESET);
			MUST(pwrite(disk.device, &command, 2, REGION(CONFIG) + 4));
			break;
		case 5:
			MUST(madvise(pool + below(&seed, POOL_PAGES) * PAGE, PAGE, MADV_DONTNEED));
			break;
		case 6:
			if (bar != MAP_FAILED)
				(void)bar[below(&seed, 0x1000) / 4];
			break;
		}
		for (unsigned at = 0; round % 64 == 0 && at < 2 * FENCE_PAGES * PAGE; at++)
			if (fence[at] != FENCE)
				wrong("wrong byte: the controller wrote at %u behind the fence", at);
	}
	put(0x14, 0);
	for (unsigned at = 0; at < 2 * FENCE_PAGES * PAGE; at++)
		if (fence[at] != FENCE)
			wrong("wrong byte: the controller wrote at %u behind the fence", at);
	return NULL;
}
