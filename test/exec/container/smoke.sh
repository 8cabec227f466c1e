#!/bin/sh
# What `iopf exec` does wherever it runs, in a few short runs.
#
# usage: smoke.sh IOPF PROGRAMS
# IOPF is the package's folder; in PROGRAMS are test/exec/programs/{torture,memory}.c, compiled.
# Prints a line a step.
iopf=$1/bin/iopf
torture=$2/torture
memory=$2/memory
edu=0000:00:04.0
nvme=0000:02:00.0
folder=$(mktemp -d) || exit
trap 'rm -rf "$folder"' EXIT
failed=0

step() {
  if said=$(eval "$2" 2>&1); then
    echo "ok: $1"
  else
    echo "FAILED: $1: $said"
    failed=1
  fi
}
edu() {
  "$iopf" exec --quiet --device "edu@$edu" "$@"
}
copy=$1/dist/examples/dma-copy/main.js
step 'DMA by the example, with recording, trace, report and live view' '
  said=$(edu --record "$folder/recording" --trace "$folder/trace" --html "$folder/page.html" --ui \
    -- node "$copy" 2>&1) &&
    [ -s "$folder/recording" ] && [ -s "$folder/trace" ] && [ -s "$folder/page.html" ] &&
    case $said in *"live view at http"*", 0 wrong"*) ;; *) false ;; esac || { echo "$said"; false; }'
# O_NONBLOCK on a pipe that is shared would show in its flags, and cut short what goes through.
step 'pinned memory; pipes of the caller stay blocking and take 3,000,000 bytes' '
  program="$torture basic $edu >&2; [ \$? = 7 ] || exit
    grep -h flags /proc/\$\$/fdinfo/0 /proc/\$\$/fdinfo/1 /proc/\$\$/fdinfo/2 >$folder/flags
    head -c 3000000 /dev/zero"
  [ "$(true | edu --iopf off -- sh -c "$program" | (sleep 0.1; wc -c))" = 3000000 ] &&
    [ "$(wc -l <"$folder/flags")" = 3 ] && ! grep "4...$" "$folder/flags"'
for mode in interrupt old-eventfds duplicates forks execs; do
  all="$all$torture $mode $edu; [ \$? = 7 ] || exit; "
done
step 'eventfds, duplicates, forks, execs' 'edu -- sh -c "$all"'
step 'children that share the memory, and are no threads' '
  edu -- sh -c "$memory \"child maps\" $edu auto && $memory \"child opens\" $edu auto"'
if command -v qemu-img >/dev/null; then
  head -c 8388608 /dev/urandom >"$folder/image"
  disk="--device nvme@$nvme,file=$folder/disk,size=8M"
  there="qemu-img convert -n -O raw $folder/image nvme://$nvme/1"
  back="qemu-img convert -O raw nvme://$nvme/1 $folder/back"
  step 'qemu-img writes a disk and reads it back' '
    "$iopf" exec --quiet $disk -- sh -c "$there && $back" && cmp "$folder/image" "$folder/back"'
else
  echo 'SKIPPED: qemu-img: this machine has none'
fi
exit $failed
