#!/usr/bin/env bash
# Unpacks packages of a Debian suite that this machine does not have into a folder. Nothing is
# installed, and the machine's own package lists stay as they are.
#
#   scripts/debian-package.sh [--all] SUITE FOLDER PACKAGE…
#   scripts/debian-package.sh sid /tmp/linux linux-source-7.2
#
# It asks the mirror that apt uses here. What a package depends on is fetched with --all only, down
# to the C library.
set -euo pipefail
all=
if [ "${1-}" = --all ]; then
  all=1
  shift
fi
if [ $# -lt 3 ]; then
  echo "usage: $0 [--all] SUITE FOLDER PACKAGE…" >&2
  exit 2
fi
suite=$1 folder=$2
shift 2
mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 2>/dev/null |
  grep -E '/debian/?$' | head -n 1 || true)
if [ -z "$mirror" ]; then
  echo "$0: apt knows no Debian mirror here" >&2
  exit 1
fi
apt=$(mktemp -d)
trap 'rm -rf "$apt"' EXIT
mkdir -p "$apt"/{etc/sources.list.d,state/lists/partial,cache/archives/partial} "$folder"
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
echo "deb [signed-by=$keyring] $mirror $suite main" >"$apt/etc/sources.list"
: >"$apt/state/status"
options=(
  -qq -o APT::Sandbox::User=root -o Dir::State="$apt/state" -o Dir::State::status="$apt/state/status"
  -o Dir::Cache="$apt/cache" -o Dir::Etc::SourceList="$apt/etc/sources.list"
  -o Dir::Etc::SourceParts="$apt/etc/sources.list.d" -o Acquire::Languages=none
)
apt-get "${options[@]}" update
cd "$apt"
if [ -n "$all" ]; then
  apt-get "${options[@]}" install -y --no-install-recommends --download-only "$@" >/dev/null
  for package in cache/archives/*.deb; do dpkg -x "$package" "$folder"; done
  exit
fi
for package in "$@"; do
  apt-get "${options[@]}" download "$package"
  dpkg -x "$package"_*.deb "$folder"
done
