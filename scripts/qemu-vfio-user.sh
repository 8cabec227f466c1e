#!/usr/bin/env bash
# Unpacks a QEMU that is a client of vfio-user (since 10.1) into a folder, with all that it needs,
# and puts a command there that starts it: it has its own C library, so that any system will do.
#
#   scripts/qemu-vfio-user.sh FOLDER
#
# IOPF_QEMU_VFIO_USER=FOLDER/qemu then lets test/exec/serve-guest.test.ts run. Fetches 42 MB from
# Debian sid.
set -euo pipefail
if [ $# != 1 ]; then
  echo "usage: $0 FOLDER" >&2
  exit 2
fi
mkdir -p "$1"
folder=$(realpath "$1")
"$(dirname "$0")/debian-package.sh" --all sid "$folder" qemu-system-x86
cat >"$folder/qemu" <<END
#!/bin/sh
lib=$folder/usr/lib/x86_64-linux-gnu
export QEMU_MODULE_DIR=\$lib/qemu
exec \$lib/ld-linux-x86-64.so.2 --library-path \$lib $folder/usr/bin/qemu-system-x86_64 \\
  -L $folder/usr/share/qemu -L $folder/usr/share/seabios "\$@"
END
chmod +x "$folder/qemu"
if ! "$folder/qemu" -device vfio-user-pci,help | grep socket >/dev/null; then
  echo "$0: this QEMU knows no vfio-user-pci" >&2
  exit 1
fi
