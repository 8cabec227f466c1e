/**
 * Gives up memory that commands and queues of an NVMe controller lie in, and tells what becomes of
 * them.
 *
 * Usage: nvme-gone BDF. Prints JSON: the statuses of four reads, of which the second and third
 * reach into a page that is gone; what a page holds that none of them names; and the statuses of
 * reads after a submission and a completion queue were lost and the controller was reset.
 */
import { VfioClient } from '../../../examples/dma-copy/vfio.js';
import { NvmePollDriver, type QueuePair } from '../../../examples/nvme-poll/driver.js';
import { AdminOpcode, IoOpcode } from '../../../src/device/nvme/command.js';
import { ControllerStatus } from '../../../src/device/nvme/registers.js';
import { munmap, must } from '../../../src/mm/process/libc.js';

const PAGE = 4096;
const BLOCKS = PAGE / 512;
const UNTOUCHED = 0x66;

const driver = new NvmePollDriver(new VfioClient(process.argv[2]!), 2 ** 20);
const [submission, completion, buffers] = [
  driver.allocate(PAGE),
  driver.allocate(PAGE),
  driver.allocate(5 * PAGE),
];

function giveUp(offset: number): void {
  must('munmap', munmap(driver.memory.address + offset, PAGE));
}

function read(queue: QueuePair, page: number, pages: number): void {
  const at = driver.iova(buffers + page * PAGE);
  queue.push(IoOpcode.READ, page, 1, at, pages > 1 ? at + PAGE : 0, 0, 0, pages * BLOCKS - 1);
}

function statusOf(queue: QueuePair): string {
  queue.wait();
  return queue.status.toString(16);
}

const queue = driver.createQueue(1, 16, submission, completion);
driver.bytes(buffers, 2 * PAGE).fill(UNTOUCHED);
giveUp(buffers + 3 * PAGE);
read(queue, 0, 1);
read(queue, 2, 2);
read(queue, 3, 1);
read(queue, 4, 1);
queue.ring();
const statuses = [0, 1, 2, 3].map(() => statusOf(queue));
const beside = driver.bytes(buffers, 2 * PAGE)[PAGE];

/**
 * Loses a queue's memory with a read in the queue, sees the controller fail, and brings it up
 * again.
 */
function lose(what: number, working: QueuePair): string {
  read(working, 0, 1);
  giveUp(what);
  working.ring();
  driver.awaitStatus(ControllerStatus.READY | ControllerStatus.FATAL);
  driver.disable();
  driver.enable();
  const again = driver.createQueue(1, 16);
  read(again, 0, 1);
  again.ring();
  return statusOf(again);
}

const afterSubmission = lose(submission, queue);
driver.command(AdminOpcode.DELETE_SQ, { dw10: 1 });
driver.command(AdminOpcode.DELETE_CQ, { dw10: 1 });
const second = driver.allocate(PAGE);
const afterCompletion = lose(second, driver.createQueue(1, 16, driver.allocate(PAGE), second));
console.log(JSON.stringify({ statuses, beside, afterSubmission, afterCompletion }));
