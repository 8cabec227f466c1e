/*
 * A controller memory buffer under a program: `buffer ADDRESS PEER`. PEER has one (cmb=). The
 * peer's queues and data lie in it, then the first controller's Identify goes into it through the
 * IOMMU: the program maps the BAR for DMA. Prints a word for each step that went well.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define REGION(index) ((off_t)(index) << 40)
#define IDENTIFY_CONTROLLER 1
#define MEMORY 0x1000000UL
#define BUS 0x20000000UL
#define BASE (1UL << 48)

enum {
  CC = 0x14,
  CSTS = 0x1c,
  AQA = 0x24,
  ASQ = 0x28,
  ACQ = 0x30,
  CMBLOC = 0x38,
  CMBSZ = 0x3c,
  CMBMSC = 0x50,
  DOORBELL = 0x1000
};

static int container;

static void need(int good, const char *what) {
  if (good) return;
  perror(what);
  exit(1);
}

static int open_device(const char *address) {
  char path[128], link[256];
  snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/iommu_group", address);
  ssize_t length = readlink(path, link, sizeof link - 1);
  need(length > 0, path);
  link[length] = 0;
  snprintf(path, sizeof path, "/dev/vfio/%s", strrchr(link, '/') + 1);
  int group = open(path, O_RDWR);
  need(group >= 0, path);
  need(ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) == 0, "SET_CONTAINER");
  ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU);
  int device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, address);
  need(device >= 0, "GET_DEVICE_FD");
  uint16_t command = 6;
  need(pwrite(device, &command, 2, REGION(VFIO_PCI_CONFIG_REGION_INDEX) + 4) == 2, "command");
  return device;
}

static void *map_region(int device, int index, size_t bytes) {
  void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, device, REGION(index));
  need(at != MAP_FAILED, "mmap");
  return at;
}

static int map_dma(void *at, uint64_t iova, size_t bytes) {
  struct vfio_iommu_type1_dma_map map = {
    .argsz = sizeof map,
    .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
    .vaddr = (uintptr_t)at,
    .iova = iova,
    .size = bytes,
  };
  return ioctl(container, VFIO_IOMMU_MAP_DMA, &map);
}

static volatile uint32_t *word(volatile uint8_t *bar, int offset) {
  return (volatile uint32_t *)(bar + offset);
}

/* High word first: the low one makes the address count. */
static void set64(volatile uint8_t *bar, int offset, uint64_t value) {
  *word(bar, offset + 4) = value >> 32;
  *word(bar, offset) = (uint32_t)value;
}

/* Enables a controller with both admin queues in `queues`, which it knows as `address`. */
static void enable(volatile uint8_t *bar, uint64_t address) {
  *word(bar, AQA) = 15 << 16 | 15;
  set64(bar, ASQ, address);
  set64(bar, ACQ, address + 4096);
  *word(bar, CC) = 6 << 16 | 4 << 20 | 1;
  while ((*word(bar, CSTS) & 1) == 0) usleep(100);
}

/* One Identify as the first command of the queues; its status, or -1 where none came for 5 s. */
static int identify(volatile uint8_t *bar, uint8_t *queues, uint64_t target) {
  uint32_t *entry = (uint32_t *)queues;
  entry[0] = 6;
  memcpy(entry + 6, &target, 8);
  entry[10] = IDENTIFY_CONTROLLER;
  __sync_synchronize();
  *word(bar, DOORBELL) = 1;
  volatile uint32_t *completion = (volatile uint32_t *)(queues + 4096);
  for (int wait = 0; (completion[3] >> 16 & 1) == 0; wait++) {
    if (wait == 50000) return -1;
    usleep(100);
  }
  return completion[3] >> 17;
}

int main(int argc, char **argv) {
  container = open("/dev/vfio/vfio", O_RDWR);
  need(container >= 0 && argc == 3, "container");
  int first = open_device(argv[1]), peer = open_device(argv[2]);
  volatile uint8_t *registers = map_region(first, 0, 0x2000), *others = map_region(peer, 0, 0x2000);

  set64(others, CMBMSC, 1);
  size_t bytes = (size_t)(*word(others, CMBSZ) >> 12) << 12;
  uint8_t *buffer = map_region(peer, *word(others, CMBLOC) & 7, bytes);
  set64(others, CMBMSC, BASE | 3);
  enable(others, BASE);
  int status = identify(others, buffer, BASE + 8192);
  if (status == 0 && buffer[8192 + 77] == 7) printf("own ");

  uint8_t *memory = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  need(map_dma(memory, MEMORY, 8192) == 0, "MAP_DMA");
  need(map_dma(buffer, BUS, bytes) == 0, "MAP_DMA of the BAR");
  enable(registers, MEMORY);
  memset(buffer + 16384, 0, 4096);
  status = identify(registers, memory, BUS + 16384);
  if (status == 0 && buffer[16384 + 77] == 7) printf("peer ");
  struct vfio_iommu_type1_dma_unmap unmap = { .argsz = sizeof unmap, .iova = BUS, .size = bytes };
  if (ioctl(container, VFIO_IOMMU_UNMAP_DMA, &unmap) == 0 && unmap.size == bytes) printf("unmapped ");

  need(ioctl(peer, VFIO_DEVICE_RESET) == 0, "RESET");
  if (buffer[16384 + 77] == 0 && *word(others, CMBMSC) == 0) printf("reset\n");
  return 0;
}
