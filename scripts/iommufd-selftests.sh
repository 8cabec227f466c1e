#!/usr/bin/env bash
# Builds the kernel's iommufd selftests (tools/testing/selftests/iommu of Linux 7.2) from Debian's
# sources into a folder: set IOPF_SELFTESTS to it, and test/exec/iommufd-selftests.test.ts runs
# them. Needs the network (160 MB), a C compiler and libcap-dev.
#
#   scripts/iommufd-selftests.sh FOLDER
set -euo pipefail
[ $# = 1 ] || { echo "usage: $0 FOLDER" >&2; exit 2; }
mkdir -p "$1"
folder=$(cd "$1" && pwd)
sources=$(mktemp -d)
trap 'rm -rf "$sources"' EXIT
"$(dirname "$0")"/debian-package.sh sid "$sources" linux-source-7.2
cd "$sources"
tar xJf usr/src/linux-source-7.2.tar.xz --strip-components=1 --wildcards \
  '*/tools/testing/selftests/iommu/*' '*/tools/testing/selftests/*.h' \
  '*/drivers/iommu/iommufd/iommufd_test.h' '*/include/uapi/linux/vfio.h' \
  '*/include/uapi/linux/iommufd.h'
mkdir -p headers/linux
for header in vfio iommufd; do
  sed 's/\b__user\b//g' "include/uapi/linux/$header.h" >"headers/linux/$header.h"
done
gcc -O1 -w -D_GNU_SOURCE '-D__counted_by(member)=' -Iheaders -Itools/testing/selftests \
  -o "$folder/iommufd" tools/testing/selftests/iommu/iommufd.c -lcap
