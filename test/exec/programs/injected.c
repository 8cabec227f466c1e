// A driver that tells what happens to it: in each round it writes a page to an NVMe disk and reads
// it back with the next command, both told of by one doorbell. Usage: injected ADDRESS [ROUNDS].
// A line for each round: the status of either command (- : it did not complete), the interrupts
// that came, whether the data is right, and the errno of a call. It ends with 5 where the
// controller reports fatal status, 6 where the device is gone.
#include <errno.h>
#include "nvme.h"

enum { ENTRIES = 16, READ_BACK = BUFFER + 0x1000, TAKEN = 0x8000 };
static int alarms[2];

/* Whatever the device did before this is over when it returns: its errno. */
static int info(void) {
  struct vfio_device_info info = {.argsz = sizeof info};
  return ioctl(device, VFIO_DEVICE_GET_INFO, &info) < 0 ? errno : 0;
}

static int count_of(int event) {
  uint64_t count = 0;
  struct pollfd ready = {event, POLLIN, 0};
  if (poll(&ready, 1, 0) == 1) MUST(read(event, &count, 8));
  return count;
}

static void watch(int index, int event) {
  char bytes[sizeof(struct vfio_irq_set) + sizeof event];
  struct vfio_irq_set *set = (struct vfio_irq_set *)bytes;
  *set = (struct vfio_irq_set){.argsz = sizeof bytes,
                               .flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
                               .index = index,
                               .count = 1};
  memcpy(set->data, &event, sizeof event);
  MUST(ioctl(device, VFIO_DEVICE_SET_IRQS, set));
}

/* Word 3 of the next completion, with a bit that no identifier has; 0 where there is none. */
static uint32_t take(int advance) {
  static int head, phase = 1;
  const uint32_t word = *(volatile uint32_t *)(memory + IO_CQ + head * 16 + 12);
  if ((word >> 16 & 1) != phase) return 0;
  if (advance && ++head == ENTRIES) head = 0, phase ^= 1;
  return word | TAKEN;
}

static int round_of(int number) {
  static int tail;
  const char *names[] = {"write", "read"};
  char said[2][8] = {"-", "-"};
  memset(memory + BUFFER, 0x11 * (number + 1), 0x1000);
  memset(memory + READ_BACK, 0, 0x1000);
  for (int which = 0; which < 2; which++) {
    struct command *command = (struct command *)(memory + IO_SQ) + tail;
    *command = (struct command){.head = (which + 1) | which << 16,
                                .nsid = 1,
                                .prp1 = IOVA + (which == 0 ? BUFFER : READ_BACK),
                                .dw10 = 8 * number,
                                .dw12 = 7};
    tail = (tail + 1) % ENTRIES;
  }
  __sync_synchronize();
  put(0x1008, tail);
  for (int i = 0; take(0) == 0; i++) {
    const uint32_t status = get(0x1c);
    if (status == 0xffffffff) return 6;
    if (status & 2) return 5;
    if (i == 30000) return 4;
    usleep(1000);
  }
  const int error = info();
  int head = 0;
  for (uint32_t word; (word = take(1)) != 0; head++)
    snprintf(said[word & 1], 8, "%x", word >> 17 & 0x7ff);
  static int taken;
  taken += head;
  put(0x100c, taken % ENTRIES);
  const int same = memcmp(memory + BUFFER, memory + READ_BACK, 0x1000) == 0;
  printf("%s %s, %s %s, interrupts %d, data %s, errno %d\n", names[0], said[0], names[1], said[1],
         count_of(events[1]), same ? "right" : "wrong", error);
  return 0;
}

int main(int argc, char **argv) {
  const int rounds = argc > 2 ? atoi(argv[2]) : 1;
  open_device(argv[1], 1);
  memory = mmap(0, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (map(IOVA, memory, BYTES, 3) < 0) {
    printf("map: errno %d\n", errno);
    return 1;
  }
  arm(2);
  for (int which = 0; which < 2; which++) {
    MUST(alarms[which] = eventfd(0, 0));
    watch(which == 0 ? VFIO_PCI_ERR_IRQ_INDEX : VFIO_PCI_REQ_IRQ_INDEX, alarms[which]);
  }
  int ended = bring_up();
  for (int number = 0; number < rounds && ended == 0; number++) ended = round_of(number);
  info();
  if (ended != 0)
    printf("ended %d, ERR %d, REQ %d\n", ended, count_of(alarms[0]), count_of(alarms[1]));
  return ended;
}
