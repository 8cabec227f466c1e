/** A vfio-user server in the process of a test, which decides by hand what is answered. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MFD_CLOEXEC } from '../../src/abi/linux.js';
import { MessageSocket } from '../../src/exec/vfio-user/message-socket.js';
import { acceptConnection, listenAt } from '../../src/exec/vfio-user/unix-socket.js';
import { close, ftruncate, memfdCreate } from '../../src/mm/process/libc.js';
import { FakeDevice } from '../device/vfio-user/fake-device.js';
import type { Message } from '../device/vfio-user/fake-server.js';

const LOOK_MS = 2;
const FILE_BYTES = 0x3000;

export class HandServer {
  readonly device = new FakeDevice();
  readonly folder = mkdtempSync(join(tmpdir(), 'test-hand-'));
  readonly path = join(this.folder, 'socket');
  private readonly listening = listenAt(this.path);
  private socket: MessageSocket | null = null;
  private readonly timer = setInterval(() => this.look(), LOOK_MS);

  constructor() {
    this.device.barFd = memfdCreate('bar', MFD_CLOEXEC);
    ftruncate(this.device.barFd, FILE_BYTES);
  }

  /** Sends a message of its own. */
  send({ body, command, descriptors, error, flags, id }: Message): void {
    const { socket } = this;
    socket?.outgoing.bytes.set(body);
    socket?.send({ id, command, flags, error }, body.length, descriptors, () => false);
  }

  close(): void {
    clearInterval(this.timer);
    this.socket?.close();
    close(this.listening);
    close(this.device.barFd);
    rmSync(this.folder, { recursive: true, force: true });
  }

  private look(): void {
    if (this.socket === null) {
      const fd = acceptConnection(this.listening);
      if (fd < 0) return;
      this.socket = new MessageSocket(fd);
    }
    const { socket } = this;
    while (socket.receive() === 'message') {
      const { id, command, flags, error, fault } = socket.head;
      const body = socket.body.slice();
      const descriptors = socket.descriptors.splice(0);
      const answers = this.device.answer({ id, command, flags, error, fault, body, descriptors });
      for (const answer of answers ?? []) this.send(answer);
    }
  }
}
