#!/bin/sh
# Runs a driver's tests under the VFIO ABI of each kernel that iopf knows: kernels.sh COMMAND [ARGS…]
# Summaries (JSON) and reports (HTML) go to iopf-results/. Set IOPF_DEVICE to the device that the
# driver drives (iopf exec --help lists the kinds). Exit code 1 where a run failed.
mkdir -p iopf-results || exit 2
status=0
for kernel in ${IOPF_KERNELS:-6.1 6.12 7.2}; do
  echo "== Linux $kernel"
  iopf exec --kernel "$kernel" --device "${IOPF_DEVICE:-nvme@0000:01:00.0,size=64M}" \
    --json "iopf-results/$kernel.json" --html "iopf-results/$kernel.html" -- "$@" || status=1
done
exit $status
