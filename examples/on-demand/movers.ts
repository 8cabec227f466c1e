/** Devices that move pages: from memory to a place of their own, and back to other memory. */
import { EduDriver } from '../dma-copy/edu.js';
import { NvmePollDriver, type QueuePair } from '../nvme-poll/driver.js';
import type { IommufdClient } from './client.js';

const PAGE = 4096;
const BAR = 0;
const CONFIG = 7;

export interface PageMover {
  /** Begins to read the page at an IOVA; `busy` until that is done. */
  beginLoad(iova: number): void;
  /** Begins to write what was read last to another. */
  beginStore(iova: number): void;
  readonly busy: boolean;
}

/** A driver of the device; it serves page requests where it has to wait. */
export function moverOf(client: IommufdClient): PageMover {
  const id = client.readRegion(CONFIG, 0, 4);
  switch (id) {
    case 0x11e81234:
      return eduMover(client);
    case 0x11e91234:
      return new AtsMover(client);
    default:
      if (client.readRegion(CONFIG, 9, 2) === 0x0802) return new NvmeMover(client);
      throw new Error(`no device that this program knows: ${id.toString(16)}`);
  }
}

function eduMover(client: IommufdClient): PageMover {
  const edu = new EduDriver(client);
  return {
    beginLoad: (iova) => edu.beginLoad(iova, PAGE),
    beginStore: (iova) => edu.beginStore(iova, PAGE),
    get busy() {
      return edu.busy;
    },
  };
}

/** The device `ats`: an address, and a command that runs until its bit 0 is clear. */
class AtsMover implements PageMover {
  constructor(private readonly client: IommufdClient) {}

  beginLoad(iova: number): void {
    this.run(iova, 3);
  }

  beginStore(iova: number): void {
    this.run(iova, 1);
  }

  get busy(): boolean {
    return (this.client.readRegion(BAR, 8, 4) & 1) !== 0;
  }

  private run(iova: number, command: number): void {
    this.client.writeRegion(BAR, 0, 8, iova);
    this.client.writeRegion(BAR, 8, 4, command);
  }
}

/** The first eight blocks of an NVMe disk, which lose what they held. */
class NvmeMover implements PageMover {
  private readonly queue: QueuePair;
  private waiting = false;

  constructor(client: IommufdClient) {
    const driver = new NvmePollDriver(client, 8 * PAGE, () => client.serve());
    this.queue = driver.createQueue(1, 16);
  }

  beginLoad(iova: number): void {
    this.begin(WRITE, iova);
  }

  beginStore(iova: number): void {
    this.begin(READ, iova);
  }

  get busy(): boolean {
    if (!this.waiting || this.queue.take() < 0) return this.waiting;
    this.queue.acknowledge();
    if (this.queue.status !== 0) throw new Error(`status 0x${this.queue.status.toString(16)}`);
    this.waiting = false;
    return false;
  }

  private begin(opcode: number, iova: number): void {
    this.queue.push(opcode, 1, 1, iova, 0, 0, 0, PAGE / BLOCK - 1);
    this.queue.ring();
    this.waiting = true;
  }
}

const [WRITE, READ] = [1, 2];
const BLOCK = 512;
