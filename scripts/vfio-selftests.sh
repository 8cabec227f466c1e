#!/usr/bin/env bash
# Builds the kernel's VFIO and iommufd selftests (tools/testing/selftests of Linux 7.2) from
# Debian's sources into a folder: set IOPF_SELFTESTS to it, and test/exec/*-selftests.test.ts run
# them. Needs the network (160 MB), a C compiler, uuid-dev and libcap-dev.
#
#   scripts/vfio-selftests.sh FOLDER
set -euo pipefail
[ $# = 1 ] || { echo "usage: $0 FOLDER" >&2; exit 2; }
mkdir -p "$1"
folder=$(cd "$1" && pwd)
sources=$(mktemp -d)
trap 'rm -rf "$sources"' EXIT
"$(dirname "$0")"/debian-package.sh sid "$sources" linux-source-7.2
cd "$sources"
tar xJf usr/src/linux-source-7.2.tar.xz --strip-components=1 --wildcards \
  '*/tools/testing/selftests/vfio/*' '*/tools/testing/selftests/iommu/*' \
  '*/tools/testing/selftests/*.h' '*/drivers/iommu/iommufd/iommufd_test.h' '*/tools/include/*' \
  '*/tools/arch/x86/include/*' '*/include/uapi/linux/vfio.h' '*/include/uapi/linux/iommufd.h' \
  '*/include/uapi/linux/pci_regs.h' '*/include/linux/pci_ids.h' \
  '*/drivers/dma/idxd/registers.h' '*/drivers/dma/ioat/hw.h' '*/drivers/dma/ioat/registers.h'

# The headers as `make headers_install` leaves them, as far as these programs need it.
mkdir -p headers/linux
for header in vfio iommufd pci_regs; do
  sed 's/\b__user\b//g' "include/uapi/linux/$header.h" >"headers/linux/$header.h"
done
cp include/linux/pci_ids.h headers/linux/
tests=tools/testing/selftests/vfio
for program in vfio_dma_mapping_test vfio_dma_mapping_mmio_test vfio_pci_device_init_perf_test; do
  # The sources of 7.2.13 use calloc_assert() and do not define it.
  gcc -O1 -w -D_GNU_SOURCE '-D__counted_by(member)=' '-Dcalloc_assert(n, size)=calloc(n, size)' \
    -Iheaders -Itools/include -Itools/arch/x86/include -Itools/testing/selftests \
    -I$tests/lib/include -pthread -o "$folder/$program" \
    $tests/$program.c $tests/lib/*.c $tests/lib/drivers/*/*.c -luuid
done
gcc -O1 -w -D_GNU_SOURCE '-D__counted_by(member)=' -Iheaders -Itools/testing/selftests \
  -o "$folder/iommufd" tools/testing/selftests/iommu/iommufd.c -lcap
