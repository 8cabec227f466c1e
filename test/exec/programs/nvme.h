// A small driver of an NVMe disk, for test programs: one admin queue, one I/O queue, MSI-X.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/vfio.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define MUST(what) \
  do { \
    if ((what) < 0) { \
      perror(#what); \
      exit(1); \
    } \
  } while (0)

enum { ADMIN_SQ = 0, ADMIN_CQ = 0x1000, IO_SQ = 0x2000, IO_CQ = 0x3000, BUFFER = 0x4000 };
static const uint64_t IOVA = 0x600000;
static const uint64_t BYTES = 0x40000;

struct command {
  uint32_t head, nsid;
  uint64_t reserved, metadata, prp1, prp2;
  uint32_t dw10, dw11, dw12, dw13, dw14, dw15;
};

static volatile uint8_t *bar;
static char *memory;
static int container, group, device, events[2];

static uint32_t get(int at) { return *(volatile uint32_t *)(bar + at); }
static void put(int at, uint32_t value) { *(volatile uint32_t *)(bar + at) = value; }
static void put64(int at, uint64_t value) {
  put(at, value);
  put(at + 4, value >> 32);
}

/* Waits for the next completion of a queue: its status, or -1 where none is told of in a moment. */
static int submit(int queue, struct command command) {
  static int tails[2];
  const int sq = queue == 0 ? ADMIN_SQ : IO_SQ, cq = queue == 0 ? ADMIN_CQ : IO_CQ;
  const int at = tails[queue]++;
  command.head |= (at + 1) << 16;
  ((struct command *)(memory + sq))[at] = command;
  __sync_synchronize();
  put(0x1000 + 2 * queue * 4, at + 1);
  struct pollfd ready = {events[queue], POLLIN, 0};
  uint64_t count;
  if (poll(&ready, 1, 300) != 1) return -1;
  MUST(read(events[queue], &count, 8));
  return *(volatile uint16_t *)(memory + cq + at * 16 + 14) >> 1;
}

static int map(uint64_t iova, void *at, uint64_t size, uint32_t flags) {
  struct vfio_iommu_type1_dma_map request = {
      .argsz = sizeof request, .flags = flags, .vaddr = (uintptr_t)at, .iova = iova, .size = size};
  return ioctl(container, VFIO_IOMMU_MAP_DMA, &request);
}

static void open_device(const char *address, int is_master) {
  char path[256], link[256];
  snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/iommu_group", address);
  ssize_t length = readlink(path, link, sizeof link - 1);
  MUST(length);
  link[length] = 0;
  snprintf(path, sizeof path, "/dev/vfio/%s", strrchr(link, '/') + 1);
  MUST(container = open("/dev/vfio/vfio", O_RDWR));
  MUST(group = open(path, O_RDWR));
  MUST(ioctl(group, VFIO_GROUP_SET_CONTAINER, &container));
  MUST(ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU));
  MUST(device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, address));
  struct vfio_region_info config = {.argsz = sizeof config, .index = VFIO_PCI_CONFIG_REGION_INDEX};
  MUST(ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &config));
  uint16_t word = is_master ? 6 : 2;
  MUST(pwrite(device, &word, 2, config.offset + 4));
  bar = mmap(0, 0x2000, PROT_READ | PROT_WRITE, MAP_SHARED, device, 0);
  if (bar == MAP_FAILED) MUST(-1);
}

static void arm(int vectors) {
  char bytes[sizeof(struct vfio_irq_set) + sizeof events];
  struct vfio_irq_set *set = (struct vfio_irq_set *)bytes;
  MUST(events[0] = eventfd(0, 0));
  MUST(events[1] = eventfd(0, 0));
  *set = (struct vfio_irq_set){.argsz = sizeof bytes,
                               .flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
                               .index = VFIO_PCI_MSIX_IRQ_INDEX,
                               .count = vectors};
  memcpy(set->data, events, sizeof events);
  MUST(ioctl(device, VFIO_DEVICE_SET_IRQS, set));
}

/* Enables the controller and makes I/O queues: 0; 2: not ready, 3: refused, 6: it is gone. */
static int bring_up(void) {
  put(0x14, 0);
  put(0x24, 15 << 16 | 15);
  put64(0x28, IOVA + ADMIN_SQ);
  put64(0x30, IOVA + ADMIN_CQ);
  put(0x14, 6 << 16 | 4 << 20 | 1);
  uint32_t status;
  for (int i = 0; ((status = get(0x1c)) & 3) != 1; i++) {
    if (status == 0xffffffff) return 6;
    if (i == 1000) return 2;
    usleep(1000);
  }
  const uint32_t size = 15 << 16 | 1;
  struct command cq = {.head = 5, .prp1 = IOVA + IO_CQ, .dw10 = size, .dw11 = 1 << 16 | 3};
  struct command sq = {.head = 1, .prp1 = IOVA + IO_SQ, .dw10 = size, .dw11 = 1 << 16 | 1};
  if (submit(0, cq) != 0 || submit(0, sq) != 0) return 3;
  return 0;
}
