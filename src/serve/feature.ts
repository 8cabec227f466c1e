/**
 * DEVICE_FEATURE: dirty logging. EINVAL for every other feature: no device of iopf supports
 * migration.
 */
import { fail } from '../abi/errno.js';
import { structLayout, u32, u64 } from '../abi/layout.js';
import { DeviceFeatureFlag, VFIO_DEVICE_FEATURE_MASK } from '../abi/vfio.js';
import { DeviceFeature } from '../abi/vfio-structs.js';
import { BODY_BYTES } from '../vfio-user/protocol.js';
import { bitmapBytes, type DirtyLogging, isPageSize } from './dirty-logging.js';
import { answer, bufferOf, type Reply, type Request, readBody } from './request.js';

const {
  VFIO_DEVICE_FEATURE_GET: GET,
  VFIO_DEVICE_FEATURE_SET: SET,
  VFIO_DEVICE_FEATURE_PROBE: PROBE,
} = DeviceFeatureFlag;

const LOGGING_START = 6;
const LOGGING_STOP = 7;
const LOGGING_REPORT = 8;
const operations: Readonly<Record<number, number>> = {
  [LOGGING_START]: SET,
  [LOGGING_STOP]: SET,
  [LOGGING_REPORT]: GET,
};

/** Ranges follow, which are not looked at: all that is mapped is logged. */
const LoggingControl = structLayout('vfio_device_feature_dma_logging_control', {
  page_size: u64,
  num_ranges: u32,
  reserved: u32,
});
const LoggingReport = structLayout('vfio_device_feature_dma_logging_report', {
  iova: u64,
  length: u64,
  page_size: u64,
});

const header = bufferOf(DeviceFeature);
const control = bufferOf(LoggingControl);
const asked = bufferOf(LoggingReport);

export function deviceFeature({ body }: Request, reply: Reply, logging: DirtyLogging): void {
  readBody(body, 0, header);
  const argsz = header.u32(DeviceFeature.at.argsz);
  const flags = header.u32(DeviceFeature.at.flags);
  const feature = flags & VFIO_DEVICE_FEATURE_MASK;
  const operation = flags & (GET | SET);
  const supported = operations[feature] ?? 0;
  const isProbe = (flags & PROBE) !== 0;
  if (supported === 0 || (operation & ~supported) !== 0) fail('EINVAL');
  if (operation === 0 && !isProbe) fail('EINVAL');
  if (isProbe || operation === SET) {
    if (argsz < body.length) fail('EINVAL');
    if (!isProbe) change(feature, body, logging);
    return answer(reply, body);
  }
  report(body, argsz, reply, logging);
}

function change(feature: number, body: Uint8Array, logging: DirtyLogging): void {
  if (feature === LOGGING_STOP) return logging.stop();
  readBody(body, DeviceFeature.size, control);
  logging.start(control.u64(LoggingControl.at.page_size));
}

function report(body: Uint8Array, argsz: number, reply: Reply, logging: DirtyLogging): void {
  readBody(body, DeviceFeature.size, asked);
  const { at } = LoggingReport;
  const begin = DeviceFeature.size + LoggingReport.size;
  const pages = asked.pages(at.length);
  const pageBytes = asked.u64(at.page_size);
  if (!isPageSize(pageBytes) || asked.inPage(at.iova) !== 0 || asked.inPage(at.length) !== 0)
    fail('EINVAL');
  const bytes = bitmapBytes(pages, pageBytes);
  if (pages === 0 || begin + bytes > BODY_BYTES || argsz < begin + bytes) fail('EINVAL');
  reply.bytes.set(body.subarray(0, begin));
  reply.view.setUint32(DeviceFeature.at.argsz, begin + bytes, true);
  const into = reply.bytes.subarray(begin, begin + bytes);
  into.fill(0);
  logging.report(asked.pages(at.iova), pages, pageBytes, into);
  reply.length = begin + bytes;
}
