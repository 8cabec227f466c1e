/**
 * Owns the first stage of an edu device and lets it fault there. Usage: guest-stage WHAT. Prints
 * JSON.
 */
import { EduDriver } from '../../../examples/dma-copy/edu.js';
import { VfioClient } from '../../../examples/dma-copy/vfio.js';
import { GuestTable, type PageRequest } from '../../../examples/guest-paging/table.js';
import { IopfIoctl, VfioExtension } from '../../../src/abi/vfio.js';
import {
  allocateNative,
  errno,
  ioctl,
  read,
  syscall,
  write,
} from '../../../src/mm/process/libc.js';

const PAGE = 4096;
/** The container's addresses: the table, and two pages of data. */
const TABLE = 0x10000;
const DATA = 0x20000;
/** The guest's addresses: within the device's 28 bits. */
const INPUT = 0x4000000;
const DUP2 = 33;
const CONFIG = 7;
const COMMAND = 4;
const MEMORY = 2;
const BUS_MASTER = 4;
const SUCCESS = 0;
const INVALID = 1;
const FILL = 0x5a;
/** Long enough for a request that must come; those that must not are looked for at the end. */
const SOON = 10_000;

const vfio = new VfioClient('0000:00:04.0', VfioExtension.VFIO_TYPE1_NESTING_IOMMU);
const edu = new EduDriver(vfio);
const data = allocateNative(2 * PAGE);
data.bytes.fill(FILL, 0, PAGE);
vfio.map(data.address, DATA, 2 * PAGE);
const table = new GuestTable(vfio, TABLE, INPUT);
const device = table.attach();

/** The one page request that there must be by now. */
function request(): PageRequest {
  if (!table.readable(SOON)) throw new Error('no page request');
  const [first, ...more] = table.read();
  if (first === undefined || more.length > 0 || table.readable(0))
    throw new Error('not one page request');
  return first;
}

const finish = (): void => {
  while (edu.busy);
};

/** What the device holds, by way of a page that the table has. */
function held(): number {
  table.set(INPUT + 8 * PAGE, DATA + PAGE);
  edu.store(INPUT + 8 * PAGE, PAGE);
  return data.bytes[PAGE]!;
}

const events: Record<string, () => object> = {
  /**
   * The page is brought: the read goes on, and so does a write that crosses into another page which
   * is missing.
   */
  success() {
    edu.beginLoad(INPUT, PAGE);
    const first = request();
    const busy = edu.busy;
    table.set(INPUT, DATA);
    const answered = table.answer(first.cookie, SUCCESS);
    finish();
    const again = [table.answer(first.cookie, SUCCESS), errno()];
    table.set(INPUT + PAGE, DATA + PAGE);
    data.bytes.fill(0);
    edu.beginStore(INPUT + 2 * PAGE - 100, 200);
    const second = request();
    const before = [data.bytes[2 * PAGE - 1]!, data.bytes[99]!];
    table.set(INPUT + 2 * PAGE, DATA);
    table.answer(second.cookie, SUCCESS);
    finish();
    return {
      first: { ...first, cookie: 0 },
      busy,
      answered,
      again,
      second: { ...second, cookie: 0 },
      before,
      after: [data.bytes[2 * PAGE - 1]!, data.bytes[99]!],
    };
  },
  /** It is refused: a read gives zeros, though the table has the page by then. */
  invalid() {
    edu.beginLoad(INPUT, PAGE);
    const { cookie } = request();
    table.set(INPUT, DATA);
    table.answer(cookie, INVALID);
    finish();
    return { held: held(), more: table.readable(0) };
  },
  /** An answer that mends nothing: the device asks again. */
  'asks again'() {
    edu.beginLoad(INPUT, PAGE);
    const first = request();
    table.answer(first.cookie, SUCCESS);
    const second = request();
    table.set(INPUT, DATA);
    table.answer(second.cookie, SUCCESS);
    finish();
    return { other: first.cookie !== second.cookie, held: held() };
  },
  /** What the IOTLB holds stays until it is invalidated. */
  invalidate() {
    table.set(INPUT, DATA);
    edu.load(INPUT, PAGE);
    table.set(INPUT, null);
    table.invalidate(INPUT, 1);
    edu.beginLoad(INPUT, PAGE);
    const { cookie } = request();
    table.answer(cookie, INVALID);
    finish();
    return { held: held() };
  },
  'queue closed'() {
    edu.beginLoad(INPUT, PAGE);
    request();
    table.close();
    finish();
    edu.load(INPUT, PAGE);
    return { held: held() };
  },
  /**
   * A number that does not reach us: its reads and writes go to what is behind the descriptor, and
   * disturb nobody.
   */
  'low number'() {
    const low = syscall(DUP2, table.queue, 100, 0, 0, 0, 0);
    edu.beginLoad(INPUT, PAGE);
    if (!table.readable(SOON)) throw new Error('no page request');
    const stolen = read(low, data.address + PAGE, PAGE);
    const [{ cookie }] = table.read() as [PageRequest];
    const put = write(low, data.address + PAGE, PAGE);
    table.set(INPUT, DATA);
    table.answer(cookie, SUCCESS);
    finish();
    edu.beginLoad(INPUT + PAGE, PAGE);
    const next = table.read().length;
    table.detach();
    finish();
    return { stolen, put, next, more: table.readable(0) };
  },
  detach() {
    edu.beginLoad(INPUT, PAGE);
    const { cookie } = request();
    table.detach();
    finish();
    const late = [table.answer(cookie, SUCCESS), errno()];
    // Its addresses are the container's again.
    edu.load(DATA, PAGE);
    edu.store(DATA + PAGE, PAGE);
    return { late, held: data.bytes[PAGE], attachedAgain: table.attach() };
  },
  /**
   * Bus mastering is switched off while the device waits: its access ends with the answer, whatever
   * that is.
   */
  'master off'() {
    edu.beginLoad(INPUT, PAGE);
    const { cookie } = request();
    vfio.writeRegion(CONFIG, COMMAND, 2, MEMORY);
    table.set(INPUT, DATA);
    table.answer(cookie, SUCCESS);
    finish();
    vfio.writeRegion(CONFIG, COMMAND, 2, MEMORY | BUS_MASTER);
    return { held: held() };
  },
  /** IOPF goes off: what is pending is refused, and what is missing later is not asked for. */
  disable() {
    edu.beginLoad(INPUT, PAGE);
    request();
    const result = ioctl(vfio.container, IopfIoctl.VFIO_IOMMU_DISABLE_IOPF, 0);
    finish();
    edu.load(INPUT + PAGE, PAGE);
    return { result, held: held(), more: table.readable(0) };
  },
  /**
   * Everything is closed by the end of the process, with a request that was read and one that was
   * not.
   */
  exit() {
    edu.beginLoad(INPUT, PAGE);
    request();
    return {};
  },
  /** As `exit`, but killed. */
  kill() {
    edu.beginLoad(INPUT, PAGE);
    if (!table.readable(SOON)) throw new Error('no page request');
    process.kill(process.pid, 'SIGKILL');
    return {};
  },
};

const result = events[process.argv[2]!]!();
console.log(JSON.stringify({ device, ...result }));
