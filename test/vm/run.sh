#!/usr/bin/env bash
# Boots Linux 6.1 (IOPF_GUEST_KERNEL, or /boot/vmlinuz-*) in QEMU (TCG) with this machine's Node and
# qemu-img and this checkout, and runs the smoke test of test/arm64 there.
set -euo pipefail
repository=$(cd "$(dirname "$0")/../.." && pwd)
kernel=${IOPF_GUEST_KERNEL:-$(ls /boot/vmlinuz-*cloud* 2>/dev/null | head -n 1)}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for tool in qemu-system-x86_64 qemu-img busybox cpio cc node; do
  command -v "$tool" >/dev/null || {
    echo "test:vm needs $tool; on Debian: apt-get install qemu-system-x86 qemu-utils" \
      "busybox-static cpio gcc libc6-dev" >&2
    exit 2
  }
done
[ -n "$kernel" ] || {
  echo "test:vm needs a kernel: set IOPF_GUEST_KERNEL (of Debian's linux-image-*-cloud-amd64)" >&2
  exit 2
}

# Programs of this machine, with the libraries that they load.
root=$work/root
mkdir -p "$root"/{bin,dev,etc,proc,sys,tmp,usr/bin,iopf/node_modules}
cp "$(command -v busybox)" "$root/bin/busybox"
for program in node qemu-img; do
  file=$(readlink -f "$(command -v "$program")")
  cp "$file" "$root/usr/bin/$program"
  ldd "$file" | grep -o '/[^ ]*' | sort -u | while read -r library; do
    mkdir -p "$root/$(dirname "$library")"
    cp -n "$library" "$root/$library"
  done
done
echo root:x:0:0:root:/tmp:/bin/sh >"$root/etc/passwd"
cc -O1 -Wall -pthread -static -DMAPPINGS=50 \
  -o "$root/torture" "$repository/test/exec/programs/torture.c"
install -m 755 "$repository/test/arm64/init" "$root/init"

cp "$repository/package.json" "$root/iopf/"
(cd "$repository" && cp -r --parents dist/{src,bundle,examples,test} "$root/iopf")
find "$root/iopf" -name '*.map' -delete
for package in commander iced-x86 jiti koffi yaml zod @koromix; do
  cp -rL "$repository/node_modules/$package" "$root/iopf/node_modules/"
done
(cd "$root" && find . | cpio -o -H newc --quiet) | gzip -1 >"$work/initrd"
rm -rf "$root"

timeout "${TIMEOUT:-1800}" qemu-system-x86_64 -cpu max -smp 2 -m 2G -accel tcg,thread=multi \
  -nic none -display none -monitor none -serial stdio -no-reboot \
  -kernel "$kernel" -initrd "$work/initrd" \
  -append "console=ttyS0 quiet panic=-1 -- $*" </dev/null | sed -u 's|\r$||' | tee "$work/console"
echo "test:vm: $SECONDS s with boot"
grep -q '^smoke: all passed' "$work/console"
