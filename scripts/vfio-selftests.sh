#!/usr/bin/env bash
# Builds the kernel's VFIO selftests (tools/testing/selftests/vfio of Linux 7.3) from Debian's
# sources into a folder: set IOPF_SELFTESTS to it, and test/exec/vfio-selftests.test.ts runs them.
# Needs the network (160 MB), a C compiler and uuid-dev.
#
#   scripts/vfio-selftests.sh FOLDER
set -euo pipefail
[ $# = 1 ] || { echo "usage: $0 FOLDER" >&2; exit 2; }
mkdir -p "$1"
folder=$(cd "$1" && pwd)
sources=$(mktemp -d)
trap 'rm -rf "$sources"' EXIT
# 7.3 is the first with a driver for igb. It moves from experimental to sid in its time.
package=linux-source-7.3
scripts=$(cd "$(dirname "$0")" && pwd)
"$scripts"/debian-package.sh experimental "$sources" $package ||
  "$scripts"/debian-package.sh sid "$sources" $package
cd "$sources"
tar xJf usr/src/$package.tar.xz --strip-components=1 --wildcards \
  '*/tools/testing/selftests/vfio/*' '*/tools/testing/selftests/*.h' '*/tools/include/*' \
  '*/tools/arch/x86/include/*' '*/include/uapi/linux/vfio.h' '*/include/uapi/linux/iommufd.h' \
  '*/include/uapi/linux/pci_regs.h' '*/include/linux/pci_ids.h' \
  '*/drivers/dma/idxd/registers.h' '*/drivers/dma/ioat/hw.h' '*/drivers/dma/ioat/registers.h' \
  '*/drivers/net/ethernet/intel/igb/*.h'

# The headers as `make headers_install` leaves them, as far as these programs need it.
mkdir -p headers/linux
for header in vfio iommufd pci_regs; do
  sed 's/\b__user\b//g' "include/uapi/linux/$header.h" >"headers/linux/$header.h"
done
cp include/linux/pci_ids.h headers/linux/
tests=tools/testing/selftests/vfio
# Programs that choose no mode take type1, which every kernel has.
sed -i 's/default_iommu_mode = MODE_IOMMUFD/default_iommu_mode = MODE_VFIO_TYPE1_IOMMU/' \
  $tests/lib/iommu.c
for program in vfio_dma_mapping_test vfio_dma_mapping_mmio_test vfio_pci_device_init_perf_test \
  vfio_pci_device_test vfio_pci_driver_test vfio_iommufd_setup_test; do
  gcc -O1 -w -D_GNU_SOURCE '-D__counted_by(member)=' \
    -Iheaders -Itools/include -Itools/arch/x86/include -Itools/testing/selftests \
    -I$tests/lib/include -pthread -o "$folder/$program" \
    $tests/$program.c $tests/lib/*.c $tests/lib/drivers/*/*.c -luuid
done
