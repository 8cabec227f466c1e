// A driver that reads 8 KiB from an NVMe disk into two pages, with a bug that its second argument
// names:
//   none      it has none
//   hole      the second page of the buffer is 4 KiB behind the end of what is mapped
//   read-only the buffer is mapped for reading only
//   master    bus mastering is never switched on
//   vector    the completion queue's vector has no eventfd
//   calls     a mapping is made twice, and one is longer than its memory
#include "nvme.h"

int main(int argc, char **argv) {
  const char *bug = argc > 2 ? argv[2] : "none";
#define HAS(name) (strcmp(bug, name) == 0)
  open_device(argv[1], !HAS("master"));
  memory = mmap(0, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  MUST(map(IOVA, memory, BYTES / 2, 3));
  MUST(map(IOVA + BYTES / 2, memory + BYTES / 2, BYTES / 2, HAS("read-only") ? 1 : 3));
  if (HAS("calls")) {
    map(IOVA, memory, 4096, 3);
    map(IOVA, memory, 4096, 3);
    map(0, memory, 4095, 3);
  }
  arm(HAS("vector") ? 1 : 2);
  const int failed = bring_up();
  if (failed != 0) return failed;
  const uint64_t end = IOVA + BYTES;
  struct command read = {.head = 2,
                         .nsid = 1,
                         .prp1 = HAS("read-only") ? end - 0x1000 : IOVA + BUFFER,
                         .prp2 = HAS("hole") ? end + 0x1000 : IOVA + BUFFER + 0x1000,
                         .dw12 = 15};
  const int status = submit(1, read);
  printf("%d\n", status);
  return status != 0;
}
