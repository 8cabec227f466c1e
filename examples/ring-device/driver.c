// Drives the copy engine of ring.ts by VFIO: copies a page 100 times, and looks at each.
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define CHECK(call) do { if ((call) < 0) { perror(#call); exit(1); } } while (0)
struct descriptor { uint64_t source, target; uint32_t length, status; };
enum { RING_LOW = 0x0, RING_HIGH = 0x4, ENTRIES = 0x8, HEAD = 0xc, EVENTS = 0x10 };
enum { DOORBELL = 0x1000 };
enum { COUNT = 100, PAGE = 4096 };

int main(int argc, char **argv) {
  const char *address = argc > 1 ? argv[1] : "0000:01:00.0";
  char path[256], link[256];
  snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/iommu_group", address);
  ssize_t length = readlink(path, link, sizeof link - 1);
  CHECK(length);
  link[length] = 0;
  snprintf(path, sizeof path, "/dev/vfio/%s", strrchr(link, '/') + 1);
  int container = open("/dev/vfio/vfio", O_RDWR), group = open(path, O_RDWR);
  CHECK(container);
  CHECK(group);
  CHECK(ioctl(group, VFIO_GROUP_SET_CONTAINER, &container));
  CHECK(ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU));
  int device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, address);
  CHECK(device);

  struct vfio_region_info bar = { .argsz = sizeof bar, .index = VFIO_PCI_BAR0_REGION_INDEX };
  struct vfio_region_info config = bar;
  config.index = VFIO_PCI_CONFIG_REGION_INDEX;
  CHECK(ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &config));
  CHECK(ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &bar));
  uint16_t command = 0x6; // memory, bus mastering
  CHECK(pwrite(device, &command, 2, config.offset + 4));
  volatile uint8_t *registers =
      mmap(0, bar.size, PROT_READ | PROT_WRITE, MAP_SHARED, device, bar.offset);
  if (registers == MAP_FAILED) { perror("mmap"); return 1; }
#define REGISTER(at) (*(volatile uint32_t *)(registers + (at)))

  // [0, 1 page) the ring; then the pages to copy, then where they go.
  size_t bytes = (1 + 2 * COUNT) * PAGE;
  uint64_t iova = 0x100000;
  char *memory = mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  struct vfio_iommu_type1_dma_map map = {
    .argsz = sizeof map, .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
    .vaddr = (uintptr_t)memory, .iova = iova, .size = bytes,
  };
  CHECK(ioctl(container, VFIO_IOMMU_MAP_DMA, &map));

  int event = eventfd(0, 0);
  char buffer[sizeof(struct vfio_irq_set) + sizeof event];
  struct vfio_irq_set *set = (struct vfio_irq_set *)buffer;
  *set = (struct vfio_irq_set){
    .argsz = sizeof buffer, .flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
    .index = VFIO_PCI_MSIX_IRQ_INDEX, .count = 1,
  };
  memcpy(set->data, &event, sizeof event);
  CHECK(ioctl(device, VFIO_DEVICE_SET_IRQS, set));

  struct descriptor *ring = (struct descriptor *)memory;
  REGISTER(RING_LOW) = (uint32_t)iova;
  REGISTER(RING_HIGH) = iova >> 32;
  REGISTER(ENTRIES) = COUNT;
  int wrong = 0;
  for (uint32_t n = 0; n < COUNT; n++) {
    char *source = memory + (1 + n) * PAGE, *target = source + COUNT * PAGE;
    memset(source, (int)n + 1, PAGE);
    ring[n] = (struct descriptor){ iova + (source - memory), iova + (target - memory), PAGE, 0 };
    __sync_synchronize();
    REGISTER(DOORBELL) = n + 1;
    uint64_t count;
    CHECK(read(event, &count, sizeof count));
    if (ring[n].status != 1 || memcmp(source, target, PAGE) != 0) wrong++;
  }
  uint32_t events = REGISTER(EVENTS), again = REGISTER(EVENTS);
  printf("%u of %d pages copied, %d wrong, events %u and then %u\n", REGISTER(HEAD), COUNT, wrong,
         events, again);
  return wrong != 0 || events != 1 || again != 0;
}
